package seal_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"coffer/app/domain"
	"coffer/vault/seal"
)

func TestPassphraseIsChecked(t *testing.T) {
	for _, bad := range []string{"", "hunter2", "eleven char", "with a line end\n", "with\x00a zero byte", "broken \xff utf-8 here", strings.Repeat("x", 1025)} {
		_, err := seal.NewPassphrase(domain.SecretString(bad))
		wantKind(t, err, domain.Invalid)
		if len(bad) > 4 && strings.Contains(fmt.Sprintf("%v %+v %s", err, err, domain.HintOf(err)), bad) {
			t.Errorf("the error quotes %q", bad)
		}
	}
	for _, good := range []string{"twelve chars", "Grüße aus Köln", strings.Repeat("x", 1024), "            "} {
		if _, err := seal.NewPassphrase(domain.SecretString(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// wantKind is wantError where a hint is not needed.
func wantKind(tb testing.TB, err error, kind domain.Kind) {
	tb.Helper()
	if err == nil || domain.KindOf(err) != kind {
		tb.Errorf("error %v, want kind %v", err, kind)
	}
}

func TestPassphraseIsExact(t *testing.T) {
	_, root, path := mustCreate(t, mustPassphrase(t, testPassphrase))
	for _, near := range []string{testPassphrase + " ", " " + testPassphrase, strings.ToUpper(testPassphrase)} {
		refuses(t, path, mustPassphrase(t, near), domain.Unauthentic, "the passphrase does not open")
	}
	opens(t, path, mustPassphrase(t, testPassphrase), root)
}

func TestArgonParametersAreBounded(t *testing.T) {
	const text = `{"algorithm":%q,"version":%d,"memory_kib":%d,"passes":%d,"threads":%d}`
	for _, tc := range []struct {
		algorithm                        string
		version, memory, passes, threads int
		ok                               bool
	}{
		{"argon2id", 19, 64 << 10, 3, 4, true},
		{"argon2id", 19, 19 << 10, 2, 1, true},
		{"argon2id", 19, 1 << 20, 16, 16, true},
		{"argon2id", 19, 19<<10 - 1, 3, 4, false},
		{"argon2id", 19, 1<<20 + 1, 3, 4, false},
		{"argon2id", 19, 64 << 10, 1, 4, false},
		{"argon2id", 19, 64 << 10, 17, 4, false},
		{"argon2id", 19, 64 << 10, 3, 0, false},
		{"argon2id", 19, 64 << 10, 3, 17, false},
		{"argon2id", 19, 64 << 10, 3, 256, false},
		{"argon2id", 16, 64 << 10, 3, 4, false},
		{"argon2i", 19, 64 << 10, 3, 4, false},
	} {
		params := fmt.Sprintf(text, tc.algorithm, tc.version, tc.memory, tc.passes, tc.threads)
		if err := seal.CheckParams(seal.Passphrase, []byte(params)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", params, err)
		}
	}
}

func keyPath(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "key")
	if err := seal.CreateKeyfile(path); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestKeyfileIsMadeOnce(t *testing.T) {
	path := keyPath(t)
	b := mustRead(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || len(b) != seal.MinKeyfile {
		t.Errorf("mode %v, %d bytes, %v", info.Mode(), len(b), err)
	}
	if err := seal.CreateKeyfile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	if !bytes.Equal(b, mustRead(t, path)) {
		t.Error("it was overwritten")
	}
}

func TestKeyfileProblems(t *testing.T) {
	path := keyPath(t)
	p, err := seal.NewKeyfile(path, seal.External)
	must(t, p, err)
	_, _, file := mustCreate(t, p)
	good := mustRead(t, path)

	for name, content := range map[string][]byte{
		"empty": {}, "short": good[:31], "zeros": make([]byte, 64), "one word": bytes.Repeat([]byte("secret"), 10),
	} {
		t.Run(name, func(t *testing.T) {
			mustWrite(t, path, content)
			refuses(t, file, p, domain.Invalid, "at least 32 random bytes")
		})
	}
	mustWrite(t, path, bytes.Repeat(good, seal.MaxKeyfile/32+1))
	refusesKind(t, file, p, domain.Unavailable)
	mustWrite(t, path, append(bytes.Clone(good), '\n'))
	refuses(t, file, p, domain.Unauthentic, "another file")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refuses(t, file, p, domain.Unavailable, "there is no key file")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	refusesKind(t, file, p, domain.Unavailable)

	if _, err := seal.NewKeyfile("", seal.External); domain.KindOf(err) != domain.Invalid {
		t.Errorf("no path: %v", err)
	}
	if _, err := seal.NewKeyfile(path, "elsewhere"); domain.KindOf(err) != domain.Internal {
		t.Errorf("unknown source: %v", err)
	}
}

// TestKeyfileLink reads through a link, as container secrets are.
func TestKeyfileLink(t *testing.T) {
	path := keyPath(t)
	p, err := seal.NewKeyfile(path, seal.External)
	must(t, p, err)
	_, root, file := mustCreate(t, p)
	target := filepath.Join(t.TempDir(), "..data")
	if err := errors.Join(os.Rename(path, target), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
	opens(t, file, p, root)

	if err := os.Chmod(target, 0); err != nil {
		t.Fatal(err)
	}
	f := mustLoad(t, file)
	asNobody(t, func() { _, _, err = f.Unlock(context.Background(), p) })
	wantError(t, err, domain.Unavailable, "may not be read")
}

// refusesKind is refuses for causes without a hint of their own.
func refusesKind(tb testing.TB, path string, p seal.Protector, kind domain.Kind) {
	tb.Helper()
	root, _, err := mustLoad(tb, path).Unlock(context.Background(), p)
	wantKind(tb, err, kind)
	if root.Len() != 0 {
		tb.Error("it opened")
	}
}

func TestKeyfileSources(t *testing.T) {
	for source, warns := range map[seal.KeyfileSource]bool{seal.DataDirectory: true, seal.Credential: false, seal.External: false} {
		p, err := seal.NewKeyfile(keyPath(t), source)
		f, _, _ := mustCreate(t, must(t, p, err))
		if st := f.Status()[0]; (st.Warning != "") != warns {
			t.Errorf("%s: warning %q", source, st.Warning)
		}
	}
}

func TestRecoveryKeyIsReadFreely(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := seal.NewRecoveryKey()
		text := string(k.Text().Reveal())
		if len(text) != 14*4+13 {
			rt.Fatalf("printed as %d characters", len(text))
		}
		k2, err := seal.ParseRecoveryKey(domain.SecretString(sloppy(rt, text)))
		if err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(seal.RecoveryBytes(k), seal.RecoveryBytes(k2)) {
			rt.Fatal("read as another key")
		}
	})
}

// sloppy writes text as people do.
func sloppy(rt *rapid.T, text string) string {
	var b strings.Builder
	for _, c := range text {
		alternatives := map[rune][]string{'0': {"0", "O", "o"}, '1': {"1", "I", "i", "L", "l"}, '-': {"-", " ", "", "\n", " - ", "\t", "_", "."}}[c]
		if alternatives == nil {
			alternatives = []string{string(c), strings.ToLower(string(c)), string(c) + " "}
		}
		b.WriteString(rapid.SampledFrom(alternatives).Draw(rt, "as"))
	}
	return b.String()
}

func TestRecoveryKeyTypos(t *testing.T) {
	text := string(seal.NewRecoveryKey().Text().Reveal())
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	for i := range text {
		if text[i] == '-' {
			continue
		}
		next := alphabet[(strings.IndexByte(alphabet, text[i])+1)%32]
		_, err := seal.ParseRecoveryKey(domain.SecretString(text[:i] + string(next) + text[i+1:]))
		wantError(t, err, domain.Invalid, "at least one character is wrong")
	}
	for _, bad := range []string{"", "x", text[:len(text)-1], text + "0", strings.Replace(text, text[:1], "U", 1), text + "!", strings.Repeat("0", 1<<16), "ü" + text} {
		_, err := seal.ParseRecoveryKey(domain.SecretString(bad))
		wantError(t, err, domain.Invalid, "recovery key")
	}
}

func TestRecoveryKeyConfirmation(t *testing.T) {
	used := map[int]bool{}
	for range 200 {
		k := seal.NewRecoveryKey()
		a, b := k.CheckGroups()
		if a < 1 || b <= a || b > 14 {
			t.Fatalf("groups %d and %d", a, b)
		}
		used[a], used[b] = true, true
		groups := strings.Split(string(k.Text().Reveal()), "-")
		right := groups[a-1] + groups[b-1]
		for _, typed := range []string{right, strings.ToLower(groups[a-1]) + " " + groups[b-1]} {
			if err := k.Confirm(domain.SecretString(typed)); err != nil {
				t.Errorf("%v", err)
			}
		}
		for _, typed := range []string{"", groups[a-1], groups[b-1] + groups[a-1], right + "0", groups[a%14] + groups[b%14], "!" + right} {
			if typed == right {
				continue
			}
			wantError(t, k.Confirm(domain.SecretString(typed)), domain.Invalid, "check characters")
		}
	}
	if len(used) != 14 {
		t.Errorf("only the groups %v are ever asked for", used)
	}
	gone := seal.NewRecoveryKey()
	gone.Zero()
	if !bytes.Equal(seal.RecoveryBytes(gone), make([]byte, 32)) {
		t.Error("Zero left the key")
	}
	wantError(t, seal.RecoveryKey{}.Confirm(domain.Secret{}), domain.Conflict, "no recovery key")
	if _, err := seal.NewRecovery(seal.RecoveryKey{}); domain.KindOf(err) != domain.Invalid {
		t.Errorf("the zero key protects: %v", err)
	}
}

// TestSecretsAreNotPrinted formats what may end in a log.
func TestSecretsAreNotPrinted(t *testing.T) {
	k, recovery := mustRecovery(t)
	pass := mustPassphrase(t, testPassphrase)
	tpm := mustTPM(t, seal.DefaultTPM, seal.WithOwnerAuth(domain.SecretString(testPassphrase)))
	type inside struct{ a, b, c, d any }
	var printed strings.Builder
	for _, v := range []any{k, &k, recovery, pass, tpm, inside{k, recovery, pass, tpm}, []any{k, recovery, pass, tpm}, map[any]any{1: k, 2: pass}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&printed, nil)).Info("x", "v", v)
		b, _ := json.Marshal(v)
		printed.Write(b)
	}
	for name, secret := range map[string][]byte{"passphrase": []byte(testPassphrase), "recovery key": seal.RecoveryBytes(k), "printed key": k.Text().Reveal()} {
		hexed := hex.EncodeToString(secret[:8])
		for _, form := range []string{
			string(secret[:8]), hexed, strings.ToUpper(hexed), strings.Trim(fmt.Sprint(secret[:8]), "[]"),
			strings.Trim(fmt.Sprintf("%#v", secret[:8]), "[]byte{}"), base64.StdEncoding.EncodeToString(secret)[:9],
		} {
			if strings.Contains(printed.String(), form) {
				t.Errorf("the %s was printed as %s", name, form)
			}
		}
	}
}

func FuzzRecoveryKey(f *testing.F) {
	f.Add("000G-40R4-0M30-E209-185G-R38E-1W81-24GK-2GAH-C5RR-34D1-P70X-3RFN-06V5")
	f.Add("oooo iiii llll")
	f.Add("")
	f.Fuzz(func(t *testing.T, typed string) {
		k, err := seal.ParseRecoveryKey(domain.SecretString(typed))
		if err != nil {
			return
		}
		again, err := seal.ParseRecoveryKey(k.Text())
		if err != nil || !bytes.Equal(seal.RecoveryBytes(k), seal.RecoveryBytes(again)) {
			t.Fatalf("%q: %v", typed, err)
		}
	})
}
