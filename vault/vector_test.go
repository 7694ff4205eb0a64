package vault_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/audit"
	"coffer/vault"
)

// Vectors of version 1 are kept for ever: each release must open them.
const vectorDir = "testdata/v1"

// vector is testdata/v1/vault.json: what the files beside it hold.
type vector struct {
	Root    string // hexadecimal, as the other keys
	HeadKey string
	Periods map[string]string // "tag/period" → key
	Tenants map[domain.TenantID]tenantVector
}

type tenantVector struct {
	UID     string
	PageKey string                              // 32 bytes for the info "vector"
	Secrets map[domain.SecretPath]vault.Secret  // metadata
	Values  map[domain.SecretPath]map[int]value // of live versions
}

type value string

// TestVectors opens the files in a copy and reads everything.
func TestVectors(t *testing.T) {
	var want vector
	must(t, json.Unmarshal(copyOf(t, filepath.Join(vectorDir, "vault.json")), &want))
	root, err := hex.DecodeString(want.Root)
	must(t, err)
	k := &kit{dir: t.TempDir(), root: root}
	for _, name := range []string{"keys.db", "control.db", "payload"} {
		must(t, durable.WriteFile(k.path(name), copyOf(t, filepath.Join(vectorDir, name))))
	}
	k.mustOpen(t)
	must(t, k.v.Check(t.Context()))
	if k.db, err = store.Open(k.path("control.db"), k.v.ControlAEAD()); err != nil {
		t.Fatal(err)
	}
	k.openLog(t)
	t.Cleanup(func() { k.close(t) })
	got := k.describe(t, want)
	got.Root = want.Root
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if string(k.payload(t)) != string(copyOf(t, filepath.Join(vectorDir, "payload"))) {
		t.Error("opening wrote another payload")
	}
}

// describe reads what the vector names.
func (k *kit) describe(t *testing.T, of vector) vector {
	t.Helper()
	out := vector{
		HeadKey: hex.EncodeToString(k.v.LogKeys().HeadKey().Reveal()),
		Periods: map[string]string{}, Tenants: map[domain.TenantID]tenantVector{},
	}
	for name := range of.Periods {
		tag, err := hex.DecodeString(name[:32])
		must(t, err)
		key, err := k.v.LogKeys().PeriodKey(t.Context(), audit.Tag(tag), name[33:])
		must(t, err)
		out.Periods[name] = hex.EncodeToString(key.Reveal())
	}
	for id, tenant := range of.Tenants {
		k.register(t, id)
		keys, uid, err := k.v.TenantPages(t.Context(), k.permit(t, id, authz.SQLQuery, ""), id)
		must(t, err)
		page, err := keys.Derive([]byte("vector"), 32)
		must(t, err)
		tv := tenantVector{
			UID: hex.EncodeToString(uid[:]), PageKey: hex.EncodeToString(page),
			Secrets: map[domain.SecretPath]vault.Secret{}, Values: map[domain.SecretPath]map[int]value{},
		}
		for path := range tenant.Secrets {
			var s vault.Secret
			must(t, k.view(t, id, authz.SecretVersions, string(path), func(c *vault.Coffer, tx *store.Tx) (err error) {
				s, err = c.Versions(tx)
				return err
			}))
			tv.Secrets[path], tv.Values[path] = s, map[int]value{}
			for _, v := range s.Versions {
				if v.Live() {
					text, _, err := k.read(t, id, string(path), v.Number)
					must(t, err)
					tv.Values[path][v.Number] = value(text)
				}
			}
		}
		out.Tenants[id] = tv
	}
	return out
}

var writeVectors = flag.String("write-vectors", "", "directory to write new vectors into; existing files are never replaced")

// TestWriteVectors made the vectors. It runs only when a directory is named.
func TestWriteVectors(t *testing.T) {
	if *writeVectors == "" {
		return // they are fixed
	}
	k := newKit(t)
	k.tenant(t, "acme")
	k.tenant(t, "globex")
	k.mustPut(t, "acme", "stripe/live", `{"key":"sk_live_1"}`)
	for _, v := range []string{`{"user":"app","password":"p1"}`, `{"user":"app","password":"p2"}`, `{"user":"app","n":1.50}`, "{ \"user\": \"ä\" }"} {
		k.mustPut(t, "acme", "pg/main", v)
	}
	for action, version := range map[domain.Action]int{authz.SecretDestroy: 1, authz.SecretDelete: 2} {
		_, err := k.mark(t, action, "pg/main", version)
		must(t, err)
	}
	k.mustPut(t, "globex", "stripe/live", `{"key":"sk_live_2"}`)
	periods := map[string]string{}
	for _, period := range []string{"2026-11", "2026-W47"} {
		tag := tagOf("acme")
		_, err := k.v.LogKeys().PeriodKey(context.Background(), tag, period)
		must(t, err)
		periods[tag.String()+"/"+period] = ""
	}
	k.log.Close(t.Context())
	must(t, k.db.Close())
	k.slots = 0
	c := &kit{dir: t.TempDir(), root: k.root}
	must(t, k.v.Close())
	for _, name := range []string{"keys.db", "control.db", "payload"} {
		b := copyOf(t, k.path(name))
		must(t, durable.CreateFile(filepath.Join(*writeVectors, name), b))
		must(t, durable.WriteFile(c.path(name), b))
	}
	c.mustOpen(t)
	var err error
	c.db, err = store.Open(c.path("control.db"), c.v.ControlAEAD())
	must(t, err)
	c.openLog(t)
	out := c.describe(t, vector{Periods: periods, Tenants: map[domain.TenantID]tenantVector{
		"acme":   {Secrets: map[domain.SecretPath]vault.Secret{"stripe/live": {}, "pg/main": {}}},
		"globex": {Secrets: map[domain.SecretPath]vault.Secret{"stripe/live": {}}},
	}})
	out.Root = hex.EncodeToString(k.root)
	b, err := json.MarshalIndent(out, "", "  ")
	must(t, err)
	must(t, durable.CreateFile(filepath.Join(*writeVectors, "vault.json"), append(b, '\n')))
	c.close(t)
	k.v, k.db, k.log = c.v, c.db, c.log // closed already
}

// TestVectorRecords: the JSON records inside are of the one form, and another
// form of them is refused.
func TestVectorRecords(t *testing.T) {
	for kind, form := range map[string]string{
		"payload": `{"version":1,"root":"AAE=","table":"AgM="}`,
		"tenant":  `{"version":1,"uid":"AAECAwQFBgcICQoLDA0ODw==","kek":"AA==","secrets":"AQ==","pages":"Ag==","names":"Aw=="}`,
		"secret":  `{"version":1,"path":"a/b","current":2,"created":"2026-11-18T09:00:00Z","versions":[{"version":2,"created":"2026-11-18T09:00:00.5Z","by":"workload:w_1","deleted":"2026-11-18T10:00:00Z","destroyed":"2026-11-18T11:00:00Z"}]}`,
		"transit": `{"version":1,"name":"orders","id":"tk_a","type":"aes256-gcm96","created":"2026-11-18T09:00:00Z","latest_version":2,"min_available_version":2,"min_decryption_version":2,"min_encryption_version":0,"deletion_allowed":false,"versions":[{"version":2,"created":"2026-11-18T09:00:00Z","public":"x"}]}`,
	} {
		if _, err := vault.Recode(kind, []byte(form)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for name, other := range map[string]string{
			"a blank": form[:1] + " " + form[1:], "a line end": form + "\n", "trailing data": form + "{}", "cut": form[:len(form)-1],
			"an unknown member": form[:len(form)-1] + `,"x":1}`, "a member twice": `{"version":1,` + form[1:],
			"another case": `{"Version":1,` + form[len(`{"version":1,`):], "another order": form[:1] + form[len(`{"version":1,`):len(form)-1] + `,"version":1}`,
			"no version": `{` + form[len(`{"version":1,`):], "nothing": "", "null": "null",
		} {
			_, err := vault.Recode(kind, []byte(other))
			want := domain.Tampered
			if name == "no version" || name == "null" {
				want = domain.Unavailable // version 0 is another one
			}
			if domain.KindOf(err) != want {
				t.Errorf("%s with %s: %v", kind, name, err)
			}
		}
		later := `{"version":2` + form[len(`{"version":1`):]
		_, err := vault.Recode(kind, []byte(later))
		wantKind(t, err, domain.Unavailable)
	}
	if entries, err := os.ReadDir(vectorDir); err != nil || len(entries) != 4 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}
