package audit_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

// testKeys derives period keys from a seed; a vault would keep them.
type testKeys struct {
	seed string
	mu   sync.Mutex
	asks map[string]int
	fail error
}

func (k *testKeys) PeriodKey(_ context.Context, tag audit.Tag, period string) (domain.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return domain.Secret{}, k.fail
	}
	if k.asks == nil {
		k.asks = map[string]int{}
	}
	k.asks[tag.String()+period]++
	b := sha256.Sum256([]byte(k.seed + "|period|" + tag.String() + "|" + period))
	return domain.NewSecret(b[:]), nil
}

// asked is how many keys were asked for.
func (k *testKeys) asked() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, times := range k.asks {
		n += times
	}
	return n
}

func (k *testKeys) HeadKey() domain.Secret {
	b := sha256.Sum256([]byte(k.seed + "|head"))
	return domain.NewSecret(b[:])
}

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Millisecond)
	return c.t
}

func (c *clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func tagOf(name string) audit.Tag {
	b := sha256.Sum256([]byte("tag|" + name))
	return audit.Tag(b[:16])
}

func instanceOf(name string) [16]byte {
	b := sha256.Sum256([]byte("instance|" + name))
	return [16]byte(b[:16])
}

// smallOptions are those of a log in dir with small files.
func smallOptions(dir string) audit.Options {
	return audit.Options{
		Dir: dir, Instance: instanceOf("one"), System: audit.Ref{Tag: tagOf("system")},
		Keys: &testKeys{seed: "test"}, Now: newClock().Now, SegmentSize: 256 << 10,
	}
}

// open opens a log and closes it at the end of the test, and then verifies it.
func open(tb testing.TB, o audit.Options) *audit.Log {
	tb.Helper()
	l, err := audit.Open(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close(context.Background()) })
	return l
}

// mustClose ends a log in order.
func mustClose(tb testing.TB, l *audit.Log) {
	tb.Helper()
	if err := l.Close(context.Background()); err != nil {
		tb.Fatal(err)
	}
}

func register(tb testing.TB, l *audit.Log, ids ...domain.TenantID) {
	tb.Helper()
	for i, id := range ids {
		if err := l.Register(id, audit.Ref{Tag: tagOf(string(id)), Slot: uint32(i + 1)}); err != nil {
			tb.Fatal(err)
		}
	}
}

// person is somebody with a role in some tenants.
func person(id string, role domain.Role, tenants ...domain.TenantID) authz.Subject {
	s := authz.Subject{
		Principal: domain.Principal{Kind: domain.Person, ID: id},
		Tenants:   map[domain.TenantID][]authz.Layer{},
	}
	for _, t := range tenants {
		s.Tenants[t] = []authz.Layer{{Role: role}}
	}
	return s
}

func grant(tb testing.TB, tenant domain.TenantID, action domain.Action, resource string) authz.Grant {
	tb.Helper()
	g, err := authz.Authorize(person("p-owner", domain.Owner, tenant), authz.Request{Action: action, Tenant: tenant, Resource: resource})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func readGrant(tb testing.TB, tenant domain.TenantID) authz.Grant {
	tb.Helper()
	return grant(tb, tenant, authz.SecretRead, "stripe/live")
}

func begin(tb testing.TB, l *audit.Log, g authz.Grant) *audit.Permit {
	tb.Helper()
	p, err := l.Begin(context.Background(), g, audit.Call{RequestID: "r-1", Source: "192.0.2.1", Client: "test", Auth: "password"})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// event writes one event and gives its receipt.
func event(tb testing.TB, l *audit.Log, tenant domain.TenantID) audit.Receipt {
	tb.Helper()
	r, err := begin(tb, l, readGrant(tb, tenant)).Finish(context.Background(), audit.OK, audit.Detail{"version": 1})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// change writes an intent and its outcome.
func change(tb testing.TB, l *audit.Log, tenant domain.TenantID) audit.IntentID {
	tb.Helper()
	p := begin(tb, l, grant(tb, tenant, authz.SecretPut, "stripe/live"))
	id, err := p.Intent(context.Background(), audit.Detail{"version": 2})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := p.FinishDurable(context.Background(), audit.OK, nil); err != nil {
		tb.Fatal(err)
	}
	return id
}

func verify(tb testing.TB, l *audit.Log) []audit.Summary {
	tb.Helper()
	list, err := l.VerifyAll(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

func entries(tb testing.TB, l *audit.Log, tenant domain.TenantID, f audit.Filter) []audit.Entry {
	tb.Helper()
	var list []audit.Entry
	if err := l.Query(context.Background(), tenant, f, func(e audit.Entry) error {
		list = append(list, e)
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	return list
}

// shape lists the types of a log's records, for tables.
func shape(tb testing.TB, l *audit.Log, tenant domain.TenantID) []string {
	tb.Helper()
	var list []string
	for _, e := range entries(tb, l, tenant, audit.Filter{}) {
		s := e.Header.Type.String()
		if e.Event.Outcome != "" {
			s += " " + e.Event.Outcome
		}
		list = append(list, s)
	}
	return list
}

func wantKind(tb testing.TB, err error, kind domain.Kind) {
	tb.Helper()
	if err == nil || domain.KindOf(err) != kind {
		tb.Fatalf("error %v of kind %v, want kind %v", err, domain.KindOf(err), kind)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func tenantN(i int) domain.TenantID { return domain.TenantID(fmt.Sprintf("tenant-%04d", i)) }
