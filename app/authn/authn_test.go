package authn_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/token"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

func newStore(tb testing.TB) *store.Store {
	tb.Helper()
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	must(tb, err)
	key, err := aead.New(h)
	must(tb, err)
	db, err := store.Create(filepath.Join(tb.TempDir(), "control.db"), key)
	must(tb, err)
	tb.Cleanup(func() {
		must(tb, db.Check(context.Background()))
		must(tb, db.Close())
	})
	return db
}

func update(tb testing.TB, db *store.Store, fn func(tx *store.Tx) error) {
	tb.Helper()
	_, err := db.Update(context.Background(), fn)
	must(tb, err)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func capabilities(tb testing.TB, texts ...string) (out []authz.Capability) {
	tb.Helper()
	out, err := authz.ParseCapabilities(texts)
	must(tb, err)
	return out
}

func TestSocket(t *testing.T) {
	db := newStore(t)
	var wg sync.WaitGroup
	subjects := make([]authz.Subject, 8)
	for i := range subjects { // seen for the first time by several at once
		wg.Go(func() {
			var err error
			if subjects[i], err = authn.Socket(context.Background(), db, 1000, start); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range subjects {
		if diff := cmp.Diff(subjects[0], s); diff != "" {
			t.Fatal(diff)
		}
	}
	me := subjects[0].Principal
	if me.Kind != domain.Person || len(subjects[0].Tenants) != 0 || !cmp.Equal(subjects[0].Appliance, []domain.Role{domain.Operator}) {
		t.Errorf("%+v", subjects[0])
	}
	ends := start.Add(time.Hour)
	update(t, db, func(tx *store.Tx) error {
		return errors.Join(
			directory.SetMember(tx, directory.Member{Tenant: "acme", Person: me.ID, Role: domain.Analyst}, start),
			directory.SetMember(tx, directory.Member{Tenant: "globex", Person: me.ID, Role: domain.Owner, Expires: &ends}, start),
			directory.SetMember(tx, directory.Member{Tenant: "third", Person: "p_other", Role: domain.Owner}, start),
		)
	})
	for at, want := range map[time.Time]map[domain.TenantID][]authz.Layer{
		start: {"acme": {{Role: domain.Analyst}}, "globex": {{Role: domain.Owner}}, "third": nil},
		ends:  {"acme": {{Role: domain.Analyst}}, "globex": nil, "third": nil},
	} {
		s, err := authn.Socket(t.Context(), db, 1000, at)
		if err != nil || s.Principal != me {
			t.Error(s.Principal, err)
		}
		for tenant, layers := range want {
			update(t, db, func(tx *store.Tx) error {
				in, err := authn.Again(tx, s, tenant, at)
				if diff := cmp.Diff(map[domain.TenantID][]authz.Layer{tenant: layers}, in.Tenants); diff != "" {
					t.Error(diff)
				}
				return err
			})
		}
	}
	other, err := authn.Socket(t.Context(), db, 0, start)
	if err != nil || other.Principal == me || len(other.Tenants) != 0 {
		t.Errorf("another uid is %+v, %v", other, err)
	}
}

// TestBearerShrinks: a token's subject holds what its principal holds at this
// moment, bounded by the token, in the token's tenant alone.
func TestBearerShrinks(t *testing.T) {
	db := newStore(t)
	person := domain.Principal{Kind: domain.Person, ID: "p_1"}
	var text domain.Secret
	var made token.Token
	ends := start.Add(time.Hour)
	update(t, db, func(tx *store.Tx) (err error) {
		if err := errors.Join(
			directory.SetMember(tx, directory.Member{Tenant: "acme", Person: "p_0", Role: domain.Owner}, start),
			directory.SetMember(tx, directory.Member{Tenant: "acme", Person: "p_1", Role: domain.Owner}, start),
			directory.SetMember(tx, directory.Member{Tenant: "globex", Person: "p_1", Role: domain.Owner}, start),
		); err != nil {
			return err
		}
		text, made, err = token.Issue(tx, token.Spec{
			Tenant: "acme", Principal: person, Layer: authz.Layer{Role: domain.Analyst}, IssuedBy: "p_1", TTL: 2 * time.Hour,
		}, start)
		return err
	})
	want := authz.Subject{
		Principal: person, Home: "acme", Token: made.Accessor,
		Tenants: map[domain.TenantID][]authz.Layer{"acme": {{Role: domain.Owner}, {Role: domain.Analyst}}},
	}
	expect := func(what string, now time.Time) {
		t.Helper()
		got, err := authn.Bearer(t.Context(), db, text, now)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %s %v", what, diff, err)
		}
	}
	none := func(what string, now time.Time) {
		t.Helper()
		got, err := authn.Bearer(t.Context(), db, text, now)
		if !errors.Is(err, token.ErrUnknown) || !cmp.Equal(got, authz.Subject{}) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	expect("an owner's", start)
	set := func(m directory.Member) {
		t.Helper()
		m.Tenant, m.Person = "acme", "p_1"
		update(t, db, func(tx *store.Tx) error { return directory.SetMember(tx, m, start) })
	}
	set(directory.Member{Role: domain.Viewer})
	want.Tenants["acme"][0].Role = domain.Viewer
	expect("a demoted member's", start)
	set(directory.Member{Role: domain.Owner, Expires: &ends})
	want.Tenants["acme"][0].Role = domain.Owner
	expect("a guest's", start)
	none("a guest's after the hour", ends)
	update(t, db, func(tx *store.Tx) error { return directory.RemoveMember(tx, "acme", "p_1", start) })
	none("a removed member's", start)
	set(directory.Member{Role: domain.Viewer})
	none("an expired one", start.Add(2*time.Hour))
	update(t, db, func(tx *store.Tx) error {
		_, err := token.Revoke(tx, made)
		return err
	})
	none("a revoked one", start)
}

// TestSubjectOfOthers: a token for a principal of another kind stands for
// nobody.
func TestSubjectOfOthers(t *testing.T) {
	db := newStore(t)
	for _, p := range []domain.Principal{{}, domain.SystemPrincipal, {Kind: domain.Nobody, ID: "x"}, {Kind: domain.Person, ID: "p_x"}, {Kind: domain.Workload, ID: "w_x"}} {
		must(t, db.View(t.Context(), func(tx *store.Tx) error {
			s, err := authn.SubjectOf(tx, token.Token{Tenant: "acme", Principal: p, Layer: authz.Layer{Role: domain.Owner}}, start)
			if !errors.Is(err, token.ErrUnknown) || len(s.Tenants) > 0 {
				t.Errorf("%v: %+v, %v", p, s, err)
			}
			return nil
		}))
	}
}

// TestAppRole: only a role id and a live secret id of the same workload prove
// it; everything else is one and the same error.
func TestAppRole(t *testing.T) {
	db := newStore(t)
	var web, other directory.Workload
	var text, foreign domain.Secret
	update(t, db, func(tx *store.Tx) (err error) {
		grants := capabilities(t, "secret:read:stripe/*")
		if web, err = directory.AddWorkload(tx, directory.Workload{Tenant: "acme", Name: "web", Capabilities: grants}, start); err != nil {
			return err
		}
		if other, err = directory.AddWorkload(tx, directory.Workload{Tenant: "globex", Name: "web", Capabilities: grants}, start); err != nil {
			return err
		}
		if text, _, err = directory.AddSecretID(tx, web, directory.SecretIDSpec{TTL: time.Hour, Uses: 2}, start); err != nil {
			return err
		}
		foreign, _, err = directory.AddSecretID(tx, other, directory.SecretIDSpec{}, start)
		return err
	})
	try := func(roleID string, secretID domain.Secret, now time.Time) (w directory.Workload, err error) {
		err = db.View(t.Context(), func(tx *store.Tx) error {
			var s directory.SecretID
			w, s, err = authn.AppRole(tx, roleID, secretID, now)
			if (s.Accessor != "") != (err == nil) {
				t.Error("a secret id beside an error, or none without one")
			}
			return err
		})
		return w, err
	}
	for range 3 { // proving takes no use
		if w, err := try(web.ID, text, start); err != nil || w.ID != web.ID || w.Tenant != "acme" {
			t.Errorf("%+v, %v", w, err)
		}
	}
	for name, err := range map[string]error{
		"another's secret id": second(try(web.ID, foreign, start)),
		"another's role id":   second(try(other.ID, text, start)),
		"an unknown role id":  second(try("w_unknown", text, start)),
		"no role id":          second(try("", text, start)),
		"a strange role id":   second(try("w_\x00\xff", text, start)),
		"a long role id":      second(try(strings.Repeat("w", 100), text, start)),
		"a huge role id":      second(try(strings.Repeat("w", 1<<16), text, start)),
		"the tenant's name":   second(try("acme", text, start)),
		"no secret id":        second(try(web.ID, domain.Secret{}, start)),
		"a wrong secret id":   second(try(web.ID, domain.SecretString("cfs_x"), start)),
		"an ended secret id":  second(try(web.ID, text, start.Add(time.Hour))),
	} {
		if err != error(authn.ErrLogin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	update(t, db, func(tx *store.Tx) error { return directory.RemoveWorkload(tx, web) })
	if _, err := try(web.ID, text, start); err != error(authn.ErrLogin) {
		t.Errorf("a removed workload: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestWorkloadToken: a workload's token holds what the workload holds now.
func TestWorkloadToken(t *testing.T) {
	db := newStore(t)
	var w directory.Workload
	var text domain.Secret
	update(t, db, func(tx *store.Tx) (err error) {
		w, err = directory.AddWorkload(tx, directory.Workload{Tenant: "acme", Name: "web", Capabilities: capabilities(t, "secret:read:a/*")}, start)
		if err != nil {
			return err
		}
		text, _, err = token.Issue(tx, token.Spec{
			Tenant: "acme", Principal: domain.Principal{Kind: domain.Workload, ID: w.ID}, IssuedBy: w.ID, TTL: time.Hour,
			Layer: authz.Layer{Capabilities: capabilities(t, "secret:read:*")},
		}, start)
		return err
	})
	s, err := authn.Bearer(t.Context(), db, text, start)
	must(t, err)
	for path, may := range map[string]bool{"a/b": true, "b/a": false} {
		if _, err := authz.Authorize(s, authz.Request{Action: authz.SecretRead, Tenant: "acme", Resource: path}); (err == nil) != may {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := authz.Authorize(s, authz.Request{Action: authz.SecretRead, Tenant: "globex", Resource: "a/b"}); err == nil {
		t.Error("the token reaches another tenant")
	}
	update(t, db, func(tx *store.Tx) error { return directory.RemoveWorkload(tx, w) })
	if _, err := authn.Bearer(t.Context(), db, text, start); !errors.Is(err, token.ErrUnknown) {
		t.Error(err)
	}
}

func BenchmarkBearer(b *testing.B) {
	db := newStore(b)
	var text domain.Secret
	update(b, db, func(tx *store.Tx) (err error) {
		if err := directory.SetMember(tx, directory.Member{Tenant: "acme", Person: "p_1", Role: domain.Owner}, start); err != nil {
			return err
		}
		text, _, err = token.Issue(tx, token.Spec{
			Tenant: "acme", Principal: domain.Principal{Kind: domain.Person, ID: "p_1"}, Layer: authz.Layer{Role: domain.Owner},
			IssuedBy: "p_1", TTL: time.Hour,
		}, start)
		return err
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := authn.Bearer(b.Context(), db, text, start); err != nil {
			b.Fatal(err)
		}
	}
}
