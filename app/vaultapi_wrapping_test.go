package app_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// wrapBlock is the part of an answer that stands for a wrapped one.
type wrapBlock struct {
	Info struct {
		Token    string `json:"token"`
		Accessor string `json:"accessor"`
		TTL      int    `json:"ttl"`
		Path     string `json:"creation_path"`
		Wrapped  string `json:"wrapped_accessor"`
	} `json:"wrap_info"`
}

// wrapped asks with the header that wraps the answer.
func (r *running) wrapped(token, namespace, method, path string, body any) (out wrapBlock) {
	r.tb.Helper()
	headers := map[string]string{"X-Vault-Token": token, "X-Vault-Wrap-TTL": "60"}
	if namespace != "" {
		headers["X-Vault-Namespace"] = namespace
	}
	a := r.doWith(headers, "", method, "/v1/"+path, body)
	if a.in(r.tb, &out); a.status != 200 || out.Info.Token == "" {
		r.tb.Fatalf("%d %s", a.status, a.body)
	}
	return out
}

// TestVaultWrappingTranscript: each row of response wrapping, as its clients see it.
func TestVaultWrappingTranscript(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	owner, globex := r.issue("acme", object{"role": "owner"}), r.issue("globex", object{"role": "owner"})
	tr := newTranscript(r)
	var w wrapBlock
	tr.ask(owner, "", "POST", "sys/wrapping/wrap", object{"zip": "zap"}, "X-Vault-Wrap-TTL", "5m").in(t, &w)
	tr.ask("", "", "POST", "sys/wrapping/lookup", object{"token": w.Info.Token})
	tr.ask(w.Info.Token, "", "GET", "sys/wrapping/lookup", nil)
	tr.ask(owner, "globex", "POST", "sys/wrapping/lookup", object{"token": w.Info.Token})
	var again wrapBlock
	tr.ask(owner, "acme", "POST", "sys/wrapping/rewrap", object{"token": w.Info.Token}).in(t, &again)
	tr.ask(owner, "", "PUT", "sys/wrapping/unwrap", object{"token": w.Info.Token})
	tr.ask(owner, "", "PUT", "sys/wrapping/unwrap", object{"token": again.Info.Token})
	tr.ask(owner, "", "PUT", "sys/wrapping/unwrap", object{"token": again.Info.Token})
	tr.ask(owner, "", "PUT", "sys/wrapping/lookup", object{"token": again.Info.Token})
	tr.ask(owner, "", "GET", "auth/token/lookup-self", nil, "X-Vault-Wrap-TTL", "1m0s").in(t, &w)
	tr.ask(w.Info.Token, "", "POST", "sys/wrapping/unwrap", nil)
	tr.ask(w.Info.Token, "", "POST", "sys/wrapping/unwrap", nil)
	tr.ask(owner, "", "POST", "auth/token/create", object{"policies": []string{"viewer"}}, "X-Vault-Wrap-TTL", "60s").in(t, &w)
	tr.ask(w.Info.Token, "", "GET", "auth/token/lookup-self", nil)
	tr.ask("s.unknown", "", "PUT", "sys/wrapping/unwrap", object{"token": w.Info.Token})
	var inside authBlock
	tr.ask(globex, "", "PUT", "sys/wrapping/unwrap", object{"token": w.Info.Token}).in(t, &inside)
	tr.ask(inside.Auth.ClientToken, "", "GET", "auth/token/lookup-self", nil)
	tr.ask(owner, "", "POST", "sys/wrapping/wrap", object{"zip": "zap"})
	tr.ask(owner, "", "POST", "sys/wrapping/wrap", object{"zip": "zap"}, "X-Vault-Wrap-TTL", "-5")
	tr.ask(owner, "", "POST", "sys/wrapping/wrap", object{"zip": "zap"}, "X-Vault-Wrap-TTL", "x")
	tr.ask(owner, "globex", "POST", "sys/wrapping/wrap", object{"zip": "zap"}, "X-Vault-Wrap-TTL", "5m")
	tr.ask(owner, "", "POST", "auth/token/revoke-accessor", object{"accessor": inside.Auth.Accessor}, "X-Vault-Wrap-TTL", "60s")
	tr.ask(owner, "", "POST", "auth/token/lookup", object{"token": "s.unknown"}, "X-Vault-Wrap-TTL", "60s")
	tr.ask("", "", "GET", "sys/init", nil, "X-Vault-Wrap-TTL", "60s")
	tr.ask(owner, "", "PUT", "sys/wrapping/unwrap", object{"token": "s.unknown"})
	tr.ask("", "", "PUT", "sys/wrapping/unwrap", nil)
	tr.compare("wrapping")
}

// TestVaultUnwrapRace: of sixteen who come at once one gets the answer. That the
// others came is an alert, and stands in the tenant's log.
func TestVaultUnwrapRace(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	w := r.wrapped(owner, "", "GET", "auth/token/lookup-self", nil)
	var got atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch a := r.vault("", "", "PUT", "sys/wrapping/unwrap", object{"token": w.Info.Token}); {
			case a.status == 200 && strings.Contains(string(a.body), owner):
				got.Add(1)
			case a.status != 400 || bytes.Contains(a.body, []byte(owner)):
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		t.Errorf("%d got it", got.Load())
	}
	outcomes := map[string]int{}
	for outcomes["ok"]+outcomes["failed"] < outcomes[""] || outcomes[""] == 0 { // they follow their intents by and by
		clear(outcomes)
		for _, e := range r.events("/api/v1/tenants/acme/audit", "wrap.unwrap") {
			if outcomes[string(e.Outcome)]++; e.Resource != w.Info.Accessor {
				t.Errorf("%+v", e)
			}
		}
	}
	if outcomes["ok"] != 1 || outcomes["failed"] != 15 {
		t.Errorf("the log has %v", outcomes)
	}
	var alerts struct {
		Alerts []struct{ Kind, Tenant, Text string }
	}
	for len(alerts.Alerts) == 0 { // it is stored by and by
		r.must("", "GET", "/api/v1/tenants/acme/alerts", nil, &alerts)
	}
	if a := alerts.Alerts[0]; a.Kind != "wrap.twice" || !strings.Contains(a.Text, w.Info.Accessor) || strings.Contains(a.Text, w.Info.Token) {
		t.Errorf("%+v", a)
	}
}

// TestVaultWrapInClosedTenant: what was wrapped stays wrapped while the tenant is
// suspended, and is gone with it.
func TestVaultWrapInClosedTenant(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner := r.issue("acme", object{"role": "owner"})
	w := r.wrapped(owner, "", "GET", "auth/token/lookup-self", nil)
	body := object{"token": w.Info.Token}
	r.must("", "POST", "/api/v1/tenants/acme/suspend", nil, nil)
	r.wantVault(403, "permission denied", "", "", "PUT", "sys/wrapping/unwrap", body)
	r.wantVault(403, "permission denied", "", "", "PUT", "sys/wrapping/lookup", body)
	r.must("", "POST", "/api/v1/tenants/acme/resume", nil, nil)
	r.wantVault(200, "auth/token/lookup-self", "", "", "PUT", "sys/wrapping/rewrap", body).in(t, &w)
	r.must("", "DELETE", "/api/v1/tenants/acme?confirm=acme", nil, nil)
	r.wantVault(400, "not valid", "", "", "PUT", "sys/wrapping/unwrap", object{"token": w.Info.Token})
}

// TestVaultWrappedIsNotShown: a wrapped answer stands nowhere but in what unwraps
// it, and nobody who may not ask gets a token for the answer.
func TestVaultWrappedIsNotShown(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner, viewer := r.issue("acme", object{"role": "owner"}), r.issue("acme", object{"role": "viewer"})
	w := r.wrapped(owner, "", "POST", "auth/token/create", object{"policies": []string{"admin"}})
	if w.Info.Wrapped == "" || w.Info.Path != "auth/token/create" || w.Info.TTL != 60 {
		t.Errorf("%+v", w)
	}
	a := r.doWith(map[string]string{"X-Vault-Token": viewer, "X-Vault-Wrap-TTL": "60"}, "", "LIST", "/v1/auth/token/nowhere", nil)
	if a.status != 403 || bytes.Contains(a.body, []byte("cfw_")) {
		t.Errorf("%d %s", a.status, a.body)
	}
	var inside authBlock
	r.wantVault(200, "client_token", "", "", "POST", "sys/wrapping/unwrap", object{"token": w.Info.Token}).in(t, &inside)
	for _, e := range r.events("/api/v1/tenants/acme/audit", "") {
		b, err := json.Marshal(e)
		if err != nil || bytes.Contains(b, []byte(w.Info.Token)) || bytes.Contains(b, []byte(inside.Auth.ClientToken)) {
			t.Errorf("the log tells: %s, %v", b, err)
		}
	}
}
