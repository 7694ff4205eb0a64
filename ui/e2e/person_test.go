package e2e_test

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/pquerna/otp/totp"
)

// password is everybody's, here.
const password = "correct horse battery staple"

// person is somebody with an account.
type person struct {
	Name    string
	Session string   // the text of a session, as in the cookie
	Secret  string   // what the authenticator app holds
	Codes   []string // for recovery
	used    time.Time
}

// step is how long a one-time code is the newest.
const step = 30 * time.Second

// code makes a one-time code as an app does. Coffer takes none twice, and one step
// early or late, so a person's first is the last step's, and after the next step's
// one has to wait.
func (h *person) code(t testing.TB) string {
	t.Helper()
	code, err := h.nextCode()
	must(t, err)
	return code
}

func (h *person) nextCode() (string, error) {
	now := time.Now().Add(5 * time.Second).Truncate(step) // a step that ends at once is over when Coffer looks
	if h.used.IsZero() || h.used.Before(now.Add(-2*step)) {
		h.used = now.Add(-2 * step)
	}
	h.used = h.used.Add(step)
	time.Sleep(time.Until(h.used.Add(-step))) // no time at all, mostly
	return totp.GenerateCode(h.Secret, h.used)
}

// as lets a page be somebody's, by the cookie of a session.
func (p *tab) as(h *person) {
	p.t.Helper()
	p.do(call(network.SetCookie, network.SetCookieParams{
		Name: "__Host-coffer", Value: h.Session, URL: p.origin, Path: "/",
		Secure: new(true), HTTPOnly: new(true), SameSite: network.CookieSameSiteStrict,
	}))
}
