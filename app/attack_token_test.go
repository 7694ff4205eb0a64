package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// look shows what a token may do, and whether it holds.
func (r *running) look(token string) (expires time.Time, ok bool) {
	r.tb.Helper()
	a := r.do("", http.MethodPost, "/api/v1/token/lookup", object{"token": token})
	var out struct {
		Expires time.Time `json:"expires"`
	}
	if a.status == http.StatusOK {
		if err := json.Unmarshal(a.body, &out); err != nil {
			r.tb.Fatal(err)
		}
	}
	return out.Expires, a.status == http.StatusOK
}

// TestAttackLongerToken: a thief of a token asks for a token with it, again and
// again. None may outlast the one that was stolen.
func TestAttackLongerToken(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.must("", http.MethodPost, "/api/v1/tenants/acme/workloads", object{"name": "web", "grants": []string{"sql:analyst"}}, nil)
	stolen := r.issue("acme", object{"ttl": "5m"})
	end, _ := r.look(stolen)
	for _, in := range []object{{"ttl": "24h"}, {"ttl": "24h", "role": "viewer"}, {"ttl": "24h", "workload": "web"}, {}} {
		var out struct {
			Token   string    `json:"token"`
			Expires time.Time `json:"expires"`
		}
		r.must(stolen, http.MethodPost, "/api/v1/tenants/acme/tokens", in, &out)
		if real, ok := r.look(out.Token); !ok || real.After(end) || out.Expires.After(end) {
			t.Errorf("%v: the token ends %v, the one it was made with %v", in, real, end)
		}
	}
}

// TestAttackTokenOutlivesItsMaker: who loses a role keeps nothing of it in the
// tokens that were issued for workloads.
func TestAttackTokenOutlivesItsMaker(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.must("", http.MethodPost, "/api/v1/tenants/acme/workloads", object{"name": "web", "grants": []string{"secret:read:*", "sql:analyst"}}, nil)
	r.must("", http.MethodPost, "/api/v1/tenants/acme/members", object{"name": "bob", "role": "owner"}, nil)
	made := r.issue("acme", object{"workload": "web", "ttl": "24h"})
	secret := "/api/v1/tenants/acme/secret?path=stripe/live"
	r.must(made, http.MethodGet, secret, nil, nil)
	me := ""
	var members struct {
		Members []struct{ Name, Role string }
	}
	r.must("", http.MethodGet, "/api/v1/tenants/acme/members", nil, &members)
	for _, m := range members.Members {
		if m.Name != "bob" {
			me = m.Name
		}
	}
	// As the analyst that the maker is now, the workload's token reads no secret.
	r.must("", http.MethodPatch, "/api/v1/tenants/acme/members/"+me, object{"role": "analyst"}, nil)
	if a := r.do(made, http.MethodGet, secret, nil); a.status != http.StatusForbidden {
		t.Errorf("the maker is an analyst; the token's answer is %d %s", a.status, a.body)
	}
	r.must(made, http.MethodPost, "/api/v1/tenants/acme/sql", object{"sql": "SELECT 1"}, nil)
}

// TestAttackRemovedMemberKeepsToken: removing a member ends what the member
// issued for workloads too.
func TestAttackRemovedMemberKeepsToken(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.must("", http.MethodPost, "/api/v1/tenants/acme/workloads", object{"name": "web", "grants": []string{"sql:analyst"}}, nil)
	r.must("", http.MethodPost, "/api/v1/tenants/acme/members", object{"name": "bob", "role": "owner"}, nil)
	made := r.issue("acme", object{"workload": "web"})
	var members struct {
		Members []struct{ Name string }
	}
	r.must("", http.MethodGet, "/api/v1/tenants/acme/members", nil, &members)
	for _, m := range members.Members {
		if m.Name != "bob" {
			r.must("", http.MethodDelete, "/api/v1/tenants/acme/members/"+m.Name, nil, nil)
		}
	}
	if _, ok := r.look(made); ok {
		t.Error("the token of the removed member holds")
	}
}

// TestAttackTokenInTheLog puts a token where an accessor belongs. It must not
// come to stand in the log.
func TestAttackTokenInTheLog(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	token := r.issue("acme", object{"role": "viewer"})
	a := r.do("", http.MethodDelete, "/api/v1/tenants/acme/tokens/"+token, nil)
	if a.status != http.StatusBadRequest || strings.Contains(string(a.body), token) {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	for _, path := range []string{"/api/v1/tenants/acme/audit?limit=1000", "/api/v1/audit?limit=1000"} {
		if a := r.do("", http.MethodGet, path, nil); a.status != http.StatusOK || strings.Contains(string(a.body), token) {
			t.Errorf("%s: %d, and the token stands in it", path, a.status)
		}
	}
}

// TestAttackBreakGlassEdge sends changes that must not outlast a break-glass
// membership while it ends: each look at the clock finds it some minutes later,
// so that the membership holds when it is asked for and not when it is used.
func TestAttackBreakGlassEdge(t *testing.T) {
	var ahead, step atomic.Int64
	start := time.Now()
	r, stop := serveOn(t, shortDir(t), func() time.Time {
		return start.Add(time.Duration(ahead.Add(step.Load())) + time.Since(start))
	})
	defer stop()
	r.tenant("acme")
	r.must("", http.MethodPost, "/api/v1/tenants/acme/members", object{"name": "bob", "role": "owner"}, nil)
	var members struct {
		Members []struct{ Name string }
	}
	r.must("", http.MethodGet, "/api/v1/tenants/acme/members", nil, &members)
	for _, m := range members.Members {
		if m.Name != "bob" {
			r.must("", http.MethodDelete, "/api/v1/tenants/acme/members/"+m.Name, nil, nil)
		}
	}
	for i := range 12 {
		r.must("", http.MethodPost, "/api/v1/tenants/acme/break-glass", object{"reason": "edge", "ttl": "10m"}, nil)
		step.Store(int64(time.Minute) + int64(i)*int64(40*time.Second))
		for range 20 {
			a := r.do("", http.MethodPost, "/api/v1/tenants/acme/members", object{"name": "eve", "role": "owner"})
			if a.status < 300 {
				t.Fatalf("a member was added through the hole (step %v)", time.Duration(step.Load()))
			}
		}
		step.Store(0)
		ahead.Add(int64(time.Hour))
	}
}
