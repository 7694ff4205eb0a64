package seal_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/vault/seal"
)

// testTime is when everything in these tests happens.
var testTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func change(n byte) seal.Change {
	c := seal.Change{At: testTime.Add(time.Duration(n) * time.Hour)}
	c.ID[23] = n
	return c
}

const testPassphrase = "correct horse battery staple"

func mustPassphrase(tb testing.TB, p string) seal.Protector {
	tb.Helper()
	pr, err := seal.NewPassphrase(domain.SecretString(p))
	return must(tb, pr, err)
}

func mustKeyfile(tb testing.TB) seal.Protector {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "key")
	if err := seal.CreateKeyfile(path); err != nil {
		tb.Fatal(err)
	}
	p, err := seal.NewKeyfile(path, seal.External)
	return must(tb, p, err)
}

func mustRecovery(tb testing.TB) (seal.RecoveryKey, seal.Protector) {
	tb.Helper()
	k := seal.NewRecoveryKey()
	p, err := seal.NewRecovery(k)
	return k, must(tb, p, err)
}

func mustTPM(tb testing.TB, path string, opts ...seal.TPMOption) seal.Protector {
	tb.Helper()
	p, err := seal.NewTPM(path, opts...)
	return must(tb, p, err)
}

func must[T any](tb testing.TB, v T, err error) T {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// mustCreate makes a file with a slot for each protector, named after kind and
// place, and a payload.
func mustCreate(tb testing.TB, ps ...seal.Protector) (*seal.File, domain.Secret, string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "seal.json")
	f, root, err := seal.Create(context.Background(), path, change(1), wrapPayload, enrolments(ps...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return f, root, path
}

func enrolments(ps ...seal.Protector) []seal.Enrolment {
	out := make([]seal.Enrolment, len(ps))
	for i, p := range ps {
		out[i] = seal.Enrolment{Name: string(p.Kind()) + string(rune('a'+i)), By: p}
	}
	return out
}

func wrapPayload(_ domain.Secret, instance string) ([]byte, error) {
	return []byte("payload of " + instance), nil
}

func mustLoad(tb testing.TB, path string) *seal.File {
	tb.Helper()
	f, err := seal.Load(path)
	return must(tb, f, err)
}

// opens fails the test unless p opens the file at path to root.
func opens(tb testing.TB, path string, p seal.Protector, root domain.Secret) {
	tb.Helper()
	got, st, err := mustLoad(tb, path).Unlock(context.Background(), p)
	if err != nil {
		tb.Fatalf("unlocking with %s: %v", p.Kind(), err)
	}
	if !got.Equal(root) || st.Kind != p.Kind() {
		tb.Fatalf("%s opened another key through %v", p.Kind(), st)
	}
}

// refuses fails the test unless p is refused with the kind, the words and a
// hint, and gives nothing.
func refuses(tb testing.TB, path string, p seal.Protector, kind domain.Kind, words string) {
	tb.Helper()
	f, err := seal.Load(path)
	if err != nil {
		wantError(tb, err, kind, words)
		return
	}
	root, st, err := f.Unlock(context.Background(), p)
	if root.Len() != 0 || st.ID != "" {
		tb.Errorf("%s was refused, but gave something: %v", p.Kind(), st)
	}
	wantError(tb, err, kind, words)
}

func wantError(tb testing.TB, err error, kind domain.Kind, words string) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("no error, want %v: …%s…", kind, words)
	}
	if domain.KindOf(err) != kind {
		tb.Errorf("error %q has kind %v, want %v", err, domain.KindOf(err), kind)
	}
	if !strings.Contains(err.Error(), words) {
		tb.Errorf("error %q does not say %q", err, words)
	}
	if domain.HintOf(err) == "" {
		tb.Errorf("error %q has no hint", err)
	}
	var e *domain.Error
	if !errors.As(err, &e) {
		tb.Errorf("error %q is not for people", err)
	}
}

func mustRead(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	return must(tb, b, err)
}

func mustWrite(tb testing.TB, path string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}
