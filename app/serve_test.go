package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"coffer/app"
)

// running is a Coffer that serves a temporary data directory.
type running struct {
	tb     testing.TB
	data   string
	client *http.Client
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
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- app.ServeAtForTest(ctx, data, url, wall, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		tb.Fatalf("serving: %v", err)
	}
	return &running{tb: tb, data: data, client: app.SocketClient(data)}, func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("stopping: %v", err)
		}
	}
}

// answer is what came back.
type answer struct {
	status  int
	body    []byte
	receipt string
}

// do sends a request over the socket; token "" is the local user.
func (r *running) do(token, method, path string, body any) answer {
	r.tb.Helper()
	return r.doWith(token, "", method, path, body)
}

// doWith is do with a code of the second factor, "" for none.
func (r *running) doWith(token, code, method, path string, body any) answer {
	r.tb.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			r.tb.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://coffer"+path, in)
	if err != nil {
		r.tb.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if code != "" {
		req.Header.Set("Coffer-Code", code)
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
	return answer{resp.StatusCode, b, resp.Header.Get("Coffer-Audit")}
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
