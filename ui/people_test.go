package ui_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"coffer/app/actions"
	"coffer/app/domain"
)

// password is everybody's.
const password = "correct horse battery staple"

// account is somebody with a browser that is signed in.
type account struct {
	*browser
	name   string
	secret string // of the app that shows codes
	codes  []string
}

var (
	totpSecret = regexp.MustCompile(`data-secret="([A-Z2-7]+)"`)
	codeItems  = regexp.MustCompile(`<li><code>([^<]+)</code></li>`)
)

// setUp takes a link up through the pages, as a person does.
func (s *site) setUp(link, name string) *account {
	s.tb.Helper()
	a := &account{browser: s.browser(), name: name}
	if p := a.post("/link/accept", "token", link, "name", name, "password", password, "again", password); p.status != 303 {
		s.tb.Fatalf("accepting the link: %d %s", p.status, problemOf(p))
	}
	p := a.post("/account/totp")
	m := totpSecret.FindStringSubmatch(p.body)
	if m == nil {
		s.tb.Fatalf("no secret: %d %s", p.status, problemOf(p))
	}
	a.secret = m[1]
	p = a.post("/account/totp/confirm", "code", a.code())
	for _, m := range codeItems.FindAllStringSubmatch(p.body, -1) {
		a.codes = append(a.codes, html.UnescapeString(m[1]))
	}
	if p.status != 200 || len(a.codes) == 0 {
		s.tb.Fatalf("confirming the code: %d %s", p.status, problemOf(p))
	}
	return a
}

// code is what the app shows. Time goes on first, for no code counts twice.
func (a *account) code() string {
	a.s.tb.Helper()
	a.s.clock.ahead += 30 * time.Second
	code, err := totp.GenerateCode(a.secret, a.s.clock.Now())
	must(a.s.tb, err)
	return code
}

// first makes the first operator.
func (s *site) first(name string) *account {
	s.tb.Helper()
	out, made, err := s.service.FirstSetupLink(s.tb.Context())
	must(s.tb, err)
	if !made {
		s.tb.Fatal("there is an operator already")
	}
	return s.setUp(string(out.Token.Reveal()), name)
}

// member makes an account with a role in a client.
func (s *site) member(tenant string, role domain.Role, name string) *account {
	s.tb.Helper()
	out := run(s, s.operator(), actions.InvitationCreate, actions.InviteIn{Tenant: tenant, Role: string(role)})
	return s.setUp(string(out.Token.Reveal()), name)
}

var (
	problemText = regexp.MustCompile(`(?s)data-testid="problem">(.*?)</div>\s*</div>`)
	leadText    = regexp.MustCompile(`(?s)<p class="lead">(.*?)</p>`)
	tags        = regexp.MustCompile(`<[^>]*>`)
)

// problemOf is what a page says is wrong.
func problemOf(p page) string {
	for _, pattern := range []*regexp.Regexp{problemText, leadText} {
		if m := pattern.FindStringSubmatch(p.body); m != nil {
			return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(m[1], " "))), " ")
		}
	}
	return p.body
}

// session is the session's text in the browser.
func (b *browser) session() string {
	req, err := http.NewRequest("GET", b.s.url, nil)
	must(b.s.tb, err)
	for _, c := range b.http.Jar.Cookies(req.URL) {
		if c.Name == "coffer" {
			return c.Value
		}
	}
	return ""
}

// TestFirstPerson walks the way from the printed link to the first client.
func TestFirstPerson(t *testing.T) {
	s := newSite(t)
	link, _, err := s.service.FirstSetupLink(t.Context())
	must(t, err)
	token := string(link.Token.Reveal())
	b := s.browser()
	if p := b.get("/"); p.status != 303 || p.to() != "/login?next=%2F" {
		t.Errorf("nobody is led to %d %q", p.status, p.to())
	}
	if p := b.get("/login"); !strings.Contains(p.body, "coffer setup-link") || !strings.Contains(p.body, "server’s clock") {
		t.Error("the sign-in page names neither the way to a new link nor the time")
	}
	if p := b.get("/setup"); p.status != 200 || !strings.Contains(p.body, `name="token"`) {
		t.Errorf("without scripts there is no field for the link: %d", p.status)
	}
	p := b.post("/link", "token", token)
	if p.status != 200 || !strings.Contains(p.body, "You become an operator") {
		t.Fatalf("looking at the link: %d %s", p.status, problemOf(p))
	}
	if p := b.post("/link/accept", "token", token, "name", "maria", "password", "short", "again", "short"); p.status != 400 || strings.Contains(p.body, "short") {
		t.Errorf("a short password: %d %s", p.status, problemOf(p))
	}
	if p := b.post("/link/accept", "token", token, "name", "maria", "password", password, "again", "other"); p.status != 400 || !strings.Contains(p.body, `value="maria"`) {
		t.Errorf("two passwords: %d %s", p.status, problemOf(p))
	}
	a := s.setUp(token, "maria")
	if p := b.post("/link", "token", token); p.status == 200 {
		t.Error("the link was not burnt")
	}
	if p := a.get("/"); p.status != 200 || !strings.Contains(p.body, "No clients yet") || !strings.Contains(p.body, "maria") {
		t.Errorf("the first page: %d", p.status)
	}
	p = a.post("/new", "name", "Acme GmbH", "id", "", "owner", "", "retention_days", "365", "workload", "web", "grant", "sql:analyst", "with_token", "1", "ttl", "1h")
	if p.status == 403 {
		p = a.post("/new", "name", "Acme GmbH", "id", "", "owner", "", "retention_days", "365", "workload", "web", "grant", "sql:analyst", "with_token", "1", "ttl", "1h", "proof-code", a.code())
	}
	if p.status != 200 || !strings.Contains(p.body, "cft_") || !strings.Contains(p.body, "acme-gmbh") {
		t.Fatalf("the first client: %d %s", p.status, problemOf(p))
	}
	if p := a.get("/"); !strings.Contains(p.body, "Acme GmbH") || strings.Contains(p.body, "cft_") {
		t.Error("the list has no client, or shows a token")
	}
}

// TestLimited: without a second factor an account reaches nothing else.
func TestLimited(t *testing.T) {
	s := newSite(t)
	link, _, err := s.service.FirstSetupLink(t.Context())
	must(t, err)
	b := s.browser()
	if p := b.post("/link/accept", "token", string(link.Token.Reveal()), "name", "maria", "password", password, "again", password); p.to() != "/account/second-factor" {
		t.Fatalf("led to %q %s", p.to(), problemOf(p))
	}
	for _, route := range s.ui.Routes() {
		if route.Action == "" || !strings.HasPrefix(route.Path, "/clients") && route.Path != "/" && route.Path != "/new" && route.Path != "/people" {
			continue
		}
		path := strings.ReplaceAll(route.Path, ":tenant", "acme")
		var p page
		if route.Method == "GET" {
			p = b.get(path)
		} else {
			p = b.post(path)
		}
		if p.status != 303 || p.to() != "/account/second-factor" {
			t.Errorf("%s %s: %d %q", route.Method, route.Path, p.status, p.to())
		}
	}
}

// TestSignIn tries the ways in and out.
func TestSignIn(t *testing.T) {
	s := newSite(t)
	a := s.first("maria")
	b := s.browser()
	for _, wrong := range [][]string{
		{"name", "maria", "password", "wrong", "code", a.code()},
		{"name", "maria", "password", password, "code", "000000"},
		{"name", "maria", "password", password},
		{"name", "nobody", "password", password, "code", "000000"},
	} {
		p := b.post("/login", wrong...)
		if p.status != 401 || strings.Contains(p.body, password) || b.session() != "" {
			t.Errorf("%v: %d", wrong, p.status)
		}
	}
	p := b.post("/login", "name", "maria", "password", password, "code", a.code(), "next", "/account")
	if p.status != 303 || p.to() != "/account" {
		t.Fatalf("signing in: %d %q %s", p.status, p.to(), problemOf(p))
	}
	if p := b.get("/account"); p.status != 200 || !strings.Contains(p.body, "this one") {
		t.Errorf("the account: %d", p.status)
	}
	// Signing in again gives another session and ends the one before.
	old := b.session()
	b.post("/login", "name", "maria", "password", password, "code", a.code())
	if b.session() == old || b.session() == "" {
		t.Error("the session stayed the same")
	}
	stale := s.browser()
	stale.setSession(old)
	if p := stale.get("/"); p.status != 303 {
		t.Errorf("the session before still opens: %d", p.status)
	}
	last := b.session()
	if p := b.post("/logout"); p.to() != "/login?done=signed-out" || b.session() != "" {
		t.Errorf("signing out: %d %q", p.status, p.to())
	}
	stale.setSession(last)
	if p := stale.get("/"); p.status != 303 {
		t.Errorf("the session still opens after signing out: %d", p.status)
	}
	// A recovery code stands in for the app.
	if p := b.post("/login", "name", "maria", "password", password, "code", a.codes[0]); p.status != 303 {
		t.Errorf("with a recovery code: %d %s", p.status, problemOf(p))
	}
	// Everywhere means everywhere.
	if p := b.post("/account/sessions/end-all"); p.status != 303 {
		t.Errorf("end-all: %d %s", p.status, problemOf(p))
	}
	if p := a.get("/"); p.status != 303 {
		t.Errorf("another browser is still signed in: %d", p.status)
	}
}

// setSession puts a session into the browser.
func (b *browser) setSession(text string) {
	req, err := http.NewRequest("GET", b.s.url, nil)
	must(b.s.tb, err)
	b.http.Jar.SetCookies(req.URL, []*http.Cookie{{Name: "coffer", Value: text, Path: "/"}})
}

// TestFixation: a session that somebody else put into the browser is not the one
// that is signed in, and is ended.
func TestFixation(t *testing.T) {
	s := newSite(t)
	a := s.first("maria")
	eve := s.browser()
	eve.post("/login", "name", "maria", "password", password, "code", a.code())
	planted := eve.session()
	victim := s.browser()
	victim.setSession(planted)
	victim.post("/login", "name", "maria", "password", password, "code", a.code())
	if victim.session() == planted {
		t.Error("the planted session was kept")
	}
	if p := eve.get("/"); p.status != 303 {
		t.Errorf("the planted session still opens: %d", p.status)
	}
}
