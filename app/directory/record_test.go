package directory_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

// line is one of testdata/v1/*.jsonl: a row of the control store. Kept for ever.
type line struct {
	Bucket string          `json:"bucket"`
	Key    string          `json:"key"` // NUL is written as |, the hash of a text as %link or %session
	JSON   json.RawMessage `json:"json"`
}

func vectors(tb testing.TB) (all []line) {
	tb.Helper()
	for _, name := range []string{"rows", "people"} {
		f, err := os.Open("testdata/v1/" + name + ".jsonl")
		must(tb, err)
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var l line
			must(tb, json.Unmarshal(lines.Bytes(), &l))
			l.Key = keyOf(l.Key)
			all = append(all, l)
		}
	}
	return all
}

// as is a text of 52 times a, the random part of every text in the vectors.
const as = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func keyOf(s string) string {
	for name, text := range map[string]string{"%session": "cfu_" + as, "%link": "cfi_" + as} {
		if s == name {
			sum := sha256.Sum256([]byte(text))
			return string(sum[:])
		}
	}
	return string(bytes.ReplaceAll([]byte(s), []byte("|"), []byte{0}))
}

// TestVectors puts the rows into a store and finds everybody through the front
// door.
func TestVectors(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	seen := map[string]bool{}
	for _, l := range vectors(t) {
		if again, err := directory.Recode(l.Bucket, l.JSON); err != nil || !bytes.Equal(again, l.JSON) {
			t.Errorf("%s is written as %s, %v", l.JSON, again, err)
		}
		_, err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(l.Bucket, []byte(l.Key), l.JSON) })
		must(t, err)
		seen[l.Bucket] = true
	}
	if len(seen) != 13 {
		t.Errorf("rows of %v only", seen)
	}
	capability, err := authz.ParseCapability("secret:read:stripe/*")
	must(t, err)
	half := start.Add(500 * time.Millisecond)
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		anna, found, err := directory.PersonByUID(tx, 1000)
		want := directory.Person{ID: "p_anna", Name: "anna", UID: ref(uint32(1000)), Created: start}
		if diff := cmp.Diff(want, anna); diff != "" || !found || err != nil {
			t.Error(diff, found, err)
		}
		ben, found, err := directory.PersonByName(tx, "ben")
		if diff := cmp.Diff(directory.Person{ID: "p_ben", Name: "ben", Created: half}, ben); diff != "" || !found || err != nil {
			t.Error(diff, found, err)
		}
		ms, err := directory.Members(tx, "acme", start)
		wantMembers := []directory.Member{
			{Tenant: "acme", Person: "p_anna", Role: domain.Owner, Since: start},
			{Tenant: "acme", Person: "p_ben", Role: domain.Owner, Since: start, Expires: ref(start.Add(time.Hour)), Reason: "the owner is ill"},
		}
		if diff := cmp.Diff(wantMembers, ms); diff != "" || err != nil {
			t.Error(diff, err)
		}
		tenant, found, err := directory.TenantOfRole(tx, "w_web")
		if tenant != "acme" || !found || err != nil {
			t.Error(tenant, found, err)
		}
		w, err := directory.WorkloadByName(tx, "acme", "web")
		wantWorkload := directory.Workload{
			ID: "w_web", Tenant: "acme", Name: "web", Capabilities: []authz.Capability{capability}, TokenTTL: 90 * time.Minute,
			CreatedBy: "p_anna", Created: start,
		}
		if diff := cmp.Diff(wantWorkload, w, cmp.AllowUnexported(authz.Capability{})); diff != "" || err != nil {
			t.Error(diff, err)
		}
		const text = "cfs_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		s, found, err := directory.FindSecretID(tx, w, domain.SecretString(text), start)
		hash := sha256.Sum256([]byte(text))
		wantSecret := directory.SecretID{Accessor: "sa_1", Hash: hash[:], Created: start, Expires: start.Add(24 * time.Hour), UsesLeft: 3}
		if diff := cmp.Diff(wantSecret, s); diff != "" || !found || err != nil {
			t.Error(diff, found, err)
		}
		return nil
	}))
}

// TestPeopleVectors finds what the rows of people say, through the front door.
func TestPeopleVectors(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	for _, l := range vectors(t) {
		_, err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(l.Bucket, []byte(l.Key), l.JSON) })
		must(t, err)
	}
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		a, err := directory.FindAccount(tx, "p_anna")
		if !a.HasRole(domain.Operator) || string(a.TOTP.Secret.Reveal()) != "12345678901234567890" || a.TOTP.Step != 37037036 || len(a.Recovery) != 1 {
			t.Errorf("%+v, %v", a, err)
		}
		if ops, err := directory.Operators(tx); len(ops) != 1 || ops[0] != "p_anna" || err != nil {
			t.Error(ops, err)
		}
		s, found, err := directory.FindSession(tx, domain.SecretString("cfu_"+as), start)
		if !found || s.Accessor != "us_1" || s.Idle != 30*time.Minute || err != nil {
			t.Errorf("%+v, %v", s, err)
		}
		l, found, err := directory.FindLink(tx, domain.SecretString("cfi_"+as), start)
		if !found || l.Kind != directory.SetupLink || err != nil {
			t.Errorf("%+v, %v", l, err)
		}
		if known, err := directory.KnowsDevice(tx, "p_anna", domain.SecretString("cfd_"+as), start); !known || err != nil {
			t.Error(known, err)
		}
		if known, err := directory.KnowsDevice(tx, "p_ben", domain.SecretString("cfd_"+as), start); known || err != nil {
			t.Error(known, err)
		}
		keys, err := directory.Passkeys(tx, "p_anna")
		want := []directory.Passkey{{ID: "pk_1", Name: "key", Credential: []byte{1, 2, 3}, PublicKey: []byte{4, 5, 6}, Count: 7, Flags: 5, Created: start}}
		if diff := cmp.Diff(want, keys); diff != "" || err != nil {
			t.Error(diff, err)
		}
		return nil
	}))
}

// TestOtherForms: each record has one form; others are refused by whoever reads
// them.
func TestOtherForms(t *testing.T) {
	for _, l := range vectors(t) {
		form := string(l.JSON)
		for name, other := range map[string]string{
			"a blank": form[:1] + " " + form[1:], "trailing data": form + "\n", "cut": form[:len(form)-1],
			"an unknown member": form[:len(form)-1] + `,"x":1}`, "a member twice": `{"version":1,` + form[1:], "nothing": "",
		} {
			_, err := directory.Recode(l.Bucket, []byte(other))
			if domain.KindOf(err) != domain.Tampered {
				t.Errorf("%s with %s: %v", l.Bucket, name, err)
			}
		}
		_, err := directory.Recode(l.Bucket, []byte(`{"version":2`+form[len(`{"version":1`):]))
		wantKind(t, err, domain.Unavailable)

		db := storetest.New(t, t.TempDir())
		_, err = db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(l.Bucket, []byte(l.Key), []byte(form+" ")) })
		must(t, err)
		err = db.View(t.Context(), func(tx *store.Tx) error { return readOne(tx, l) })
		wantKind(t, err, domain.Tampered)
	}
}

// readOne reads a row through the function that is for it.
func readOne(tx *store.Tx, l line) (err error) {
	switch l.Bucket {
	case "people":
		_, _, err = directory.PersonByID(tx, l.Key)
	case "uids":
		_, _, err = directory.PersonByUID(tx, 1000)
	case "members":
		_, err = directory.Members(tx, "acme", start)
	case "workloads":
		_, err = directory.Workloads(tx, "acme")
	case "role-ids":
		_, _, err = directory.TenantOfRole(tx, l.Key)
	case "accounts":
		_, err = directory.FindAccount(tx, l.Key)
	case "passkeys":
		_, err = directory.Passkeys(tx, "p_anna")
	case "sessions":
		_, err = directory.Sessions(tx, l.Key[:strings.IndexByte(l.Key, 0)], start)
	case "session-texts":
		_, _, err = directory.FindSession(tx, domain.SecretString("cfu_"+as), start)
	case "links":
		_, err = directory.Links(tx, domain.TenantID(l.Key[:strings.IndexByte(l.Key, 0)]), start)
	case "link-texts":
		_, _, err = directory.FindLink(tx, domain.SecretString("cfi_"+as), start)
	case "devices":
		_, err = directory.KnowsDevice(tx, "p_anna", domain.SecretString("cfd_"+as), start)
	case "secret-ids":
		_, _, err = directory.FindSecretID(tx, directory.Workload{Tenant: "acme", ID: "w_web"}, domain.Secret{}, start)
	}
	return err
}

func FuzzRecord(f *testing.F) {
	for _, l := range vectors(f) {
		f.Add([]byte(l.JSON))
	}
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, bucket := range []string{"people", "uids", "members", "workloads", "secret-ids", "accounts", "passkeys", "sessions", "links", "devices"} {
			again, err := directory.Recode(bucket, b)
			if err != nil {
				if k := domain.KindOf(err); k != domain.Tampered && k != domain.Unavailable {
					t.Fatalf("%v is of kind %v", err, k)
				}
				continue
			}
			if !bytes.Equal(again, b) {
				t.Fatalf("%s was accepted, is written as %s", b, again)
			}
		}
	})
}

func BenchmarkFindSecretID(b *testing.B) {
	db := storetest.New(b, storetest.MemoryDir(b))
	w, err := addWorkload(b, db, "acme", "web")
	must(b, err)
	var last credential
	for range directory.MaxSecretIDs {
		last, err = addSecretID(b, db, w, directory.SecretIDSpec{}, start)
		must(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		must(b, db.View(b.Context(), func(tx *store.Tx) error {
			_, found, err := directory.FindSecretID(tx, w, last.text, start)
			if !found {
				b.Fatal("not found")
			}
			return err
		}))
	}
}
