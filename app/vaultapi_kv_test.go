package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// vaultData is the data of an answer.
func (a answer) vaultData(tb testing.TB) map[string]any {
	tb.Helper()
	var e struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(a.body, &e); err != nil {
		tb.Errorf("%d %s: %v", a.status, a.body, err)
	}
	return e.Data
}

// TestVaultSecrets: versioned secrets in the forms in which clients send and read them.
func TestVaultSecrets(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	want := func(status int, text, method, path string, body any) answer {
		t.Helper()
		return r.wantVault(status, text, owner, "acme", method, path, body)
	}
	a := want(200, `"version":1`, "PUT", "secret/data/app/db", object{"data": object{"a": "1", "n": object{"x": []any{1.5, true, nil}}}, "options": object{}, "cas": 7})
	if text := string(a.body); !strings.Contains(text, `"deletion_time":""`) || !strings.Contains(text, `"custom_metadata":null`) || a.receipt == "" {
		t.Errorf("%s, receipt %q", text, a.receipt)
	}
	want(200, `"version":2`, "POST", "secret/data/app/db", object{"data": object{"a": "2"}, "options": object{"cas": 1}})
	want(400, "check-and-set parameter did not match the current version", "POST", "secret/data/app/db", object{"data": object{"a": "3"}, "options": object{"cas": 1}})
	want(400, "no data provided", "POST", "secret/data/app/db", object{})
	want(400, "failed to decode JSON input", "POST", "secret/data/app/db", []byte(`{"data":{"a":1,"a":2}}`))
	if got := fmt.Sprint(want(200, "", "GET", "secret/data/app/db?version=1", nil).vaultData(t)["data"]); got != "map[a:1 n:map[x:[1.5 true <nil>]]]" {
		t.Errorf("%s", got)
	}
	want(200, `"version":3`, "PATCH", "secret/data/app/db", object{"data": object{"a": nil, "b": object{"c": "d"}}})
	if got := fmt.Sprint(want(200, "", "GET", "secret/data/app/db", nil).vaultData(t)["data"]); got != "map[b:map[c:d]]" {
		t.Errorf("after a patch: %s", got)
	}
	want(404, `{"errors":[]}`, "PATCH", "secret/data/app/none", object{"data": object{"a": "1"}})
	if a := r.doWith(map[string]string{"X-Vault-Token": owner, "Content-Type": "application/json"}, "", "PATCH", "/v1/acme/secret/data/app/db", object{"data": object{}}); a.status != 415 {
		t.Errorf("a patch of another type: %d %s", a.status, a.body)
	}

	want(204, "", "DELETE", "secret/data/app/db", nil)
	gone := want(404, `"data":null`, "GET", "secret/data/app/db", nil)
	if meta, _ := gone.vaultData(t)["metadata"].(map[string]any); meta["deletion_time"] == "" || meta["version"] != 3.0 {
		t.Errorf("%s", gone.body)
	}
	want(204, "", "POST", "secret/undelete/app/db", object{"versions": []any{"3", 99}})
	want(204, "", "PUT", "secret/delete/app/db", object{"versions": []any{1, 2}})
	want(204, "", "PUT", "secret/destroy/app/db", object{"versions": "1"})
	want(400, "no version number provided", "PUT", "secret/destroy/app/db", object{})
	meta := want(200, "", "GET", "secret/metadata/app/db", nil).vaultData(t)
	versions, _ := meta["versions"].(map[string]any)
	if got := fmt.Sprintf("%v %v %v %d", meta["current_version"], meta["oldest_version"], meta["delete_version_after"], len(versions)); got != "3 1 0s 3" {
		t.Errorf("%s: %v", got, meta)
	}
	of := func(n string) map[string]any { v, _ := versions[n].(map[string]any); return v }
	if of("1")["destroyed"] != true || of("2")["deletion_time"] == "" || of("3")["deletion_time"] != "" {
		t.Errorf("%v", versions)
	}

	for _, path := range []string{"app/web", "app/deep/er", "top"} {
		want(200, "", "PUT", "secret/data/"+path, object{"data": object{"a": "1"}})
	}
	for path, keys := range map[string]string{"": "[app/ stripe/ top]", "app": "[db deep/ web]", "app/": "[db deep/ web]", "app/deep": "[er]"} {
		for _, ask := range [][2]string{{"LIST", "secret/metadata/" + path}, {"GET", "secret/metadata/" + path + "?list=true"}} {
			if got := fmt.Sprint(want(200, "", ask[0], ask[1], nil).vaultData(t)["keys"]); got != keys {
				t.Errorf("%s %s: %s, want %s", ask[0], ask[1], got, keys)
			}
		}
	}
	want(404, `{"errors":[]}`, "LIST", "secret/metadata/nothing", nil)
	want(404, `{"errors":[]}`, "GET", "secret/data/nothing", nil)

	// The native surface shows the same.
	if a := r.do(owner, "GET", "/api/v1/tenants/acme/secret?path=app/web", nil); a.status != 200 || !strings.Contains(string(a.body), `"a":"1"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestVaultCheckAndSet: of eight writers who saw the same version one gets through.
func TestVaultCheckAndSet(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	for version := range 3 {
		var through atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				a := r.vault(owner, "acme", "PUT", "secret/data/raced", object{"data": object{"a": "1"}, "options": object{"cas": version}})
				if a.status == 200 {
					through.Add(1)
				} else if a.status != 400 {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		if through.Load() != 1 {
			t.Errorf("%d writers got through at version %d", through.Load(), version)
		}
	}
}

// TestVaultMounts: what clients ask before they touch a secret.
func TestVaultMounts(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner, viewer := r.issue("acme", object{"role": "owner"}), r.issue("acme", object{"role": "viewer"})
	reader := r.issue("acme", object{"grants": []string{"secret:read:app/db"}})
	for _, token := range []string{owner, reader} {
		a := r.wantVault(200, `"path":"secret/"`, token, "acme", "GET", "sys/internal/ui/mounts/secret/app/db", nil)
		if data := a.vaultData(t); data["type"] != "kv" || fmt.Sprint(data["options"]) != "map[version:2]" {
			t.Errorf("%s", a.body)
		}
	}
	const refused = "preflight capability check returned 403"
	r.wantVault(403, refused, viewer, "acme", "GET", "sys/internal/ui/mounts/secret/app/db", nil)
	r.wantVault(403, refused, reader, "acme", "GET", "sys/internal/ui/mounts/secret/other", nil)
	r.wantVault(403, refused, owner, "acme", "GET", "sys/internal/ui/mounts/nowhere/app", nil)
	r.wantVault(403, "permission denied", owner, "globex", "GET", "sys/internal/ui/mounts/secret/app/db", nil)
	a := r.wantVault(200, `"secret/"`, owner, "acme", "GET", "sys/mounts", nil)
	var top map[string]any
	if err := json.Unmarshal(a.body, &top); err != nil || top["secret/"] == nil || a.vaultData(t)["secret/"] == nil {
		t.Errorf("%s", a.body)
	}
}

// TestVaultSecretPolicy: a policy about Vault's paths binds there and on the native
// surface.
func TestVaultSecretPolicy(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	r.wantVault(204, "", owner, "acme", "PUT", "sys/policies/acl/app", object{"policy": `
		path "secret/data/app/*" { capabilities = ["create", "update", "read"] }
		path "secret/data/app/hidden" { capabilities = ["deny"] }
		path "secret/metadata/app/" { capabilities = ["list"] }`})
	var held struct{ Token string }
	r.must(owner, "POST", "/api/v1/tenants/acme/tokens", object{"policies": []string{"app"}}, &held)
	r.wantVault(200, "", owner, "acme", "PUT", "secret/data/app/hidden", object{"data": object{"a": "1"}})
	r.wantVault(200, "", held.Token, "acme", "PUT", "secret/data/app/db", object{"data": object{"a": "1"}})
	r.wantVault(200, "", held.Token, "acme", "GET", "secret/data/app/db", nil)
	r.wantVault(200, `"db"`, held.Token, "acme", "LIST", "secret/metadata/app", nil)
	for _, refused := range [][2]string{
		{"GET", "secret/data/app/hidden"}, {"PATCH", "secret/data/app/db"}, {"DELETE", "secret/data/app/db"}, {"GET", "secret/metadata/app/db"},
		{"LIST", "secret/metadata/"}, {"GET", "secret/data/other"}, {"PUT", "secret/destroy/app/db"},
	} {
		var body any
		if refused[0] == "PATCH" || refused[0] == "PUT" {
			body = object{"data": object{"a": "1"}, "versions": []int{1}}
		}
		r.wantVault(403, "permission denied", held.Token, "acme", refused[0], refused[1], body)
	}
	for path, status := range map[string]int{"app/db": 200, "app/hidden": 403, "other": 403} {
		if a := r.do(held.Token, "GET", "/api/v1/tenants/acme/secret?path="+path, nil); a.status != status {
			t.Errorf("%s over the native API: %d %s", path, a.status, a.body)
		}
	}
}
