package app_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"coffer/app/api"
	"coffer/app/authz"
)

// TestStepUp: what is hard to undo wants a proof of the last five minutes, or a
// code with the request, which works once.
func TestStepUp(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	olga := p.operator("olga") // the owner of acme: the person at the socket
	const secret = "/api/v1/tenants/acme/secret?path=stripe/live"
	p.want(200, "sk_acme", olga.Session, "GET", secret, nil)
	p.clock.pass(6 * time.Minute)
	a := p.want(403, `"kind":"step_up"`, olga.Session, "GET", secret, nil)
	if a.receipt == "" {
		t.Error("the refusal is no event")
	}
	p.want(403, "not right", olga.Session, "POST", "/api/v1/sessions/step-up", object{"code": "000000"})
	p.want(403, "step_up", olga.Session, "GET", secret, nil)
	code := p.nextCode(olga)
	p.want(200, "fresh", olga.Session, "POST", "/api/v1/sessions/step-up", object{"code": code})
	p.want(200, "sk_acme", olga.Session, "GET", secret, nil)
	p.want(403, "not right", olga.Session, "POST", "/api/v1/sessions/step-up", object{"code": code})
	p.clock.pass(6 * time.Minute)

	code = p.nextCode(olga)
	if a := p.doWithCode(olga.Session, code, "GET", secret, nil); a.status != 200 {
		t.Errorf("with a code: %d %s", a.status, a.body)
	}
	if a := p.doWithCode(olga.Session, code, "GET", secret, nil); a.status != 403 || !strings.Contains(string(a.body), `"kind":"step_up"`) || !strings.Contains(string(a.body), "used already") {
		t.Errorf("with the same code: %d %s", a.status, a.body)
	}
	p.want(403, "step_up", olga.Session, "GET", secret, nil) // a code is for one request
	if a := p.doWithCode(olga.Session, olga.codes[2], "GET", secret, nil); a.status != 200 {
		t.Errorf("with a recovery code: %d %s", a.status, a.body)
	}
	for range 30 {
		p.doWithCode(olga.Session, "000000", "GET", secret, nil)
	}
	if a := p.doWithCode(olga.Session, p.code(olga), "GET", secret, nil); a.status != http.StatusTooManyRequests {
		t.Errorf("codes are guessed without end: %d %s", a.status, a.body)
	}
	token := p.issue("acme", object{})
	p.want(200, "sk_acme", token, "GET", secret, nil) // a tenant's token is not asked
	p.want(403, "sign in as a person", token, "POST", "/api/v1/sessions/step-up", object{"code": "000000"})
}

// TestStepUpOfEveryAction: each action that says so is refused to a session whose
// proof is old, and does nothing; the others are not.
func TestStepUpOfEveryAction(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	olga := p.operator("olga")
	asked := map[string]bool{}
	for _, route := range api.New(nil, slog.New(slog.DiscardHandler)).Routes() {
		info, known := authz.Lookup(route.Action)
		if !known || onSocketOnly[route.Action] || info.Stranger || info.Socket || route.Action == authz.SessionEndAll || route.Action == authz.SessionEndOwn || route.Action == authz.TenantSuspend {
			continue
		}
		p.clock.pass(6 * time.Minute)
		if _, a := p.refreshed(&olga); a != 200 {
			t.Fatalf("signing in: %d", a)
		}
		p.clock.pass(6 * time.Minute)
		a := p.walk(olga.Session, "acme", route)
		refused := a.status == 403 && strings.Contains(string(a.body), `"kind":"step_up"`)
		lets := route.Action == authz.TenantCreate // with a workload, in the walk
		if refused != (info.StepUp || lets) {
			t.Errorf("%s %s: %d %s, step-up %v", route.Method, route.Path, a.status, a.body, info.StepUp)
		}
		asked[string(route.Action)] = refused
	}
	for _, action := range []string{
		"secret.read", "secret.destroy", "member.add", "member.role", "member.remove", "invitation.create", "tenant.destroy", "break-glass.open",
		"seal.add", "seal.remove", "seal.rotate", "seal.recovery", "person.role", "account.recovery-codes", "account.password", "account.passkey", "account.totp",
		"token.issue", "workload.create", "workload.secret-id", "setup.link", "tenant.create",
		"migration.put", "migration.run", "migration.apply", "migration.restore",
	} {
		if !asked[action] {
			t.Errorf("%s does not ask", action)
		}
	}
	p.want(200, "acme", "", "GET", "/api/v1/tenants/acme", nil) // still there
}

// refreshed signs somebody in again with the known device.
func (p *peopled) refreshed(s *somebody) (signedIn, int) {
	in, a := p.signIn(*s, object{"device": s.Device})
	s.Session, s.Accessor = in.Session, in.Accessor
	return in, a.status
}

// TestSocketAsks: at the socket, destroying and breaking the glass ask once the
// person has a second factor, as do changes of what proves the person.
func TestSocketAsks(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	p.tenant("globex")
	p.want(200, "", "", "DELETE", "/api/v1/tenants/globex?confirm=globex", nil) // nobody has one yet
	olga := p.operator("olga")
	p.tenant("initech")
	const destroy, glass = "/api/v1/tenants/acme?confirm=acme", "/api/v1/tenants/acme/break-glass"
	p.want(403, "step_up", "", "DELETE", destroy, nil)
	p.want(403, "step_up", "", "POST", glass, object{"reason": "x"})
	p.want(403, "step_up", "", "POST", "/api/v1/account/totp/begin", nil)
	p.want(403, "step_up", "", "POST", "/api/v1/account/recovery-codes", nil)
	p.want(403, "step_up", "", "POST", "/api/v1/account/password", object{"old": goodPassword, "new": "another horse battery"})
	p.want(200, "sk_acme", "", "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.want(409, "no session", "", "POST", "/api/v1/sessions/step-up", object{"code": p.nextCode(olga)})
	if a := p.doWithCode("", "000000", "DELETE", destroy, nil); a.status != 403 {
		t.Errorf("with a wrong code: %d %s", a.status, a.body)
	}
	if a := p.doWithCode("", p.nextCode(olga), "DELETE", destroy, nil); a.status != 200 {
		t.Errorf("with a code: %d %s", a.status, a.body)
	}
}

// TestSessionOfTheSocket is an operator's as one is at the socket, and asks once
// there is a second factor.
func TestSessionOfTheSocket(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	const secret = "/api/v1/tenants/acme/secret?path=stripe/live"
	var in signedIn
	p.must("", "POST", "/api/v1/sessions/issue", object{"ttl": "2h"}, &in)
	if in.Limited || in.Device != "" {
		t.Errorf("%+v", in)
	}
	p.want(200, "sk_acme", in.Session, "GET", secret, nil)
	p.want(200, "acme", in.Session, "GET", "/api/v1/tenants", nil)
	p.want(403, "local socket", in.Session, "POST", "/api/v1/sessions/issue", object{})
	p.want(403, "local socket", in.Session, "POST", "/api/v1/people/uid-0/recover", nil)
	p.want(403, "sign in as a person", p.issue("acme", object{}), "POST", "/api/v1/sessions/issue", object{})
	olga := p.operator("olga")
	if olga.Person != in.Person {
		t.Error("the first account is not the person at the socket")
	}
	p.want(403, "step_up", in.Session, "GET", secret, nil)
	if a := p.doWithCode(in.Session, p.nextCode(olga), "GET", secret, nil); a.status != 200 {
		t.Errorf("with a code: %d %s", a.status, a.body)
	}
	p.clock.pass(121 * time.Minute)
	p.want(401, "", in.Session, "GET", "/api/v1/tenants", nil)
	p.want(400, "ttl", "", "POST", "/api/v1/sessions/issue", object{"ttl": "25h"})
}

// TestTokensAreNotPeople: the token of a person opens the tenant, and nothing that
// is the person's own.
func TestTokensAreNotPeople(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	token := p.issue("acme", object{})
	for _, route := range api.New(nil, slog.New(slog.DiscardHandler)).Routes() {
		if info, known := authz.Lookup(route.Action); !known || !info.Person || route.Action == authz.InvitationJoin {
			continue
		}
		a := p.walk(token, "acme", route)
		var problem struct{ Kind string }
		_ = json.Unmarshal(a.body, &problem)
		if a.status != 403 || problem.Kind != "denied" || a.receipt == "" {
			t.Errorf("%s %s: %d %s", route.Method, route.Path, a.status, a.body)
		}
	}
}
