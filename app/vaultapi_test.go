package app_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/vaultapi"
)

// vault asks as clients of Vault do: with the token and the namespace in headers of
// their own, each left out if it is "".
func (r *running) vault(token, namespace, method, path string, body any) answer {
	r.tb.Helper()
	headers := map[string]string{}
	if token != "" {
		headers["X-Vault-Token"] = token
	}
	if namespace != "" {
		headers["X-Vault-Namespace"] = namespace
	}
	if method == http.MethodPatch {
		headers["Content-Type"] = "application/merge-patch+json"
	}
	return r.doWith(headers, "", method, "/v1/"+path, body)
}

// errors are the texts of an answer that is an error of the protocol.
func (a answer) errors(tb testing.TB) []string {
	tb.Helper()
	var e struct {
		Errors *[]string `json:"errors"`
	}
	if err := json.Unmarshal(a.body, &e); err != nil || e.Errors == nil {
		tb.Errorf("%d %s is not an error of the protocol: %v", a.status, a.body, err)
		return nil
	}
	return *e.Errors
}

// wantVault checks the status of an answer and, if it is an error, its first text.
func (r *running) wantVault(status int, text, token, namespace, method, path string, body any) answer {
	r.tb.Helper()
	a := r.vault(token, namespace, method, path, body)
	if a.status != status || text != "" && !strings.Contains(string(a.body), text) {
		r.tb.Errorf("%s %s in %q: %d %s, want %d with %q", method, path, namespace, a.status, a.body, status, text)
	}
	return a
}

// vaultMounts are where mounts of a kind are in the walk.
var vaultMounts = map[string]string{
	"sys": "sys", "identity": "identity", "cubbyhole": "cubbyhole", "kv": "secret", "transit": "transit", "token": "auth/token",
	"approle": "auth/approle", "userpass": "auth/userpass", "jwt": "auth/jwt",
}

// vaultParams are good values of the parameters of patterns, for those that cannot be
// just any name.
var vaultParams = map[string]string{"kind": "plaintext", "hash": "sha2-256"}

// vaultInputs are good inputs for the endpoints that need some, by their names.
var vaultInputs = map[string]object{
	"write sys/policies/acl/{name}":      {"policy": `path "secret/data/x" { capabilities = ["read"] }`},
	"write sys/policy/{name}":            {"rules": `path "secret/data/x" { capabilities = ["read"] }`},
	"write sys/capabilities-self":        {"paths": []string{"secret/data/x"}},
	"write token/revoke-orphan":          {"token": "cft_" + strings.Repeat("a", 52)}, // and not the caller's own
	"write transit/keys/{name}/trim":     {"min_available_version": 1},
	"write transit/encrypt/{name}":       {"plaintext": "AAAA"},
	"write transit/decrypt/{name}":       {"ciphertext": "vault:v1:AAAA"},
	"write transit/rewrap/{name}":        {"ciphertext": "vault:v1:AAAA"},
	"write transit/verify/{name}":        {"input": "AAAA", "hmac": "vault:v1:AAAA"},
	"write transit/verify/{name}/{hash}": {"input": "AAAA", "hmac": "vault:v1:AAAA"},
	"write approle/role/{name}":          {"token_policies": "sql:analyst"},
	"write kv/data/{path...}":            {"data": object{"a": "1"}},
	"patch kv/data/{path...}":            {"data": object{"a": "1"}},
	"write kv/delete/{path...}":          {"versions": []int{1}},
	"write kv/undelete/{path...}":        {"versions": []int{1}},
	"write kv/destroy/{path...}":         {"versions": []int{1}},
}

// vaultAnswers are endpoints whose answer is itself a decision, 403 for no.
var vaultAnswers = map[string]bool{"read sys/internal/ui/mounts/{path...}": true}

// walkVault asks at one endpoint.
func (r *running) walkVault(token, tenant string, e vaultapi.Endpoint) answer {
	r.tb.Helper()
	path := []string{vaultMounts[e.Kind]}
	if e.Pattern != "" {
		for part := range strings.SplitSeq(e.Pattern, "/") {
			if name, isParam := strings.CutPrefix(part, "{"); isParam {
				name = strings.TrimRight(name, ".}")
				if part = vaultParams[name]; part == "" {
					part = "shop"
				}
			}
			path = append(path, part)
		}
	}
	method := map[string]string{"read": "GET", "list": "LIST", "write": "POST", "patch": "PATCH", "delete": "DELETE"}[e.Op]
	var body any
	if in := vaultInputs[e.Name()]; in != nil {
		body = in
	} else if method == "POST" || method == "PATCH" {
		body = object{}
	}
	return r.vault(token, tenant, method, strings.Join(path, "/"), body)
}

// TestVaultWalk tries every endpoint with every role, in the token's own namespace,
// in a foreign one and in one that does not exist, and without a token.
func TestVaultWalk(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	tokens := map[domain.Role]string{}
	for _, role := range domain.TenantRoles() {
		tokens[role] = r.issue("acme", object{"role": role})
	}
	for _, e := range vaultapi.New(nil, slog.New(slog.DiscardHandler)).Endpoints() {
		if vaultMounts[e.Kind] == "" {
			t.Errorf("where is a mount of kind %q?", e.Kind)
		}
		if e.Open {
			continue
		}
		info, _ := authz.Lookup(e.Action)
		for role, token := range tokens {
			foreign, unknown := r.walkVault(token, "globex", e), r.walkVault(token, "nobody", e)
			if info.Scope != authz.Open && (foreign.status != 403 || strings.Join(foreign.errors(t), "\n") != strings.Join(unknown.errors(t), "\n")) || foreign.status != unknown.status {
				t.Errorf("%s by %s: foreign %d %s, unknown %d %s", e.Name(), role, foreign.status, foreign.body, unknown.status, unknown.body)
			}
			if info.Scope == authz.Open {
				continue
			}
			own := r.walkVault(token, "acme", e)
			may := info.Scope == authz.Tenant && (info.Permits(role) || info.PermitsOwn(role))
			refused := own.status == 403
			if may && refused && role == domain.Viewer && e.Action == authz.WorkloadCreate {
				continue // a viewer may, and holds nothing that it could give
			}
			if may == refused && len(e.Also) == 0 && !vaultAnswers[e.Name()] {
				t.Errorf("%s by %s: %d %s", e.Name(), role, own.status, own.body)
			}
		}
		if a := r.walkVault("cft_"+strings.Repeat("a", 52), "acme", e); a.status != 403 && a.status != 429 {
			t.Errorf("%s with a bad token: %d %s", e.Name(), a.status, a.body)
		}
	}
}

// TestVaultStatus: what clients ask for before anything else, also while sealed.
func TestVaultStatus(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	for path, want := range map[string]string{
		"sys/seal-status": `"sealed":false`, "sys/health": `"initialized":true`, "sys/leader": `"ha_enabled":false`, "sys/init": `"initialized":true`,
	} {
		r.wantVault(200, want, "", "", "GET", path, nil)
		r.wantVault(200, want, "s.stale", "", "GET", path, nil)
		r.wantVault(403, "permission denied", "s.stale", "", "DELETE", path, nil)
	}
	r.wantVault(200, "sealed", "", "acme", "GET", "sys/seal-status", nil)
	r.wantVault(400, "operation unavailable in namespaces", "", "acme/", "GET", "sys/health", nil)
	r.wantVault(299, `"sealed":false`, "", "", "GET", "sys/health?activecode=299", nil)
	r.wantVault(200, `"sealed":false`, "", "", "GET", "sys/health?sealedcode=299&haunhealhty=1", nil)
	r.wantVault(400, "bad status code", "", "", "GET", "sys/health?activecode=9", nil)
	if a := r.vault("", "", "HEAD", "sys/health", nil); a.status != 200 || len(a.body) != 0 {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// TestVaultPaths: no path means another one, and who holds no good token learns
// nothing of what is there.
func TestVaultPaths(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner, viewer := r.issue("acme", object{"role": "owner"}), r.issue("acme", object{"role": "viewer"})
	for _, path := range []string{"nowhere", "nowhere/x", "auth/nowhere/x", "auth", "sys/nowhere", "globex/secret/data/x", "acme/nowhere", "acme/acme/sys/mounts"} {
		r.wantVault(403, `{"errors":["permission denied"]}`, "s.stale", "", "GET", path, nil)
		r.wantVault(403, `{"errors":["permission denied"]}`, viewer, "", "GET", path, nil)
		r.wantVault(403, `{"errors":["permission denied"]}`, viewer, "acme", "GET", path, nil)
	}
	a := r.wantVault(404, "no handler for route", owner, "acme/", "GET", "nowhere/x", nil)
	if a.header.Get("X-Vault-Namespace") != "acme/" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", a.header)
	}
	r.wantVault(405, "unsupported operation", owner, "", "DELETE", "sys/health", nil)
	for _, path := range []string{"secret/data/a%2fb", "secret/data/../x", "secret/data//x", "secret/data/%2e%2e/x", "secret/data/a%00b", strings.Repeat("a/", 70)} {
		if a := r.vault(owner, "acme", "GET", path, nil); a.status != 400 || len(a.errors(t)) != 1 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
