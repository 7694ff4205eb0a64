package app_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app"
	"coffer/app/api"
	"coffer/app/domain"
)

// keyed are the headers with an idempotency key.
func keyed(key string) map[string]string { return map[string]string{"Idempotency-Key": key} }

// freshKey is what a careful client sends.
func freshKey() string { return domain.NewID("") }

// creations are the routes that take a key, with an input that works once.
var creations = []struct {
	path string
	in   any // nil for no body
}{
	{"/api/v1/tenants", object{"id": "globex", "name": "Globex"}},
	{"/api/v1/tenants/acme/members", object{"name": "bob", "role": "viewer"}},
	{"/api/v1/tenants/acme/workloads", object{"name": "shop", "grants": []string{"sql:analyst"}}},
	{"/api/v1/tenants/acme/workloads/web/secret-id", object{"uses": 3}},
	{"/api/v1/tenants/acme/tokens", object{"ttl": "15m"}},
	{"/api/v1/tenants/acme/invitations", object{"role": "viewer"}},
	{"/api/v1/setup-link", nil},
	{"/api/v1/seal/slots", object{"kind": "passphrase", "secret": "long enough to be one", "name": "spare"}},
	{"/api/v1/tenants/acme/wrap", object{"data": object{"k": "v"}}},
}

// TestOnce: each creation is answered alike as often as it is sent under one
// key, after a restart too, and is done once.
func TestOnce(t *testing.T) {
	data := shortDir(t)
	r, stop := serveOn(t, data, nil)
	r.tenant("acme")
	r.must("", "POST", "/api/v1/tenants/acme/workloads", object{"name": "web", "grants": []string{"sql:analyst"}}, nil)
	keys, first := make([]string, len(creations)), make([]answer, len(creations))
	again := func(when string) {
		for i, c := range creations {
			a := r.doWith(keyed(keys[i]), "", "POST", c.path, c.in)
			if a.status != first[i].status || !bytes.Equal(a.body, first[i].body) {
				t.Errorf("%s, %s: %d %s, first %d %s", c.path, when, a.status, a.body, first[i].status, first[i].body)
			}
			if a.receipt == "" || a.receipt == first[i].receipt {
				t.Errorf("%s, %s: the replay is no event: %q", c.path, when, a.receipt)
			}
			if a := r.doWith(keyed(keys[i]), "", "POST", c.path+"?", c.in); a.status != http.StatusConflict || !strings.Contains(string(a.body), `"field":"Idempotency-Key"`) {
				t.Errorf("%s, %s, another request: %d %s", c.path, when, a.status, a.body)
			}
		}
	}
	for i, c := range creations {
		keys[i] = freshKey()
		first[i] = r.doWith(keyed(keys[i]), "", "POST", c.path, c.in)
		if first[i].status != http.StatusOK {
			t.Fatalf("%s: %d %s", c.path, first[i].status, first[i].body)
		}
	}
	again("at once")
	r.must("", "DELETE", "/api/v1/seal/slots/spare", nil, nil) // a start would ask for it
	stop()
	r, stop = serveOn(t, data, nil)
	again("after a restart")
	for path, want := range map[string]string{"/api/v1/tenants/acme/tokens": `"accessor"`, "/api/v1/tenants/acme/workloads": `"shop"`} {
		if a := r.do("", "GET", path, nil); strings.Count(string(a.body), want) != 1 {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	var log struct {
		Events []struct {
			Action, Outcome, Type string
			Detail                map[string]any
		}
	}
	r.must("", "GET", "/api/v1/tenants/acme/audit?action=token.issue", nil, &log)
	replays := 0
	for _, e := range log.Events {
		if e.Type == "outcome" && e.Detail["replay"] == true && e.Outcome == "ok" && e.Action == "token.issue" {
			replays++
		}
	}
	if replays != 2 {
		t.Errorf("%d replays in the log, want 2: %+v", replays, log.Events)
	}
	stop()
	noTrace(t, data, keys, first)
}

// noTrace: neither a key nor what is shown once stands in the data directory.
func noTrace(t *testing.T, data string, keys []string, answers []answer) {
	t.Helper()
	var secrets []string
	for _, a := range answers {
		for _, name := range []string{"token", "secret_id"} {
			if s, ok := fields(a.body)[name].(string); ok {
				secrets = append(secrets, s)
			}
		}
	}
	if len(secrets) < 3 {
		t.Fatalf("%d secrets were shown", len(secrets))
	}
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, text := range append(secrets, keys...) {
			if bytes.Contains(b, []byte(text)) {
				t.Errorf("%s holds a key or a secret", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeysWhereTheyDoNotBelong: everywhere else a key is refused, and a bad one
// everywhere; nothing is done.
func TestKeysWhereTheyDoNotBelong(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	takes := map[string]bool{}
	for _, c := range creations {
		takes[c.path] = true
	}
	for _, route := range api.New(nil, slog.New(slog.DiscardHandler)).Routes() {
		path := strings.NewReplacer(":tenant", "acme", ":name", "web", ":accessor", "ta_none", ":slot", "none").Replace(route.Path)
		if takes[path] && route.Method == "POST" {
			continue
		}
		in := inputs[route.Method+" "+route.Path]
		a := r.doWith(keyed(freshKey()), "", route.Method, path+"?"+strings.ReplaceAll(in.query, ":tenant", "acme"), in.body)
		if a.status != http.StatusBadRequest || !strings.Contains(string(a.body), `"field":"Idempotency-Key"`) || a.receipt != "" {
			t.Errorf("%s %s: %d %s", route.Method, path, a.status, a.body)
		}
	}
	for _, bad := range []string{"short", strings.Repeat("x", 129), "with blanks in the middle", `back\slash-back\slash`} {
		if a := r.doWith(keyed(bad), "", "POST", creations[0].path, creations[0].in); a.status != http.StatusBadRequest || strings.Contains(string(a.body), bad) {
			t.Errorf("%q: %d %s", bad, a.status, a.body)
		}
	}
	twice, err := http.NewRequest("POST", "http://coffer"+creations[0].path, strings.NewReader(`{"id":"globex","name":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	twice.Header = http.Header{"Idempotency-Key": {freshKey(), freshKey()}, "Content-Type": {"application/json"}}
	resp, err := r.client.Do(twice)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("two keys: %d", resp.StatusCode)
	}
	r.must("", "GET", "/api/v1/tenants/acme", nil, nil)
	if a := r.do("", "GET", "/api/v1/tenants/globex", nil); a.status != http.StatusNotFound {
		t.Errorf("a bad key made a tenant: %d", a.status)
	}
}

// TestKeyOfAFailure: what came to nothing is not remembered, so that the key can
// be used when the reason is gone.
func TestKeyOfAFailure(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	const path = "/api/v1/tenants/acme/members"
	key := freshKey()
	r.must("", "POST", path, object{"name": "bob", "role": "viewer"}, nil)
	for range 2 {
		if a := r.doWith(keyed(key), "", "POST", path, object{"name": "bob", "role": "viewer"}); a.status != http.StatusConflict {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	r.must("", "DELETE", path+"/bob", nil, nil)
	for range 2 {
		if a := r.doWith(keyed(key), "", "POST", path, object{"name": "bob", "role": "viewer"}); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	// A slot stands in another file: its mark is put before, and taken back.
	slot := object{"kind": "passphrase", "secret": "short", "name": "p"}
	for range 2 {
		if a := r.doWith(keyed(key+"slot"), "", "POST", "/api/v1/seal/slots", slot); a.status != http.StatusBadRequest {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	slot["secret"] = "long enough to be one"
	r.must("", "POST", "/api/v1/seal/slots", slot, nil)
	for range 2 {
		if a := r.doWith(keyed(key+"twice"), "", "POST", "/api/v1/seal/slots", slot); a.status != http.StatusConflict || strings.Contains(string(a.body), "lost") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// TestKeyAtTheSameTime: of many that come together one is done; the others get
// its answer or are told that it is under way.
func TestKeyAtTheSameTime(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	for range 5 {
		key := freshKey()
		var sides sync.WaitGroup
		var mu sync.Mutex
		bodies := map[string]bool{}
		for range 16 {
			sides.Go(func() {
				a := r.doWith(keyed(key), "", "POST", "/api/v1/tenants/acme/tokens", object{"name": key})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case a.status == http.StatusOK:
					bodies[string(a.body)] = true
				case a.status != http.StatusConflict || !strings.Contains(string(a.body), "under way") || a.header.Get("Retry-After") != "1":
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		sides.Wait()
		if a := r.do("", "GET", "/api/v1/tenants/acme/tokens", nil); len(bodies) != 1 || strings.Count(string(a.body), key) != 1 {
			t.Errorf("%d answers, tokens %s", len(bodies), a.body)
		}
	}
}

// TestAttackKey: somebody has got hold of a key and the request, and lacks what
// its owner had when it was done.
func TestAttackKey(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	const path = "/api/v1/tenants/acme/tokens"
	key, in := freshKey(), object{"ttl": "10m", "name": "prize"}
	owner, viewer, elsewhere := r.issue("acme", object{}), r.issue("acme", object{"role": "viewer"}), r.issue("globex", object{})
	first := r.doWith(keyed(key), owner, "POST", path, in)
	if first.status != http.StatusOK {
		t.Fatalf("%d %s", first.status, first.body)
	}
	prize := fields(first.body)["token"].(string)
	lacks := func(what, token string, status int) {
		t.Helper()
		a := r.doWith(keyed(key), token, "POST", path, in)
		if a.status != status || strings.Contains(string(a.body), prize) {
			t.Errorf("%s: %d %s, want %d", what, a.status, a.body, status)
		}
	}
	lacks("the token of another tenant", elsewhere, http.StatusForbidden)
	lacks("a narrower token of the same person", viewer, http.StatusForbidden)
	lacks("no token that is one", "cft_"+strings.Repeat("a", 52), http.StatusUnauthorized)

	// A workload of the tenant is another principal: its key of that name is its own.
	r.must("", "POST", "/api/v1/tenants/acme/workloads", object{"name": "web", "grants": []string{"sql:analyst"}}, nil)
	lacks("a workload", r.issue("acme", object{"workload": "web"}), http.StatusForbidden)

	if a := r.doWith(keyed(key), owner, "POST", path, in); string(a.body) != string(first.body) {
		t.Errorf("the owner: %d %s", a.status, a.body)
	}
	r.must("", "POST", "/api/v1/tenants/acme/suspend", nil, nil)
	lacks("in a closed tenant", owner, http.StatusForbidden)
	r.must("", "POST", "/api/v1/tenants/acme/resume", nil, nil)
	r.must("", "POST", "/api/v1/token/revoke", object{"token": owner}, nil)
	lacks("a token that was revoked", owner, http.StatusUnauthorized)
}

// TestAttackKeyAfterDemotion: the owner that became an analyst may still make
// workloads and tokens, but sees nothing again of what an owner got.
func TestAttackKeyAfterDemotion(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	me := fields(r.do("", "GET", "/api/v1/tenants/acme/members", nil).body)["members"].([]any)[0].(object)["name"].(string)
	key, in := freshKey(), object{"name": "web", "grants": []string{"secret:read:*"}}
	first := r.doWith(keyed(key), "", "POST", "/api/v1/tenants/acme/workloads", in)
	secretID := fields(first.body)["secret_id"].(string)
	r.must("", "POST", "/api/v1/tenants/acme/members", object{"name": "bob", "role": "owner"}, nil)
	r.must("", "PATCH", "/api/v1/tenants/acme/members/"+me, object{"role": "analyst"}, nil)
	a := r.doWith(keyed(key), "", "POST", "/api/v1/tenants/acme/workloads", in)
	if a.status != http.StatusForbidden || strings.Contains(string(a.body), secretID) || a.receipt == "" {
		t.Errorf("as an analyst: %d %s", a.status, a.body)
	}
}

// TestKeyOutlastsTheClock: a clock that is set ahead frees no key within the
// day, however far.
func TestKeyOutlastsTheClock(t *testing.T) {
	var ahead atomic.Int64
	r, stop := serveOn(t, shortDir(t), func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	defer stop()
	r.tenant("acme")
	key, first := freshKey(), ""
	for _, jump := range []time.Duration{0, 23 * time.Hour, 25 * time.Hour, 1000 * time.Hour} {
		ahead.Store(int64(jump))
		a := r.doWith(keyed(key), "", "POST", "/api/v1/tenants/acme/tokens", object{})
		if first == "" {
			first = string(a.body)
		}
		if a.status != http.StatusOK || string(a.body) != first {
			t.Errorf("%v ahead: %d %s", jump, a.status, a.body)
		}
	}
}

// onceKills is how many creations are cut off.
const onceKills = 24

// TestOnceAcrossCrashes kills the server while a token is issued under a key,
// and asks again under the same key until there is an answer: there is one token
// then, or the answer was lost and there is one all the same.
func TestOnceAcrossCrashes(t *testing.T) {
	t.Parallel()
	data, lost := shortDir(t), 0
	r := &running{tb: t, data: data, client: app.SocketClient(data)}
	var d *served
	start := func() {
		var err error
		if d, err = launch(data, nil, "--data", data, "--seal", "keyfile"); err == nil {
			err = d.awaitReady()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	start()
	defer func() { d.kill() }()
	r.tenant("acme")
	began := time.Now()
	r.doWith(keyed(freshKey()), "", "POST", "/api/v1/tenants/acme/tokens", object{})
	took := time.Since(began)
	kills := max(4, onceKills*fromEnvironment(t, "COFFER_CRASH_ROUNDS", crashRounds)/crashRounds)
	for n := range kills {
		key := freshKey()
		in := object{"name": fmt.Sprint("once-", n, "-end")}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			req := &request{method: "POST", path: "/api/v1/tenants/acme/tokens", body: in, header: keyed(key)}
			_, _ = req.exchange(t.Context(), r.client) // it may be cut off at any moment
		}()
		_, share := math.Modf(float64(n) * math.Phi)
		<-time.After(time.Duration(1.5 * share * float64(took))) // when to kill is the point
		d.kill()
		<-sent
		r.client.CloseIdleConnections()
		start()
		a := r.doWith(keyed(key), "", "POST", "/api/v1/tenants/acme/tokens", in)
		switch {
		case a.status == http.StatusOK:
		case a.status == http.StatusConflict && strings.Contains(string(a.body), "lost"):
			lost++
		default:
			t.Errorf("kill %d: %d %s", n, a.status, a.body)
		}
		if list := r.do("", "GET", "/api/v1/tenants/acme/tokens", nil); strings.Count(string(list.body), in["name"].(string)) != 1 {
			t.Fatalf("kill %d: not one token: %s", n, list.body)
		}
	}
	t.Logf("%d kills, %d answers lost", kills, lost)
	if a := r.do("", "POST", "/api/v1/tenants/acme/audit/verify", nil); a.status != http.StatusOK {
		t.Errorf("%s", a.body)
	}
}
