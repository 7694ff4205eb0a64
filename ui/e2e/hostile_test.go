package e2e_test

import (
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestHostileTextRunsNothing looks at every page of a client that is full of
// hostile text, and puts such text where the address or a form is echoed.
func TestHostileTextRunsNothing(t *testing.T) {
	s := theSeeded(t)
	must(t, s.hostile())
	p := s.as(t, "operator")
	p.watcher.allow(400, 403, 404)
	q := url.QueryEscape(hostile)
	for _, path := range []string{
		"/", "/?q=" + q, "/alerts", "/people", "/log", "/roles?role=" + q, "/login?next=" + q, "/nothing/" + url.PathEscape(hostile),
		"/clients/hostile", "/clients/hostile/secrets", "/clients/hostile/secrets?prefix=" + q, "/clients/hostile/secret?path=a/b",
		"/clients/hostile/secret?path=" + q, "/clients/hostile/tokens", "/clients/hostile/workloads", "/clients/hostile/people",
		"/clients/hostile/audit", "/clients/hostile/audit?resource=" + q + "&action=" + q + "&actor=" + q + "&from=" + q,
		"/clients/" + url.PathEscape(hostile), "/clients/hostile/audit?after=" + q,
	} {
		p.open(path)
		p.harmless()
	}
}

// TestHostileResults shows hostile text as the result of something.
func TestHostileResults(t *testing.T) {
	s := theSeeded(t)
	must(t, s.hostile())
	p := s.as(t, "operator")
	p.watcher.allow(400, 401, 403)
	p.open("/clients/hostile/sql")
	p.runs("SELECT * FROM t")
	p.sees("window.pwned=1")
	p.harmless()

	p.open("/clients/hostile/secret?path=a/b")
	p.leave("Reveal version 1")
	p.sees("window.pwned=1")
	p.harmless()

	p.open("/clients/hostile/tokens")
	p.harmless()

	p.open("/new")
	p.fill("Name", hostile, "Id", hostile, "Owner", hostile)
	p.leave("Add the client")
	p.harmless()

	p = s.tab(t)
	p.watcher.allow(400, 401)
	p.open("/login?next=//elsewhere.example/")
	p.fill("Name", hostile, "Password", hostile, "Code", hostile)
	p.leave("Sign in")
	p.harmless()
	p.open("/join#cfi_" + hostile)
	p.until(`document.readyState === "complete"`)
	p.harmless()
}

// harmless fails the test when hostile text became anything but text.
func (p *tab) harmless() {
	p.t.Helper()
	p.until(`document.readyState === "complete"`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach((d) => { d.open = true; })`))
	if value[bool](p, `"pwned" in window`) {
		p.t.Errorf("%s ran hostile text", p.path())
	}
	if n := value[int](p, `document.querySelectorAll("img, b > b, script:not([src]), [onerror]").length`); n > 0 {
		p.t.Errorf("%s made %d elements of hostile text", p.path(), n)
	}
	p.static()
}
