package e2e_test

import (
	"strings"
	"testing"

	"coffer/app/domain"
)

// TestRecover gives somebody who lost password and app a new way in: a link made
// on the machine. What was before opens nothing, and the client's own log tells
// of it.
func TestRecover(t *testing.T) {
	s := theSeeded(t)
	h, err := s.invite("acme", domain.Viewer, "lost")
	must(t, err)
	link := s.cli(t, "admin", "recover", "lost")
	at := strings.Index(link, s.origin+"/")
	if at < 0 {
		t.Fatalf("no link in %q", link)
	}

	old := s.tab(t)
	old.as(h)
	old.open("/account")
	old.sees("Sign in")

	p := s.tab(t)
	p.open(strings.TrimPrefix(strings.Fields(link[at:])[0], s.origin))
	p.until(`document.querySelector("[data-testid=accept]")`)
	p.fill("Password", password, "Password again", password)
	p.leave("Set the password")
	again := &person{Name: "lost"}
	p.enrols(again)
	p.sees("Acme GmbH")

	p = s.as(t, "owner")
	p.open("/clients/acme/audit")
	if all := strings.Join(p.texts("[data-testid=event]"), "\n"); !strings.Contains(all, "robin let somebody in again who had lost everything — lost") {
		t.Errorf("the client's timeline does not tell of the recovery:\n%.1500s", all)
	}
}
