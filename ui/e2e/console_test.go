package e2e_test

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
)

// types types a text where the focus is.
func (p *tab) types(text string) {
	p.t.Helper()
	p.do(call(input.InsertText, input.InsertTextParams{Text: text}))
}

// TestConsole reads by default, and writes after the client's id was typed.
func TestConsole(t *testing.T) {
	s := theSeeded(t)
	p := s.as(t, "owner")
	p.watcher.allow(400, 403)
	p.open("/clients/acme/sql")
	p.runs("SELECT count(*) AS n FROM orders WHERE customer = 'Kowalski'")
	if got := p.text("[data-testid=result] td"); got != "1" {
		t.Errorf("count is %q", got)
	}

	p.open("/clients/acme/sql")
	p.runs("")
	if len(p.texts("[data-testid=problem]")) != 1 {
		t.Error("nobody says that the statement is missing")
	}

	const statement = "INSERT INTO orders(customer, amount) VALUES ('by console', 1)"
	p.open("/clients/acme/sql")
	p.runs(statement)
	p.sees("read")
	if len(p.texts("[data-testid=result]")) > 0 {
		t.Errorf("it wrote without being asked to: %s", p.text("main"))
	}

	confirm := func(id string) {
		p.open("/clients/acme/sql")
		p.press("Write")
		p.tick("This statement may change something")
		p.fill("Type the client’s id", id)
		p.runs(statement)
	}
	confirm("acm")
	if len(p.texts("[data-testid=result]")) > 0 {
		t.Error("a mistyped id was enough")
	}
	confirm("acme")
	if got := p.text("#result"); !strings.Contains(got, "1 row changed") {
		t.Errorf("the console said %q", got)
	}
	p.sound()

	p = s.as(t, "analyst")
	p.watcher.allow(400, 403)
	p.open("/clients/acme/sql")
	p.hasNot("This statement may change something")
	p.runs("SELECT count(*) FROM orders WHERE customer = 'by console'")
	if got := p.text("[data-testid=result] td"); got != "1" {
		t.Errorf("%s rows were written, want 1", got)
	}
}
