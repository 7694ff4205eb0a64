package tenants_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/fair"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
	"coffer/tenants/worker"
	"coffer/vault"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

// kit is a pool with a vault and an audit log, all of them real.
type kit struct {
	dir   string
	root  []byte
	v     *vault.Vault
	log   *audit.Log
	pool  *tenants.Pool
	slots uint32

	mu       sync.Mutex
	alarms   map[domain.TenantID]int
	isolated map[domain.TenantID]bool
	notes    []string // of workers
	noWorker bool
	memory   int64 // of a worker; 0 for the default
}

// newKit makes everything anew; it is closed when the test ends. conns bounds
// the pool, 0 does not.
func newKit(tb testing.TB, conns int) *kit {
	tb.Helper()
	return openKit(tb, tb.TempDir(), conns)
}

// openKit opens what is in the directory, or makes it.
func openKit(tb testing.TB, dir string, conns int) *kit {
	tb.Helper()
	k := &kit{dir: dir, alarms: map[domain.TenantID]int{}}
	k.root = k.file(tb, "root")
	if k.root == nil {
		k.root = make([]byte, vault.RootKeySize)
		_, _ = rand.Read(k.root)
		must(tb, durable.WriteFile(k.path("root"), k.root))
	}
	var err error
	k.v, err = vault.Open(context.Background(), vault.Options{
		Dir: dir, Root: domain.NewSecret(append([]byte(nil), k.root...)), Payload: k.file(tb, "payload"),
		Save: func(_ context.Context, b []byte) error { return durable.WriteFile(k.path("payload"), b) },
	})
	must(tb, err)
	k.log, err = audit.Open(context.Background(), audit.Options{
		Dir: k.path("audit"), Instance: [16]byte{1}, System: audit.Ref{Tag: tagOf("system")}, Keys: k.v.LogKeys(),
		Now: func() time.Time { return start }, SegmentSize: 256 << 10,
	})
	must(tb, err)
	k.openPool(tb, conns, guard.Limits{})
	tb.Cleanup(func() {
		ctx := context.Background()
		must(tb, errors.Join(k.pool.Close(ctx), k.log.Close(ctx), k.v.Close()))
	})
	return k
}

// openPool opens another pool on the same files.
func (k *kit) openPool(tb testing.TB, conns int, limits guard.Limits) {
	tb.Helper()
	var err error
	worker := &worker.Options{Memory: k.memory}
	if k.noWorker {
		worker = nil
	}
	k.pool, err = tenants.Open(tenants.Options{
		Dir: k.path("tenants"), Keys: k.v, MaxConns: conns, Limits: limits,
		Alarm: func(id domain.TenantID, _ string) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.alarms[id]++
		},
		// Statements are long sooner than in earnest, so that tests are short.
		Fair:   fair.Options{Quantum: time.Millisecond, Move: 2 * time.Millisecond},
		Worker: worker, Isolation: k.isolation,
		Note: func(id domain.TenantID, text string) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.notes = append(k.notes, string(id)+": "+text)
		},
	})
	must(tb, err)
}

func (k *kit) isolation(_ context.Context, id domain.TenantID) (tenants.Isolation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.isolated[id] {
		return tenants.Process, nil
	}
	return tenants.Shared, nil
}

// isolate has a tenant's file live in a worker from now on, or no more.
func (k *kit) isolate(yes bool, ids ...domain.TenantID) {
	k.mu.Lock()
	if k.isolated == nil {
		k.isolated = map[domain.TenantID]bool{}
	}
	for _, id := range ids {
		k.isolated[id] = yes
	}
	k.mu.Unlock()
	for _, id := range ids {
		k.pool.Reopen(id)
	}
}

func (k *kit) noted() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.notes, "\n")
}

// reopen closes the pool and opens another one.
func (k *kit) reopen(tb testing.TB, conns int) {
	tb.Helper()
	must(tb, k.pool.Close(context.Background()))
	k.openPool(tb, conns, guard.Limits{})
}

func (k *kit) path(name string) string { return filepath.Join(k.dir, name) }

func (k *kit) data(id domain.TenantID) string {
	return filepath.Join(k.dir, "tenants", string(id), "data.db")
}

func (k *kit) file(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(k.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Fatal(err)
	}
	return b
}

func (k *kit) alarmed(id domain.TenantID) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.alarms[id]
}

func tagOf(name string) audit.Tag {
	b := sha256.Sum256([]byte(name))
	return audit.Tag(b[:16])
}

func (k *kit) register(tb testing.TB, id domain.TenantID) {
	tb.Helper()
	k.slots++
	must(tb, k.log.Register(id, audit.Ref{Tag: tagOf(string(id)), Slot: k.slots}))
}

// tenant creates a tenant with its keys and file, and a table kv.
func (k *kit) tenant(tb testing.TB, ids ...domain.TenantID) {
	tb.Helper()
	for _, id := range ids {
		p := k.intend(tb, "", authz.TenantCreate, string(id))
		_, err := k.v.CreateTenant(context.Background(), p, id)
		must(tb, err)
		must(tb, k.pool.Create(context.Background(), p, id))
		k.register(tb, id)
		k.mustExec(tb, id, `CREATE TABLE kv(k TEXT PRIMARY KEY, v)`)
	}
}

// permit is one of somebody who is operator and owns the tenant.
func (k *kit) permit(tb testing.TB, tenant domain.TenantID, action domain.Action, resource string) *audit.Permit {
	tb.Helper()
	g, err := authz.Authorize(authz.Subject{
		Principal: domain.Principal{Kind: domain.Person, ID: "p_test"}, Appliance: []domain.Role{domain.Operator},
		Tenants: map[domain.TenantID][]authz.Layer{tenant: {{Role: domain.Owner}}},
	}, authz.Request{Action: action, Tenant: tenant, Resource: resource})
	must(tb, err)
	p, err := k.log.Begin(context.Background(), g, audit.Call{RequestID: "r-1", Source: "test"})
	must(tb, err)
	tb.Cleanup(p.Abort)
	return p
}

// intend is a permit whose intent is durable.
func (k *kit) intend(tb testing.TB, tenant domain.TenantID, action domain.Action, resource string) *audit.Permit {
	tb.Helper()
	p := k.permit(tb, tenant, action, resource)
	_, err := p.Intent(context.Background(), nil)
	must(tb, err)
	return p
}

func (k *kit) exec(tb testing.TB, id domain.TenantID, sql string, args ...sqlite.Value) (audit.IntentID, error) {
	tb.Helper()
	p := k.intend(tb, id, authz.SQLWrite, "")
	defer p.Abort()
	intent, _ := p.IntentID()
	_, err := k.pool.Exec(context.Background(), p, guard.Request{SQL: sql, Args: args}, guard.Sink{})
	return intent, err
}

func (k *kit) mustExec(tb testing.TB, id domain.TenantID, sql string, args ...sqlite.Value) audit.IntentID {
	tb.Helper()
	intent, err := k.exec(tb, id, sql, args...)
	must(tb, err)
	return intent
}

// query gives the first column of the rows, as text.
func (k *kit) query(tb testing.TB, id domain.TenantID, sql string, args ...sqlite.Value) (out []string, err error) {
	tb.Helper()
	p := k.permit(tb, id, authz.SQLQuery, "")
	defer p.Abort()
	_, err = k.pool.Query(context.Background(), p, guard.Request{SQL: sql, Args: args}, guard.Sink{
		Row: func(row []sqlite.Value) error { out = append(out, text(row[0])); return nil },
	})
	return out, err
}

func text(v sqlite.Value) string {
	if v.Type() == sqlite.TypeInteger {
		return strconv.FormatInt(v.Int64(), 10)
	}
	return v.Raw()
}

func (k *kit) one(tb testing.TB, id domain.TenantID, sql string, args ...sqlite.Value) string {
	tb.Helper()
	rows, err := k.query(tb, id, sql, args...)
	must(tb, err)
	if len(rows) != 1 {
		tb.Fatalf("%s: %d rows", sql, len(rows))
	}
	return rows[0]
}

func (k *kit) applied(tb testing.TB, id domain.TenantID, intent audit.IntentID) bool {
	tb.Helper()
	p := k.permit(tb, id, authz.SQLQuery, "")
	defer p.Abort()
	found, err := k.pool.Applied(context.Background(), p, intent)
	must(tb, err)
	return found
}

// block starts a statement that keeps its connection until release is called,
// which waits for its end.
func (k *kit) block(tb testing.TB, id domain.TenantID) (release func()) {
	tb.Helper()
	p := k.permit(tb, id, authz.SQLQuery, "")
	running, until, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := k.pool.Query(context.Background(), p, guard.Request{SQL: "SELECT 1"}, guard.Sink{
			Row: func([]sqlite.Value) error { close(running); <-until; return nil },
		})
		ended <- err
	}()
	select {
	case <-running:
	case err := <-ended:
		tb.Fatal(err)
	}
	return func() {
		tb.Helper()
		close(until)
		must(tb, <-ended)
	}
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
