package vault_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"coffer/app/domain"
	"coffer/vault"
)

func TestParseValue(t *testing.T) {
	names := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(`"n%d":1`, i)
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	long := func(n int) string { return `{"k":"` + strings.Repeat("x", n-len(`{"k":""}`)) + `"}` }
	for raw, ok := range map[string]bool{
		`{"k":"v"}`: true, `{"k":1,"l":{"m":[null,true]}}`: true, " {\"k\" : \"v\"}\n": true, `{"k":12345678901234567890.5}`: true,
		`{"ä":"ü"}`: true, `{"` + strings.Repeat("k", domain.MaxSecretKey) + `":1}`: true,
		names(domain.MaxSecretKeys): true, long(domain.MaxSecretValue): true,
		``: false, `null`: false, `"k"`: false, `[1]`: false, `{}`: false, `{"k"}`: false, `{"k":}`: false, `{"k":"v"`: false,
		`{"k":"v"}x`: false, `{"k":"v"}{"l":1}`: false, `{"k":1,"k":2}`: false, `{"k":1,"\u006b":2}`: false, `{"":1}`: false,
		`{"` + strings.Repeat("k", domain.MaxSecretKey+1) + `":1}`: false, "{\"k\":\"\xff\"}": false, `{k:1}`: false, `{"k":01}`: false,
		names(domain.MaxSecretKeys + 1): false, long(domain.MaxSecretValue + 1): false,
	} {
		v, err := vault.ParseValue(domain.SecretString(raw))
		switch {
		case ok && (err != nil || string(v.JSON().Reveal()) != raw):
			t.Errorf("%.60q: %v", raw, err)
		case !ok:
			wantKind(t, err, domain.Invalid)
			if v.JSON().Len() > 0 {
				t.Errorf("%.60q: a value beside an error", raw)
			}
		}
	}
}

// TestParseValueErrorsHideValues: what is refused may be a secret all the same.
func TestParseValueErrorsHideValues(t *testing.T) {
	for _, raw := range []string{`{"k":canary}`, `{"k":"canary`, `{"k":"canary"}canary`, `canary`, `["canary"]`, `{"k":"canary","k":"canary"}`} {
		if _, err := vault.ParseValue(domain.SecretString(raw)); err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "canary") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	for _, s := range []string{`{"k":"v"}`, `{"k":1,"k":2}`, `{"a":{"b":[1,{}]}} `, `{`, `{"k":"v"}x`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := vault.ParseValue(domain.NewSecret(b))
		if err != nil {
			return
		}
		var m map[string]any
		if string(v.JSON().Reveal()) != string(b) || json.Unmarshal(b, &m) != nil || len(m) == 0 || len(m) > domain.MaxSecretKeys {
			t.Fatalf("accepted %q", b)
		}
	})
}

// FuzzRecords: a record that is accepted is written the same way again.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{
		`{"version":1,"root":"AA==","table":"AA=="}`, `{"version":1,"root":"AA==","table":"AA==","previous":"AQ=="}`,
		`{"version":1,"uid":"AA==","kek":"","secrets":"","pages":"","names":""}`,
		`{"version":1,"path":"a","current":1,"created":"2026-11-18T09:00:00Z","versions":[{"version":1,"created":"2026-11-18T09:00:00Z","by":"person:p"}]}`,
		`{"version":2}`, `{"Version":1}`, `{"version":1,"version":1}`, ``, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []string{"payload", "tenant", "secret"} {
			v, err := vault.Recode(kind, b)
			if err != nil {
				if k := domain.KindOf(err); k != domain.Tampered && k != domain.Unavailable {
					t.Fatalf("%v is of kind %v", err, k)
				}
				continue
			}
			if again, err := json.Marshal(v); err != nil || string(again) != string(b) {
				t.Fatalf("%s was accepted, is written as %s, %v", b, again, err)
			}
		}
	})
}
