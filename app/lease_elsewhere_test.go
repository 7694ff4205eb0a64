package app_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app"
	"coffer/app/actions"
	"coffer/app/alerts"
	"coffer/app/domain"
	"coffer/vault/lease"
)

// elsewhere is a kind of lease for files outside of Coffer.
type elsewhere struct {
	mu   sync.Mutex
	dir  string
	down error // taking back fails with it
}

func (e *elsewhere) path(l lease.Lease) string { return filepath.Join(e.dir, filepath.Base(l.ID)) }

func (e *elsewhere) Renew(_ context.Context, l lease.Lease, until time.Time) error {
	return os.Chtimes(e.path(l), until, until)
}

func (e *elsewhere) Revoke(_ context.Context, l lease.Lease) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := os.Remove(e.path(l)); e.down == nil && err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return e.down
}

func (e *elsewhere) make(_ context.Context, l lease.Lease) ([]byte, error) {
	return nil, os.WriteFile(e.path(l), nil, 0o600)
}

func (e *elsewhere) left(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}

var theElsewhere elsewhere

var _ = lease.Register("test-files", &theElsewhere)

// TestLeasesElsewhere: what was made in another system goes with the token that
// asked for it, with a renewal at its end, with its tenant, and after a long stop;
// each time with an event in the tenant's log, and an alert where it does not.
func TestLeasesElsewhere(t *testing.T) {
	e, data := &theElsewhere, t.TempDir()
	e.dir, e.down = t.TempDir(), nil
	begun, passed := time.Now(), atomic.Int64{}
	open := func() *app.Opened {
		o, err := app.OpenForTest(t.Context(), data, func() time.Time { return begun.Add(time.Duration(passed.Load())) })
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := open()
	op := operatorOf(t, o)
	do(t, o, op, actions.TenantCreate, actions.TenantCreateIn{ID: "acme", Name: "Acme"})
	token := do(t, o, op, actions.TokenIssue, actions.TokenIssueIn{Tenant: "acme", Role: "owner"})
	holder, err := o.Holder(t.Context(), token.Token.Secret)
	if err != nil {
		t.Fatal(err)
	}
	grant := func(owner string, ttl time.Duration) lease.Lease {
		t.Helper()
		l, err := o.Grant(t.Context(), lease.Spec{
			Tenant: "acme", Kind: "test-files", Prefix: "files/creds/ro", Owner: owner, Principal: holder.Principal.ID, TTL: ttl, Renewable: true, Until: token.Expires,
		}, e.make)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	sweep := func(want int) {
		t.Helper()
		if err := o.SweepLeases(t.Context()); err != nil || e.left(t) != want {
			t.Errorf("%v, %d files are left, want %d", err, e.left(t), want)
		}
	}
	// Renewed, looked at, and no longer than its token.
	l := grant(token.Accessor, time.Minute)
	ref := actions.LeaseRef{Tenant: "acme", ID: l.ID}
	renewed := do(t, o, op, actions.LeaseRenew, actions.LeaseRenewIn{LeaseRef: ref, Increment: actions.Duration(20 * time.Hour)})
	if !renewed.Expires.Equal(token.Expires) {
		t.Errorf("it ends %v, its token %v", renewed.Expires, token.Expires)
	}
	if info, err := os.Stat(e.path(l)); err != nil || !info.ModTime().Equal(token.Expires) {
		t.Errorf("the other system was not asked: %v", err)
	}
	// With its token: dead at once, and then gone.
	do(t, o, op, actions.TokenRevoke, actions.TokenRevokeIn{TokenRef: actions.TokenRef{Tenant: "acme", Accessor: token.Accessor}})
	if _, _, err := actions.LeaseLookup.Do(t.Context(), o.Service, op, ref); domain.KindOf(err) != domain.NotFound {
		t.Errorf("the lease of a revoked token: %v", err)
	}
	sweep(0)
	// One by one, before the answer.
	l = grant("", time.Hour)
	do(t, o, op, actions.LeaseRevoke, actions.LeaseRevokeIn{LeaseRef: actions.LeaseRef{Tenant: "acme", ID: l.ID}, Sync: true})
	if e.left(t) != 0 {
		t.Error("it was answered before it was taken back")
	}
	// What cannot be taken back becomes an alert.
	e.mu.Lock()
	e.down = errors.New("away")
	e.mu.Unlock()
	grant("", time.Minute)
	for range 20 {
		passed.Add(int64(5 * time.Minute))
		if err := o.SweepLeases(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o.StoreAlerts(t.Context())
	told := do(t, o, op, actions.AlertTenant, actions.TenantPage{Tenant: "acme"})
	found := false
	for _, a := range told.Alerts {
		found = found || a.Kind == alerts.Lease
	}
	if !found {
		t.Errorf("nobody is told: %+v", told.Alerts)
	}
	e.mu.Lock()
	e.down = nil
	e.mu.Unlock()
	// After a long stop.
	grant("", 20*time.Hour)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	passed.Add(int64(30 * time.Hour))
	o = open()
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	op = operatorOf(t, o)
	sweep(0)
	events := do(t, o, op, actions.AuditRead, actions.AuditQuery{Tenant: "acme", Action: "lease.end", Page: actions.Page{Limit: 1000}})
	outcomes := map[string]int{}
	for _, ev := range events.Events {
		outcomes[string(ev.Outcome)]++
	}
	if outcomes["ok"] != 4 || outcomes["failed"] < 5 {
		t.Errorf("the log has %v", outcomes)
	}
	// With its tenant.
	grant("", time.Hour)
	do(t, o, op, actions.TenantDestroy, actions.TenantDestroyIn{Tenant: "acme", Confirm: "acme"})
	sweep(0)
}
