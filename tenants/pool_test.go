package tenants_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store/storetest"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// fewest is the smallest pool that Open accepts.
const fewest = 1 + tenants.ReadersPerTenant

func TestOpenRefusesTooFew(t *testing.T) {
	_, err := tenants.Open(tenants.Options{Dir: t.TempDir(), MaxConns: fewest - 1})
	wantKind(t, err, domain.Unavailable)
}

// TestEviction: many tenants share few connections; who was idle longest goes,
// after a checkpoint, and comes back with its data.
func TestEviction(t *testing.T) {
	k := openKit(t, storetest.MemoryDir(t), fewest)
	var ids []domain.TenantID
	for i := range 30 {
		ids = append(ids, domain.TenantID(fmt.Sprintf("tenant-%02d", i)))
	}
	k.tenant(t, ids...)
	for round := range 3 {
		for _, id := range ids {
			k.mustExec(t, id, `REPLACE INTO kv VALUES ('n', ?)`, sqlite.Int(int64(round)))
			if got := k.one(t, id, `SELECT v FROM kv`); got != fmt.Sprint(round) {
				t.Errorf("%s: %s in round %d", id, got, round)
			}
			if _, conns := k.pool.Usage(); conns > fewest {
				t.Fatalf("%d connections are open", conns)
			}
		}
	}
	open := 0
	for i, id := range ids {
		info, err := os.Stat(k.data(id) + "-wal")
		if err != nil || info.Size() == 0 {
			continue // closed after a checkpoint
		}
		open++
		if i < len(ids)-fewest {
			t.Errorf("%s, which was idle long, has a WAL", id)
		}
	}
	if files, _ := k.pool.Usage(); files == 0 || open > files {
		t.Errorf("%d files are open, %d have a WAL", files, open)
	}
	must(t, k.pool.Close(t.Context()))
	for _, id := range ids {
		if _, err := os.Stat(k.data(id) + "-wal"); err == nil {
			t.Errorf("%s has a WAL after Close", id)
		}
	}
	if files, conns := k.pool.Usage(); files != 0 || conns != 0 {
		t.Errorf("%d files, %d connections after Close", files, conns)
	}
	_, err := k.query(t, ids[0], `SELECT 1`)
	wantKind(t, err, domain.Unavailable)
	must(t, k.pool.Close(t.Context()))
}

// TestFullPool: when all connections run statements, another tenant is told so,
// and served as soon as one is idle.
func TestFullPool(t *testing.T) {
	k := newKit(t, fewest)
	ids := []domain.TenantID{"aaa", "bbb", "ccc"}
	k.tenant(t, ids...)
	k.reopen(t, fewest)
	a := []func(){k.block(t, "aaa"), k.block(t, "aaa")} // a writer and two readers
	b := k.block(t, "bbb")                              // a writer and a reader
	_, err := k.query(t, "ccc", `SELECT 1`)
	wantKind(t, err, domain.Limit)
	if _, err := k.exec(t, "aaa", `REPLACE INTO kv VALUES ('a', 1)`); err != nil {
		t.Errorf("the writer is open and idle: %v", err)
	}
	b()
	if got := k.one(t, "ccc", `SELECT count(*) FROM kv`); got != "0" {
		t.Error(got)
	}
	for _, release := range a {
		release()
	}
}

// TestPlaces: statements that would wait beyond the places of their tenant are refused, others'
// are not.
func TestPlaces(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	var release []func()
	for range tenants.ReadersPerTenant {
		release = append(release, k.block(t, "acme"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := k.permit(t, "acme", authz.SQLQuery, "")
	ended := make(chan error, 2*tenants.MaxWaiting)
	for range 2 * tenants.MaxWaiting {
		go func() {
			_, err := k.pool.Query(ctx, p, guard.Request{SQL: "SELECT 1"}, guard.Sink{})
			ended <- err
		}()
	}
	const waiting = tenants.MaxWaiting
	for range 2*tenants.MaxWaiting - waiting { // all but those that have a place
		err := <-ended
		wantKind(t, err, domain.Limit)
		if e, ok := errors.AsType[*domain.Error](err); !ok || e.Retry <= 0 { // 429 with Retry-After
			t.Errorf("%v does not say when to try again", err)
		}
	}
	if got := k.one(t, "globex", `SELECT 1`); got != "1" {
		t.Error(got)
	}
	cancel()
	for range waiting {
		wantKind(t, <-ended, domain.Unavailable)
	}
	for _, f := range release {
		f()
	}
	if got := k.one(t, "acme", `SELECT 1`); got != "1" {
		t.Error(got)
	}
}

// TestBarWaits: a tenant is closed once its statements have ended; nobody comes
// in meanwhile, and others are not touched.
func TestBarWaits(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	release := k.block(t, "acme")
	short, cancel := context.WithCancel(t.Context())
	cancel()
	wantKind(t, k.pool.Bar(short, "acme"), domain.Unavailable) // it could not wait, but the bar is up
	_, err := k.query(t, "acme", `SELECT 1`)
	wantKind(t, err, domain.Unavailable)
	barred := make(chan error, 1)
	go func() { barred <- k.pool.Bar(context.Background(), "acme") }()
	_, err = k.exec(t, "acme", `DELETE FROM kv`)
	wantKind(t, err, domain.Unavailable)
	if got := k.one(t, "globex", `SELECT 1`); got != "1" {
		t.Error(got)
	}
	release()
	must(t, <-barred)
	if _, err := os.Stat(k.data("acme") + "-wal"); err == nil {
		t.Error("a barred tenant has a WAL")
	}
	must(t, k.pool.Bar(t.Context(), "acme"))
	k.pool.Admit("acme")
	if got := k.one(t, "acme", `SELECT 1`); got != "1" {
		t.Error(got)
	}
	must(t, k.pool.Bar(t.Context(), "nobody"))
}

// TestBarAgainstStatements: bars go up and down while statements run.
func TestBarAgainstStatements(t *testing.T) {
	k := openKit(t, storetest.MemoryDir(t), 0)
	k.tenant(t, "acme")
	done := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	inserted := 0
	for range 4 {
		p := k.intend(t, "acme", authz.SQLWrite, "")
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				_, err := k.pool.Exec(context.Background(), p, guard.Request{SQL: `INSERT INTO kv VALUES (hex(randomblob(16)), 1)`}, guard.Sink{})
				switch {
				case err == nil:
					mu.Lock()
					inserted++
					mu.Unlock()
				case domain.KindOf(err) != domain.Unavailable:
					t.Error(err)
				}
			}
		})
	}
	check := k.permit(t, "", authz.CheckStores, "")
	for i := range 40 {
		must(t, k.pool.Bar(t.Context(), "acme"))
		if files, conns := k.pool.Usage(); files != 0 || conns != 0 {
			t.Fatalf("%d files, %d connections behind the bar", files, conns)
		}
		k.pool.Admit("acme")
		if i%10 == 0 {
			must(t, k.pool.Verify(t.Context(), check, "acme"))
		}
	}
	close(done)
	wg.Wait()
	if got := k.one(t, "acme", `SELECT count(*) FROM kv`); got != fmt.Sprint(inserted) {
		t.Errorf("%s rows, %d were acknowledged", got, inserted)
	}
}

// TestFailedOpenLeavesNothing: a file that cannot be opened neither keeps its
// place nor those who wait for it.
func TestFailedOpenLeavesNothing(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.reopen(t, 0)
	must(t, os.Rename(k.data("acme"), k.data("acme")+".away"))
	var wg sync.WaitGroup
	p := k.permit(t, "acme", authz.SQLQuery, "")
	for range 8 {
		wg.Go(func() {
			_, err := k.pool.Query(context.Background(), p, guard.Request{SQL: "SELECT 1"}, guard.Sink{})
			if domain.KindOf(err) != domain.Tampered && domain.KindOf(err) != domain.Unavailable { // the bar can come first
				t.Errorf("a missing file: %v", err)
			}
		})
	}
	barred := make(chan error, 1)
	go func() { barred <- k.pool.Bar(context.Background(), "acme") }()
	wg.Wait()
	must(t, <-barred)
	if files, conns := k.pool.Usage(); files != 0 || conns != 0 {
		t.Errorf("%d files, %d connections", files, conns)
	}
	if _, err := os.Stat(k.data("acme")); err == nil {
		t.Error("a new file was made in the place of the missing one")
	}
	must(t, os.Rename(k.data("acme")+".away", k.data("acme")))
	k.pool.Admit("acme")
	if got := k.one(t, "acme", `SELECT count(*) FROM kv`); got != "0" {
		t.Error(got)
	}
}

// TestEndedContexts: the end of one caller's context stops its own statement at
// once and nobody else's.
func TestEndedContexts(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	endless := guard.Request{SQL: `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 3`}
	for range 3 { // more than there are readers, one after another
		for range tenants.ReadersPerTenant {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := k.pool.Query(ctx, k.permit(t, "acme", authz.SQLQuery, ""), endless, guard.Sink{
				Row: func([]sqlite.Value) error { cancel(); return nil }, // two rows come, then none for ever
			})
			wantKind(t, err, domain.Unavailable)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := k.pool.Exec(ctx, k.intend(t, "acme", authz.SQLWrite, ""), guard.Request{
		SQL: `INSERT INTO kv WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i FROM n`,
	}, guard.Sink{})
	wantKind(t, err, domain.Unavailable)
	k.reopen(t, 0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.pool.Query(ended, k.permit(t, "acme", authz.SQLQuery, ""), guard.Request{SQL: "SELECT 1"}, guard.Sink{}); err == nil {
		t.Error("answered after the caller had gone")
	}
	if got := k.one(t, "acme", `SELECT count(*) FROM kv`); got != "0" {
		t.Errorf("%s rows of a statement that was stopped", got)
	}
}

// TestDescriptors: a connection costs at most three file descriptors.
func TestDescriptors(t *testing.T) {
	k := newKit(t, 40)
	var ids []domain.TenantID
	for i := range 12 {
		ids = append(ids, domain.TenantID(fmt.Sprintf("tenant-%02d", i)))
	}
	k.tenant(t, ids...)
	must(t, k.pool.Close(t.Context()))
	before := descriptors(t, k.path("tenants"))
	if before != 0 {
		t.Errorf("%d descriptors after Close", before)
	}
	k.openPool(t, 40, guard.Limits{})
	for range 3 {
		for _, id := range ids {
			releases := []func(){k.block(t, id), k.block(t, id)}
			k.mustExec(t, id, `REPLACE INTO kv VALUES ('a', 1)`)
			for _, release := range releases {
				release()
			}
			_, conns := k.pool.Usage()
			if n := descriptors(t, k.path("tenants")); n > 3*conns || conns > 40 {
				t.Fatalf("%d descriptors for %d connections", n, conns)
			}
		}
	}
	if _, conns := k.pool.Usage(); conns < 36 {
		t.Errorf("only %d connections", conns)
	}
}

// descriptors counts the open files under a directory.
func descriptors(t *testing.T, dir string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, dir) {
			n++
		}
	}
	return n
}
