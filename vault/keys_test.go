package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/vault"
)

// reopen closes the vault and the log and opens what is on disk.
func (k *kit) reopen(tb testing.TB) {
	tb.Helper()
	must(tb, k.log.Close(context.Background()))
	must(tb, k.v.Close())
	k.mustOpen(tb)
	k.openLog(tb)
	k.slots = 0
}

// pages is something that only the tenant's page keyset gives.
func (k *kit) pages(tb testing.TB, id domain.TenantID) (string, error) {
	tb.Helper()
	keys, uid, err := k.v.TenantPages(tb.Context(), k.permit(tb, id, authz.SQLQuery, ""), id)
	if err != nil {
		return "", err
	}
	b, err := keys.Derive(uid[:], 32)
	must(tb, err)
	return string(b), nil
}

func TestKeysLast(t *testing.T) {
	k := newKit(t)
	acme, globex := k.tenant(t, "acme"), k.tenant(t, "globex")
	if acme == globex {
		t.Error("two tenants have one number")
	}
	before, err := k.pages(t, "acme")
	must(t, err)
	other, err := k.pages(t, "globex")
	must(t, err)
	head := string(k.v.LogKeys().HeadKey().Reveal())
	period, err := k.v.LogKeys().PeriodKey(t.Context(), tagOf("acme"), "2026-11")
	must(t, err)
	k.mustPut(t, "acme", "a", `{"k":"v"}`)

	k.reopen(t)
	k.register(t, "acme")
	k.register(t, "globex")
	after, err := k.pages(t, "acme")
	if err != nil || after != before || after == other {
		t.Errorf("the page keys changed, or are another tenant's: %v", err)
	}
	again, err := k.v.LogKeys().PeriodKey(t.Context(), tagOf("acme"), "2026-11")
	if err != nil || !again.Equal(period) || string(k.v.LogKeys().HeadKey().Reveal()) != head {
		t.Errorf("the log's keys changed: %v", err)
	}
	different, err := k.v.LogKeys().PeriodKey(t.Context(), tagOf("acme"), "2026-12")
	if err != nil || different.Equal(period) {
		t.Errorf("two periods have one key: %v", err)
	}
	if got, _, err := k.read(t, "acme", "a", 0); err != nil || got != `{"k":"v"}` {
		t.Errorf("%s, %v", got, err)
	}
}

// TestRefusedStarts: what does not belong together does not open, and nothing
// is made in its place.
func TestRefusedStarts(t *testing.T) {
	options := func(k *kit, t *testing.T) vault.Options {
		return vault.Options{Dir: k.dir, Root: domain.NewSecret(bytes.Clone(k.root)), Payload: k.payload(t), Save: k.save, MustExist: true}
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, k *kit, o *vault.Options)
		kind  domain.Kind
	}{
		"wrong root key":      {func(_ *testing.T, _ *kit, o *vault.Options) { o.Root = domain.NewSecret(newRoot()) }, domain.Tampered},
		"short root key":      {func(_ *testing.T, _ *kit, o *vault.Options) { o.Root = domain.SecretString("short") }, domain.Internal},
		"missing keys.db":     {func(t *testing.T, k *kit, _ *vault.Options) { must(t, os.Remove(k.path("keys.db"))) }, domain.Tampered},
		"missing payload":     {func(_ *testing.T, _ *kit, o *vault.Options) { o.Payload = nil }, domain.Tampered},
		"malformed payload":   {func(_ *testing.T, _ *kit, o *vault.Options) { o.Payload = []byte(`{"version":1}x`) }, domain.Tampered},
		"an unknown member":   {func(_ *testing.T, _ *kit, o *vault.Options) { o.Payload = addMember(o.Payload) }, domain.Tampered},
		"a later version":     {func(_ *testing.T, _ *kit, o *vault.Options) { o.Payload = []byte(`{"version":2,"keys":[]}`) }, domain.Unavailable},
		"another's keys.db":   {func(t *testing.T, k *kit, _ *vault.Options) { k.exchange(t, "keys.db") }, domain.Tampered},
		"another's payload":   {func(t *testing.T, k *kit, o *vault.Options) { k.exchange(t, "payload"); o.Payload = k.payload(t) }, domain.Tampered},
		"keys.db cut short":   {func(t *testing.T, k *kit, _ *vault.Options) { must(t, os.Truncate(k.path("keys.db"), 5000)) }, domain.Tampered},
		"keys.db emptied":     {func(t *testing.T, k *kit, _ *vault.Options) { must(t, os.Truncate(k.path("keys.db"), 0)) }, domain.Tampered},
		"keys.db a directory": {func(t *testing.T, k *kit, _ *vault.Options) { k.replaceByDir(t) }, domain.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.tenant(t, "acme")
			must(t, k.log.Close(t.Context()))
			must(t, k.v.Close())
			o := options(k, t)
			c.spoil(t, k, &o)
			before, _ := os.ReadFile(k.path("keys.db"))
			v, err := vault.Open(t.Context(), o)
			wantKind(t, err, c.kind)
			if v != nil {
				t.Error("something was opened")
			}
			if after, _ := os.ReadFile(k.path("keys.db")); !bytes.Equal(after, before) {
				t.Error("keys.db was changed")
			}
		})
	}
}

func addMember(b []byte) []byte {
	return append(bytes.Clone(b[:len(b)-1]), `,"more":1}`...)
}

// exchange puts another vault's file in the place of one.
func (k *kit) exchange(t *testing.T, name string) {
	t.Helper()
	other := newKit(t)
	b, err := os.ReadFile(other.path(name))
	must(t, err)
	must(t, durable.WriteFile(k.path(name), b))
}

func (k *kit) replaceByDir(t *testing.T) {
	t.Helper()
	must(t, os.Remove(k.path("keys.db")))
	must(t, os.Mkdir(k.path("keys.db"), 0o700))
}

// TestFirstStartCut: a first start that ended between payload and keys.db is
// begun again, as long as nothing needs the keys.
func TestFirstStartCut(t *testing.T) {
	k := &kit{dir: t.TempDir(), root: newRoot()}
	k.mustOpen(t)
	must(t, k.v.Close())
	must(t, os.Remove(k.path("keys.db")))
	k.mustOpen(t)
	must(t, k.v.Check(t.Context()))
	must(t, k.v.Close())
}

func TestRootRotation(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	before, err := k.pages(t, "acme")
	must(t, err)
	fresh := newRoot()
	_, _, err = k.v.Rewrapped(domain.NewSecret(newRoot()), domain.NewSecret(bytes.Clone(fresh)))
	wantKind(t, err, domain.Tampered) // not the root key
	saved, adopt, err := k.v.Rewrapped(domain.NewSecret(bytes.Clone(k.root)), domain.NewSecret(bytes.Clone(fresh)))
	must(t, err)
	old := k.root
	must(t, durable.WriteFile(k.path("payload"), saved))
	adopt()
	k.tenant(t, "globex")
	must(t, k.destroy(t, t.Context(), "globex")) // saves the payload again, under the new root key
	k.root = fresh
	k.reopen(t)
	k.register(t, "acme")
	if after, err := k.pages(t, "acme"); err != nil || after != before {
		t.Errorf("the keys changed: %v", err)
	}
	k.root = old
	_, err = k.open(t)
	wantKind(t, err, domain.Tampered)
	k.root = fresh
}

// TestForget: a suspended tenant's keys leave the memory, and come back.
func TestForget(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	before, err := k.pages(t, "acme")
	must(t, err)
	if n := vault.OpenTenants(k.v); n != 1 {
		t.Errorf("%d tenants in memory", n)
	}
	k.v.Forget("acme")
	if n := vault.OpenTenants(k.v); n != 0 {
		t.Errorf("%d tenants in memory after Forget", n)
	}
	if after, err := k.pages(t, "acme"); err != nil || after != before {
		t.Errorf("the keys changed: %v", err)
	}
	_, err = k.pages(t, "acme")
	must(t, err)
}

// TestUnknownTenant: keys that never were, or are gone, are no fault of the
// file.
func TestUnknownTenant(t *testing.T) {
	k := newKit(t)
	k.register(t, "nobody")
	_, err := k.pages(t, "nobody")
	wantKind(t, err, domain.Unavailable)
}

// TestDestroyAgainstOpening: however many open a tenant's keys while they are
// destroyed, none are left in memory.
func TestDestroyAgainstOpening(t *testing.T) {
	k := newKit(t)
	for round := range 5 {
		id := domain.TenantID(fmt.Sprintf("acme-%d", round))
		k.tenant(t, id)
		read, err := k.log.Begin(t.Context(), grant(t, id, authz.SecretRead), permitCall)
		must(t, err)
		destroy := k.intend(t, id, authz.TenantDestroy, "")
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if _, err := k.v.Coffer(context.Background(), read); err != nil {
							if domain.KindOf(err) != domain.Unavailable {
								t.Error(err)
							}
							return
						}
					}
				}
			})
		}
		err = k.v.DestroyTenant(context.Background(), destroy, id)
		_, after := k.v.Coffer(context.Background(), read)
		close(stop)
		wg.Wait()
		must(t, err)
		wantKind(t, after, domain.Unavailable)
		if n := vault.OpenTenants(k.v); n != 0 {
			t.Fatalf("%d tenants in memory after the destruction", n)
		}
		read.Abort()
	}
}

// TestPeriodKeysAtOnce: callers that ask for one key at once get the same one.
func TestPeriodKeysAtOnce(t *testing.T) {
	k := newKit(t)
	keys := make([]domain.Secret, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = k.v.LogKeys().PeriodKey(context.Background(), tagOf("x"), "2027-01"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, key := range keys {
		if key.Len() != vault.RootKeySize || !key.Equal(keys[0]) {
			t.Fatal("two keys for one period")
		}
	}
	keys[0].Zero()
	if again, err := k.v.LogKeys().PeriodKey(t.Context(), tagOf("x"), "2027-01"); err != nil || !again.Equal(keys[1]) {
		t.Error("the log zeroed a key that the vault keeps")
	}
}

// TestMovedKeyRows: a row of keys.db in another's place does not open, even for
// somebody who can write the file's values.
func TestMovedKeyRows(t *testing.T) {
	for name, edit := range map[string]func(tx *store.Tx, row []byte) error{
		"another tenant's row": func(tx *store.Tx, row []byte) error { return tx.Put("tenants", []byte("acme"), row) },
		"a copied row":         func(tx *store.Tx, row []byte) error { return tx.Put("tenants", []byte("third"), row) },
		"a changed row": func(tx *store.Tx, row []byte) error {
			return tx.Put("tenants", []byte("globex"), bytes.Replace(row, []byte(`"version":1`), []byte(`"version":3`), 1))
		},
		"a member more": func(tx *store.Tx, row []byte) error { return tx.Put("tenants", []byte("globex"), addMember(row)) },
		"a moved log key": func(tx *store.Tx, _ []byte) error {
			return tx.Scan("log-periods", nil, nil, func(key, value []byte) error {
				return errors.Join(tx.Put("log-periods", append(bytes.Clone(key), 'x'), value), store.ErrStop)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.tenant(t, "acme")
			k.tenant(t, "globex")
			_, err := vault.UpdateKeys(k.v, func(tx *store.Tx) error {
				row, err := tx.Get("tenants", []byte("globex"))
				if err != nil {
					return err
				}
				return edit(tx, row)
			})
			must(t, err)
			if err := k.v.Check(t.Context()); domain.KindOf(err) != domain.Tampered && domain.KindOf(err) != domain.Unavailable {
				t.Errorf("Check: %v", err)
			}
			must(t, k.log.Close(t.Context()))
			must(t, k.v.Close()) // so that the check at the end is left out
		})
	}
}
