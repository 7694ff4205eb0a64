package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// putPolicy writes a policy as an owner does.
func (r *running) putPolicy(owner, name, text string) {
	r.tb.Helper()
	if a := r.do(owner, "PUT", "/api/v1/tenants/acme/policies/acl/"+name, object{"policy": text}); a.status != 200 {
		r.tb.Fatalf("%s: %d %s", name, a.status, a.body)
	}
}

// TestPoliciesOnAllSurfaces: what a policy says of Vault's paths binds the native
// API, SQL and Vault's API, from the moment it is written until it is removed.
func TestPoliciesOnAllSurfaces(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	owner := r.issue("acme", object{"role": "owner"})
	const base = "/api/v1/tenants/acme"
	for _, path := range []string{"stripe/live", "stripe/prod/key", "other"} {
		if a := r.do(owner, "PUT", base+"/secret?path="+path, object{"data": object{"k": "v"}}); a.status >= 300 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	r.putPolicy(owner, "stripe", `
path "secret/data/stripe/*"        { capabilities = ["create", "read"] }
path "secret/data/stripe/prod/*"   { capabilities = ["deny"] }
path "secret/metadata/stripe/*"    { capabilities = ["list"] }
path "sys/policies/acl/*"          { capabilities = ["create", "update", "read", "sudo"] }
path "globex/secret/data/*"        { capabilities = ["read"] }
path "auth/token/create"           { capabilities = ["update"] }
path "sql/"                        { capabilities = ["read"] }`)
	token := r.issue("acme", object{"policies": []string{"stripe"}})
	try := func(want int, method, path string, body any) {
		t.Helper()
		if a := r.do(token, method, path, body); a.status != want {
			t.Errorf("%s %s: %d %s, want %d", method, path, a.status, a.body, want)
		}
	}
	value := object{"data": object{"k": "v"}}
	try(200, "GET", base+"/secret?path=stripe/live", nil)
	try(403, "GET", base+"/secret?path=stripe/prod/key", nil)
	try(403, "GET", base+"/secret?path=other", nil)
	try(403, "GET", base+"/secret?path=Stripe/live", nil)
	try(400, "GET", base+"/secret?path=stripe/prod/../live", nil)
	try(400, "GET", base+"/secret?path=stripe//live", nil)
	try(400, "GET", base+"/secret?path=stripe/live/", nil)
	try(400, "GET", base+"/secret?path=stripe%252flive", nil)
	try(403, "GET", "/api/v1/tenants/globex/secret?path=other", nil)
	try(403, "PUT", base+"/secret?path=stripe/live", value) // it could change it
	try(403, "PUT", base+"/secret?path=stripe/live", object{"data": object{"k": "v"}, "cas": 1})
	try(200, "PUT", base+"/secret?path=stripe/new", object{"data": object{"k": "v"}, "cas": 0})
	try(403, "GET", base+"/secrets", nil)
	try(200, "GET", base+"/secrets?prefix=stripe", nil)
	try(403, "GET", base+"/secret/versions?path=stripe/live", nil)
	try(403, "DELETE", base+"/secret?path=stripe/live", nil)
	try(200, "POST", base+"/sql", object{"sql": "SELECT 1"})
	try(403, "POST", base+"/sql", object{"sql": "CREATE TABLE a(x)"})
	try(200, "GET", base+"/policies/acl/stripe", nil)
	try(403, "PUT", base+"/policies/acl/stripe", object{"policy": `path "*" { capabilities = ["read", "update"] }`})
	try(403, "DELETE", base+"/policies/acl/stripe", nil)
	try(403, "GET", base+"/members", nil)

	r.putPolicy(owner, "all", `path "*" { capabilities = ["create","read","update","patch","delete","list","sudo"] }`)
	for _, wider := range []object{
		{"policies": []string{"all"}}, {"role": "owner"}, {"role": "viewer"}, {"grants": []string{"secret:read:*"}}, {"grants": []string{"secret:read:stripe/*"}},
		{"policies": []string{"none"}}, {"grants": []string{"sql:admin"}},
	} {
		if a := r.do(token, "POST", base+"/tokens", wider); a.status != 403 && a.status != 400 {
			t.Errorf("%v was given: %d %s", wider, a.status, a.body)
		}
	}
	for _, within := range []object{{}, {"policies": []string{"stripe"}}, {"grants": []string{"sql:analyst"}}} {
		if a := r.do(token, "POST", base+"/tokens", within); a.status >= 300 {
			t.Errorf("%v was not given: %d %s", within, a.status, a.body)
		}
	}

	// The same through Vault's API.
	r.wantVault(403, "permission denied", token, "acme", http.MethodPut, "sys/policies/acl/stripe", object{"policy": `path "*" { capabilities = ["read"] }`})
	r.wantVault(200, "secret/data/stripe", token, "", "GET", "sys/policies/acl/stripe", nil)
	r.wantVault(200, `"capabilities":["create","read"]`, token, "", "POST", "sys/capabilities-self", object{"path": "secret/data/stripe/live"})
	r.wantVault(200, `"secret/data/stripe/prod/x":["deny"]`, token, "", "POST", "sys/capabilities-self", object{"paths": []string{"secret/data/stripe/prod/x", "sys/capabilities-self"}})
	r.wantVault(200, `"policies":["default","stripe"]`, token, "", "GET", "auth/token/lookup-self", nil)
	r.wantVault(200, `"stripe"`, token, "", "POST", "auth/token/create", object{"policies": []string{"stripe"}})
	r.wantVault(403, "permission denied", token, "", "POST", "auth/token/create-orphan", object{})
	r.wantVault(403, "permission denied", token, "", "POST", "auth/token/create", object{"no_parent": true})

	if a := r.do(owner, "POST", base+"/policies/explain", object{"policies": []string{"stripe"}, "action": "secret.read", "resource": "stripe/prod/key"}); !strings.Contains(string(a.body), `"allowed":false`) || !strings.Contains(string(a.body), "secret/data/stripe/prod/*") {
		t.Errorf("%d %s", a.status, a.body)
	}

	// It changes, and goes, at once.
	r.putPolicy(owner, "stripe", `path "secret/data/other" { capabilities = ["read"] }`)
	try(200, "GET", base+"/secret?path=other", nil)
	try(403, "GET", base+"/secret?path=stripe/live", nil)
	if a := r.do(owner, "DELETE", base+"/policies/acl/stripe", nil); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	try(403, "GET", base+"/secret?path=other", nil)
}

// TestVaultPolicies: policies are written and read as clients of Vault do.
func TestVaultPolicies(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	ok := object{"policy": `path "secret/data/a" { capabilities = ["read"] }`}
	r.wantVault(204, "", owner, "", "PUT", "sys/policies/acl/Reader", ok)
	r.wantVault(200, `"policy":"path`, owner, "", "GET", "sys/policies/acl/reader", nil)
	r.wantVault(204, "", owner, "", "POST", "sys/policy/old", object{"rules": `path "secret/data/a" { policy = "read" }`})
	r.wantVault(200, `"rules":"path`, owner, "", "GET", "sys/policy/old", nil)
	r.wantVault(200, `"keys":["default","owner"`, owner, "", "LIST", "sys/policies/acl", nil)
	if a := r.vault(owner, "", "GET", "sys/policy", nil); a.status != 200 || strings.Count(string(a.body), `"reader"`) != 4 {
		t.Errorf("%d %s", a.status, a.body) // keys and policies, in data and beside it
	}
	r.wantVault(200, "It is read-only", owner, "", "GET", "sys/policies/acl/analyst", nil)
	for _, name := range []string{"owner", "default", "root"} {
		r.wantVault(400, "read-only", owner, "", "PUT", "sys/policies/acl/"+name, ok)
		r.wantVault(400, "read-only", owner, "", "DELETE", "sys/policies/acl/"+name, nil)
	}
	r.wantVault(400, "line 2, column 18", owner, "", "PUT", "sys/policies/acl/bad", object{"policy": "path \"a\" {\n capabilities = [\"raed\"]\n}"})
	r.wantVault(400, "not supplied", owner, "", "PUT", "sys/policies/acl/bad", object{})
	r.wantVault(404, "", owner, "", "GET", "sys/policies/acl/none", nil)
	r.wantVault(204, "", owner, "", "DELETE", "sys/policies/acl/none", nil)
	r.wantVault(400, "no paths supplied", owner, "", "POST", "sys/capabilities-self", object{})
	r.wantVault(200, `"capabilities":["create","delete","patch","read","update"]`, owner, "", "POST", "sys/capabilities-self", object{"path": "secret/data/a"})
	token := r.issue("acme", object{"policies": []string{"reader"}})
	r.wantVault(200, `"capabilities":["read"]`, owner, "", "POST", "sys/capabilities", object{"token": token, "path": "secret/data/a"})
	r.wantVault(403, "", token, "", "POST", "sys/capabilities", object{"token": owner, "path": "secret/data/a"})
	r.wantVault(400, "invalid token", owner, "", "POST", "sys/capabilities", object{"token": "cft_none", "path": "secret/data/a"})
	r.wantVault(204, "", owner, "", "DELETE", "sys/policies/acl/reader", nil)
	if !slices.Contains(r.vault(owner, "", "POST", "auth/token/create", object{"policies": []string{"reader"}}).errors(t), "policies: there is no policy \"reader\"; write it first: coffer policy put") {
		t.Error("a token of a policy that is not there")
	}
}
