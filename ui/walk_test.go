package ui_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/ui"
)

// inputs are good inputs for the forms that need some, and queries for pages.
var inputs = map[string][]string{
	"GET /clients/:tenant/secret":               {"path", "stripe/live"},
	"GET /clients/:tenant/audit/live":           {"shown", "1", "seen", "1"},
	"POST /clients/:tenant/destroy":             {"confirm", ":tenant"},
	"POST /clients/:tenant/break-glass":         {"reason", "the walk"},
	"POST /clients/:tenant/secrets":             {"path", "stripe/live", "key", "key", "value", "v"},
	"POST /clients/:tenant/secret/reveal":       {"path", "stripe/live", "version", "1"},
	"POST /clients/:tenant/secret/delete":       {"path", "stripe/live", "version", "9"},
	"POST /clients/:tenant/secret/undelete":     {"path", "stripe/live", "version", "9"},
	"POST /clients/:tenant/secret/destroy":      {"path", "stripe/live", "version", "9"},
	"POST /clients/:tenant/tokens":              {"role", ""},
	"POST /clients/:tenant/tokens/revoke":       {"accessor", "ta_none"},
	"POST /clients/:tenant/workloads":           {"name", "shop", "grant", "sql:analyst"},
	"POST /clients/:tenant/workloads/secret-id": {"name", "shop"},
	"POST /clients/:tenant/workloads/remove":    {"name", "none"},
	"POST /clients/:tenant/people":              {"name", "nina", "role", "viewer"},
	"POST /clients/:tenant/people/role":         {"name", "nobody-known", "role", "viewer"},
	"POST /clients/:tenant/people/remove":       {"name", "nobody-known"},
	"POST /clients/:tenant/invitations":         {"role", "viewer"},
	"POST /clients/:tenant/invitations/revoke":  {"id", "li_none"},
	"POST /clients/:tenant/sql":                 {"sql", "SELECT 1"},
	"POST /new":                                 {"id", "initech", "name", "Initech"},
	"POST /alerts/ack":                          {"id", "al_none"},
	"POST /people/role":                         {"name", "nobody-known", "role", "auditor"},
	"POST /seal/slots":                          {"kind", "passphrase", "name", "p", "secret", "long enough to be one", "again", "long enough to be one"},
	"POST /seal/slots/remove":                   {"slot", "none"},
	"POST /seal/recovery/confirm":               {"group1", "AAAA", "group2", "BBBB"},
	"POST /clients/:tenant/keys/set":            {"form", "keyfile", "secret", walkKey, "again", walkKey, "confirm", ":tenant", "words", actions.ClientKeyWords},
	"POST /clients/:tenant/keys/open":           {"form", "keyfile", "secret", walkKey},
	"POST /clients/:tenant/keys/remove":         {"confirm", ":tenant"},
	"POST /clients/:tenant/keys/rotate":         {"kind", "kek"},
	"POST /seal/keys/rotate":                    {"kind", "control"},
	"POST /login":                               {"name", "nobody", "password", "x"},
	"POST /link":                                {"token", "cfi_x"},
	"POST /link/accept":                         {"token", "cfi_x", "name", "x", "password", "y", "again", "y"},
}

// walkKey are the 32 bytes of a key file.
var walkKey = base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv"))

// ask sends what a route wants.
func (b *browser) ask(route httpd.Route, tenant string) page {
	b.s.tb.Helper()
	path := strings.ReplaceAll(route.Path, ":tenant", tenant)
	var fields []string
	for _, f := range inputs[route.Method+" "+route.Path] {
		fields = append(fields, strings.ReplaceAll(f, ":tenant", tenant))
	}
	if route.Method == http.MethodPost {
		return b.post(path, fields...)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		sep := "&"
		if i == 0 {
			sep = "?"
		}
		path += sep + fields[i] + "=" + fields[i+1]
	}
	return b.get(path)
}

// endsSessions are routes after which somebody has to sign in again.
var endsSessions = map[string]bool{"/logout": true, "/account/sessions/end-all": true}

// TestWalk tries every route with every role, in the person's own client, in
// somebody else's, and in one that there is not.
func TestWalk(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	s.client("globex")
	for _, role := range domain.TenantRoles() {
		a := s.member("acme", role, "p-"+string(role))
		for _, route := range s.ui.Routes() {
			if route.Action == "" || endsSessions[route.Path] {
				continue
			}
			info, _ := authz.Lookup(route.Action)
			own := a.ask(route, "acme")
			refused := own.status == http.StatusForbidden && !strings.Contains(own.body, `data-testid="proof"`)
			may := info.Permits(role) || info.PermitsOwn(role)
			switch {
			case info.Scope == authz.Open:
			case info.Scope == authz.Appliance && !refused:
				t.Errorf("%s %s by %s: %d %s", route.Method, route.Path, role, own.status, problemOf(own))
			case info.Scope == authz.Appliance:
			case !may && !refused:
				t.Errorf("%s %s by %s: %d %s", route.Method, route.Path, role, own.status, problemOf(own))
			case may && refused && !info.PermitsOwn(role):
				t.Errorf("%s %s by %s is refused: %s", route.Method, route.Path, role, problemOf(own))
			}
			if own.status >= 500 {
				t.Errorf("%s %s by %s: %d %s", route.Method, route.Path, role, own.status, problemOf(own))
			}
			if !strings.Contains(route.Path, ":tenant") {
				continue
			}
			foreign, unknown := a.ask(route, "globex"), a.ask(route, "nobody")
			if foreign.status != http.StatusForbidden || foreign.status != unknown.status || sameLook(foreign.body, "globex") != sameLook(unknown.body, "nobody") {
				t.Errorf("%s %s by %s: foreign %d %s, unknown %d %s", route.Method, route.Path, role,
					foreign.status, problemOf(foreign), unknown.status, problemOf(unknown))
			}
			if foreign.header.Get(httpd.AuditHeader) == "" || unknown.header.Get(httpd.AuditHeader) == "" {
				t.Errorf("%s %s by %s: a refusal without a receipt", route.Method, route.Path, role)
			}
		}
	}
}

// sameLook takes out the address that was asked for.
func sameLook(body, tenant string) string { return strings.ReplaceAll(body, "/"+tenant, "/TENANT") }

// TestOperatorOutside: an operator who is no member sees that a client exists,
// and nothing inside it.
func TestOperatorOutside(t *testing.T) {
	s := newSite(t)
	op := s.first("maria") // the first operator is the local user, and would own what that one makes
	out := op.post("/people/setup-link")
	link := textOf(out.body, "link-url")
	_, token, found := strings.Cut(link, "#")
	if !found || !strings.HasPrefix(link, "https://coffer.example:8443/setup#cfi_") {
		t.Fatalf("the link: %d %q %s", out.status, link, problemOf(out))
	}
	s.client("acme")
	other := s.setUp(token, "otto")
	for _, route := range s.ui.Routes() {
		info, _ := authz.Lookup(route.Action)
		if !strings.Contains(route.Path, ":tenant") || info.Permits(domain.Operator) || info.PermitsOwn(domain.Operator) {
			continue
		}
		if p := other.ask(route, "acme"); p.status != http.StatusForbidden || strings.Contains(p.body, "sk_acme") || strings.Contains(p.body, `data-testid="proof"`) {
			t.Errorf("%s %s: %d %s", route.Method, route.Path, p.status, problemOf(p))
		}
	}
	if p := other.get("/clients/acme"); p.status != 200 || !strings.Contains(p.body, "nothing inside it") {
		t.Errorf("the client: %d", p.status)
	}
	if p := other.get("/clients/nobody"); p.status != http.StatusNotFound {
		t.Errorf("an operator is not told that there is no such client: %d", p.status)
	}
}

// textOf is the text of the element with an id.
func textOf(body, id string) string {
	_, rest, found := strings.Cut(body, `id="`+id+`"`)
	if !found {
		return ""
	}
	_, rest, _ = strings.Cut(rest, ">")
	text, _, _ := strings.Cut(rest, "<")
	return text
}

// TestStranger: without a session every page but the open ones leads to the
// sign-in page, and shows nothing.
func TestStranger(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	stranger := map[string]bool{"session.create": true, "link.show": true, "link.accept": true}
	for _, cookie := range []string{"", "cfu_" + strings.Repeat("a", 52), "x", "cft_" + strings.Repeat("a", 52)} {
		b := s.browser()
		for _, route := range s.ui.Routes() {
			if route.Action == "" || stranger[string(route.Action)] {
				continue
			}
			if cookie != "" {
				b.setSession(cookie)
			}
			if p := b.ask(route, "acme"); p.status != http.StatusSeeOther || !strings.HasPrefix(p.to(), "/login?next=") {
				t.Errorf("%s %s with %.8q: %d %q", route.Method, route.Path, cookie, p.status, p.to())
			}
		}
	}
}

// bare is a surface with a route that declares nothing.
type bare struct {
	*ui.UI
	method, path string
}

func (b bare) Routes() []httpd.Route { return []httpd.Route{{Method: b.method, Path: b.path}} }

// TestEveryRouteDeclaresItsAction: a route with neither an action nor a reason
// cannot be served.
func TestEveryRouteDeclaresItsAction(t *testing.T) {
	s := newSite(t)
	declared := map[string]bool{}
	for _, route := range s.ui.Routes() {
		name := route.Method + " " + route.Path
		if declared[name] {
			t.Errorf("%s stands there twice", name)
		}
		declared[name] = true
		if reason, exempt := httpd.Exempt[name]; exempt && reason == "" {
			t.Errorf("%s is exempt without a reason", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a route without an action was taken")
		}
	}()
	httpd.New(nil, httpd.Options{}, bare{s.ui, "GET", "/clients/:tenant/everything"})
}
