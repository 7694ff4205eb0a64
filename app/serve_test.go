package app_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"coffer/app"
)

// running is a Coffer that serves a temporary data directory.
type running struct {
	tb     testing.TB
	data   string
	client *http.Client
	base   string // of the addresses; "" for the local socket
}

// serveTemp runs a Coffer on a new directory for a test and stops it at its end.
func serveTemp(tb testing.TB) *running {
	tb.Helper()
	r, stop := serveOn(tb, tb.TempDir(), nil)
	tb.Cleanup(stop)
	return r
}

// serveOn runs a Coffer on a data directory under a wall clock until stop.
func serveOn(tb testing.TB, data string, wall func() time.Time) (r *running, stop func()) {
	tb.Helper()
	return serveAt(tb, data, "", wall)
}

// serveAt is serveOn under an address for browsers.
func serveAt(tb testing.TB, data, url string, wall func() time.Time) (r *running, stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, done := serveIn(ctx, tb, data, url, wall)
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("stopping: %v", err)
		}
	}
}

// serveUntilItEnds is for a Coffer that ends by itself; the channel gives its
// error then.
func serveUntilItEnds(tb testing.TB, data string) (r *running, ended <-chan error) {
	tb.Helper()
	return serveIn(tb.Context(), tb, data, "", nil)
}

func serveIn(ctx context.Context, tb testing.TB, data, url string, wall func() time.Time) (*running, <-chan error) {
	tb.Helper()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- app.ServeAtForTest(ctx, data, url, wall, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		tb.Fatalf("serving: %v", err)
	}
	return &running{tb: tb, data: data, client: app.SocketClient(data)}, done
}

// answer is what came back.
type answer struct {
	status  int
	body    []byte
	receipt string
	header  http.Header
}

var requestID = regexp.MustCompile(`"r_[a-z2-7]{26}"`)

// words are the body without what is of this one request.
func (a answer) words() string { return requestID.ReplaceAllString(string(a.body), `"r_"`) }

// do sends a request over the socket; token "" is the local user. Whatever comes
// back must be what the API's document says.
func (r *running) do(token, method, path string, body any) answer {
	r.tb.Helper()
	return r.doWith(nil, token, method, path, body)
}

// doWithCode is do with a code of the second factor, "" for none.
func (r *running) doWithCode(token, code, method, path string, body any) answer {
	r.tb.Helper()
	headers := map[string]string{}
	if code != "" {
		headers["Coffer-Code"] = code
	}
	return r.doWith(headers, token, method, path, body)
}

// doWith is do with more headers, or others.
func (r *running) doWith(headers map[string]string, token, method, path string, body any) answer {
	r.tb.Helper()
	var in io.Reader
	sent, raw := body.([]byte) // as it is
	if body != nil && !raw {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			r.tb.Fatal(err)
		}
	}
	if body != nil {
		in = bytes.NewReader(sent)
	}
	req, err := http.NewRequest(method, cmp.Or(r.base, "http://coffer")+path, in)
	if err != nil {
		r.tb.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.tb.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.tb.Fatal(err)
	}
	a := answer{resp.StatusCode, b, resp.Header.Get("Coffer-Audit"), resp.Header}
	if _, measured := r.tb.(*testing.B); measured {
		return a // checking it takes longer than the request
	}
	if strings.HasPrefix(path, "/t/") || strings.HasPrefix(path, "/v1/") {
		return a // another protocol, with a document of its own
	}
	if err := asked(method, path, sent); err != nil && resp.StatusCode < 300 {
		r.tb.Errorf("%s %s: openapi.json knows no such request, and it was answered: %v", method, path, err)
	}
	if err := promised(method, path, resp.StatusCode, resp.Header, b); err != nil {
		r.tb.Errorf("%s %s: the answer is not what openapi.json says: %v\n%.500s", method, path, err, b)
	}
	return a
}

// must is do for what has to work; it reads the answer into out.
func (r *running) must(token, method, path string, body, out any) {
	r.tb.Helper()
	a := r.do(token, method, path, body)
	if a.status >= 300 {
		r.tb.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if out != nil {
		if err := json.Unmarshal(a.body, out); err != nil {
			r.tb.Fatal(err)
		}
	}
}

type object = map[string]any

// tenant makes a tenant with a secret and a table.
func (r *running) tenant(id string) {
	r.tb.Helper()
	r.must("", "POST", "/api/v1/tenants", object{"id": id, "name": id}, nil)
	r.must("", "PUT", "/api/v1/tenants/"+id+"/secret?path=stripe/live", object{"data": object{"key": "sk_" + id}}, nil)
	r.must("", "POST", "/api/v1/tenants/"+id+"/sql", object{"sql": "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)"}, nil)
}

// issue makes a token of a tenant.
func (r *running) issue(id string, in object) string {
	r.tb.Helper()
	var out struct {
		Token string `json:"token"`
	}
	r.must("", "POST", "/api/v1/tenants/"+id+"/tokens", in, &out)
	return out.Token
}
