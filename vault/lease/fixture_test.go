package lease_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/vault/lease"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// files is a kind whose things are files, named by the data of their leases or,
// where a crash came before there were any, by the ids.
type files struct {
	dir string

	mu   sync.Mutex
	fail map[string]error // by id: what taking it back fails with
	most int              // that were taken back at once
	now  int
}

func nameOf(id string) string { return filepath.Base(id) }

func (f *files) Renew(_ context.Context, l lease.Lease, until time.Time) error {
	path := filepath.Join(f.dir, nameOf(l.ID))
	return os.Chtimes(path, until, until)
}

func (f *files) Revoke(_ context.Context, l lease.Lease) error {
	f.mu.Lock()
	f.now++
	f.most = max(f.most, f.now)
	err := f.fail[l.ID]
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now--
	}()
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(f.dir, nameOf(l.ID))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f *files) make(_ context.Context, l lease.Lease) ([]byte, error) {
	return []byte(nameOf(l.ID)), os.WriteFile(filepath.Join(f.dir, nameOf(l.ID)), nil, 0o600)
}

func (f *files) left(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir(f.dir)
	must(tb, err)
	return len(entries)
}

// theFiles stands for all tests in the registry; each points it somewhere else.
var theFiles files

var _ = lease.Register("files", &theFiles)

// kit is a store with a sweeper and a clock.
type kit struct {
	db      *store.Store
	sweeper *lease.Sweeper

	mu      sync.Mutex
	now     time.Time
	dead    map[string]bool // owners
	events  int
	overdue []string
}

func (k *kit) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *kit) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

func newKit(tb testing.TB) *kit {
	tb.Helper()
	theFiles.mu.Lock()
	theFiles.dir, theFiles.fail, theFiles.most = tb.TempDir(), map[string]error{}, 0
	theFiles.mu.Unlock()
	k := &kit{db: storetest.New(tb, storetest.MemoryDir(tb)), now: start, dead: map[string]bool{}}
	k.sweeper = k.newSweeper()
	return k
}

func (k *kit) newSweeper() *lease.Sweeper {
	return &lease.Sweeper{
		DB: k.db, Now: k.clock,
		Alive: func(_ *store.Tx, _ domain.TenantID, owner string) (bool, error) { return !k.dead[owner], nil },
		Event: func(ctx context.Context, _ lease.Lease, do func(context.Context) error) error {
			k.mu.Lock()
			k.events++
			k.mu.Unlock()
			return do(ctx)
		},
		Overdue: func(l lease.Lease, _ error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.overdue = append(k.overdue, l.ID)
		},
		Jitter: func(time.Duration) time.Duration { return 0 },
	}
}

func spec(tenant domain.TenantID, owner string, ttl time.Duration) lease.Spec {
	return lease.Spec{Tenant: tenant, Kind: "files", Prefix: "files/creds/ro", Owner: owner, Principal: "p_1", TTL: ttl, Renewable: true}
}

func (k *kit) grant(tb testing.TB, s lease.Spec) lease.Lease {
	tb.Helper()
	l, err := lease.Grant(tb.Context(), k.db, s, k.clock, theFiles.make)
	must(tb, err)
	return l
}

func (k *kit) run(tb testing.TB) int {
	tb.Helper()
	n, err := k.sweeper.Run(tb.Context())
	must(tb, err)
	return n
}

func (k *kit) update(tb testing.TB, fn func(tx *store.Tx) error) {
	tb.Helper()
	_, err := k.db.Update(tb.Context(), fn)
	must(tb, err)
}

func (k *kit) find(tb testing.TB, l lease.Lease) (out lease.Lease, err error) {
	tb.Helper()
	err = k.db.View(tb.Context(), func(tx *store.Tx) (err error) {
		out, err = lease.Find(tx, l.Tenant, l.ID, k.clock())
		return err
	})
	return out, err
}

func (k *kit) rows(tb testing.TB) (n int) {
	tb.Helper()
	must(tb, k.db.View(tb.Context(), func(tx *store.Tx) error {
		for _, bucket := range lease.Buckets {
			c, err := tx.Count(bucket, nil)
			if n += c; err != nil {
				return err
			}
		}
		return nil
	}))
	return n
}
