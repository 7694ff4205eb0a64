package vault_test

import (
	"strings"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault"
)

// putBound puts under a quota.
func (k *kit) putBound(tb testing.TB, path string, bytes int, quota int64) error {
	tb.Helper()
	p := k.intend(tb, "acme", authz.SecretPut, path)
	coffer, err := k.v.Coffer(tb.Context(), p)
	if err != nil {
		tb.Fatal(err)
	}
	coffer.Bound(quota)
	value, err := vault.ParseValue(domain.SecretString(`{"k":"` + strings.Repeat("x", bytes) + `"}`))
	if err != nil {
		tb.Fatal(err)
	}
	_, err = k.db.Update(tb.Context(), func(tx *store.Tx) error {
		_, err := coffer.Put(tx, value, nil, start)
		return err
	})
	return err
}

// TestQuotaOfOlderStore: a tenant of which nobody counted is counted with its next
// change, whatever that is.
func TestQuotaOfOlderStore(t *testing.T) {
	for _, destroyFirst := range []bool{false, true} {
		k := newKit(t)
		k.tenant(t, "acme")
		for range 3 {
			if err := k.putBound(t, "a", 1000, 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := k.db.Update(t.Context(), func(tx *store.Tx) error { // as a version before this one left it
			return tx.Scan("secret-usage", nil, nil, func(key, _ []byte) error { return tx.Delete("secret-usage", key) })
		}); err != nil {
			t.Fatal(err)
		}
		want := domain.Limit
		if destroyFirst {
			if _, err := k.mark(t, authz.SecretDestroy, "a", 1); err != nil {
				t.Fatal(err)
			}
			want = domain.Internal
		}
		err := k.putBound(t, "a", 1000, 3500)
		if (err == nil) != destroyFirst || err != nil && domain.KindOf(err) != want {
			t.Errorf("destroyed %v: %v", destroyFirst, err)
		}
		if err := k.putBound(t, "b", 1000, 3500); domain.KindOf(err) != domain.Limit || domain.HintOf(err) == "" {
			t.Errorf("destroyed %v: %v", destroyFirst, err)
		}
	}
}
