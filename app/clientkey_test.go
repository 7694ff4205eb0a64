package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer/app/actions"
)

// setKey closes acme under walkKey; it stays open for the default time.
func (r *running) setKey(more object) {
	r.tb.Helper()
	in := object{"form": "keyfile", "key": walkKey, "confirm": "acme", "words": actions.ClientKeyWords}
	for k, v := range more {
		in[k] = v
	}
	r.must("", "PUT", "/api/v1/tenants/acme/client-key", in, nil)
}

// wants is a request whose answer has a status and words in it.
func (r *running) wants(status int, words, token, method, path string, body any) answer {
	r.tb.Helper()
	a := r.do(token, method, path, body)
	if a.status != status || !strings.Contains(string(a.body), words) {
		r.tb.Errorf("%s %s: %d %.300s, want %d with %q", method, path, a.status, a.body, status, words)
	}
	return a
}

const underKey = "acme is closed under the client's key"

// closedForAll wants every way to acme's data and secrets to be shut, for its
// owner, for its tokens and for the operator.
func (r *running) closedForAll(tokens ...string) {
	r.tb.Helper()
	const acme = "/api/v1/tenants/acme"
	for _, token := range append(tokens, "") {
		for _, try := range []struct {
			method, path string
			body         any
		}{
			{"GET", acme + "/secret?path=stripe/live", nil},
			{"PUT", acme + "/secret?path=stripe/live", object{"data": object{"key": "v"}}},
			{"GET", acme + "/secrets", nil},
			{"POST", acme + "/sql", object{"sql": "SELECT * FROM t"}},
			{"POST", acme + "/sql", object{"sql": "INSERT INTO t(b) VALUES ('x')"}},
			{"GET", acme + "/tokens", nil}, // listing them needs no key
		} {
			a := r.do(token, try.method, try.path, try.body)
			if strings.HasSuffix(try.path, "/tokens") {
				if a.status != http.StatusOK {
					r.tb.Errorf("the tokens of a closed tenant cannot be listed: %d %s", a.status, a.body)
				}
				continue
			}
			if a.status != http.StatusForbidden || !strings.Contains(string(a.body), underKey) {
				r.tb.Errorf("%s %s of a closed tenant: %d %.200s", try.method, try.path, a.status, a.body)
			}
			if a.receipt == "" {
				r.tb.Errorf("%s %s: a refusal without a receipt", try.method, try.path)
			}
		}
	}
	r.wants(403, underKey, "", "POST", acme+"/break-glass", object{"reason": "curious"})
	r.wants(403, underKey, "", "POST", acme+"/migrations/apply", object{})
	r.wants(403, underKey, "", "POST", acme+"/export", nil)
	r.wants(403, underKey, "", "PUT", acme+"/queries/q", object{"sql": "SELECT 1 AS one"})
	r.wants(200, `"client_key":"closed"`, "", "GET", acme, nil)
	r.wants(200, `"ok":true`, "", "POST", "/api/v1/check", nil) // nothing is damaged
}

// TestClientKeyThroughTheFrontDoor: closed is closed, for everybody, also after a
// restart; the log can be read and tokens can be taken back; the key opens it.
func TestClientKeyThroughTheFrontDoor(t *testing.T) {
	dir := t.TempDir()
	r, stop := serveOn(t, dir, nil)
	r.tenant("acme")
	r.tenant("globex")
	const key = "/api/v1/tenants/acme/client-key"
	for words, in := range map[string]object{
		"confirm": {"form": "keyfile", "key": walkKey, "confirm": "globex", "words": actions.ClientKeyWords},
		"words":   {"form": "keyfile", "key": walkKey, "confirm": "acme", "words": "yes"},
		"key":     {"form": "keyfile", "key": "c2hvcnQ=", "confirm": "acme", "words": actions.ClientKeyWords},
		"for":     {"form": "keyfile", "key": walkKey, "confirm": "acme", "words": actions.ClientKeyWords, "for": "25h"},
		"idle":    {"form": "keyfile", "key": walkKey, "confirm": "acme", "words": actions.ClientKeyWords, "idle": "-1m"},
		"form":    {"form": "vault", "key": walkKey, "confirm": "acme", "words": actions.ClientKeyWords},
	} {
		r.wants(400, words, "", "PUT", key, in)
	}
	r.wants(200, `"state":"none"`, "", "GET", key, nil)
	owner := r.issue("acme", object{"role": "owner"})
	r.setKey(nil)
	r.wants(409, "already", "", "PUT", key, object{"form": "keyfile", "key": walkKey, "confirm": "acme", "words": actions.ClientKeyWords})
	r.wants(200, "sk_acme", owner, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	r.must("", "POST", "/api/v1/tenants/acme/sql", object{"sql": "INSERT INTO t(b) VALUES ('kept')"}, nil)
	r.wants(200, `"state":"closed"`, owner, "POST", key+"/close", nil)
	r.closedForAll(owner)
	r.wants(200, "sk_globex", "", "GET", "/api/v1/tenants/globex/secret?path=stripe/live", nil)
	log := r.wants(200, "refused", owner, "GET", "/api/v1/tenants/acme/audit?limit=1000", nil)
	if !strings.Contains(string(log.body), `"clientkey.close"`) {
		t.Errorf("the log does not say who closed: %.300s", log.body)
	}
	stop()

	r, stop = serveOn(t, dir, nil)
	r.closedForAll(owner)
	r.wants(403, "is closed", owner, "DELETE", key+"?confirm=acme", nil) // to take it off needs it too
	other := "abcd" + walkKey[4:]
	for range 5 {
		r.wants(403, "not the key", owner, "POST", key+"/open", object{"form": "keyfile", "key": other})
	}
	r.wants(429, "too many", owner, "POST", key+"/open", object{"form": "keyfile", "key": walkKey})
	r.wants(200, "client-key", "", "GET", "/api/v1/tenants/acme/alerts", nil)
	r.closedForAll(owner)
	stop() // the count is kept in memory: whoever restarts Coffer is its operator, and cannot present keys

	r, stop = serveOn(t, dir, nil)
	r.wants(200, `"state":"open"`, owner, "POST", key+"/open", object{"form": "keyfile", "key": walkKey, "for": "1h"})
	r.wants(200, "sk_acme", owner, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	r.wants(200, "kept", owner, "POST", "/api/v1/tenants/acme/sql", object{"sql": "SELECT b FROM t"})
	r.must("", "POST", "/api/v1/tenants/acme/suspend", nil, nil)
	r.wants(403, "is suspended", owner, "POST", key+"/open", object{"form": "keyfile", "key": walkKey})
	r.must("", "POST", "/api/v1/tenants/acme/resume", nil, nil)
	r.closedForAll(owner) // who resumes does not open
	r.must(owner, "POST", key+"/open", object{"form": "keyfile", "key": walkKey}, nil)
	r.wants(200, `"state":"none"`, owner, "DELETE", key+"?confirm=acme", nil)
	stop()

	r, stop = serveOn(t, dir, nil)
	defer stop()
	r.wants(200, "sk_acme", owner, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	r.setKey(nil)
	r.must("", "POST", key+"/close", nil, nil)
	r.must("", "DELETE", "/api/v1/tenants/acme?confirm=acme", nil, nil) // destroying needs no key
}

// TestClientKeyEnds: what a key opened ends by itself, and a session has to prove
// the second factor to set or present one.
func TestClientKeyEnds(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	olga := p.operator("olga")
	const key = "/api/v1/tenants/acme/client-key"
	body := object{"form": "keyfile", "key": walkKey, "confirm": "acme", "words": actions.ClientKeyWords, "for": "10m"}
	p.clock.pass(6 * time.Minute)
	p.want(403, "step_up", olga.Session, "PUT", key, body)
	p.want(200, "fresh", olga.Session, "POST", "/api/v1/sessions/step-up", object{"code": p.nextCode(olga)})
	p.want(200, `"open"`, olga.Session, "PUT", key, body)
	token := p.issue("acme", object{"role": "owner"})
	p.want(200, "sk_acme", token, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.clock.pass(11 * time.Minute)
	p.want(403, underKey, token, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.want(403, underKey, token, "POST", "/api/v1/tenants/acme/sql", object{"sql": "SELECT 1"})
	p.want(200, `"open"`, token, "POST", key+"/open", object{"form": "keyfile", "key": walkKey, "idle": "5m"})
	p.clock.pass(4 * time.Minute)
	p.want(200, "sk_acme", token, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.clock.pass(4 * time.Minute)
	p.want(200, "sk_acme", token, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
	p.clock.pass(6 * time.Minute)
	p.want(403, underKey, token, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
}

// TestClosingRacesReads: once the answer to closing is there, nothing is read, and
// before it every read is whole or refused.
func TestClosingRacesReads(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	token := r.issue("acme", object{"role": "owner"})
	r.setKey(nil)
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		closed, stop := make(chan struct{}), make(chan struct{})
		var readers sync.WaitGroup
		for n := range 4 {
			readers.Go(func() {
				for {
					after := false
					select {
					case <-stop:
						return
					case <-closed:
						after = true
					default:
					}
					method, path, body, good := "GET", "/secret?path=stripe/live", any(nil), "sk_acme"
					if n%2 == 0 {
						method, path, body, good = "POST", "/sql", object{"sql": "SELECT count(*) AS n FROM t"}, `"n"`
					}
					a := r.do(token, method, "/api/v1/tenants/acme"+path, body)
					ok := a.status == 200 && strings.Contains(string(a.body), good)
					refused := a.status == 403 && strings.Contains(string(a.body), underKey) || a.status == 503
					if after && !refused || !ok && !refused {
						t.Errorf("closed %v: %d %s", after, a.status, a.body)
					}
				}
			})
		}
		r.must(token, "POST", "/api/v1/tenants/acme/client-key/close", nil, nil)
		close(closed)
		r.closedForAll(token)
		close(stop)
		readers.Wait()
		r.must(token, "POST", "/api/v1/tenants/acme/client-key/open", object{"form": "keyfile", "key": walkKey}, nil)
	}
	r.wants(200, "sk_acme", token, "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil)
}

// TestClosingEndsTransactions: one that is open is rolled back, and its client is
// told.
func TestClosingEndsTransactions(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	token := r.issue("acme", object{"role": "owner"})
	r.setKey(nil)
	execute := func(sql string) object { return object{"type": "execute", "stmt": object{"sql": sql}} }
	const pipeline = "/t/acme/db/v3/pipeline"
	a := r.wants(200, "baton", token, "POST", pipeline, object{"baton": nil, "requests": []any{execute("BEGIN IMMEDIATE"), execute("INSERT INTO t(b) VALUES ('lost')")}})
	var out struct {
		Baton string `json:"baton"`
	}
	if err := json.Unmarshal(a.body, &out); err != nil || out.Baton == "" {
		t.Fatalf("no transaction: %v %s", err, a.body)
	}
	r.must(token, "POST", "/api/v1/tenants/acme/client-key/close", nil, nil)
	if a := r.do(token, "POST", pipeline, object{"baton": out.Baton, "requests": []any{execute("COMMIT")}}); a.status == 200 && !strings.Contains(string(a.body), "error") {
		t.Errorf("a transaction went on in a closed tenant: %s", a.body)
	}
	r.must(token, "POST", "/api/v1/tenants/acme/client-key/open", object{"form": "keyfile", "key": walkKey}, nil)
	if a := r.do(token, "POST", "/api/v1/tenants/acme/sql", object{"sql": "SELECT b FROM t"}); strings.Contains(string(a.body), "lost") {
		t.Errorf("it was committed: %s", a.body)
	}
}

// TestClosedForWhatCameBefore: a wrapped answer and a transit key from before are
// no way in, neither natively nor through the API of Vault, and are there again
// once the key is presented; rotations keep them too.
func TestClosedForWhatCameBefore(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	const acme = "/api/v1/tenants/acme"
	var wrapped struct {
		Token string `json:"token"`
	}
	r.must("", "POST", acme+"/wrap", object{"data": object{"k": "wrapped before"}}, &wrapped)
	r.must("", "POST", acme+"/transit/orders", object{}, nil)
	var sealed struct {
		Results []struct {
			Text string `json:"text"`
		} `json:"results"`
	}
	r.must("", "POST", acme+"/transit/orders/encrypt", object{"items": []object{{"plaintext": "aGVsbG8="}}}, &sealed)
	if len(sealed.Results) != 1 {
		t.Fatalf("%+v", sealed)
	}
	decrypt := object{"items": []object{{"ciphertext": sealed.Results[0].Text}}}
	r.setKey(nil)
	for _, kind := range []string{"secrets", "kek"} {
		r.must("", "POST", acme+"/rotations", object{"kind": kind}, nil)
	}
	r.allDoneOf(acme)
	r.wants(200, "aGVsbG8=", "", "POST", acme+"/transit/orders/decrypt", decrypt)
	r.must("", "POST", acme+"/client-key/close", nil, nil)
	r.wants(403, underKey, "", "POST", "/api/v1/wrapping/unwrap", object{"token": wrapped.Token})
	r.wants(403, underKey, "", "POST", acme+"/transit/orders/decrypt", decrypt)
	r.wants(403, underKey, "", "GET", acme+"/transit/orders", nil)
	r.must("", "POST", acme+"/client-key/open", object{"form": "keyfile", "key": walkKey}, nil)
	r.wants(200, "aGVsbG8=", "", "POST", acme+"/transit/orders/decrypt", decrypt)
	r.wants(200, "wrapped before", "", "POST", "/api/v1/wrapping/unwrap", object{"token": wrapped.Token})
}
