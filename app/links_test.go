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

func (p *peopled) link(path string, in any) link {
	p.tb.Helper()
	var l link
	p.must("", "POST", path, in, &l)
	return l
}

// TestLinkIsBurntOnce: of many that take a link up at once one gets it.
func TestLinkIsBurntOnce(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	for kind, path := range map[string]string{"setup": "/api/v1/setup-link", "invitation": "/api/v1/tenants/acme/invitations"} {
		var in any
		if kind == "invitation" {
			in = object{"role": "viewer"}
		}
		l := p.link(path, in)
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				a := p.do("", "POST", "/api/v1/links/accept", object{"token": l.Token, "name": fmt.Sprintf("%s%d", kind, i), "password": goodPassword})
				switch a.status {
				case 200:
					won.Add(1)
				case 401:
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d took the %s link up", won.Load(), kind)
		}
	}
	var list struct{ People []struct{ Name string } }
	p.must("", "GET", "/api/v1/people", nil, &list)
	if len(list.People) != 2 {
		t.Errorf("the losers left people: %+v", list.People)
	}
}

// TestLinksEnd by themselves, and with what they came from.
func TestLinksEnd(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	dead := func(what string, l link) {
		t.Helper()
		for _, path := range []string{"/api/v1/links/show", "/api/v1/links/accept"} {
			if a := p.do("", "POST", path, object{"token": l.Token, "name": "mallory", "password": goodPassword}); a.status != 401 && path != "/api/v1/links/show" {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		if a := p.do("", "POST", "/api/v1/links/show", object{"token": l.Token}); a.status != 401 {
			t.Errorf("%s is shown: %d %s", what, a.status, a.body)
		}
	}
	setup := p.link("/api/v1/setup-link", nil)
	p.clock.pass(29 * time.Minute)
	p.want(200, "setup", "", "POST", "/api/v1/links/show", object{"token": setup.Token})
	p.clock.pass(2 * time.Minute)
	dead("a setup link after half an hour", setup)

	p.operator("olga")
	ina := p.member("acme", "ina", "owner")
	var l link
	invite := func() link {
		p.must(ina.Session, "POST", "/api/v1/tenants/acme/invitations", object{"role": "viewer", "note": "for Ben"}, &l)
		return l
	}
	invite()
	p.want(200, `"by":"ina"`, "", "GET", "/api/v1/tenants/acme/invitations", nil)
	p.want(200, l.ID, "", "DELETE", "/api/v1/tenants/acme/invitations/"+l.ID, nil)
	p.want(404, "no invitation", "", "DELETE", "/api/v1/tenants/acme/invitations/"+l.ID, nil)
	dead("a revoked invitation", l)
	invite()
	p.must("", "PATCH", "/api/v1/tenants/acme/members/ina", object{"role": "admin"}, nil)
	dead("the invitation of somebody who is no owner any more", l)
	p.must("", "PATCH", "/api/v1/tenants/acme/members/ina", object{"role": "owner"}, nil)
	invite()
	p.must("", "DELETE", "/api/v1/tenants/acme/members/ina", nil, nil)
	dead("the invitation of somebody who left", l)

	l = p.link("/api/v1/tenants/acme/invitations", object{"role": "viewer"})
	p.must("", "POST", "/api/v1/tenants/acme/suspend", nil, nil)
	p.want(403, "suspended", "", "POST", "/api/v1/links/accept", object{"token": l.Token, "name": "ben", "password": goodPassword})
	p.must("", "POST", "/api/v1/tenants/acme/resume", nil, nil)
	p.clock.pass(72*time.Hour + time.Minute)
	dead("an invitation after three days", l)

	otto := p.operator("otto")
	p.must(otto.Session, "POST", "/api/v1/setup-link", nil, &l)
	p.must("", "PATCH", "/api/v1/people/otto", object{"roles": []string{}}, nil)
	dead("the setup link of somebody who is no operator any more", l)
}

// TestInvitation: a new person, or one that there is, who signs in first; nobody
// becomes somebody else by taking the name.
func TestInvitation(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	p.tenant("globex")
	p.operator("olga")
	invite := func(tenant, role string) link {
		return p.link("/api/v1/tenants/"+tenant+"/invitations", object{"role": role})
	}
	l := invite("acme", "viewer")
	p.want(200, `"tenant_name":"acme"`, "", "POST", "/api/v1/links/show", object{"token": l.Token})
	p.want(400, "is taken", "", "POST", "/api/v1/links/accept", object{"token": l.Token, "name": "olga", "password": goodPassword})
	vera := p.enrol(p.accept(l.Token, "vera"))
	p.want(200, "acme", vera.Session, "GET", "/api/v1/tenants/acme", nil)
	p.want(403, "no such tenant", vera.Session, "GET", "/api/v1/tenants/globex", nil)
	p.want(403, "", vera.Session, "GET", "/api/v1/tenants", nil)
	p.want(403, "", vera.Session, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.want(403, "", vera.Session, "POST", "/api/v1/tenants/acme/invitations", object{"role": "owner"})
	l = invite("globex", "analyst")
	p.want(403, "sign in as a person", p.issue("acme", object{}), "POST", "/api/v1/links/join", object{"token": l.Token})
	p.want(200, `"role":"analyst"`, vera.Session, "POST", "/api/v1/links/join", object{"token": l.Token})
	p.want(401, "link", vera.Session, "POST", "/api/v1/links/join", object{"token": l.Token})
	p.want(200, "globex", vera.Session, "GET", "/api/v1/tenants/globex", nil)
	p.want(409, "member already", vera.Session, "POST", "/api/v1/links/join", object{"token": invite("globex", "owner").Token})
	p.want(401, "link", vera.Session, "POST", "/api/v1/links/join", object{"token": p.link("/api/v1/setup-link", nil).Token})
	p.want(200, `"role":"viewer"`, "", "GET", "/api/v1/tenants/acme/members", nil)
	a := p.do("", "GET", "/api/v1/tenants/acme/audit?action=link.accept", nil)
	if !strings.Contains(string(a.body), vera.Person) || strings.Contains(string(a.body), "vera") {
		t.Errorf("the tenant's log: %s", a.body)
	}
	limited := p.invited("acme", "lim")
	p.want(403, "no second factor yet", limited.Session, "POST", "/api/v1/links/join", object{"token": invite("globex", "viewer").Token})
}

// TestBreakGlassInvitesNobody: what outlasts the hour is refused in it.
func TestBreakGlassInvitesNobody(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	ina := p.member("acme", "ina", "owner")
	p.must(ina.Session, "DELETE", "/api/v1/tenants/acme/members/uid-"+fmt.Sprint(uid()), nil, nil)
	p.must("", "POST", "/api/v1/tenants/acme/break-glass", object{"reason": "x"}, nil)
	p.want(403, "outlast", "", "POST", "/api/v1/tenants/acme/invitations", object{"role": "owner"})
}

// TestRecover takes over nobody silently: it is done at the socket alone, ends all
// that proved the person, and stands in the log of each of the person's tenants.
func TestRecover(t *testing.T) {
	p := servePeople(t)
	for _, id := range []string{"acme", "globex", "initech"} {
		p.tenant(id)
	}
	olga := p.operator("olga")
	vera := p.member("acme", "vera", "owner")
	p.must(vera.Session, "POST", "/api/v1/links/join", object{"token": p.link("/api/v1/tenants/globex/invitations", object{"role": "viewer"}).Token}, nil)
	var token struct{ Token string }
	p.must(vera.Session, "POST", "/api/v1/tenants/acme/tokens", object{}, &token)
	const recover = "/api/v1/people/vera/recover"
	p.want(403, "local socket", olga.Session, "POST", recover, nil)
	p.want(403, "", vera.Session, "POST", recover, nil)
	p.want(404, "no person", "", "POST", "/api/v1/people/nobody/recover", nil)
	l := p.link(recover, nil)
	p.want(401, "", vera.Session, "GET", "/api/v1/account", nil)
	p.want(401, "", token.Token, "GET", "/api/v1/tenants/acme", nil)
	if _, a := p.signIn(vera, object{"device": vera.Device}); a.status != 401 {
		t.Errorf("the old password and code: %d %s", a.status, a.body)
	}
	p.clock.pass(10 * time.Minute)
	for tenant, want := range map[string]bool{"acme": true, "globex": true, "initech": false} {
		a := p.do("", "GET", "/api/v1/tenants/"+tenant+"/audit?action=person.recover", nil)
		if strings.Contains(string(a.body), vera.Person) != want {
			t.Errorf("the log of %s: %s", tenant, a.body)
		}
	}
	p.want(200, olga.Person, "", "GET", "/api/v1/audit?action=person.recover", nil)
	p.want(200, `"name":"vera"`, "", "POST", "/api/v1/links/show", object{"token": l.Token})
	p.want(400, "somebody else", "", "POST", "/api/v1/links/accept", object{"token": l.Token, "name": "olga", "password": goodPassword})
	again := p.link(recover, nil) // takes the place of the first
	p.want(401, "link", "", "POST", "/api/v1/links/accept", object{"token": l.Token, "password": goodPassword})
	in := p.accept(again.Token, "")
	if in.Person != vera.Person || !in.Limited || in.Name != "vera" {
		t.Errorf("%+v", in)
	}
	back := p.enrol(in)
	if len(back.codes) != 10 {
		t.Error("no new recovery codes")
	}
	p.want(200, "sk_acme", back.Session, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	for _, code := range []string{vera.codes[0], p.nextCode(vera)} {
		if _, a := p.signIn(back, object{"code": code}); a.status != 401 {
			t.Errorf("an old second factor: %d", a.status)
		}
	}
	p.want(404, "", "", "POST", "/api/v1/people/shop/recover", nil)
}

// TestFirstSetupLink is in the ready block until there is an operator, a new one
// at each start, and survives no restart and no use; a crash between changes
// nothing.
func TestFirstSetupLink(t *testing.T) {
	w := newWatched(t)
	setup := func() string {
		for line := range strings.Lines(w.daemon.out.String()) {
			if text, ok := strings.CutPrefix(line, "setup: "); ok {
				if i := strings.IndexByte(text, '#'); i >= 0 {
					text = text[i+1:]
				}
				return strings.TrimSpace(text)
			}
		}
		return ""
	}
	accept := func(token, name string) answer {
		t.Helper()
		b, _ := json.Marshal(object{"token": token, "name": name, "password": goodPassword})
		return socketPost(t, w.data, "/api/v1/links/accept", b)
	}
	w.serve("--listen", "off")
	first := setup()
	if !strings.HasPrefix(first, "cfi_") {
		t.Fatalf("no setup line: %s", w.daemon.out.String())
	}
	if strings.Contains(w.daemon.errors(), "cfi_") {
		t.Error("the link stands in the server's log")
	}
	w.daemon.kill()
	w.serve("--listen", "off")
	second := setup()
	if second == "" || second == first {
		t.Fatalf("%q after %q", second, first)
	}
	if a := accept(first, "mallory"); a.status != http.StatusUnauthorized {
		t.Errorf("the link of the start before: %d %s", a.status, a.body)
	}
	// Killed at any moment, it was taken up whole or not at all.
	done := make(chan int, 1)
	go func() {
		b, _ := json.Marshal(object{"token": second, "name": "olga", "password": goodPassword})
		done <- socketTry(w.data, "/api/v1/links/accept", b)
	}()
	time.Sleep(60 * time.Millisecond) // around the end of the password's hash
	w.daemon.kill()
	status := <-done
	w.serve("--listen", "off")
	third := setup()
	if status == http.StatusOK && third != "" {
		t.Error("what was answered is lost")
	}
	if a := accept(second, "mallory"); a.status != http.StatusUnauthorized {
		t.Errorf("a link that was killed over: %d %s", a.status, a.body)
	}
	if third != "" {
		if a := accept(third, "olga"); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	w.coffer(0, "", nil, "doctor")
	w.stop()
	w.serve("--listen", "off")
	if line := setup(); line != "" {
		t.Errorf("a setup link with an operator: %s", line)
	}
	w.stop()
}
