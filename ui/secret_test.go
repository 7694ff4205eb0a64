package ui_test

import (
	"strings"
	"testing"
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
)

// TestReveal: a value is shown in the answer to one request, after the second
// factor was proven, and nowhere else.
func TestReveal(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	s.clock.ahead += 6 * time.Minute
	p := a.post("/clients/acme/secret/reveal", "path", "stripe/live", "version", "1")
	if p.status != 403 || !strings.Contains(p.body, `action="/clients/acme/secret/reveal"`) || !strings.Contains(p.body, `name="path" value="stripe/live"`) {
		t.Fatalf("no second factor is asked for: %d %s", p.status, problemOf(p))
	}
	if p := a.post("/clients/acme/secret/reveal", "path", "stripe/live", "version", "1", "proof-code", "000000"); p.status != 403 || !strings.Contains(p.body, `data-testid="problem"`) || strings.Contains(p.body, "sk_acme") {
		t.Errorf("a wrong code: %d %s", p.status, problemOf(p))
	}
	if p := a.post("/clients/acme/secret/reveal", "path", "stripe/live", "version", "1", "proof-code", ""); p.status != 403 || strings.Contains(p.body, "sk_acme") {
		t.Errorf("no code: %d %s", p.status, problemOf(p))
	}
	p = a.post("/clients/acme/secret/reveal", "path", "stripe/live", "version", "1", "proof-code", a.code())
	if p.status != 200 || !strings.Contains(p.body, "sk_acme") || p.header.Get("Cache-Control") != "no-store" || p.header.Get("Coffer-Audit") == "" {
		t.Fatalf("with a code: %d %s", p.status, problemOf(p))
	}
	// For five minutes it is not asked for again.
	if p := a.post("/clients/acme/secret/reveal", "path", "stripe/live", "version", "1"); p.status != 200 {
		t.Errorf("asked again at once: %d", p.status)
	}
	if p := a.get("/clients/acme/secret?path=stripe/live&version=1&proof-code=" + a.code()); strings.Contains(p.body, "sk_acme") {
		t.Error("a page that was merely opened shows the value")
	}
	p = a.get("/clients/acme/audit")
	if !strings.Contains(p.body, "</b> read the secret <code>stripe/live</code> (version 1)") || strings.Contains(p.body, "sk_acme") {
		t.Error("the timeline has no sentence for it, or shows the value")
	}
}

// TestSecretsStayAway looks for secrets on every page that did not show them on
// request, and in every address.
func TestSecretsStayAway(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	secrets := []string{"canary-value-1", "canary-value-2", password, a.secret}
	secrets = append(secrets, a.codes...)
	if p := a.post("/clients/acme/secrets", "fresh", "1", "path", "canary", "key", "k", "value", "canary-value-1"); p.status != 303 || strings.Contains(p.to(), "canary-value") {
		t.Fatalf("put: %d %q %s", p.status, p.to(), problemOf(p))
	}
	refused := []page{ // forms that come back
		a.post("/clients/acme/secrets", "fresh", "1", "path", "canary", "key", "k", "value", "canary-value-2"),
		a.post("/clients/acme/secrets", "path", "../x", "key", "k", "value", "canary-value-2"),
		a.post("/clients/acme/secrets", "path", "x", "key", "", "value", "canary-value-2"),
		a.post("/account/password", "old", password, "new", "canary-value-1", "again", "canary-value-2"),
		a.post("/seal/slots", "kind", "passphrase", "secret", "canary-value-1", "again", "canary-value-2"),
		a.post("/seal/slots", "kind", "tpm", "secret", "canary-value-1", "again", "canary-value-1"),
		a.post("/seal/recovery/confirm", "group1", "canary-value-1", "group2", "canary-value-2"),
		s.browser().post("/login", "name", "maria", "password", "canary-value-1", "code", a.codes[0]),
		s.browser().post("/link/accept", "token", "cfi_x", "name", "x", "password", "canary-value-1", "again", "canary-value-1"),
	}
	s.clock.ahead += 6 * time.Minute
	refused = append(refused, // forms that wait for the second factor
		a.post("/account/password", "old", password, "new", "canary-value-1", "again", "canary-value-1"),
		a.post("/seal/slots", "kind", "passphrase", "secret", "canary-value-1", "again", "canary-value-1"),
		a.post("/seal/rotate", "secret", "canary-value-1"),
		a.post("/account/totp/confirm", "code", a.codes[0]),
	)
	for i, p := range refused {
		if p.status < 400 {
			t.Errorf("form %d was taken: %d", i, p.status)
		}
		for _, secret := range secrets {
			if strings.Contains(p.body, secret) || strings.Contains(p.to(), secret) {
				t.Errorf("form %d comes back with %q", i, secret)
			}
		}
	}
	issued := textOf(a.post("/clients/acme/tokens", "role", "viewer", "proof-code", a.code()).body, "token-text")
	made := a.post("/clients/acme/workloads", "name", "canary", "grant", "sql:analyst")
	secretID := textOf(made.body, "secret-id")
	if !strings.HasPrefix(issued, "cft_") || secretID == "" {
		t.Fatalf("issued %q %q", issued, secretID)
	}
	secrets = append(secrets, issued, secretID, a.session())
	for _, route := range s.ui.Routes() {
		if route.Method != "GET" {
			continue
		}
		for _, p := range []page{a.ask(route, "acme"), s.browser().ask(route, "acme")} {
			for _, secret := range secrets {
				if strings.Contains(p.body, secret) || strings.Contains(p.to(), secret) {
					t.Errorf("GET %s shows %q", route.Path, secret)
				}
			}
		}
	}
}

// TestVersions walks through what can be done with a version.
func TestVersions(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	p := a.post("/clients/acme/secrets", "path", "stripe/live", "key", "key", "value", "sk_2", "key", "", "value", "")
	if p.to() != "/clients/acme/secret?path=stripe%2Flive&done=put" {
		t.Fatalf("%d %q %s", p.status, p.to(), problemOf(p))
	}
	if p := a.get(p.to()); !strings.Contains(p.body, "The new version is stored.") || !strings.Contains(p.body, "current") {
		t.Error("the page does not say so")
	}
	for _, step := range []struct{ do, version, done, word string }{
		{"delete", "2", "deleted", "deleted"}, {"undelete", "2", "undeleted", "readable"}, {"destroy", "1", "destroyed", "destroyed"},
	} {
		p := a.post("/clients/acme/secret/"+step.do, "path", "stripe/live", "version", step.version)
		if !strings.HasSuffix(p.to(), "done="+step.done) {
			t.Fatalf("%s: %d %q %s", step.do, p.status, p.to(), problemOf(p))
		}
		if p := a.get(p.to()); !strings.Contains(p.body, "</svg>"+step.word+"</span>") {
			t.Errorf("after %s the page has no %q", step.do, step.word)
		}
	}
	if p := a.post("/clients/acme/secret/reveal", "path", "stripe/live", "version", "1"); p.status < 400 || strings.Contains(p.body, "sk_acme") {
		t.Errorf("a destroyed version: %d %s", p.status, problemOf(p))
	}
	// A form for a new secret never replaces one.
	if p := a.post("/clients/acme/secrets", "fresh", "1", "path", "stripe/live", "key", "k", "value", "v"); p.status != 409 || !strings.Contains(p.body, `value="stripe/live"`) {
		t.Errorf("a new secret at a path that is taken: %d %s", p.status, problemOf(p))
	}
}

// TestOddValues: what other programs stored is shown as it is.
func TestOddValues(t *testing.T) {
	s := newSite(t)
	s.client("acme")
	a := s.first("maria")
	run(s, s.operator(), actions.SecretPut, actions.SecretPutIn{Tenant: "acme", Path: "odd", Data: domain.JSON{
		Secret: domain.SecretString(`{"n":12345678901234567890,"list":[1,{"a":null}],"text":"line\nline","tab\t":true}`),
	}})
	p := a.post("/clients/acme/secret/reveal", "path", "odd", "version", "0")
	for _, want := range []string{"12345678901234567890", "[1,{&#34;a&#34;:null}]", "line\nline", "tab\t"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("no %q: %d %s", want, p.status, problemOf(p))
		}
	}
}
