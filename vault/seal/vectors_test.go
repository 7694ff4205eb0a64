package seal_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/vault/seal"
	"coffer/vault/seal/sealtest"
)

// Vectors of format 1 are kept for ever: each release must open them.
const vectorDir = "testdata/v1"

// vector is one entry of testdata/v1/vectors.json.
type vector struct {
	File     string    `json:"file"` // seal.json of one slot
	Kind     seal.Kind `json:"kind"`
	Secret   string    `json:"secret"` // passphrase, recovery key, or file with the key or the TPM's state
	Root     string    `json:"root"`   // hexadecimal
	Payload  string    `json:"payload"`
	Instance string    `json:"instance"`
}

func vectorFiles(tb testing.TB) []string {
	tb.Helper()
	var out []string
	for _, v := range vectors(tb) {
		out = append(out, filepath.Join(vectorDir, v.File))
	}
	return out
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	var vs []vector
	if err := json.Unmarshal(mustRead(tb, filepath.Join(vectorDir, "vectors.json")), &vs); err != nil {
		tb.Fatal(err)
	}
	return vs
}

func (v vector) protector(tb testing.TB) seal.Protector {
	tb.Helper()
	switch v.Kind {
	case seal.TPM:
		return mustTPM(tb, sealtest.StartTPMFrom(tb, filepath.Join(vectorDir, v.Secret)).Path())
	case seal.Passphrase:
		return mustPassphrase(tb, v.Secret)
	case seal.Keyfile:
		p, err := seal.NewKeyfile(filepath.Join(vectorDir, v.Secret), seal.External)
		return must(tb, p, err)
	case seal.Recovery:
		k, err := seal.ParseRecoveryKey(domain.SecretString(v.Secret))
		must(tb, k, err)
		p, err := seal.NewRecovery(k)
		return must(tb, p, err)
	}
	tb.Fatalf("no protector for %q", v.Kind)
	return nil
}

func TestVectors(t *testing.T) {
	seen := map[seal.Kind]bool{}
	for _, v := range vectors(t) {
		t.Run(v.File, func(t *testing.T) {
			path := filepath.Join(vectorDir, v.File)
			raw := mustRead(t, path)
			f := mustLoad(t, path)
			root, st, err := f.Unlock(context.Background(), v.protector(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(root.Reveal()); got != v.Root {
				t.Errorf("root key %s, want %s", got, v.Root)
			}
			if st.Kind != v.Kind || f.Instance() != v.Instance || string(f.Payload()) != v.Payload {
				t.Errorf("slot %+v, instance %s, payload %q", st, f.Instance(), f.Payload())
			}
			again, err := seal.Reencode(raw, root)
			if string(must(t, again, err)) != string(raw) {
				t.Errorf("encodes differently:\n%s", again)
			}
			seen[v.Kind] = true
		})
	}
	for _, k := range seal.Kinds() {
		if !seen[k] {
			t.Errorf("no vector for %s", k)
		}
	}
}

// TestRecoveryKeyVector derives the printed form independently of this package.
func TestRecoveryKeyVector(t *testing.T) {
	// 00 01 … 1f and the first three bytes of SHA-256("coffer recovery key
	// v1" 00 00 01 … 1f), in Crockford's base 32, computed with Python.
	const text = "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-2GAH-C5RR-34D1-P70X-3RFN-06V5"
	want := make([]byte, 32)
	for i := range want {
		want[i] = byte(i)
	}
	k, err := seal.ParseRecoveryKey(domain.SecretString(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(k.Text().Reveal()); got != text {
		t.Errorf("printed as %s", got)
	}
	if got := seal.RecoveryBytes(k); string(got) != string(want) {
		t.Errorf("bytes %x", got)
	}
}

var writeVectors = flag.String("write-vectors", "", "directory to write new vectors into; existing files are never replaced")

// TestWriteVectors made the vectors. It runs only when a directory is named.
func TestWriteVectors(t *testing.T) {
	if *writeVectors == "" {
		return // they are fixed
	}
	dir := *writeVectors
	put := func(name string, b []byte) {
		if err := durable.CreateFile(filepath.Join(dir, name), b); err != nil {
			t.Fatal(err)
		}
	}
	key, recovery := mustRecovery(t)
	keyPath := filepath.Join(dir, "keyfile.key")
	if err := seal.CreateKeyfile(keyPath); err != nil {
		t.Fatal(err)
	}
	keyfile, err := seal.NewKeyfile(keyPath, seal.External)
	must(t, keyfile, err)
	tpm, pcrTPM := sealtest.StartTPM(t), sealtest.StartTPM(t)
	made := []struct {
		name, secret string
		by           seal.Protector
	}{
		{"passphrase", "Grüße, correct horse battery staple", nil},
		{"keyfile", "keyfile.key", keyfile},
		{"recovery", string(key.Text().Reveal()), recovery},
		{"tpm", "tpm.permall", mustTPM(t, tpm.Path())},
		{"tpm-pcr7", "tpm-pcr7.permall", mustTPM(t, pcrTPM.Path(), seal.WithPCRs(7))},
	}
	made[0].by = mustPassphrase(t, made[0].secret)
	var vs []vector
	for _, m := range made {
		f, root, path := mustCreate(t, m.by)
		put(m.name+".json", mustRead(t, path))
		vs = append(vs, vector{
			File: m.name + ".json", Kind: m.by.Kind(), Secret: m.secret, Root: hex.EncodeToString(root.Reveal()),
			Payload: string(f.Payload()), Instance: f.Instance(),
		})
	}
	for name, p := range map[string]*sealtest.TPM{"tpm.permall": tpm, "tpm-pcr7.permall": pcrTPM} {
		p.Stop()
		state, err := os.ReadFile(filepath.Join(p.StateDir(), "tpm2-00.permall"))
		put(name, must(t, state, err))
	}
	index, err := json.MarshalIndent(vs, "", "  ")
	put("vectors.json", append(must(t, index, err), '\n'))
}
