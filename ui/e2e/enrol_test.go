package e2e_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// attribute is an attribute of the first element that a selector finds.
func (p *tab) attribute(selector, name string) string {
	p.t.Helper()
	a, err := chromedp.Run(p.within(), chromedp.AttributeValue(chromedp.CSS(selector), name))
	if err != nil || !a.Exists {
		p.t.Fatalf("%s: %s of %s: %v", p.path(), name, selector, err)
	}
	return a.Value
}

// texts is what a person reads in every element that a selector finds.
func (p *tab) texts(selector string) []string {
	p.t.Helper()
	return value[[]string](p, `[...document.querySelectorAll(`+quote(selector)+`)].map((e) => e.innerText.trim())`)
}

// takesUp opens a link for setting up or joining, makes the account behind it and
// enrols an authenticator app, all in the pages. It ends behind the recovery codes.
func (p *tab) takesUp(link, name string) *person {
	p.t.Helper()
	path, ok := strings.CutPrefix(link, p.origin)
	if !ok || !strings.Contains(path, "#cfi_") {
		p.t.Fatalf("%q is no link to %s with a token in its fragment", link, p.origin)
	}
	p.open(path)
	p.until(`document.querySelector("[data-testid=accept]")`)
	p.hasNotInAddress("cfi_")
	p.fill("Name", name, "Password", password, "Password again", password)
	p.leave("Make the account")
	h := &person{Name: name}
	p.enrols(h)
	return h
}

// enrols sets up an authenticator app and goes past the recovery codes.
func (p *tab) enrols(h *person) {
	p.t.Helper()
	p.sees("Set up your second factor")
	p.leave("Set up an app")
	h.Secret = p.attribute("[data-testid=totp-secret]", "data-secret")
	p.fill("Code that the app shows", h.code(p.t))
	p.leave("Confirm")
	h.Codes = p.texts("[data-testid=codes] code")
	if len(h.Codes) < 8 {
		p.t.Fatalf("there are %d recovery codes", len(h.Codes))
	}
	p.leave("I have written them down")
}

// signsIn signs in with name, password and a code.
func (p *tab) signsIn(h *person) {
	p.t.Helper()
	p.open("/login")
	p.fill("Name", h.Name, "Password", password, "Code", h.code(p.t))
	p.leave("Sign in")
}

// hasNotInAddress fails when a secret stands in the address or the history entry.
func (p *tab) hasNotInAddress(secret string) {
	p.t.Helper()
	entries, err := chromedp.Run(p.within(), chromedp.NavigationEntries())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries.Entries {
		if strings.Contains(e.URL, secret) {
			p.t.Errorf("the browser's history holds %s", e.URL)
		}
	}
}

// must fails a test at an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
