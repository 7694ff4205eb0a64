package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// approle makes a role with a secret id in acme.
func (r *running) approle(owner, name string, role, secret object) (roleID, secretID string) {
	r.tb.Helper()
	r.wantVault(204, "", owner, "acme", "POST", "auth/approle/role/"+name, role)
	id, _ := r.wantVault(200, "", owner, "acme", "GET", "auth/approle/role/"+name+"/role-id", nil).vaultData(r.tb)["role_id"].(string)
	made := r.wantVault(200, "secret_id_accessor", owner, "acme", "PUT", "auth/approle/role/"+name+"/secret-id", secret).vaultData(r.tb)
	text, _ := made["secret_id"].(string)
	return id, text
}

// TestVaultAppRole: a role, its ids, a login, and what the token may.
func TestVaultAppRole(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	owner := r.issue("acme", object{"role": "owner"})
	roleID, secretID := r.approle(owner, "web", object{"token_policies": []string{"default", "secret:read:stripe/*"}, "token_ttl": "10m"}, nil)
	in := object{"role_id": roleID, "secret_id": secretID}
	for _, c := range []struct{ namespace, path string }{{"acme", "auth/approle/login"}, {"", "auth/approle/login"}, {"", "acme/auth/approle/login"}} {
		a := r.wantVault(200, `"client_token"`, "s.stale", c.namespace, "POST", c.path, in)
		var out struct {
			Auth struct {
				ClientToken   string            `json:"client_token"`
				LeaseDuration int               `json:"lease_duration"`
				Renewable     bool              `json:"renewable"`
				Policies      []string          `json:"policies"`
				Metadata      map[string]string `json:"metadata"`
			} `json:"auth"`
		}
		if err := json.Unmarshal(a.body, &out); err != nil || out.Auth.LeaseDuration != 600 || !out.Auth.Renewable ||
			fmt.Sprint(out.Auth.Policies, out.Auth.Metadata) != "[default secret:read:stripe/*] map[role_name:web]" {
			t.Errorf("%s: %v", a.body, err)
		}
		r.wantVault(200, "sk_", out.Auth.ClientToken, "acme", "GET", "secret/data/stripe/live", nil)
		r.wantVault(403, "permission denied", out.Auth.ClientToken, "acme", "GET", "secret/data/other", nil)
	}
	r.wantVault(200, `"web"`, owner, "acme", "LIST", "auth/approle/role", nil)
	r.wantVault(200, `"token_ttl":600`, owner, "acme", "GET", "auth/approle/role/web", nil)
	r.wantVault(404, `{"errors":[]}`, owner, "acme", "GET", "auth/approle/role/none/role-id", nil)
	r.wantVault(204, "", owner, "acme", "DELETE", "auth/approle/role/web", nil)
	r.wantVault(400, "invalid role or secret ID", "", "acme", "POST", "auth/approle/login", in)
}

// TestAttackVaultAppRole: whoever holds half of it, or that of another, gets nothing,
// and all failures look the same. A bound that is not kept is refused, and a secret
// id for three logins gives three, however many ask at once.
func TestAttackVaultAppRole(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	owner := r.issue("acme", object{"role": "owner"})
	roleID, secretID := r.approle(owner, "web", object{"token_policies": "sql:analyst"}, object{"num_uses": 3})
	otherID, _ := r.approle(owner, "other", object{"token_policies": "sql:analyst"}, nil)
	for _, c := range []struct {
		namespace string
		in        object
	}{
		{"globex", object{"role_id": roleID, "secret_id": secretID}}, {"nobody", object{"role_id": roleID, "secret_id": secretID}},
		{"acme", object{"role_id": otherID, "secret_id": secretID}}, {"acme", object{"role_id": "w_none", "secret_id": secretID}},
		{"acme", object{"role_id": roleID, "secret_id": "cfs_wrong"}}, {"acme", object{"role_id": strings.Repeat("x", 9000), "secret_id": "x"}},
	} {
		if a := r.vault("", c.namespace, "POST", "auth/approle/login", c.in); a.status != 400 || string(a.body) != `{"errors":["invalid role or secret ID"]}` {
			t.Errorf("%v: %d %s", c, a.status, a.body)
		}
	}
	r.wantVault(400, "missing secret_id", "", "acme", "POST", "auth/approle/login", object{"role_id": roleID})
	for _, field := range []object{{"token_bound_cidrs": "10.0.0.0/8"}, {"secret_id_num_uses": 1}, {"secret_id_bound_cidrs": []string{"10.0.0.0/8"}}, {"token_num_uses": "2"}} {
		field["token_policies"] = "sql:analyst"
		r.wantVault(400, "a workload does not keep it", owner, "acme", "POST", "auth/approle/role/bounded", field)
	}
	r.wantVault(400, "does not keep it", owner, "acme", "POST", "auth/approle/role/web/secret-id", object{"cidr_list": "10.0.0.0/8"})

	var in atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch a := r.vault("", "acme", "POST", "auth/approle/login", object{"role_id": roleID, "secret_id": secretID}); {
			case a.status == 200:
				in.Add(1)
			case a.status != 400:
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if in.Load() != 3 {
		t.Errorf("%d logins with a secret id for three", in.Load())
	}
	// A viewer gives nobody more than a viewer has.
	viewer := r.issue("acme", object{"role": "viewer"})
	r.wantVault(403, "permission denied", viewer, "acme", "POST", "auth/approle/role/mine", object{"token_policies": "sql:analyst"})
}
