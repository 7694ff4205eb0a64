package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"coffer/app"
)

// goodPassword is one that is taken.
const goodPassword = "correct horse battery staple"

// testClock is a wall clock that tests set forward. Coffer's own clock runs on
// meanwhile, by as much as a test takes until it sets this one: what must be over is
// over by a minute.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newTestClock() *testClock { return &testClock{now: time.Now().Truncate(time.Second)} }

func (c *testClock) wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// peopled is a Coffer whose clock the test holds.
type peopled struct {
	*running
	clock *testClock
}

func servePeople(tb testing.TB) *peopled { return servePeopleAt(tb, "") }

func servePeopleAt(tb testing.TB, url string) *peopled {
	tb.Helper()
	clock := newTestClock()
	r, stop := serveAt(tb, tb.TempDir(), url, clock.wall)
	tb.Cleanup(stop)
	return &peopled{r, clock}
}

// signedIn is what a sign-in answers.
type signedIn struct {
	Session  string    `json:"session"`
	Accessor string    `json:"accessor"`
	Expires  time.Time `json:"expires"`
	Limited  bool      `json:"limited"`
	Device   string    `json:"device"`
	Person   string    `json:"person"`
	Name     string    `json:"name"`
}

// link is a new link.
type link struct {
	Token string `json:"token"`
	ID    string `json:"id"`
	URL   string `json:"url"`
}

// somebody has an account with codes.
type somebody struct {
	signedIn
	secret string
	codes  []string
}

// code is what the app shows now.
func (p *peopled) code(s somebody) string {
	p.tb.Helper()
	code, err := totp.GenerateCode(s.secret, p.clock.wall())
	if err != nil {
		p.tb.Fatal(err)
	}
	return code
}

// nextCode waits for the app to show another code: each works once.
func (p *peopled) nextCode(s somebody) string {
	p.clock.pass(30 * time.Second)
	return p.code(s)
}

// accept takes a link up.
func (p *peopled) accept(token, name string) signedIn {
	p.tb.Helper()
	var out signedIn
	p.must("", "POST", "/api/v1/links/accept", object{"token": token, "name": name, "password": goodPassword}, &out)
	return out
}

// enrol sets an app up for a session that is limited.
func (p *peopled) enrol(in signedIn) somebody {
	p.tb.Helper()
	var shown struct{ Secret, URI string }
	p.must(in.Session, "POST", "/api/v1/account/totp/begin", nil, &shown)
	s := somebody{signedIn: in, secret: shown.Secret}
	var made struct {
		RecoveryCodes []string `json:"recovery_codes"`
	}
	p.must(in.Session, "POST", "/api/v1/account/totp", object{"code": p.code(s)}, &made)
	s.codes = made.RecoveryCodes
	return s
}

// operator makes an operator's account by a setup link.
func (p *peopled) operator(name string) somebody {
	p.tb.Helper()
	var l link
	p.must("", "POST", "/api/v1/setup-link", nil, &l)
	return p.enrol(p.accept(l.Token, name))
}

// member makes a person with an account, a member of a tenant, by an invitation.
func (p *peopled) member(tenant, name, role string) somebody {
	p.tb.Helper()
	var l link
	p.must("", "POST", "/api/v1/tenants/"+tenant+"/invitations", object{"role": role}, &l)
	return p.enrol(p.accept(l.Token, name))
}

// signIn signs in; extra members replace the usual ones.
func (p *peopled) signIn(s somebody, extra object) (signedIn, answer) {
	p.tb.Helper()
	in := object{"name": s.Name, "password": goodPassword}
	if _, given := extra["code"]; !given {
		in["code"] = p.nextCode(s)
	}
	for k, v := range extra {
		in[k] = v
	}
	a := p.do("", "POST", "/api/v1/sessions", in)
	var out signedIn
	if a.status == http.StatusOK {
		if err := json.Unmarshal(a.body, &out); err != nil {
			p.tb.Fatal(err)
		}
	}
	return out, a
}

// want checks how a request ends.
func (p *peopled) want(status int, words, session, method, path string, body any) answer {
	p.tb.Helper()
	a := p.do(session, method, path, body)
	if a.status != status || !strings.Contains(string(a.body), words) {
		p.tb.Errorf("%s %s: %d %s, want %d with %q", method, path, a.status, a.body, status, words)
	}
	return a
}

// TestSetUp: link, account, second factor, and what the session may at each step.
func TestSetUp(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	var l link
	p.must("", "POST", "/api/v1/setup-link", nil, &l)
	var info struct{ Kind string }
	p.must("", "POST", "/api/v1/links/show", object{"token": l.Token}, &info)
	if info.Kind != "setup" {
		t.Errorf("kind %q", info.Kind)
	}
	p.want(400, "password", "", "POST", "/api/v1/links/accept", object{"token": l.Token, "name": "olga", "password": "short"})
	p.want(400, "name", "", "POST", "/api/v1/links/accept", object{"token": l.Token, "name": "Olga X", "password": goodPassword})
	in := p.accept(l.Token, "olga")
	p.want(401, "link", "", "POST", "/api/v1/links/show", object{"token": l.Token})
	p.want(401, "link", "", "POST", "/api/v1/links/accept", object{"token": l.Token, "name": "mallory", "password": goodPassword})
	if !in.Limited || in.Device == "" || in.Name != "olga" {
		t.Errorf("%+v", in)
	}
	p.want(403, "no second factor yet", in.Session, "GET", "/api/v1/tenants", nil)
	p.want(403, "no second factor yet", in.Session, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.want(403, "no second factor yet", in.Session, "POST", "/api/v1/tenants/acme/tokens", object{})
	p.want(200, "olga", in.Session, "GET", "/api/v1/account", nil)
	s := p.enrol(in)
	if len(s.codes) != 10 {
		t.Errorf("%d recovery codes", len(s.codes))
	}
	p.want(200, "acme", in.Session, "GET", "/api/v1/tenants", nil)
	// The first account is the person at the socket, who made acme.
	p.want(200, "sk_acme", in.Session, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	var account struct {
		Name, Person string
		TOTP         bool
	}
	p.must("", "GET", "/api/v1/account", nil, &account)
	if account.Name != "olga" || account.Person != in.Person || !account.TOTP {
		t.Errorf("at the socket: %+v", account)
	}
	second := p.operator("otto")
	if second.Person == in.Person {
		t.Error("the second operator is the first")
	}
	p.want(403, "not allowed", second.Session, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.want(200, "", second.Session, "DELETE", "/api/v1/sessions/own", nil)
	p.want(401, "session", second.Session, "GET", "/api/v1/account", nil)
}

// uid is the user that the test runs as.
func uid() int { return os.Geteuid() }

// socketPost sends a body to a Coffer in another process.
func socketPost(tb testing.TB, data, path string, body []byte) answer {
	tb.Helper()
	r := &running{tb: tb, data: data, client: app.SocketClient(data)}
	return r.do("", "POST", path, body)
}

// socketTry is socketPost to one that may be killed; 0 says that no answer came.
func socketTry(data, path string, body []byte) int {
	resp, err := app.SocketClient(data).Post("http://coffer"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
