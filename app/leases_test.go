package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const leasesURL = "/api/v1/tenants/acme/leases"

// leaseIDs are the ids of a list of leases, over all of its pages.
func (r *running) leaseIDs(token, prefix string) (ids []string) {
	r.tb.Helper()
	for after := ""; ; {
		var page struct {
			Leases []struct{ ID string }
			Next   string
		}
		r.must(token, http.MethodGet, leasesURL+"?limit=2&prefix="+prefix+"&after="+after, nil, &page)
		for _, l := range page.Leases {
			ids = append(ids, l.ID)
		}
		if after = page.Next; after == "" {
			return ids
		}
	}
}

// TestLeasesOfCoffer: tokens, secret ids and wrapped answers are found, renewed and
// revoked as leases, by id and by prefix, and nobody sees or touches others'.
func TestLeasesOfCoffer(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	owner := r.make("", "acme", object{"role": "owner", "renewable": true, "ttl": "20h"})
	viewer := r.make("", "acme", object{"role": "viewer"})
	r.must("", http.MethodPost, "/api/v1/tenants/acme/workloads", object{"name": "web", "grants": []string{"sql:analyst"}}, nil)
	r.must("", http.MethodPost, "/api/v1/tenants/acme/wrap", object{"data": object{"k": "v"}}, nil)
	if ids := r.leaseIDs(owner.Token, ""); len(ids) != 4 {
		t.Errorf("%d leases: %v", len(ids), ids)
	}
	if ids := r.leaseIDs(owner.Token, "auth/approle/role/web/"); len(ids) != 1 || !strings.Contains(ids[0], "/secret-id/sa_") {
		t.Errorf("secret ids: %v", ids)
	}
	id := "auth/token/create/" + owner.Accessor
	var shown struct {
		ID, Kind  string
		Renewable bool
	}
	r.must(owner.Token, http.MethodPost, leasesURL+"/lookup", object{"id": id}, &shown)
	if shown.ID != id || shown.Kind != "token" || !shown.Renewable {
		t.Errorf("%+v", shown)
	}
	r.must(owner.Token, http.MethodPost, leasesURL+"/renew", object{"id": id, "increment": "2h"}, nil)
	for path, body := range map[string]object{
		"/lookup": {"id": "auth/elsewhere/" + owner.Accessor}, "/renew": {"id": "database/creds/x/aaaaaaaaaaaaaaaaaaaaaaaa"}, "/revoke": {"id": "auth/token/create/ta_none"},
	} {
		if a := r.do(owner.Token, http.MethodPost, leasesURL+path, body); a.status != http.StatusNotFound {
			t.Errorf("%s of none: %d %s", path, a.status, a.body)
		}
	}
	if a := r.do(owner.Token, http.MethodPost, leasesURL+"/lookup", object{"id": "auth/" + owner.Token}); a.status != http.StatusBadRequest {
		t.Errorf("a token in place of an id: %d %s", a.status, a.body)
	}
	globex := r.make("", "globex", object{"role": "owner"})
	a := r.do(globex.Token, http.MethodPost, "/api/v1/tenants/globex/leases/lookup", object{"id": id})
	if a.status != http.StatusNotFound {
		t.Errorf("another tenant's: %d %s", a.status, a.body)
	}
	if a := r.do(viewer.Token, http.MethodPost, leasesURL+"/revoke-prefix", object{"prefix": "auth"}); a.status != http.StatusForbidden {
		t.Errorf("a viewer: %d %s", a.status, a.body)
	}
	secretID := r.leaseIDs(owner.Token, "auth/approle/")[0]
	r.must(owner.Token, http.MethodPost, leasesURL+"/revoke", object{"id": secretID}, nil)
	wrapped := r.leaseIDs(owner.Token, "sys/wrapping/")
	if len(wrapped) != 1 || len(r.leaseIDs(owner.Token, "auth/approle/")) != 0 {
		t.Errorf("wrapped: %v", wrapped)
	}
	r.must(owner.Token, http.MethodPost, leasesURL+"/revoke-prefix", object{"prefix": "sys/wrapping"}, nil)
	r.must(owner.Token, http.MethodPost, leasesURL+"/revoke", object{"id": "auth/token/create/" + viewer.Accessor}, nil)
	if ids := r.leaseIDs(owner.Token, ""); len(ids) != 1 || ids[0] != id {
		t.Errorf("what is left: %v", ids)
	}
	r.must("", http.MethodPost, leasesURL+"/revoke-prefix", object{"prefix": "auth/token"}, nil)
	if _, ok := r.look(owner.Token); ok {
		t.Error("the owner's token lives on")
	}
}

// TestRevokeEverything: one request ends all of somebody, and of nobody else.
func TestRevokeEverything(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	var credentials struct {
		RoleID   string `json:"role_id"`
		SecretID string `json:"secret_id"`
	}
	r.must("", http.MethodPost, "/api/v1/tenants/acme/workloads", object{"name": "web", "grants": []string{"sql:analyst"}}, &credentials)
	login := func() (made, answer) {
		var out made
		a := r.do("", http.MethodPost, "/api/v1/login/workload", object{"role_id": credentials.RoleID, "secret_id": credentials.SecretID})
		_ = json.Unmarshal(a.body, &out)
		return out, a
	}
	web, _ := login()
	mine := r.make("", "acme", object{"role": "owner"})
	child := r.make(mine.Token, "acme", object{"role": "viewer"})
	foreign := r.make("", "globex", object{"role": "owner"})
	lives := func(want bool, tokens ...string) {
		t.Helper()
		for _, token := range tokens {
			if _, ok := r.look(token); ok != want {
				t.Errorf("a token lives: %v, want %v", ok, want)
			}
		}
	}
	lives(true, web.Token, mine.Token, child.Token)
	for _, wrong := range []object{{}, {"all": true, "token": mine.Accessor}, {"member": "x", "workload": "y"}, {"token": "no name"}} {
		if a := r.do("", http.MethodPost, leasesURL+"/revoke-all", wrong); a.status != http.StatusBadRequest {
			t.Errorf("%v: %d %s", wrong, a.status, a.body)
		}
	}
	r.must(mine.Token, http.MethodPost, leasesURL+"/revoke-all", object{"workload": "web"}, nil)
	lives(false, web.Token)
	lives(true, mine.Token, child.Token, foreign.Token)
	if _, a := login(); a.status == http.StatusOK {
		t.Error("the secret id still opens")
	}
	r.must("", http.MethodPost, leasesURL+"/revoke-all", object{"token": mine.Accessor}, nil)
	lives(false, mine.Token, child.Token)
	again := r.make("", "acme", object{"role": "owner"})
	r.must(again.Token, http.MethodPost, leasesURL+"/revoke-all", object{"all": true}, nil)
	lives(false, again.Token)
	lives(true, foreign.Token)
	lives(true, r.make("", "acme", object{"role": "owner"}).Token)
}
