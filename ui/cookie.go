package ui

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
)

// The cookies. A name that begins with __Host- is one that the browser takes
// only with Secure, for this host alone and for every path: nobody else can set
// it, so nobody can be given a session of somebody else's.
const (
	sessionCookie = "coffer"
	deviceCookie  = "coffer-device"
	themeCookie   = "coffer-theme"
)

// deviceAge is how long a browser is known as one that signed in before.
const deviceAge = 365 * 24 * time.Hour

func (u *UI) cookieName(name string) string {
	if u.opts.Plain {
		return name
	}
	return "__Host-" + name
}

// setCookie sets a cookie that scripts cannot read; with no age it ends with the
// browser's session.
func (u *UI) setCookie(c *fiber.Ctx, name, value string, age time.Duration) {
	cookie := &fiber.Cookie{
		Name: u.cookieName(name), Value: value, Path: "/",
		HTTPOnly: true, Secure: !u.opts.Plain, SameSite: fiber.CookieSameSiteStrictMode, SessionOnly: age == 0,
	}
	if age != 0 {
		cookie.MaxAge = int(age / time.Second)
	}
	c.Cookie(cookie)
}

// dropCookie makes the browser forget a cookie.
func (u *UI) dropCookie(c *fiber.Ctx, name string) {
	c.Cookie(&fiber.Cookie{
		Name: u.cookieName(name), Path: "/", MaxAge: -1, Expires: time.Unix(1, 0),
		HTTPOnly: true, Secure: !u.opts.Plain, SameSite: fiber.CookieSameSiteStrictMode,
	})
}

func (u *UI) cookie(c *fiber.Ctx, name string) domain.Secret {
	return domain.SecretString(c.Cookies(u.cookieName(name)))
}
