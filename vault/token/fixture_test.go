package token_test

import (
	"context"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/token"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

func update(tb testing.TB, db *store.Store, fn func(tx *store.Tx) error) {
	tb.Helper()
	_, err := db.Update(context.Background(), fn)
	must(tb, err)
}

func view(tb testing.TB, db *store.Store, fn func(tx *store.Tx) error) error {
	tb.Helper()
	return db.View(context.Background(), fn)
}

func spec(tenant domain.TenantID, ttl time.Duration) token.Spec {
	return token.Spec{
		Tenant: tenant, Principal: domain.Principal{Kind: domain.Person, ID: "p_1"},
		Layer: authz.Layer{Role: domain.Analyst}, IssuedBy: "p_1", Name: "a note", TTL: ttl,
	}
}

func issue(tb testing.TB, db *store.Store, s token.Spec, now time.Time) (text domain.Secret, t token.Token) {
	tb.Helper()
	update(tb, db, func(tx *store.Tx) (err error) {
		text, t, err = token.Issue(tx, s, now)
		return err
	})
	return text, t
}

func lookup(tb testing.TB, db *store.Store, text domain.Secret, now time.Time) (t token.Token, err error) {
	tb.Helper()
	err = view(tb, db, func(tx *store.Tx) error {
		t, err = token.Lookup(tx, text, now)
		return err
	})
	return t, err
}

func list(tb testing.TB, db *store.Store, tenant domain.TenantID, now time.Time) (all []token.Token) {
	tb.Helper()
	must(tb, view(tb, db, func(tx *store.Tx) (err error) {
		all, err = token.List(tx, tenant, now)
		return err
	}))
	return all
}

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
