package vault_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/audit"
	"coffer/vault"
)

// start is the time at which the tests stand.
var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

// kit is a vault with a control store and an audit log, all of them real. What
// seal.json would hold is the file "payload".
type kit struct {
	dir  string
	root []byte
	v    *vault.Vault
	db   *store.Store
	log  *audit.Log

	onSave func([]byte) error // called before each write of the payload
	now    func() time.Time   // for what a client opened; nil for the machine's clock
	slots  uint32
}

func newRoot() []byte {
	root := make([]byte, vault.RootKeySize)
	_, _ = rand.Read(root)
	return root
}

// newKit makes everything anew; it is checked and closed when the test ends.
func newKit(tb testing.TB) *kit {
	tb.Helper()
	return newKitIn(tb, tb.TempDir())
}

// memoryDir is a temporary directory in memory where the system has one: for
// tests with many changes in which no sync needs to be real.
func memoryDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "coffer-vault")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newKitIn(tb testing.TB, dir string) *kit {
	tb.Helper()
	k := &kit{dir: dir, root: newRoot()}
	k.mustOpen(tb)
	var err error
	if k.db, err = store.Create(k.path("control.db"), k.v.ControlAEAD()); err != nil {
		tb.Fatal(err)
	}
	k.openLog(tb)
	tb.Cleanup(func() { k.close(tb) })
	return k
}

func (k *kit) path(name string) string { return filepath.Join(k.dir, name) }

func (k *kit) payload(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile(k.path("payload"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Fatal(err)
	}
	return b
}

// open opens the vault as it stands in the directory.
func (k *kit) open(tb testing.TB) (*vault.Vault, error) {
	tb.Helper()
	return vault.Open(context.Background(), vault.Options{
		Dir: k.dir, Root: domain.NewSecret(append([]byte(nil), k.root...)), Payload: k.payload(tb), Save: k.save, Now: k.now,
	})
}

func (k *kit) save(_ context.Context, b []byte) error {
	if k.onSave != nil {
		if err := k.onSave(b); err != nil {
			return err
		}
	}
	return durable.WriteFile(k.path("payload"), b)
}

func (k *kit) mustOpen(tb testing.TB) {
	tb.Helper()
	v, err := k.open(tb)
	if err != nil {
		tb.Fatal(err)
	}
	k.v = v
}

func (k *kit) openLog(tb testing.TB) {
	tb.Helper()
	var err error
	k.log, err = audit.Open(context.Background(), audit.Options{
		Dir: k.path("audit"), Instance: [16]byte{1}, System: audit.Ref{Tag: tagOf("system")},
		Keys: k.v.LogKeys(), Now: func() time.Time { return start }, SegmentSize: 256 << 10,
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// close ends everything in the order of the appliance.
func (k *kit) close(tb testing.TB) {
	tb.Helper()
	ctx := context.Background()
	if err := k.log.Close(ctx); err != nil {
		tb.Error(err)
	}
	if k.db != nil {
		if err := errors.Join(k.db.Check(ctx), k.db.Close()); err != nil && !errors.Is(err, store.ErrClosed) {
			tb.Error(err)
		}
	}
	if err := k.v.Check(ctx); err != nil && !errors.Is(err, store.ErrClosed) {
		tb.Error(err)
	}
	if err := k.v.Close(); err != nil {
		tb.Error(err)
	}
}

func tagOf(name string) audit.Tag {
	b := sha256.Sum256([]byte(name))
	return audit.Tag(b[:16])
}

// register makes a tenant known to the log.
func (k *kit) register(tb testing.TB, id domain.TenantID) {
	tb.Helper()
	k.slots++
	if err := k.log.Register(id, audit.Ref{Tag: tagOf(string(id)), Slot: k.slots}); err != nil {
		tb.Fatal(err)
	}
}

// tenant creates a tenant's keys and gives its random number.
func (k *kit) tenant(tb testing.TB, id domain.TenantID) [vault.UIDSize]byte {
	tb.Helper()
	p := k.intend(tb, "", authz.TenantCreate, string(id))
	uid, err := k.v.CreateTenant(context.Background(), p, id)
	if err != nil {
		tb.Fatal(err)
	}
	k.register(tb, id)
	return uid
}

func (k *kit) destroy(tb testing.TB, ctx context.Context, id domain.TenantID) error {
	tb.Helper()
	return k.v.DestroyTenant(ctx, k.intend(tb, id, authz.TenantDestroy, ""), id)
}

// owner is an operator who owns the tenant too.
func owner(tenant domain.TenantID) authz.Subject {
	return authz.Subject{
		Principal: domain.Principal{Kind: domain.Person, ID: "p_test"}, Appliance: []domain.Role{domain.Operator},
		Tenants: map[domain.TenantID][]authz.Layer{tenant: {{Role: domain.Owner}}},
	}
}

// begin opens a permit for the subject; it ends with the test.
func (k *kit) begin(tb testing.TB, s authz.Subject, r authz.Request) *audit.Permit {
	tb.Helper()
	g, err := authz.Authorize(s, r)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := k.log.Begin(context.Background(), g, audit.Call{RequestID: "r-1", Source: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Abort)
	return p
}

// permit is one of the owner's.
func (k *kit) permit(tb testing.TB, tenant domain.TenantID, action domain.Action, resource string) *audit.Permit {
	tb.Helper()
	return k.begin(tb, owner(tenant), authz.Request{Action: action, Tenant: tenant, Resource: resource})
}

// intend is a permit whose intent is durable.
func (k *kit) intend(tb testing.TB, tenant domain.TenantID, action domain.Action, resource string) *audit.Permit {
	tb.Helper()
	p := k.permit(tb, tenant, action, resource)
	if _, err := p.Intent(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return p
}

func (k *kit) coffer(tb testing.TB, p *audit.Permit) *vault.Coffer {
	tb.Helper()
	c, err := k.v.Coffer(context.Background(), p)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// change opens a coffer for a change and runs fn with it in one transaction.
func (k *kit) change(tb testing.TB, tenant domain.TenantID, action domain.Action, path string,
	fn func(*vault.Coffer, *store.Tx) (vault.Version, error),
) (v vault.Version, err error) {
	tb.Helper()
	p := k.intend(tb, tenant, action, path)
	defer p.Abort()
	c := k.coffer(tb, p)
	_, err = k.db.Update(context.Background(), func(tx *store.Tx) (err error) {
		v, err = fn(c, tx)
		return err
	})
	return v, err
}

// view opens a coffer for reading and runs fn with it.
func (k *kit) view(tb testing.TB, tenant domain.TenantID, action domain.Action, resource string, fn func(*vault.Coffer, *store.Tx) error) error {
	tb.Helper()
	p := k.permit(tb, tenant, action, resource)
	defer p.Abort()
	c := k.coffer(tb, p)
	return k.db.View(context.Background(), func(tx *store.Tx) error { return fn(c, tx) })
}

func parse(tb testing.TB, json string) vault.Value {
	tb.Helper()
	v, err := vault.ParseValue(domain.SecretString(json))
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func (k *kit) put(tb testing.TB, tenant domain.TenantID, path, json string, cas *int) (vault.Version, error) {
	tb.Helper()
	value := parse(tb, json)
	return k.change(tb, tenant, authz.SecretPut, path, func(c *vault.Coffer, tx *store.Tx) (vault.Version, error) {
		return c.Put(tx, value, cas, start)
	})
}

func (k *kit) read(tb testing.TB, tenant domain.TenantID, path string, version int) (json string, v vault.Version, err error) {
	tb.Helper()
	err = k.view(tb, tenant, authz.SecretRead, path, func(c *vault.Coffer, tx *store.Tx) error {
		value, version, err := c.Read(tx, version)
		json, v = string(value.JSON().Reveal()), version
		return err
	})
	return json, v, err
}

func (k *kit) mustPut(tb testing.TB, tenant domain.TenantID, path, json string) vault.Version {
	tb.Helper()
	v, err := k.put(tb, tenant, path, json, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return v
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

var permitCall = audit.Call{RequestID: "r-1", Source: "test"}

// grant is one of the owner's.
func grant(tb testing.TB, tenant domain.TenantID, action domain.Action) authz.Grant {
	tb.Helper()
	g, err := authz.Authorize(owner(tenant), authz.Request{Action: action, Tenant: tenant, Resource: "a"})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}
