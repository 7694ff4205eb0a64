package directory_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

func TestWorkloads(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	web, err := addWorkload(t, db, "acme", "web")
	must(t, err)
	_, err = addWorkload(t, db, "acme", "web")
	wantKind(t, err, domain.Conflict)
	other, err := addWorkload(t, db, "globex", "web")
	must(t, err)
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		got, err := directory.WorkloadByName(tx, "acme", "web")
		if diff := cmp.Diff(web, got, cmp.AllowUnexported(authz.Capability{})); diff != "" || err != nil {
			t.Error(diff, err)
		}
		_, err = directory.WorkloadByName(tx, "acme", "nope")
		wantKind(t, err, domain.NotFound)
		if _, found, err := directory.WorkloadByID(tx, "acme", other.ID); found || err != nil {
			t.Errorf("found another tenant's workload: %v", err)
		}
		if _, found, err := directory.TenantOfRole(tx, "w_nope"); found || err != nil {
			t.Errorf("found: %v, %v", found, err)
		}
		return nil
	}))
	s, err := addSecretID(t, db, web, directory.SecretIDSpec{}, start)
	must(t, err)
	if s.UsesLeft != -1 || !s.Expires.Equal(start.Add(directory.DefaultSecretIDTTL)) {
		t.Errorf("%+v", s.SecretID)
	}
	if spend(t, db, other, s.text, start) {
		t.Error("a secret id opens another workload")
	}
	_, err = storetest.Change(t, db, func(tx *store.Tx) (int, error) { return 0, directory.RemoveWorkload(tx, web) })
	must(t, err)
	if spend(t, db, web, s.text, start) {
		t.Error("a removed workload's secret id lives on")
	}
	if _, err := addWorkload(t, db, "acme", "web"); err != nil {
		t.Errorf("the name is not free again: %v", err)
	}
}

func TestSecretIDBounds(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	web, err := addWorkload(t, db, "acme", "web")
	must(t, err)
	for _, spec := range []directory.SecretIDSpec{
		{TTL: -1}, {TTL: directory.MaxSecretIDTTL + 1}, {Uses: -1}, {Uses: directory.MaxSecretUses + 1},
	} {
		wantKind(t, spec.Check(), domain.Invalid)
		_, err := addSecretID(t, db, web, spec, start)
		wantKind(t, err, domain.Invalid)
	}
	for range directory.MaxSecretIDs {
		_, err := addSecretID(t, db, web, directory.SecretIDSpec{TTL: time.Hour, Uses: 1}, start)
		must(t, err)
	}
	_, err = addSecretID(t, db, web, directory.SecretIDSpec{}, start)
	wantKind(t, err, domain.Limit)
	_, err = addSecretID(t, db, web, directory.SecretIDSpec{}, start.Add(time.Hour)) // those have ended
	must(t, err)
}

// TestSecretIDsAreHashed: the file holds no secret id and no name.
func TestSecretIDsAreHashed(t *testing.T) {
	dir := t.TempDir()
	db := storetest.New(t, dir)
	_, err := addPerson(t, db, "canary-person", ref(uint32(77)))
	must(t, err)
	w, err := addWorkload(t, db, "acme", "canary-workload")
	must(t, err)
	s, err := addSecretID(t, db, w, directory.SecretIDSpec{}, start)
	must(t, err)
	must(t, setMember(t, db, directory.Member{Tenant: "acme", Person: "p_1", Role: domain.Owner, Reason: "canary-reason"}, start))
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		return tx.Scan("secret-ids", nil, nil, func(key, value []byte) error {
			if bytes.Contains(append(key, value...), s.text.Reveal()) {
				t.Error("the record holds the secret id")
			}
			return nil
		})
	}))
	b, err := os.ReadFile(filepath.Join(dir, "control.db"))
	must(t, err)
	for _, canary := range []string{"canary", string(s.text.Reveal())} {
		if bytes.Contains(b, []byte(canary)) {
			t.Errorf("control.db holds %s", canary)
		}
	}
}

// TestSecretIDsAgainstModel: uses and ages, against a naive model.
func TestSecretIDsAgainstModel(t *testing.T) {
	type held struct {
		credential
		uses int // left; -1: any number
	}
	db := storetest.New(t, storetest.MemoryDir(t))
	rapid.Check(t, func(r *rapid.T) {
		_, err := storetest.Change(t, db, func(tx *store.Tx) (int, error) { return 0, directory.RemoveTenant(tx, "acme") })
		must(t, err)
		web, err := addWorkload(t, db, "acme", "web")
		must(t, err)
		db2, err := addWorkload(t, db, "acme", "db")
		must(t, err)
		var all []*held
		now := start
		live := func(h *held) bool { return h.uses != 0 && now.Before(h.Expires) }
		r.Repeat(map[string]func(*rapid.T){
			"add": func(r *rapid.T) {
				spec := directory.SecretIDSpec{
					TTL: time.Duration(rapid.IntRange(0, 100).Draw(r, "minutes")) * time.Minute, Uses: rapid.IntRange(0, 3).Draw(r, "uses"),
				}
				c, err := addSecretID(t, db, web, spec, now)
				must(t, err)
				h := &held{c, spec.Uses}
				if spec.Uses == 0 {
					h.uses = -1
				}
				all = append(all, h)
			},
			"log in": func(r *rapid.T) {
				if len(all) == 0 {
					r.Skip()
				}
				h := rapid.SampledFrom(all).Draw(r, "secret id")
				want := live(h)
				if got := spend(t, db, web, h.text, now); got != want {
					r.Fatalf("log in: %v, want %v: %+v with %d uses at %v", got, want, h.SecretID, h.uses, now)
				}
				if want && h.uses > 0 {
					h.uses--
				}
				if spend(t, db, db2, h.text, now) {
					r.Fatal("it opens another workload")
				}
			},
			"wrong": func(r *rapid.T) {
				text := rapid.SampledFrom([]string{"", "cfs_", "cfs_x"}).Draw(r, "text")
				if spend(t, db, web, domain.SecretString(text), now) {
					r.Fatalf("%q opens", text)
				}
			},
			"time": func(r *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 60).Draw(r, "minutes")) * time.Minute) },
		})
	})
}
