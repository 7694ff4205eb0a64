package domain_test

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"coffer/app/domain"
)

const canary = "sk_live_canary"

// holder has a Secret where fmt cannot call its methods.
type holder struct{ inner struct{ s domain.Secret } }

func TestSecretIsNeverPrinted(t *testing.T) {
	s := domain.SecretString(canary)
	h := holder{}
	h.inner.s = s
	list, table := []domain.Secret{s}, map[string]domain.Secret{"a": s}
	var logged strings.Builder
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	log.Info("x", "secret", s, "holder", h, "list", list, "json", domain.JSON{Secret: s}, "out", domain.DiscloseText(s))
	text := []string{logged.String(), s.String()}
	for _, v := range []any{s, &s, h, &h, list, table, domain.JSON{Secret: s}, domain.DiscloseText(s), errors.Join(fmt.Errorf("%v", s))} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U"} {
			text = append(text, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			if _, disclosed := v.(domain.Disclosure); !disclosed {
				text = append(text, string(b))
			}
		}
	}
	for _, got := range text {
		for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("%d", []byte(canary)), "115 107 95", "0x73"} {
			if strings.Contains(got, form) {
				t.Errorf("printed: %s", got)
			}
		}
	}
	if err := gob.NewEncoder(io.Discard).Encode(s); err == nil {
		t.Error("gob carried a secret")
	}
}

func TestDisclosureMarshalsAsItself(t *testing.T) {
	for _, d := range []domain.Disclosure{domain.DiscloseText(domain.SecretString(`a"b`)), domain.Disclose(domain.SecretString(`{"k":"v"}`))} {
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back domain.Disclosure
		if err := json.Unmarshal(b, &back); err != nil || !back.Equal(d.Secret) {
			t.Errorf("%s came back otherwise: %v", b, err)
		}
	}
}

func TestSecretEqualAndZero(t *testing.T) {
	a, b := domain.SecretString("x"), domain.SecretString("x")
	if !a.Equal(b) || a.Equal(domain.Secret{}) || (domain.Secret{}).Len() != 0 {
		t.Error("equality is wrong")
	}
	a.Zero()
	if string(a.Reveal()) != "\x00" {
		t.Error("zeroing left the bytes")
	}
}

func TestParseTenantID(t *testing.T) {
	for id, ok := range map[string]bool{
		"acme": true, "a-1": true, "abc": true, strings.Repeat("a", 40): true,
		"": false, "ab": false, "Acme": false, "1ab": false, "ab-": false, "-ab": false, "a_b": false, "a.b": false,
		"a/b": false, "acme ": false, "äbc": false, strings.Repeat("a", 41): false, "sys": false, "secret": false, "root": false, "admin": false,
		"abc\n": false, "..": false,
	} {
		_, err := domain.ParseTenantID(id)
		if (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", id, err, ok)
		}
		if err != nil && (domain.KindOf(err) != domain.Invalid || domain.HintOf(err) == "") {
			t.Errorf("%q: %v is no helpful Invalid error", id, err)
		}
	}
}

func TestParseSecretPath(t *testing.T) {
	for path, ok := range map[string]bool{
		"a": true, "stripe/live": true, "a b/c": true, "ä/ü": true, strings.Repeat("a", domain.MaxSecretPath): true,
		"": false, "/a": false, "a/": false, "a//b": false, "a/../b": false, "./a": false, "a*": false, "a+b": false,
		"a\\b": false, "a\x00b": false, "a\nb": false, "a%2fb": false, "a?b": false, "a#b": false, "\xff": false,
		strings.Repeat("a", domain.MaxSecretPath+1): false, strings.Repeat("a/", domain.MaxPathSegments) + "a": false,
	} {
		if _, err := domain.ParseSecretPath(path); (err == nil) != ok {
			t.Errorf("%.40q: %v, want ok %v", path, err, ok)
		}
	}
}

func TestKinds(t *testing.T) {
	for _, k := range domain.Kinds() {
		if domain.ParseKind(k.String()) != k {
			t.Errorf("%v does not come back from its name", k)
		}
	}
	inner := domain.Errorf(domain.Tampered, "bad").WithHint("restore")
	err := fmt.Errorf("opening x: %w", inner)
	if domain.KindOf(err) != domain.Tampered || domain.HintOf(err) != "restore" || !errors.Is(err, &domain.Error{Kind: domain.Tampered}) {
		t.Errorf("the kind or hint was lost on the way: %v", err)
	}
	if domain.KindOf(io.EOF) != domain.Internal {
		t.Error("a foreign error has a kind")
	}
}

func FuzzParseSecretPath(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../a", "a//b", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := domain.ParseSecretPath(s)
		if err != nil {
			return
		}
		if string(p) != s || strings.HasPrefix(s, "/") || strings.Contains(s, "..") && strings.Contains("/"+s+"/", "/../") {
			t.Fatalf("accepted %q", s)
		}
	})
}
