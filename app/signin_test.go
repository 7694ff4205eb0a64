package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSignIn: all three together, and every way of failing looks the same.
func TestSignIn(t *testing.T) {
	p := servePeople(t)
	olga := p.operator("olga")
	in, a := p.signIn(olga, nil)
	if a.status != 200 || in.Limited || in.Person != olga.Person || in.Device == "" || in.Session == olga.Session {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if _, a := p.signIn(olga, object{"device": in.Device}); a.status != 200 || strings.Contains(string(a.body), `"device"`) {
		t.Errorf("a known device: %d %s", a.status, a.body)
	}
	limited := p.invited("acme", "vera") // has a password, and no second factor yet
	if out, a := p.signIn(somebody{signedIn: limited, secret: olga.secret}, object{"code": ""}); a.status != 200 || !out.Limited {
		t.Errorf("without a second factor: %d %s", a.status, a.body)
	}
	p.must("", "POST", "/api/v1/tenants/acme/members", object{"name": "nopassword", "role": "viewer"}, nil)
	var first string
	for name, extra := range map[string]object{
		"an unknown name": {"name": "nobody"}, "a person without a password": {"name": "nopassword"},
		"a wrong password": {"password": "wrong horse battery staple"}, "no password": {"password": ""},
		"a wrong code": {"code": "000000"}, "no code": {"code": ""}, "somebody else's recovery code": {"code": "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a"},
		"a wrong password and a good recovery code": {"password": "wrong horse battery staple", "code": olga.codes[0]},
	} {
		p.clock.pass(10 * time.Minute) // none of them is slowed down
		_, a := p.signIn(olga, extra)
		if a.status != 401 || a.receipt != "" {
			t.Errorf("%s: %d %s, receipt %q", name, a.status, a.body, a.receipt)
		}
		if first == "" {
			first = a.words()
		}
		if a.words() != first {
			t.Errorf("%s is told apart: %s", name, a.body)
		}
	}
	if _, a := p.signIn(olga, object{"code": olga.codes[0]}); a.status != 200 {
		t.Errorf("the recovery code was burnt by a wrong password: %d %s", a.status, a.body)
	}
	p.clock.pass(10 * time.Minute)
	if _, a := p.signIn(olga, object{"code": olga.codes[0]}); a.status != 401 {
		t.Errorf("a recovery code works twice: %d", a.status)
	}
}

// invited makes a tenant if need be, and a person with a password in it who has
// no second factor yet.
func (p *peopled) invited(tenant, name string) signedIn {
	p.tb.Helper()
	if a := p.do("", "GET", "/api/v1/tenants/"+tenant, nil); a.status == 404 {
		p.tenant(tenant)
	}
	var l link
	p.must("", "POST", "/api/v1/tenants/"+tenant+"/invitations", object{"role": "viewer"}, &l)
	return p.accept(l.Token, name)
}

// TestCodesWorkOnce: of many sign-ins at once with one code one gets in, and none
// afterwards.
func TestCodesWorkOnce(t *testing.T) {
	p := servePeople(t)
	olga := p.operator("olga")
	for name, next := range map[string]func() string{
		"a code of the app": func() string { return p.nextCode(olga) }, "a recovery code": func() string { return olga.codes[5] },
	} {
		code := next()
		p.clock.pass(5 * time.Second)
		var in, once atomic.Int32
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				a := p.do("", "POST", "/api/v1/sessions", object{"name": "olga", "password": goodPassword, "code": code})
				switch {
				case a.status == 200:
					in.Add(1)
				case a.status == 401:
					once.Add(1)
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		if in.Load() != 1 {
			t.Errorf("%s let %d in at once", name, in.Load())
		}
		p.want(401, "do not belong together", "", "POST", "/api/v1/sessions", object{"name": "olga", "password": goodPassword, "code": code})
		p.clock.pass(30 * time.Minute)
	}
}

// TestNobodyIsLockedOut: an outsider who hammers a name is slowed down and locks
// out strangers alone; the person gets in from the usual device.
func TestNobodyIsLockedOut(t *testing.T) {
	p := servePeople(t)
	olga := p.operator("olga")
	other := p.member(p.someTenant(), "anna", "viewer")
	slowed := 0
	for range 40 {
		a := p.do("", "POST", "/api/v1/sessions", object{"name": "olga", "password": "guess guess guess", "code": "123456"})
		if a.status == http.StatusTooManyRequests {
			slowed++
			if !strings.Contains(string(a.body), "try again in") {
				t.Errorf("%s", a.body)
			}
		}
	}
	if slowed < 20 {
		t.Errorf("only %d of 40 guesses were slowed down", slowed)
	}
	if _, a := p.signIn(olga, nil); a.status != http.StatusTooManyRequests {
		t.Errorf("the right words from a strange device: %d %s", a.status, a.body)
	}
	for range 3 {
		if _, a := p.signIn(olga, object{"device": olga.Device}); a.status != 200 {
			t.Errorf("the known device is locked out: %d %s", a.status, a.body)
		}
	}
	for range 5 {
		p.signIn(olga, object{"password": "guess guess guess", "code": ""}) // time went on
	}
	if _, a := p.signIn(olga, object{"device": other.Device}); a.status != http.StatusTooManyRequests {
		t.Errorf("somebody else's device is a stranger's for this name: %d %s", a.status, a.body)
	}
	for range 15 {
		p.signIn(olga, object{"device": olga.Device, "password": "guess guess guess", "code": ""})
	}
	if _, a := p.signIn(olga, object{"device": olga.Device}); a.status != http.StatusTooManyRequests {
		t.Errorf("a stolen device mark guesses without end: %d %s", a.status, a.body)
	}
	p.clock.pass(time.Hour)
	if _, a := p.signIn(olga, nil); a.status != 200 {
		t.Errorf("an hour later: %d %s", a.status, a.body)
	}
	events := p.do("", "GET", "/api/v1/audit?action=session.create", nil)
	if strings.Contains(string(events.body), "guess") {
		t.Error("a guess stands in the log")
	}
}

func (p *peopled) someTenant() string {
	p.tb.Helper()
	p.tenant("acme")
	return "acme"
}

// TestSessionsEnd: when nobody used them, after half a day whatever happens, and
// when they are ended.
func TestSessionsEnd(t *testing.T) {
	p := servePeople(t)
	olga := p.operator("olga")
	alive := func(session string) bool { return p.do(session, "GET", "/api/v1/account", nil).status == 200 }
	in, _ := p.signIn(olga, nil)
	began := p.clock.wall()
	for p.clock.wall().Sub(began) < 12*time.Hour-20*time.Minute {
		p.clock.pass(20 * time.Minute)
		if !alive(in.Session) {
			t.Fatalf("ended after %v of use", p.clock.wall().Sub(began))
		}
	}
	p.clock.pass(21 * time.Minute)
	if alive(in.Session) {
		t.Error("a browser's session outlives half a day")
	}
	idle, _ := p.signIn(olga, nil)
	p.clock.pass(31 * time.Minute)
	if alive(idle.Session) {
		t.Error("a browser's session outlives half an hour of nothing")
	}
	program, a := p.signIn(olga, object{"ttl": "24h"})
	if a.status != 200 || program.Device != "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	p.clock.pass(23 * time.Hour)
	if !alive(program.Session) {
		t.Error("a program's session ended early")
	}
	p.clock.pass(61 * time.Minute)
	if alive(program.Session) {
		t.Error("a program's session outlives its end")
	}
	if _, a := p.signIn(olga, object{"ttl": "25h"}); a.status != 400 {
		t.Errorf("25h: %d", a.status)
	}
	one, _ := p.signIn(olga, nil)
	two, _ := p.signIn(olga, nil)
	var list struct {
		Sessions []struct {
			Accessor string
			Current  bool
		}
	}
	p.must(one.Session, "GET", "/api/v1/sessions", nil, &list)
	if len(list.Sessions) != 2 || list.Sessions[1].Accessor != one.Accessor || !list.Sessions[1].Current || list.Sessions[0].Current {
		t.Errorf("%+v", list)
	}
	otto := p.operator("otto")
	p.want(404, "no live session", otto.Session, "DELETE", "/api/v1/sessions/"+two.Accessor, nil)
	p.want(400, "accessor", otto.Session, "DELETE", "/api/v1/sessions/"+strings.Repeat("us_", 500), nil)
	p.want(200, "1", one.Session, "DELETE", "/api/v1/sessions/"+two.Accessor, nil)
	if alive(two.Session) || !alive(one.Session) {
		t.Error("the wrong session ended")
	}
	p.want(200, "1", one.Session, "DELETE", "/api/v1/sessions", nil)
	if alive(one.Session) || !alive(otto.Session) {
		t.Error("signing out everywhere ended the wrong sessions")
	}
	for _, text := range []string{"cfu_" + strings.Repeat("a", 52), "cfu_", "cfu_x", olga.Accessor} {
		p.want(401, "", text, "GET", "/api/v1/account", nil)
	}
}

// TestSessionsFollowThePerson: what the person is, each session is, at once.
func TestSessionsFollowThePerson(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	olga, otto := p.operator("olga"), p.operator("otto")
	vera := p.member("acme", "vera", "owner")
	p.want(200, "acme", otto.Session, "GET", "/api/v1/tenants", nil)
	p.want(403, "person.role", vera.Session, "PATCH", "/api/v1/people/otto", object{"roles": []string{}})
	p.want(200, "", olga.Session, "PATCH", "/api/v1/people/otto", object{"roles": []string{"auditor"}})
	p.want(403, "not allowed", otto.Session, "POST", "/api/v1/tenants", object{"id": "globex", "name": "x"})
	p.want(200, "acme", otto.Session, "GET", "/api/v1/tenants", nil)
	p.want(409, "without an operator", olga.Session, "PATCH", "/api/v1/people/olga", object{"roles": []string{}})
	p.want(200, "", olga.Session, "PATCH", "/api/v1/people/vera", object{"roles": []string{"operator"}})
	p.want(200, "", vera.Session, "GET", "/api/v1/tenants", nil)
	p.want(404, "no person", olga.Session, "PATCH", "/api/v1/people/nobody", object{"roles": []string{}})
	p.want(400, "roles", olga.Session, "PATCH", "/api/v1/people/otto", object{"roles": []string{"owner"}})
	p.want(200, "sk_acme", vera.Session, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.must("", "PATCH", "/api/v1/tenants/acme/members/vera", object{"role": "viewer"}, nil)
	p.want(403, "not allowed", vera.Session, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.must("", "DELETE", "/api/v1/tenants/acme/members/vera", nil, nil)
	p.must("", "PATCH", "/api/v1/people/vera", object{"roles": []string{}}, nil)
	p.want(403, "no such tenant", vera.Session, "GET", "/api/v1/tenants/acme", nil)
	var list struct{ People []struct{ Name string } }
	p.must(otto.Session, "GET", "/api/v1/people?limit=2", nil, &list)
	if len(list.People) != 2 || list.People[0].Name != "olga" {
		t.Errorf("%+v", list)
	}
}

// TestPassword: changing it takes the old one and ends the other sessions.
func TestPassword(t *testing.T) {
	p := servePeople(t)
	olga := p.operator("olga")
	other, _ := p.signIn(olga, nil)
	const next = "another horse battery"
	p.want(400, "old", olga.Session, "POST", "/api/v1/account/password", object{"old": "wrong wrong wrong", "new": next})
	p.want(400, "new", olga.Session, "POST", "/api/v1/account/password", object{"old": goodPassword, "new": "short"})
	p.want(200, "", olga.Session, "POST", "/api/v1/account/password", object{"old": goodPassword, "new": next})
	p.want(401, "", other.Session, "GET", "/api/v1/account", nil)
	p.want(200, "", olga.Session, "GET", "/api/v1/account", nil)
	if _, a := p.signIn(olga, nil); a.status != 401 {
		t.Errorf("the old password: %d", a.status)
	}
	if _, a := p.signIn(olga, object{"password": next}); a.status != 200 {
		t.Errorf("the new password: %d %s", a.status, a.body)
	}
	p.clock.pass(6 * time.Minute)
	p.want(403, "step_up", olga.Session, "POST", "/api/v1/account/password", object{"old": next, "new": goodPassword})
}

// TestRecoveryCodesNew: new ones burn the old ones.
func TestRecoveryCodesNew(t *testing.T) {
	p := servePeople(t)
	olga := p.operator("olga")
	var made struct {
		RecoveryCodes []string `json:"recovery_codes"`
	}
	p.must(olga.Session, "POST", "/api/v1/account/recovery-codes", nil, &made)
	if len(made.RecoveryCodes) != 10 {
		t.Fatalf("%d codes", len(made.RecoveryCodes))
	}
	if _, a := p.signIn(olga, object{"code": olga.codes[1]}); a.status != 401 {
		t.Errorf("an old recovery code: %d", a.status)
	}
	if _, a := p.signIn(olga, object{"code": made.RecoveryCodes[1]}); a.status != 200 {
		t.Errorf("a new recovery code: %d %s", a.status, a.body)
	}
	var account struct {
		Left int `json:"recovery_codes_left"`
	}
	p.must(olga.Session, "GET", "/api/v1/account", nil, &account)
	if account.Left != 9 {
		t.Errorf("%d left", account.Left)
	}
	// A second app takes the place of the first, and gives no new codes.
	again := p.enrol(olga.signedIn)
	if len(again.codes) != 0 {
		t.Error("codes were shown again")
	}
	if _, a := p.signIn(olga, nil); a.status != 401 {
		t.Errorf("the app before: %d", a.status)
	}
	if _, a := p.signIn(again, nil); a.status != 200 {
		t.Errorf("the new app: %d %s", a.status, a.body)
	}
}

// TestFailuresAreCounted: who fails to come in causes no event, and a sum with the
// source stands in the appliance's log.
func TestFailuresAreCounted(t *testing.T) {
	data := shortDir(t)
	clock := newTestClock()
	r, stop := serveOn(t, data, clock.wall)
	p := &peopled{r, clock}
	p.do("", "POST", "/api/v1/sessions", object{"name": "nobody", "password": goodPassword})
	p.do("", "POST", "/api/v1/links/accept", object{"token": "cfi_x", "name": "nobody", "password": goodPassword})
	p.do("cfu_x", "GET", "/api/v1/account", nil)
	p.do("", "POST", "/api/v1/login/workload", object{"role_id": "w_x", "secret_id": "x"})
	stop() // sums are written at the end at the latest
	r, stop = serveOn(t, data, clock.wall)
	defer stop()
	var log struct {
		Events []struct {
			Detail struct {
				Reason  string
				Sources map[string]int
			}
		}
	}
	a := r.do("", "GET", "/api/v1/audit?action=access.unauthenticated", nil)
	if err := json.Unmarshal(a.body, &log); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, e := range log.Events {
		for source := range e.Detail.Sources {
			found[e.Detail.Reason] = strings.HasPrefix(source, "socket uid=")
		}
	}
	for _, reason := range []string{"sign-in", "link", "session", "workload login"} {
		if !found[reason] {
			t.Errorf("%s is not counted with its source: %s", reason, fmt.Sprint(found))
		}
	}
}
