package ui_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/ui/assets"
)

// TestHeaders: every answer, whatever it is, has the policy and is not kept.
func TestHeaders(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	var answers []page
	for _, route := range s.ui.Routes() {
		if !endsSessions[route.Path] {
			answers = append(answers, a.ask(route, "acme"), s.browser().ask(route, "acme"))
		}
	}
	answers = append(answers, a.get("/nothing/here"), a.get("/clients/acme/"), a.get("/clients/ACME/secrets"), a.post("/nothing"))
	for _, p := range answers {
		csp := p.header.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'", "form-action 'self'",
			"base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types default",
		} {
			if !strings.Contains(csp, want) {
				t.Errorf("%d %.80s: the policy %q lacks %s", p.status, p.body, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "data:") {
			t.Errorf("the policy is weak: %s", csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"} {
			if got := p.header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		if got := p.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%d %.80s: Cache-Control %q", p.status, p.body, got)
		}
	}
	if p := a.get("/%00"); p.status != http.StatusBadRequest || p.header.Get("Content-Security-Policy") != "default-src 'none'; frame-ancestors 'none'" {
		t.Errorf("what is no request: %d %v", p.status, p.header)
	}
	p := s.browser().get(assets.Path("style.css"))
	if p.status != 200 || p.header.Get("Cache-Control") != "public, max-age=31536000, immutable" || p.header.Get("Content-Security-Policy") == "" {
		t.Errorf("the style sheet: %d %v", p.status, p.header)
	}
}

// TestCookies: the session's cookie cannot be read by scripts or sent by other
// sites, and has its prefix over TLS.
func TestCookies(t *testing.T) {
	s := newSite(t)
	a := s.first("maria")
	p := s.browser().post("/login", "name", "maria", "password", password, "code", a.code())
	for _, c := range (&http.Response{Header: p.header}).Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("%s: %+v", c.Name, c)
		}
		if c.Name == "coffer" && (c.MaxAge != 0 || !c.Expires.IsZero()) {
			t.Errorf("the session outlasts the browser's: %+v", c)
		}
	}
	s.serve(defaults(false, s))
	p = s.browser().post("/login", "name", "maria", "password", password, "code", a.code())
	names := map[string]bool{}
	for _, c := range (&http.Response{Header: p.header}).Cookies() {
		names[c.Name] = c.Secure
	}
	if !names["__Host-coffer"] || !names["__Host-coffer-device"] || names["coffer"] {
		t.Errorf("over TLS: %v", names)
	}
}

// TestForgedForms sends forms as other sites would make a browser send them.
func TestForgedForms(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	host := strings.TrimPrefix(s.url, "http://")
	for _, headers := range []map[string]string{
		{},
		{"Sec-Fetch-Site": "cross-site"},
		{"Sec-Fetch-Site": "same-site"},
		{"Sec-Fetch-Site": "none"},
		{"Sec-Fetch-Site": "cross-site", "Origin": s.url},
		{"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
		{"Sec-Fetch-Site": "same-origin, cross-site"},
		{"Sec-Fetch-Site": "SAME-ORIGIN"},
		{"Origin": "null"},
		{"Origin": "https://evil.example"},
		{"Origin": s.url + ".evil.example"},
		{"Origin": "http://" + host + "@evil.example"},
		{"Origin": "http://x@" + host},
		{"Origin": "file://" + host},
		{"Origin": "http://" + strings.Split(host, ":")[0]},
		{"Referer": s.url + "/clients/acme"},
	} {
		for _, path := range []string{"/clients/acme/suspend", "/logout", "/login", "/theme", "/link", "/account/sessions/end-all", "/clients/acme/secrets"} {
			req := a.form(path, "path", "forged", "key", "k", "value", "v")
			for k, v := range headers {
				req.Header.Set(k, v)
			}
			if p := a.send(req); p.status != http.StatusForbidden || p.header.Get("Set-Cookie") != "" {
				t.Errorf("%s with %v: %d", path, headers, p.status)
			}
		}
	}
	if p := a.get("/clients/acme/secrets"); p.status != 200 || strings.Contains(p.body, "forged") {
		t.Errorf("something was changed, or maria is signed out: %d", p.status)
	}
	// An older browser that sends the origin alone can be used.
	req := a.form("/clients/acme/secrets", "path", "honest", "key", "k", "value", "v")
	req.Header.Set("Origin", s.url)
	if p := a.send(req); p.status != http.StatusSeeOther {
		t.Errorf("with an origin alone: %d %s", p.status, problemOf(p))
	}
}

// TestGetChangesNothing: no page that is merely opened changes anything, also
// with the parameters of a form in its address.
func TestGetChangesNothing(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	gets := map[string]bool{}
	for _, route := range s.ui.Routes() {
		gets[route.Path] = gets[route.Path] || route.Method == "GET"
	}
	for _, route := range s.ui.Routes() {
		if route.Method != "POST" {
			continue
		}
		q := url.Values{}
		fields := inputs["POST "+route.Path]
		for i := 0; i+1 < len(fields); i += 2 {
			q.Add(fields[i], strings.ReplaceAll(fields[i+1], ":tenant", "acme"))
		}
		p := a.get(strings.ReplaceAll(route.Path, ":tenant", "acme") + "?" + q.Encode())
		if !gets[route.Path] && p.status != http.StatusNotFound && p.status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", route.Path, p.status)
		}
	}
	for _, e := range run(s, s.operator(), actions.AuditRead, actions.AuditQuery{Tenant: "acme", Last: 200}).Events {
		if e.Type == "intent" && e.Source != "test" && e.Actor != "system:system" {
			t.Errorf("%s by %s: %+v", e.Action, e.Actor, e)
		}
	}
}

// TestOpenRedirects tries to be led to another site.
func TestOpenRedirects(t *testing.T) {
	s := newSite(t)
	a := s.first("maria")
	b := s.browser()
	for _, evil := range []string{
		"//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/\n/evil.example", "javascript:alert(1)",
		"///evil.example", "/%5cevil.example/..//x", "evil.example", "/@evil.example//", "http:evil.example", "/ /evil.example", "/\x00/evil.example",
		"/..//evil.example", "?//evil.example", "data:text/html,x", "/é//evil.example",
	} {
		p := b.get("/login?next=" + url.QueryEscape(evil))
		if strings.Contains(p.body, `value="`+evil+`"`) && evil != "/%5cevil.example/..//x" && evil != "/..//evil.example" {
			t.Errorf("the form would lead to %q", evil)
		}
		a.s.clock.ahead += time.Minute // so many attempts at once are held up
		p = b.post("/login", "name", "maria", "password", password, "code", a.code(), "next", evil)
		checkHere(t, s, evil, p)
		checkHere(t, s, evil, b.post("/theme", "theme", "dark", "back", evil))
	}
	// The way back from the page that asks for the second factor.
	s.client("acme")
	a.post("/login", "name", "maria", "password", password, "code", a.code())
	s.clock.ahead += 6 * time.Minute
	for _, referer := range []string{"https://evil.example/x", "//evil.example", "javascript:alert(1)", s.url + "//evil.example", s.url + "/\\evil.example"} {
		req := a.form("/clients/acme/secret/reveal", "path", "stripe/live", "version", "1")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		req.Header.Set("Referer", referer)
		p := a.send(req)
		if p.status != 403 || !strings.Contains(p.body, `data-testid="proof"`) ||
			strings.Contains(p.body, "//evil.example") || strings.Contains(p.body, `\evil.example`) || strings.Contains(p.body, "javascript:") {
			t.Errorf("%s: %d %s", referer, p.status, problemOf(p))
		}
	}
}

// checkHere follows a redirect as a browser would and looks whether it stays.
func checkHere(t *testing.T, s *site, evil string, p page) {
	t.Helper()
	if p.status != http.StatusSeeOther {
		t.Errorf("%q: %d %s", evil, p.status, problemOf(p))
		return
	}
	base, err := url.Parse(s.url)
	must(t, err)
	to, err := base.Parse(strings.NewReplacer("\\", "/", "\t", "", "\n", "", "\r", "").Replace(p.to()))
	if err != nil || to.Host != base.Host || to.Scheme != "http" {
		t.Errorf("%q leads to %q", evil, p.to())
	}
}

// TestMarkupIsShown puts markup where people can write something, and looks at
// every page on which it comes back.
func TestMarkupIsShown(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`
	who := s.operator()
	run(s, who, actions.TenantCreate, actions.TenantCreateIn{ID: "evil", Name: evil})
	run(s, who, actions.SecretPut, actions.SecretPutIn{Tenant: "acme", Path: evilPath, Data: domain.JSON{Secret: domain.SecretString(`{"<b>key":"<script>alert(2)</script>"}`)}})
	run(s, who, actions.TokenIssue, actions.TokenIssueIn{Tenant: "acme", Role: "viewer", Name: evil})
	run(s, who, actions.InvitationCreate, actions.InviteIn{Tenant: "acme", Role: "viewer", Note: evil})
	run(s, who, actions.SQL, actions.SQLIn{Tenant: "acme", SQL: `CREATE TABLE "<script>alert(3)</script>"("<img src=x>" TEXT)`})
	req := a.form("/clients/acme/secrets", "path", "a", "key", "k", "value", "v")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("User-Agent", evil)
	a.send(req)
	escaped := url.QueryEscape(evilPath)
	pages := map[string]page{
		"clients": a.get("/"), "client": a.get("/clients/evil"), "secrets": a.get("/clients/acme/secrets"), "secret": a.get("/clients/acme/secret?path=" + escaped),
		"tokens": a.get("/clients/acme/tokens"), "people": a.get("/clients/acme/people"), "timeline": a.get("/clients/acme/audit"), "log": a.get("/log"),
		"search": a.get("/?q=" + url.QueryEscape(evil)), "prefix": a.get("/clients/acme/secrets?prefix=" + escaped), "done": a.get("/?done=" + url.QueryEscape(evil)),
		"filter": a.get("/clients/acme/audit?actor=" + url.QueryEscape(evil)), "roles": a.get("/roles?role=" + url.QueryEscape(evil)),
		"reveal": a.post("/clients/acme/secret/reveal", "path", evilPath, "version", "1"), "form": a.post("/new", "name", evil, "id", evil),
		"sql":   a.post("/clients/acme/sql", "sql", `SELECT '<script>alert(4)</script>' AS "<script>x", * FROM "<script>alert(3)</script>"`),
		"error": a.post("/clients/acme/sql", "sql", `SELECT "<script>alert(5)</script>" FROM nothing`),
		"login": s.browser().post("/login", "name", evil, "password", "x"), "next": s.browser().get("/login?next=/" + url.QueryEscape(evil)),
		"proof": a.post("/clients/acme/tokens/revoke", "accessor", evil), "link": s.browser().post("/link", "token", evil),
		"account": a.get("/account"),
	}
	for name, p := range pages {
		for _, bad := range []string{"<script>alert", "<script>x", "<img src=x", "<b>key", `"'>`} {
			if strings.Contains(p.body, bad) {
				t.Errorf("%s shows %q as it is", name, bad)
			}
		}
		if p.status >= 500 {
			t.Errorf("%s: %d %s", name, p.status, problemOf(p))
		}
	}
	for name, want := range map[string]string{"clients": "&lt;script&gt;alert(1)", "secret": "&lt;script&gt;", "reveal": "&lt;b&gt;key", "sql": "&lt;script&gt;alert(4)"} {
		if !strings.Contains(pages[name].body, want) {
			t.Errorf("%s does not show %q: %d %s", name, want, pages[name].status, problemOf(pages[name]))
		}
	}
}

// evilPath is as much markup as a secret's path can hold.
const evilPath = `<script>alert(1)<`

// TestBadForms: what is not a form is refused in words.
func TestBadForms(t *testing.T) {
	s := newSite(t)
	a := s.first("maria")
	refused := func(status int) bool {
		return status == http.StatusBadRequest || status == http.StatusUnsupportedMediaType
	}
	for name, change := range map[string]func(*http.Request){
		"json":       func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
		"multipart":  func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") },
		"compressed": func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") },
		"no type":    func(r *http.Request) { r.Header.Del("Content-Type") },
	} {
		req := a.form("/theme", "theme", "dark")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		change(req)
		if p := a.send(req); !refused(p.status) {
			t.Errorf("%s: %d %s", name, p.status, problemOf(p))
		}
	}
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("f%d", i), "v")
	}
	if p := a.post("/theme", many...); p.status != http.StatusTooManyRequests {
		t.Errorf("300 fields: %d", p.status)
	}
	for _, body := range []string{"a=%zz", "a=%ff", "%c0%af=b"} {
		req := a.form("/theme")
		req.Body, req.ContentLength = http.NoBody, 0
		req, err := http.NewRequest("POST", s.url+"/theme", strings.NewReader(body))
		must(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		if p := a.send(req); p.status != http.StatusBadRequest {
			t.Errorf("%s: %d", body, p.status)
		}
	}
}
