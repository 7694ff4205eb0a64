package app_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestVaultTransit: the main flow of a client of Vault, with its statuses and texts.
func TestVaultTransit(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	post := func(status int, text, path string, body object) map[string]any {
		t.Helper()
		a := r.wantVault(status, text, owner, "acme", "POST", "transit/"+path, body)
		if a.status != 200 && !strings.Contains(string(a.body), `"data"`) {
			return nil
		}
		return a.vaultData(t)
	}
	r.wantVault(404, `{"errors":[]}`, owner, "acme", "LIST", "transit/keys", nil)
	r.wantVault(404, `{"errors":[]}`, owner, "acme", "GET", "transit/keys/orders", nil)
	post(400, "encryption key not found", "decrypt/orders", object{"ciphertext": "vault:v1:AAAA"})
	post(400, "could be found", "keys/orders/rotate", object{})

	// Encrypting makes the key.
	text, _ := post(200, "vault:v1:", "encrypt/orders", object{"plaintext": base64Of("card"), "associated_data": base64Of("1")})["ciphertext"].(string)
	key := r.wantVault(200, `"type":"aes256-gcm96"`, owner, "acme", "GET", "transit/keys/orders", nil).vaultData(t)
	if key["latest_version"] != 1.0 || key["supports_encryption"] != true || key["min_available_version"] != 0.0 || key["keys"].(map[string]any)["1"].(float64) < 1e9 {
		t.Errorf("%v", key)
	}
	r.wantVault(200, "already existed", owner, "acme", "PUT", "transit/keys/orders", object{"type": "aes256-gcm96"})
	r.wantVault(200, `"keys":["orders"]`, owner, "acme", "GET", "transit/keys?list=true", nil)
	if got := post(200, "", "decrypt/orders", object{"ciphertext": text, "associated_data": base64Of("1")}); got["plaintext"] != base64Of("card") {
		t.Errorf("%v", got)
	}
	post(400, "message authentication failed", "decrypt/orders", object{"ciphertext": text})
	post(400, "no prefix", "decrypt/orders", object{"ciphertext": "x"})
	post(400, "missing ciphertext", "decrypt/orders", object{})
	post(400, "missing plaintext", "encrypt/orders", object{})
	post(400, "base64-decode plaintext", "encrypt/orders", object{"plaintext": "not base64!"})
	post(400, "context is not supported", "encrypt/orders", object{"plaintext": "", "context": base64Of("c")})
	for field, text := range map[string]string{"derived": "derived", "exportable": "exportable", "convergent_encryption": "convergent", "allow_plaintext_backup": "backup"} {
		post(400, text, "keys/more", object{field: true})
	}
	post(400, "unknown key type", "keys/more", object{"type": "aes512"})
	post(400, "rotation is not supported", "keys/more", object{"auto_rotate_period": "720h"})

	post(200, `"latest_version":2`, "keys/orders/rotate", object{})
	if got := post(200, "vault:v2:", "rewrap/orders", object{"ciphertext": text, "associated_data": base64Of("1")}); got["key_version"] != 2.0 {
		t.Errorf("%v", got)
	}
	post(200, `"min_decryption_version":2`, "keys/orders/config", object{"min_decryption_version": "2", "min_encryption_version": 2})
	post(400, "too old", "decrypt/orders", object{"ciphertext": text, "associated_data": base64Of("1")})
	post(400, "less than the minimum", "encrypt/orders", object{"plaintext": "", "key_version": 1})
	r.wantVault(204, "", owner, "acme", "POST", "transit/keys/orders/trim", object{"min_available_version": 2})
	if got := post(200, "", "datakey/plaintext/orders", object{"bits": 128}); len(got["plaintext"].(string)) != 24 {
		t.Errorf("%v", got)
	}
	if got := post(200, "", "datakey/wrapped/orders", object{}); got["plaintext"] != nil || got["ciphertext"] == "" {
		t.Errorf("%v", got)
	}
	post(400, "plaintext' or 'wrapped", "datakey/shown/orders", object{})

	r.wantVault(400, "not allowed", owner, "acme", "DELETE", "transit/keys/orders", nil)
	post(200, `"deletion_allowed":true`, "keys/orders/config", object{"deletion_allowed": true})
	r.wantVault(204, "", owner, "acme", "DELETE", "transit/keys/orders", nil)
	r.wantVault(400, "not found", owner, "acme", "DELETE", "transit/keys/orders", nil)
}

// TestVaultTransitSign: signatures and HMACs, in a batch too.
func TestVaultTransitSign(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	post := func(status int, text, path string, body object) map[string]any {
		t.Helper()
		return r.wantVault(status, text, owner, "acme", "POST", "transit/"+path, body).vaultData(t)
	}
	post(200, "BEGIN PUBLIC KEY", "keys/pair", object{"type": "ecdsa-p256"})
	signature := post(200, "vault:v1:", "sign/pair", object{"input": base64Of("x"), "marshaling_algorithm": "jws"})["signature"]
	if got := post(200, "", "verify/pair/sha2-256", object{"input": base64Of("x"), "signature": signature, "marshaling_algorithm": "jws"}); got["valid"] != true {
		t.Errorf("%v", got)
	}
	if got := post(200, "", "verify/pair", object{"input": base64Of("y"), "signature": signature, "marshaling_algorithm": "jws"}); got["valid"] != false {
		t.Errorf("%v", got)
	}
	r.wantVault(400, "prehashed", owner, "acme", "POST", "transit/sign/pair", object{"input": base64Of("x"), "prehashed": true})
	r.wantVault(400, "sha2-384", owner, "acme", "POST", "transit/sign/pair/sha2-384", object{"input": base64Of("x")})
	r.wantVault(400, "signing key not found", owner, "acme", "POST", "transit/sign/missing", object{"input": base64Of("x")})
	hmac := post(200, "vault:v1:", "hmac/pair/sha2-512", object{"input": base64Of("x")})["hmac"]
	got := post(200, "", "verify/pair/sha2-512", object{"batch_input": []object{
		{"input": base64Of("x"), "hmac": hmac, "reference": "a"}, {"input": base64Of("y"), "hmac": hmac}, {"input": base64Of("x"), "hmac": "x"},
	}})
	want := `[{"reference":"a","valid":true},{"reference":"","valid":false},{"error":"invalid hmac: no prefix","reference":"","valid":false}]`
	if b, err := json.Marshal(got["batch_results"]); string(b) != want || err != nil {
		t.Errorf("%s, %v", b, err)
	}
}

// TestVaultTransitBatch: each item has a result or an error of its own; that some
// failed is 400, or what the client chose.
func TestVaultTransitBatch(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	ask := func(status int, text, path string, body object) answer {
		t.Helper()
		return r.wantVault(status, text, owner, "acme", "POST", "transit/"+path, body)
	}
	a := ask(200, "", "encrypt/orders", object{"batch_input": []object{{"plaintext": base64Of("a"), "reference": "1"}, {"plaintext": base64Of("b")}}})
	results, _ := a.vaultData(t)["batch_results"].([]any)
	if len(results) != 2 {
		t.Fatalf("%s", a.body)
	}
	first, _ := results[0].(map[string]any)
	bad := []object{{"ciphertext": first["ciphertext"]}, {"ciphertext": "vault:v1:AAAA"}}
	a = ask(400, "batch_results", "decrypt/orders", object{"batch_input": bad})
	if !strings.Contains(string(a.body), base64Of("a")) || !strings.Contains(string(a.body), "authentication failed") || first["reference"] != "1" {
		t.Errorf("%s", a.body)
	}
	ask(202, "batch_results", "decrypt/orders", object{"batch_input": bad, "partial_failure_response_code": 202})
	ask(400, "batch_results", "decrypt/orders", object{"batch_input": bad[1:], "partial_failure_response_code": 202}) // all failed
	ask(400, "missing batch input", "decrypt/orders", object{"batch_input": []object{}})
	ask(400, "failed to parse batch input", "decrypt/orders", object{"batch_input": "x"})
	many := make([]object, 1001)
	for i := range many {
		many[i] = object{"plaintext": ""}
	}
	ask(400, "more than 1000", "encrypt/orders", object{"batch_input": many})
	ask(200, "batch_results", "encrypt/orders", object{"batch_input": many[:1000]})
	events := r.events("/api/v1/tenants/acme/audit", "transit.encrypt")
	if last := events[len(events)-1]; !strings.Contains(string(last.Detail), `"items":1000`) || last.Resource != "orders" {
		t.Errorf("%+v", last)
	}
}

// TestTransitCapability: who has one key uses that one and nothing else, makes none,
// and reaches no other tenant's key of its name.
func TestTransitCapability(t *testing.T) {
	r := serveTemp(t)
	for _, tenant := range []string{"acme", "globex"} {
		r.tenant(tenant)
		owner := r.issue(tenant, object{"role": "owner"})
		for _, name := range []string{"orders", "other"} {
			r.wantVault(200, "", owner, tenant, "POST", "transit/keys/"+name, object{})
		}
	}
	token := r.issue("acme", object{"grants": []string{"transit:orders"}})
	text := r.wantVault(200, "vault:v1:", token, "acme", "POST", "transit/encrypt/orders", object{"plaintext": base64Of("x")}).vaultData(t)["ciphertext"]
	for path, body := range map[string]object{
		"decrypt/orders": {"ciphertext": text}, "rewrap/orders": {"ciphertext": text}, "hmac/orders": {"input": ""}, "datakey/wrapped/orders": {},
	} {
		r.wantVault(200, "", token, "acme", "POST", "transit/"+path, body)
		r.wantVault(403, "permission denied", token, "acme", "POST", "transit/"+strings.Replace(path, "orders", "other", 1), body)
		r.wantVault(403, "permission denied", token, "globex", "POST", "transit/"+path, body)
	}
	r.wantVault(200, "", token, "acme", "GET", "transit/keys/orders", nil)
	for _, path := range []string{"keys/orders", "keys/new", "keys/orders/rotate", "keys/orders/config", "encrypt/new"} {
		body := object{"plaintext": ""}
		r.wantVault(403, "permission denied", token, "acme", "POST", "transit/"+path, body)
	}
	r.wantVault(403, "permission denied", token, "acme", "DELETE", "transit/keys/orders", nil)
	r.wantVault(403, "permission denied", token, "acme", "LIST", "transit/keys", nil)
	r.must("", "POST", "/api/v1/tenants/acme/suspend", nil, nil)
	r.wantVault(403, "", token, "acme", "POST", "transit/decrypt/orders", object{"ciphertext": text})
}
