package ui_test

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
)

// TestSealed: while nobody has opened the appliance every page says so, and the
// open ones still work.
func TestSealed(t *testing.T) {
	s := sealedSite(t)
	b := s.browser()
	for _, route := range s.ui.Routes() {
		p := b.ask(route, "acme")
		switch {
		case route.Action != "" && (p.status != 503 || !strings.Contains(p.body, "coffer unseal") || p.header.Get("Retry-After") == ""):
			t.Errorf("%s %s: %d %s", route.Method, route.Path, p.status, problemOf(p))
		case route.Action == "" && p.status >= 500:
			t.Errorf("%s %s: %d", route.Method, route.Path, p.status)
		}
	}
}

// TestConsole: what changes something wants the switch and the client's id.
func TestConsole(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	const insert = "INSERT INTO orders(what) VALUES ('a book')"
	for _, fields := range [][]string{
		{"sql", insert},
		{"sql", insert, "write", "1"},
		{"sql", insert, "write", "1", "confirm", "globex"},
		{"sql", insert, "confirm", "acme"},
		{"sql", "DROP TABLE orders"},
		{"sql", "SELECT 1; DELETE FROM orders", "write", ""},
		{"sql", "/* SELECT */ DELETE FROM orders"},
		{"sql", "WITH x AS (SELECT 1) DELETE FROM orders"},
		{"sql", ""},
		{"sql", "SELECT * FROM nothing"},
	} {
		p := a.post("/clients/acme/sql", fields...)
		if p.status != 400 || !strings.Contains(p.body, `data-testid="problem"`) || !strings.Contains(p.body, html.EscapeString(fields[1])) {
			t.Errorf("%v: %d %s", fields, p.status, problemOf(p))
		}
	}
	if p := a.post("/clients/acme/sql", "sql", "SELECT count(*) AS n FROM orders"); p.status != 200 || !strings.Contains(p.body, `<td class="num">0</td>`) {
		t.Errorf("something was written: %d %s", p.status, problemOf(p))
	}
	if p := a.post("/clients/acme/sql", "sql", insert, "write", "1", "confirm", "acme"); p.status != 200 || !strings.Contains(p.body, "1 row changed") {
		t.Errorf("with both: %d %s", p.status, problemOf(p))
	}
	p := a.post("/clients/acme/sql", "sql", "SELECT what, NULL, x'00ff', 1.5 FROM orders")
	for _, want := range []string{"<td>a book</td>", `<td class="null">NULL</td>`, "x&#39;00ff&#39;", `<td class="num">1.5</td>`, "1 row</span></h2>"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("no %s: %d %s", want, p.status, problemOf(p))
		}
	}
	p = a.post("/clients/acme/sql", "sql", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 700) SELECT i FROM n")
	if !strings.Contains(p.body, "200 rows more are not shown") || strings.Contains(p.body, "<td class=\"num\">501</td>") {
		t.Errorf("the result is not cut: %d %s", p.status, problemOf(p))
	}
}

var liveLink = regexp.MustCompile(`hx-get="([^"]+)"`)

// liveOf is the address at which a page asks whether there is more.
func liveOf(t *testing.T, p page) string {
	t.Helper()
	m := liveLink.FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("no live address: %d %s", p.status, problemOf(p))
	}
	return html.UnescapeString(m[1])
}

// TestTimeline: an event is seen live, the log is verified, and two people who
// follow it do not keep each other busy.
func TestTimeline(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a, b := s.first("maria"), s.member("acme", domain.ClientAuditor, "nina")
	size := func() int {
		return len(run(s, s.operator(), actions.AuditRead, actions.AuditQuery{Tenant: "acme", Last: 200}).Events)
	}
	follow := []string{liveOf(t, a.get("/clients/acme/audit")), liveOf(t, b.get("/clients/acme/audit"))}
	who := []*account{a, b}
	poll := func(i int) page {
		p := who[i].get(follow[i])
		follow[i] = liveOf(t, p)
		return p
	}
	for range 2 { // each may read what happened while the other opened the page
		poll(0)
		poll(1)
	}
	before := size()
	for range 20 {
		for i := range who {
			if p := poll(i); p.status != 200 || strings.Contains(p.body, `data-testid="event"`) {
				t.Fatalf("something is new: %s", p.body)
			}
		}
	}
	if now := size(); now > before+1 { // looking itself is one
		t.Errorf("following wrote %d records", now-before)
	}
	run(s, s.operator(), actions.SecretPut, actions.SecretPutIn{Tenant: "acme", Path: "live/one", Data: domain.JSON{Secret: domain.SecretString(`{"k":"v"}`)}})
	for i := range who {
		if p := poll(i); !strings.Contains(p.body, "live/one") || !strings.Contains(p.body, `hx-swap-oob="afterbegin"`) {
			t.Errorf("the event is not seen: %s", p.body)
		}
		// The outcome may follow later; it then takes the place of the intent.
		if p := poll(i); strings.Contains(p.body, "live/one") && !strings.Contains(p.body, `hx-swap-oob="delete"`) {
			t.Errorf("the event is shown twice: %s", p.body)
		}
	}
	var put actions.Event
	for i := 0; i < 20 && put.Intent == nil; i++ { // a reading is durable only when what came before it is
		for _, e := range run(s, s.operator(), actions.AuditRead, actions.AuditQuery{Tenant: "acme", Last: 200}).Events {
			if e.Action == "secret.put" && e.Intent != nil {
				put = e
			}
		}
	}
	if put.Intent == nil {
		t.Fatal("the outcome is not in the log")
	}
	late := a.get(fmt.Sprintf("/clients/acme/audit/live?shown=%d&seen=%[1]d", put.Seq-1))
	if want := fmt.Sprintf(`<div id="e%d" hx-swap-oob="delete">`, *put.Intent); !strings.Contains(late.body, want) || !strings.Contains(late.body, "live/one") {
		t.Errorf("the outcome does not take the intent's place: %s", late.body)
	}
	p := a.post("/clients/acme/audit/verify")
	if p.status != 200 || !strings.Contains(p.body, "Verified just now") || textOf(p.body, "log-head") == "" {
		t.Errorf("verify: %d %s", p.status, problemOf(p))
	}
	if p := a.get("/clients/acme/audit?action=secret.put&outcome=ok"); !strings.Contains(p.body, "live/one") || strings.Contains(p.body, "created the workload") || strings.Contains(p.body, "hx-get") {
		t.Errorf("the filter: %d", p.status)
	}
	if p := a.get("/clients/acme/audit?from=yesterday"); p.status != 400 {
		t.Errorf("a time that is none: %d", p.status)
	}
	for _, bad := range []string{"shown=x&seen=1", "shown=-1&seen=1", "shown=1", "shown=1&seen=99999999999999999999"} {
		if p := a.get("/clients/acme/audit/live?" + bad); p.status != 404 {
			t.Errorf("%s: %d", bad, p.status)
		}
	}
}

// TestSentences: every event that tests make has a sentence of its own.
func TestSentences(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	viewer := s.member("acme", domain.Viewer, "vera")
	viewer.post("/clients/acme/secret/reveal", "path", "stripe/live", "version", "1")
	a.post("/clients/acme/break-glass", "reason", "because") // a member already
	a.post("/clients/acme/people/role", "name", "vera", "role", "analyst")
	a.post("/clients/acme/secret/reveal", "path", "none/there", "version", "1")
	p := a.get("/clients/acme/audit")
	text := strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(p.body, " "))), " ")
	for _, want := range []string{
		"vera was refused to read a secret's value stripe/live", "maria tried in vain to become an owner for at most an hour",
		"maria changed a member's role — vera as analyst", "maria wrote a new version of the secret stripe/live (version 1)",
		"maria tried in vain to read a secret's value none/there", "Coffer began this log",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if strings.Contains(text, "did: ") {
		t.Errorf("an event has no words of its own: %s", text)
	}
}

// TestInvite: a link is made, taken up by somebody new and by somebody who has an
// account, and taken back.
func TestInvite(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	s.client("globex")
	a := s.first("maria")
	invite := func(client string) string {
		p := a.post("/clients/"+client+"/invitations", "role", "analyst", "note", "for Nina")
		link := textOf(p.body, "link-url")
		_, token, found := strings.Cut(link, "https://coffer.example:8443/join#")
		if !found {
			t.Fatalf("no link: %d %s", p.status, problemOf(p))
		}
		return token
	}
	token := invite("acme")
	if p := a.get("/clients/acme/people"); !strings.Contains(p.body, "for Nina") || strings.Contains(p.body, token) {
		t.Error("the page lacks the invitation, or shows its link again")
	}
	nina := s.setUp(token, "nina")
	if p := nina.get("/"); !strings.Contains(p.body, "Acme GmbH") || strings.Contains(p.body, "Globex") || strings.Contains(p.body, `href="/seal"`) {
		t.Error("nina sees another list than her own")
	}
	second := invite("globex")
	if p := nina.post("/link", "join", "1", "token", second); !strings.Contains(p.body, "Join as nina") {
		t.Fatalf("nina is not offered to join: %d %s", p.status, problemOf(p))
	}
	if p := nina.post("/link/join", "token", second); p.to() != "/clients/globex?done=joined" {
		t.Errorf("joining: %d %q %s", p.status, p.to(), problemOf(p))
	}
	if p := nina.post("/link/join", "token", second); p.status < 400 || !strings.Contains(p.body, `data-testid="problem"`) {
		t.Errorf("joining twice: %d %s", p.status, problemOf(p))
	}
	third := invite("globex")
	id := regexp.MustCompile(`name="id" value="(li_[a-z0-9]+)"`).FindStringSubmatch(a.get("/clients/globex/people").body)
	if id == nil {
		t.Fatal("no invitation in the list")
	}
	if p := a.post("/clients/globex/invitations/revoke", "id", id[1]); !strings.HasSuffix(p.to(), "done=invite-revoked") {
		t.Errorf("taking back: %d %s", p.status, problemOf(p))
	}
	if p := s.browser().post("/link", "token", third); p.status == 200 {
		t.Error("a link that was taken back still opens")
	}
}

// TestRecoveryKey makes, confirms and replaces the recovery key.
func TestRecoveryKey(t *testing.T) {
	s := newSite(t)
	a := s.first("maria")
	if p := a.get("/seal"); !strings.Contains(p.body, "There is no recovery key") {
		t.Error("the missing key is not pointed out")
	}
	p := a.post("/seal/recovery")
	groups := regexp.MustCompile(`<span class="n">\d+</span><code>([0-9A-Z]{4})</code>`).FindAllStringSubmatch(p.body, -1)
	asked := regexp.MustCompile(`>Group (\d+)<`).FindAllStringSubmatch(p.body, -1)
	if p.status != 200 || len(groups) != 14 || len(asked) != 2 {
		t.Fatalf("%d: %d groups, %d asked: %s", p.status, len(groups), len(asked), problemOf(p))
	}
	if p := a.post("/seal/recovery/confirm", "first", asked[0][1], "second", asked[1][1], "group1", "ZZZZ", "group2", "ZZZZ"); p.status != 400 || strings.Contains(p.body, groups[0][1]) || !strings.Contains(p.body, "Group "+asked[0][1]) {
		t.Errorf("wrong groups: %d %s", p.status, problemOf(p))
	}
	at := func(n string) string {
		var i int
		_, _ = fmt.Sscan(n, &i)
		return groups[i-1][1]
	}
	if p := a.post("/seal/recovery/confirm", "group1", strings.ToLower(at(asked[0][1])), "group2", at(asked[1][1])); p.to() != "/seal?done=recovery" {
		t.Errorf("right groups: %d %s", p.status, problemOf(p))
	}
	if p := a.get("/seal"); !strings.Contains(p.body, "A recovery key is confirmed") {
		t.Error("the page does not say that there is a key")
	}
}

// TestClientForm: what is wrong stands beside the field, and what was typed stays.
func TestClientForm(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	for field, fields := range map[string][]string{
		"id":             {"name", "Initech", "id", "Init Tech"},
		"name":           {"name", "", "id", "initech"},
		"retention_days": {"name", "Initech", "id", "initech", "retention_days", "1"},
		"":               {"name", "Initech", "id", "acme"},
	} {
		p := a.post("/new", fields...)
		if p.status < 400 || p.status > 409 || !strings.Contains(p.body, `role="alert"`) || !strings.Contains(p.body, fields[3]) {
			t.Errorf("%s: %d %s", field, p.status, problemOf(p))
		}
		if field != "" && !strings.Contains(p.body, `href="#new-`+field+`"`) {
			t.Errorf("%s: the summary does not lead to the field: %s", field, problemOf(p))
		}
	}
	for name, want := range map[string]string{"Müller & Söhne GmbH": "mueller-soehne-gmbh", "3M": "", "ACME": ""} {
		p := a.post("/new", "name", name, "id", "", "retention_days", "90")
		if want != "" && !strings.Contains(p.body, "/clients/"+want+`"`) {
			t.Errorf("%s: %d %s", name, p.status, problemOf(p))
		}
		if want == "" && p.status < 400 { // "m" is too short, acme is taken
			t.Errorf("%s was taken", name)
		}
	}
}

// TestTheme: the choice is kept, and nothing else can be.
func TestTheme(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	if p := b.post("/theme", "theme", "dark", "back", "/login"); p.to() != "/login" {
		t.Errorf("led to %q", p.to())
	}
	if p := b.get("/login"); !strings.Contains(p.body, `data-theme="dark"`) {
		t.Error("the theme is not kept")
	}
	b.post("/theme", "theme", `x" onload="`, "back", "/login")
	if p := b.get("/login"); strings.Contains(p.body, "data-theme") {
		t.Error("a theme that there is not was kept")
	}
}

// TestTrust: the certificate of the authority can be had before signing in.
func TestTrust(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	if p := b.get("/ca.crt"); p.status != 200 || !strings.HasPrefix(p.body, "-----BEGIN CERTIFICATE") || p.header.Get("Content-Type") != "application/x-x509-ca-cert" {
		t.Errorf("ca.crt: %d %v", p.status, p.header)
	}
	if p := b.get("/trust"); !strings.Contains(p.body, "AB:AB:AB") {
		t.Error("no fingerprint")
	}
	o := defaults(true, s)
	o.CA = nil
	s.serve(o)
	if p := s.browser().get("/ca.crt"); p.status != 404 {
		t.Errorf("without an authority: %d", p.status)
	}
}

// TestComingFromElsewhere: a link on another site leads to the page, although the
// browser sent no cookie with it.
func TestComingFromElsewhere(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	req := b.form("/clients/acme")
	req.Method = "GET"
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if p := b.send(req); p.status != 200 || !strings.Contains(p.body, `<meta http-equiv="refresh" content="0">`) || !strings.Contains(p.body, `href="/clients/acme"`) {
		t.Errorf("%d %s", p.status, p.body)
	}
}

// TestLiveSignedOut: a page that follows the log is led to the sign-in page when
// the session has ended.
func TestLiveSignedOut(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	live := liveOf(t, a.get("/clients/acme/audit"))
	s.clock.ahead += 13 * time.Hour
	req := a.form(live)
	req.Method = "GET"
	req.Header.Set("HX-Request", "true")
	req.Header.Set("Referer", s.url+"/clients/acme/audit")
	if p := a.send(req); p.header.Get("HX-Redirect") != "/login?next=%2Fclients%2Facme%2Faudit" {
		t.Errorf("%d %v", p.status, p.header)
	}
}
