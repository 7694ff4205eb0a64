package api

import (
	"net/url"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/app/once"
)

// The API is for programs. It never looks at a cookie, so that nothing that a
// browser sends by itself proves anything; and what changes something is refused
// if a page of another site had it sent, whatever it carries.

// crossSite says whether a page of another site sent the request. Browsers say
// so in Sec-Fetch-Site, older ones with changes only, in Origin; nothing else
// sends either.
func crossSite(c *fiber.Ctx) bool {
	switch c.Get("Sec-Fetch-Site") {
	case "":
	case "none", "same-origin":
		return false
	default:
		return true
	}
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host == "" || u.Host != string(c.Request().Host())
}

var errCrossSite = domain.Errorf(domain.Denied, "not allowed: a page of another site sent this").
	WithHint("the API is for programs; in a browser use the pages of Coffer itself")

// guarded runs before the handler of every route.
func (a *API) guarded(r route) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if r.Method != get && crossSite(c) {
			if service, err := a.gate.Service(); err == nil {
				service.CrossSite(httpd.Source(c))
			}
			return errCrossSite
		}
		if !r.creates && len(c.Request().Header.Peek(once.Header)) > 0 {
			return actions.ErrKeyNotTaken
		}
		return r.Handle(c)
	}
}

// key reads the idempotency key. What makes the request the same one is all of
// it but its headers. The body is the one that came: one that says it is compressed
// is refused later, and not unpacked before.
func key(c *fiber.Ctx) (once.Key, error) {
	switch given := c.Request().Header.PeekAll(once.Header); len(given) {
	case 0:
		return once.Key{}, nil
	case 1:
		return once.ParseKey(string(given[0]), []byte(c.Method()), []byte(c.OriginalURL()), c.BodyRaw())
	}
	return once.Key{}, domain.Fieldf(once.Header, "given twice")
}
