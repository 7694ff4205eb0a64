package directory_test

import (
	"context"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

func look[T any](tb testing.TB, db *store.Store, fn func(*store.Tx) (T, error)) (out T) {
	tb.Helper()
	must(tb, db.View(context.Background(), func(tx *store.Tx) (err error) {
		out, err = fn(tx)
		return err
	}))
	return out
}

func addPerson(tb testing.TB, db *store.Store, name string, uid *uint32) (directory.Person, error) {
	tb.Helper()
	return storetest.Change(tb, db, func(tx *store.Tx) (directory.Person, error) { return directory.AddPerson(tx, name, uid, start) })
}

func setMember(tb testing.TB, db *store.Store, m directory.Member, now time.Time) error {
	tb.Helper()
	_, err := storetest.Change(tb, db, func(tx *store.Tx) (int, error) { return 0, directory.SetMember(tx, m, now) })
	return err
}

func removeMember(tb testing.TB, db *store.Store, tenant domain.TenantID, person string, now time.Time) error {
	tb.Helper()
	_, err := storetest.Change(tb, db, func(tx *store.Tx) (int, error) { return 0, directory.RemoveMember(tx, tenant, person, now) })
	return err
}

// members are the live ones, person → role.
func members(tb testing.TB, db *store.Store, tenant domain.TenantID, now time.Time) map[string]domain.Role {
	tb.Helper()
	out := map[string]domain.Role{}
	for _, m := range look(tb, db, func(tx *store.Tx) ([]directory.Member, error) { return directory.Members(tx, tenant, now) }) {
		out[m.Person] = m.Role
	}
	return out
}

func addWorkload(tb testing.TB, db *store.Store, tenant domain.TenantID, name string) (directory.Workload, error) {
	tb.Helper()
	capability, err := authz.ParseCapability("secret:read:stripe/*")
	must(tb, err)
	return storetest.Change(tb, db, func(tx *store.Tx) (directory.Workload, error) {
		return directory.AddWorkload(tx, directory.Workload{
			Tenant: tenant, Name: name, Capabilities: []authz.Capability{capability}, TokenTTL: time.Hour, CreatedBy: "p_1",
		}, start)
	})
}

type credential struct {
	text domain.Secret
	directory.SecretID
}

func addSecretID(tb testing.TB, db *store.Store, w directory.Workload, spec directory.SecretIDSpec, now time.Time) (credential, error) {
	tb.Helper()
	return storetest.Change(tb, db, func(tx *store.Tx) (credential, error) {
		text, s, err := directory.AddSecretID(tx, w, spec, now)
		return credential{text, s}, err
	})
}

// spend takes one use, in the way of a login.
func spend(tb testing.TB, db *store.Store, w directory.Workload, text domain.Secret, now time.Time) (found bool) {
	tb.Helper()
	found, err := storetest.Change(tb, db, func(tx *store.Tx) (bool, error) {
		s, found, err := directory.FindSecretID(tx, w, text, now)
		if err == nil && found {
			err = directory.SpendSecretID(tx, w, s)
		}
		return found, err
	})
	must(tb, err)
	return found
}

func ref[T any](v T) *T { return &v }

func wantKind(tb testing.TB, err error, kind domain.Kind) {
	tb.Helper()
	if err == nil || domain.KindOf(err) != kind {
		tb.Errorf("error %v of kind %v, want kind %v", err, domain.KindOf(err), kind)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
