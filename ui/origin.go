package ui

import (
	"net/url"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
)

// errElsewhere is the answer to a form that another site sent.
var errElsewhere = domain.Errorf(domain.Denied, "this request did not come from a page of Coffer").
	WithHint("open the page here and send the form again; a browser older than 2020 cannot be used")

// checkOrigin refuses unsafe requests that do not come from our own pages. What
// the browser says of the site decides, and the origin must not contradict it; a
// request that says neither is no browser's, or one that hides where it was.
func checkOrigin(c *fiber.Ctx) error {
	if c.Method() == get || c.Method() == fiber.MethodHead {
		return nil
	}
	site, origin := c.Get("Sec-Fetch-Site"), c.Get(fiber.HeaderOrigin)
	switch {
	case site == "" && origin == "":
		return errElsewhere
	case site != "" && site != "same-origin":
		return errElsewhere
	case origin != "" && !ownOrigin(c, origin):
		return errElsewhere
	}
	return nil
}

// ownOrigin says whether an origin is the one under which the page was asked
// for. The scheme is not compared: a proxy may end TLS, and a page of the same
// host and port in the clear cannot hold the session's cookie.
func ownOrigin(c *fiber.Ctx, origin string) bool {
	u, err := url.Parse(origin)
	host := string(c.Request().Header.Host())
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && host != "" && u.Host == host
}
