package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"coffer/audit"
)

// TestAttackGuesses tries credentials that do not hold wherever one can be tried.
// Every try must be counted in the appliance's log, with where it came from.
func TestAttackGuesses(t *testing.T) {
	data := t.TempDir()
	r, stop := serveOn(t, data, nil)
	const guess = "cft_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, try := range []struct {
		path, header string
		body         any
		status       int
	}{
		{"/api/v1/token/lookup", "", object{"token": guess}, http.StatusNotFound},
		{"/api/v1/token/revoke", "", object{"token": guess}, http.StatusNotFound},
		{"/api/v1/login/workload", "", object{"role_id": "w_x", "secret_id": "x"}, http.StatusUnauthorized},
		{"/api/v1/tenants", "Bearer " + guess, object{"id": "acme", "name": "x"}, http.StatusUnauthorized},
		{"/api/v1/tenants", "Basic cm9vdDpyb290", object{"id": "acme", "name": "x"}, http.StatusUnauthorized},
	} {
		b, err := json.Marshal(try.body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodPost, "http://coffer"+try.path, strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if try.header != "" {
			req.Header.Set("Authorization", try.header)
		}
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != try.status {
			t.Errorf("%s: %d", try.path, resp.StatusCode)
		}
	}
	stop() // what was counted is written at the end at the latest

	r, stop = serveOn(t, data, nil)
	defer stop()
	var log struct {
		Events []struct {
			Detail struct {
				Reason  string
				Count   int
				Sources map[string]int
			}
		}
	}
	r.must("", http.MethodGet, "/api/v1/audit?action="+string(audit.StrayAction), nil, &log)
	got := map[string]int{}
	for _, e := range log.Events {
		got[e.Detail.Reason] += e.Detail.Count
		for source := range e.Detail.Sources {
			if !strings.HasPrefix(source, "socket uid=") {
				t.Errorf("%s came from %q", e.Detail.Reason, source)
			}
		}
	}
	for reason, n := range map[string]int{"unknown token": 2, "workload login": 1, "token": 1, "no bearer token": 1} {
		if got[reason] != n {
			t.Errorf("%q was counted %d times, want %d", reason, got[reason], n)
		}
	}
}
