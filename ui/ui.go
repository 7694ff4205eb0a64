package ui

import (
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/httpd"
)

// Options say how the pages are reached.
type Options struct {
	Plain   bool             // served without TLS, on a loopback address only: cookies cannot be Secure
	URL     string           // where the appliance is, for what is copied from pages: https://coffer.example:8443
	CA      Authority        // gives the appliance's own authority, nil if it was given a certificate
	Version string           // shown on every page
	Now     func() time.Time // nil means time.Now
}

// Authority gives the certificate, in PEM, of the authority that browsers are
// asked to trust, and its fingerprint as tools print it. Both are empty as long as
// there is none.
type Authority func() (certificate []byte, fingerprint string)

// authority is what there is to trust.
func (u *UI) authority() (certificate []byte, fingerprint string) {
	if u.opts.CA == nil {
		return nil, ""
	}
	return u.opts.CA()
}

// UI is the pages, a surface of httpd.
type UI struct {
	gate  *actions.Gate
	log   *slog.Logger
	opts  Options
	pages *pages
}

// New makes the pages before a gate.
func New(gate *actions.Gate, log *slog.Logger, o Options) *UI {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &UI{gate: gate, log: log, opts: o, pages: parsePages()}
}

// Prefix begins every path of the pages.
func (u *UI) Prefix() string { return "/" }

const (
	get  = fiber.MethodGet
	post = fiber.MethodPost
)

// on makes a route of a page for somebody who is signed in.
func (u *UI) on(method, path string, action domain.Action, handle func(*request) error) httpd.Route {
	return httpd.Route{Method: method, Path: path, Action: action, Handle: u.handler(action, func(r *request) error {
		if err := r.signedIn(); err != nil {
			return err
		}
		return u.withProof(handle)(r)
	})}
}

// open makes a route for which nobody needs to be signed in.
func (u *UI) open(method, path string, action domain.Action, handle func(*request) error) httpd.Route {
	return httpd.Route{Method: method, Path: path, Action: action, Handle: u.handler(action, handle)}
}

// handler is what every page goes through: the headers, then the question where
// an unsafe request came from.
func (u *UI) handler(action domain.Action, handle func(*request) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		setHeaders(c)
		r := &request{ui: u, Ctx: c, action: action}
		c.Locals(localRequest, r)
		if err := r.begin(); err != nil {
			return err
		}
		defer r.end()
		return handle(r)
	}
}
