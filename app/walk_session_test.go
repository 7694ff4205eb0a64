package app_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"coffer/app/api"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
)

// routes are those with an action that judge who asks.
func routes(t *testing.T) (out []httpd.Route) {
	t.Helper()
	for _, route := range api.New(nil, slog.New(slog.DiscardHandler)).Routes() {
		if _, known := authz.Lookup(route.Action); known && !onSocketOnly[route.Action] {
			out = append(out, route)
		}
	}
	return out
}

// outOfTheWay are actions that end the session that walks.
var outOfTheWay = map[domain.Action]bool{authz.SessionEndOwn: true, authz.SessionEndAll: true}

// TestWalkWithSessions tries every route with a session of each role, fresh, in
// the person's own tenant, in a foreign one and in one that does not exist.
func TestWalkWithSessions(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	p.tenant("globex")
	p.operator("olga")
	for _, role := range domain.TenantRoles() {
		who := p.member("acme", "walker-"+string(role), string(role))
		for _, route := range routes(t) {
			info, _ := authz.Lookup(route.Action)
			if outOfTheWay[route.Action] {
				continue
			}
			own := p.walk(who.Session, "acme", route)
			may := info.Scope == authz.Open && !info.Socket || info.Permits(role) || info.PermitsOwn(role)
			switch {
			case own.status == http.StatusUnauthorized && !info.Stranger && !strings.Contains(route.Path, "links/join"):
				t.Errorf("%s by %s: the session ended: %s", route.Action, role, own.body)
			case !may && own.status != http.StatusForbidden:
				t.Errorf("%s by %s: %d %s", route.Action, role, own.status, own.body)
			// A wrong code or passkey is refused too, as is a viewer's workload.
			case may && own.status == http.StatusForbidden && role != domain.Viewer && route.Action != authz.SessionStepUp && !strings.Contains(string(own.body), "passkey was not accepted"):
				t.Errorf("%s by %s is refused: %s", route.Action, role, own.body)
			}
			if !strings.Contains(route.Path, ":tenant") {
				continue
			}
			foreign, unknown := p.walk(who.Session, "globex", route), p.walk(who.Session, "nobody", route)
			if foreign.status != http.StatusForbidden || foreign.status != unknown.status || foreign.words() != unknown.words() {
				t.Errorf("%s by %s: foreign %d %s, unknown %d %s", route.Action, role, foreign.status, foreign.body, unknown.status, unknown.body)
			}
			if foreign.receipt == "" || unknown.receipt == "" {
				t.Errorf("%s by %s: a refusal without a receipt", route.Action, role)
			}
		}
	}
}

// TestWalkOfAnOperator: by session everything of the appliance but what is the
// socket's, and of a tenant nothing that is its members'.
func TestWalkOfAnOperator(t *testing.T) {
	p := servePeople(t)
	p.operator("olga")
	p.tenant("acme")
	for _, role := range domain.ApplianceRoles() {
		who := p.operator("walker-" + string(role))
		p.must("", "PATCH", "/api/v1/people/walker-"+string(role), object{"roles": []domain.Role{role}}, nil)
		for _, route := range routes(t) {
			info, _ := authz.Lookup(route.Action)
			if outOfTheWay[route.Action] || route.Action == authz.TenantDestroy || route.Action == authz.TenantSuspend || route.Action == authz.BreakGlass || info.Scope == authz.Open {
				continue
			}
			a := p.walk(who.Session, "acme", route)
			may := (info.Permits(role) || info.PermitsOwn(role)) && !info.Socket
			if (a.status != http.StatusForbidden) != may || a.status == http.StatusUnauthorized {
				t.Errorf("%s by %s: %d %s", route.Action, role, a.status, a.body)
			}
		}
	}
}

// TestWalkOfALimitedSession: nothing but its own account, a second factor and the
// way out, whatever the person is.
func TestWalkOfALimitedSession(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	who := p.accept(p.link("/api/v1/setup-link", nil).Token, "olga") // operator, and owner of acme
	open := map[string]bool{}
	for _, route := range routes(t) {
		info, _ := authz.Lookup(route.Action)
		if outOfTheWay[route.Action] || info.Stranger || strings.Contains(route.Path, "links/join") || strings.Contains(route.Path, "/token/") {
			continue // those who hold nothing of what they name hear that first
		}
		a := p.walk(who.Session, "acme", route)
		if a.status == http.StatusForbidden {
			if a.receipt == "" {
				t.Errorf("%s %s: a refusal without a receipt", route.Method, route.Path)
			}
			continue
		}
		open[string(route.Action)] = true
	}
	delete(open, "account.show")
	delete(open, "account.totp")
	delete(open, "account.passkey")
	if len(open) > 0 {
		t.Errorf("a limited session may %v", open)
	}
	p.want(200, "", who.Session, "DELETE", "/api/v1/sessions/own", nil)
}
