package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"coffer/app/httpd"
)

// request is one thing that a client of the crash test asks for, with what has
// to come of it. Its tag goes out as the User-Agent, so that the audit log can
// be asked what became of a request whose answer was lost.
type request struct {
	tag    string
	log    string // the tenant in whose log it stands, "" for the appliance's own
	action string
	change bool

	method, path string
	query        url.Values
	body         any
	bearer       string            // "" for the local user
	header       map[string]string // further ones

	want   []int                // statuses that are right; 200 if empty
	check  func(b []byte) error // whether a good answer is the right one
	effect func(b []byte)       // what it does to the model; b is nil if the answer was lost

	status  int    // of the answer, 0 if none came
	receipt string // of the answer
}

// tolerates adds statuses that are right besides.
func (r *request) tolerates(statuses ...int) *request {
	if len(r.want) == 0 {
		r.want = []int{http.StatusOK}
	}
	r.want = append(r.want, statuses...)
	return r
}

func (r *request) String() string {
	answer := "no answer"
	if r.status != 0 {
		answer = fmt.Sprintf("answered %d", r.status)
	}
	return fmt.Sprintf("%s (%s on %q, %s)", r.tag, r.action, r.log, answer)
}

// good says that an answer came, and that it said yes.
func (r *request) good() bool { return r.status >= 200 && r.status < 300 }

// maxReply bounds what is read of one answer, in bytes.
const maxReply = 64 << 20

// send asks, and on an answer checks it and applies its effect. lost says that
// no complete answer came; what became of the request is then in doubt.
func (r *request) send(ctx context.Context, client *http.Client) (lost, wrong error) {
	body, err := r.exchange(ctx, client)
	if err != nil {
		return err, nil
	}
	want := r.want
	if len(want) == 0 {
		want = []int{http.StatusOK}
	}
	if !slices.Contains(want, r.status) {
		return nil, fmt.Errorf("%v: want %v: %.300s", r, want, body)
	}
	if !r.good() {
		return nil, nil
	}
	if r.check != nil {
		if err := r.check(body); err != nil {
			return nil, fmt.Errorf("%v: %w", r, err)
		}
	}
	if r.effect != nil {
		r.effect(body)
	}
	return nil, nil
}

func (r *request) exchange(ctx context.Context, client *http.Client) ([]byte, error) {
	var in io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	target := url.URL{Scheme: "http", Host: "coffer", Path: r.path, RawQuery: r.query.Encode()}
	req, err := http.NewRequestWithContext(ctx, r.method, target.String(), in)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", r.tag)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if r.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	r.receipt = resp.Header.Get(httpd.AuditHeader) // it counts from here on, whatever becomes of the rest
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, err
	}
	r.status = resp.StatusCode
	return body, nil
}

// tenantURL is a path of the API within a tenant.
func tenantURL(id string, rest ...string) string {
	return strings.Join(append([]string{"/api/v1/tenants/" + id}, rest...), "/")
}

// logURL is the path of a log; "" is the appliance's own.
func logURL(id string, rest ...string) string {
	if id == "" {
		return strings.Join(append([]string{"/api/v1/audit"}, rest...), "/")
	}
	return tenantURL(id, append([]string{"audit"}, rest...)...)
}

// fields reads a JSON object.
func fields(b []byte) map[string]any {
	var m map[string]any
	_ = json.Unmarshal(b, &m) // what is missing then is found missing by who reads it
	return m
}
