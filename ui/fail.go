package ui

import (
	"errors"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/httpd"
)

// failView is the page that says why there is none.
type failView struct {
	base
	Status  int
	Head    string // in two or three words
	Msg     string
	Hint    string
	Request string // the id in the operator's log, for faults of ours
	Sealed  bool
	Home    string // where to go on
}

// bounceView is the page that asks for itself again, from this site.
type bounceView struct {
	base
	To string
}

// Fail answers a request that ended with an error: by leading to the page that
// helps, or with one that says what happened.
func (u *UI) Fail(c *fiber.Ctx, err error) error {
	setHeaders(c)
	switch {
	case errors.Is(err, errSignIn):
		return u.lead(c, loginPath(backTo(c)))
	case errors.Is(err, errCameFromElsewhere):
		r := u.failed(c)
		return r.show("bounce", bounceView{base: r.base("One moment"), To: backTo(c)})
	case errors.Is(err, errEnrol):
		return u.lead(c, "/account/second-factor")
	}
	p := httpd.ProblemOf(err)
	if p.Ours() {
		httpd.LogFailure(u.log, c, err)
	}
	v := failView{Status: p.Status, Head: headOf(p), Msg: p.Title, Hint: p.Hint, Sealed: p.Kind == domain.Sealed.String(), Home: "/"}
	if p.Ours() {
		v.Request = string(c.Response().Header.Peek(httpd.RequestIDHeader))
	}
	if e, ok := errors.AsType[*fiber.Error](err); ok && e.Code == fiber.StatusNotFound {
		v.Hint = errNoPage.Hint
	}
	r := u.failed(c)
	v.base = r.base(v.Head)
	if v.Sealed {
		c.Set(fiber.HeaderRetryAfter, "15")
	}
	return r.render(p.Status, "fail", v)
}

// localRequest is where a request is kept for Fail.
const localRequest = "coffer-request"

// failed is the request that ended with an error, for the frame of the page that
// says so. Nothing of the client in its path is shown to somebody who holds
// nothing there: an unknown and a foreign one look the same.
func (u *UI) failed(c *fiber.Ctx) *request {
	r, ok := c.Locals(localRequest).(*request)
	if !ok {
		return &request{ui: u, Ctx: c, who: actions.Caller{Subject: nobody()}}
	}
	if r.me.Role() == "" {
		r.tenant = ""
	}
	return r
}

// lead sends the browser, or htmx in it, to another page.
func (u *UI) lead(c *fiber.Ctx, path string) error {
	if c.Get("HX-Request") != "" {
		c.Set("HX-Redirect", path)
		return c.SendStatus(fiber.StatusUnauthorized)
	}
	return c.Redirect(path, fiber.StatusSeeOther)
}

// headOf says in a few words what happened.
func headOf(p httpd.Problem) string {
	switch domain.ParseKind(p.Kind) {
	case domain.Denied, domain.StepUp:
		return "Not allowed"
	case domain.NotFound:
		return "Nothing here"
	case domain.Limit:
		return "Too much at once"
	case domain.Sealed:
		return "Coffer is sealed"
	case domain.Unavailable:
		return "Not now"
	case domain.Tampered:
		return "Something is damaged"
	case domain.Invalid, domain.Conflict:
		return "That did not work"
	case domain.Unauthentic:
		return "Not signed in"
	}
	return "Something went wrong"
}

// backTo is the address on this appliance to return to after signing in: the
// page itself, or for a form the page that it stood on.
func backTo(c *fiber.Ctx) string {
	if c.Method() == get && c.Get("HX-Request") == "" {
		return localPath(string(c.Request().URI().RequestURI()))
	}
	return refererPath(c)
}

// refererPath is the page of ours that a request came from, "/" if it is none.
func refererPath(c *fiber.Ctx) string {
	u, err := url.Parse(c.Get(fiber.HeaderReferer))
	if err != nil || u.Host != string(c.Request().Header.Host()) {
		return "/"
	}
	return localPath(u.RequestURI())
}

// localPath gives an address back if it is a path on this appliance, else "/".
// Browsers read "//host" and "/\host" as other hosts, and leave out control
// characters before they look.
func localPath(s string) string {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\#@") || len(s) > 2000 {
		return "/"
	}
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f {
			return "/"
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || strings.HasPrefix(u.Path, "//") {
		return "/"
	}
	return s
}
