package vault_test

import (
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/vault"
)

// closedDir holds tenants under client-held keys, and keysets with two keys, for
// ever.
const closedDir = "testdata/v1-closed"

// closedVector is testdata/v1-closed/vault.json.
type closedVector struct {
	Root    string                                // hexadecimal, as the other keys
	Keyfile string                                // of acme
	Phrase  string                                // of globex
	Pages   map[domain.TenantID]string            // 32 bytes for the info uid
	Values  map[domain.TenantID]map[string]string // by path
}

func (v closedVector) key(t *testing.T, id domain.TenantID) vault.ClientKey {
	t.Helper()
	if id == "globex" {
		return passphraseKey(v.Phrase)
	}
	b, err := hex.DecodeString(v.Keyfile)
	must(t, err)
	return vault.ClientKey{Form: "keyfile", Key: domain.NewSecret(b)}
}

func TestClosedVectors(t *testing.T) {
	var want closedVector
	must(t, json.Unmarshal(copyOf(t, filepath.Join(closedDir, "vault.json")), &want))
	root, err := hex.DecodeString(want.Root)
	must(t, err)
	k := &kit{dir: t.TempDir(), root: root}
	for _, name := range []string{"keys.db", "control.db", "payload"} {
		must(t, durable.WriteFile(k.path(name), copyOf(t, filepath.Join(closedDir, name))))
	}
	k.openAfter(t)
	t.Cleanup(func() { k.close(t) })
	must(t, k.v.Check(t.Context()))
	for id, values := range want.Values {
		_, err := k.pages(t, id)
		wantKind(t, err, domain.Denied)
		must(t, k.openClient(t, id, want.key(t, id), vault.Opening{Until: time.Now().Add(time.Hour)}))
		if got, err := k.pages(t, id); err != nil || hex.EncodeToString([]byte(got)) != want.Pages[id] {
			t.Errorf("page keys of %s: %x, %v", id, got, err)
		}
		for path, value := range values {
			if got, err := k.tryRead(t, id, path); err != nil || got != value {
				t.Errorf("%s of %s: %s, %v", path, id, got, err)
			}
		}
	}
}

// TestWriteClosedVectors made them. It runs only when a directory is named.
func TestWriteClosedVectors(t *testing.T) {
	if *writeVectors == "" {
		return // they are fixed
	}
	k := newKit(t)
	out := closedVector{
		Root: hex.EncodeToString(k.root), Keyfile: hex.EncodeToString(fileKey(9).Key.Reveal()), Phrase: "correct horse battery",
		Pages: map[domain.TenantID]string{}, Values: map[domain.TenantID]map[string]string{},
	}
	for _, id := range []domain.TenantID{"acme", "globex"} {
		k.tenant(t, id)
		out.Values[id] = map[string]string{}
		for i := range 4 {
			path := "s/" + strconv.Itoa(i)
			out.Values[id][path] = `{"of":"` + string(id) + `","n":` + strconv.Itoa(i) + `}`
			k.mustPut(t, id, path, out.Values[id][path])
		}
		pages, err := k.pages(t, id)
		must(t, err)
		out.Pages[id] = hex.EncodeToString([]byte(pages))
		must(t, k.setClient(t, id, out.key(t, id), vault.Opening{Until: time.Now().Add(time.Hour)}))
	}
	ctx := t.Context()
	p := k.intend(t, "acme", authz.RotateTenant, "secrets")
	must(t, k.v.BeginSecrets(ctx, p, "acme"))
	r, err := k.v.Rewrap(ctx, p, "acme")
	must(t, err)
	_, err = k.db.Update(ctx, func(tx *store.Tx) error {
		_, _, err := r.Step(tx, 3)
		return err
	})
	must(t, err)
	p = k.intend(t, "", authz.RotateStart, "control")
	_, err = k.v.BeginControl(ctx, p)
	must(t, err)
	out.Values["acme"]["s/9"] = `{"after":true}`
	k.mustPut(t, "acme", "s/9", out.Values["acme"]["s/9"])
	must(t, k.v.BeginRoot(ctx, p, k.secretRoot()))
	w, err := k.v.RootRewrap(p, k.secretRoot())
	must(t, err)
	_, _, err = w.Step(ctx, 2)
	must(t, err)
	must(t, k.v.Tidy(ctx))
	must(t, k.db.Close())
	for _, name := range []string{"keys.db", "control.db", "payload"} {
		must(t, durable.CreateFile(filepath.Join(*writeVectors, name), copyOf(t, k.path(name))))
	}
	b, err := json.MarshalIndent(out, "", "  ")
	must(t, err)
	must(t, durable.CreateFile(filepath.Join(*writeVectors, "vault.json"), append(b, '\n')))
}
