package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

// denied asks for something that the subject may not.
func denied(tb testing.TB, s authz.Subject, r authz.Request) *authz.Denied {
	tb.Helper()
	_, err := authz.Authorize(s, r)
	var d *authz.Denied
	if !errors.As(err, &d) {
		tb.Fatalf("not refused: %v", err)
	}
	return d
}

func refuse(tb testing.TB, l *audit.Log, d *authz.Denied) audit.Receipt {
	tb.Helper()
	r, err := l.Refuse(background, d, audit.Call{RequestID: "r-9", Source: "198.51.100.7", Client: "curl", Auth: "token"})
	must(tb, err)
	return r
}

func TestRefusalsStandWhereTheyBelong(t *testing.T) {
	request := func(tenant domain.TenantID) authz.Request {
		return authz.Request{Action: authz.SecretRead, Tenant: tenant, Resource: "stripe/live"}
	}
	token := person("p-1", domain.Owner, "acme")
	token.Home, token.Token = "acme", "acc-1"
	analyst := person("p-2", domain.Analyst, "acme")
	for name, tt := range map[string]struct {
		d                    *authz.Denied
		acme, globex, system int // refusals in each log
	}{
		"own tenant, role too small": {denied(t, analyst, request("acme")), 1, 0, 0},
		"token, foreign tenant":      {denied(t, token, request("globex")), 1, 1, 0},
		"token, unknown tenant":      {denied(t, token, request("nobody")), 1, 0, 0},
		"person, foreign tenant":     {denied(t, person("p-3", domain.Owner, "acme"), request("globex")), 0, 1, 1},
		"person, unknown tenant":     {denied(t, person("p-3", domain.Owner, "acme"), request("nobody")), 0, 0, 1},
		"appliance action":           {denied(t, person("p-3", domain.Owner, "acme"), authz.Request{Action: authz.TenantCreate}), 0, 0, 1},
	} {
		l := open(t, smallOptions(t.TempDir()))
		register(t, l, "acme", "globex")
		r := refuse(t, l, tt.d)
		count := func(id domain.TenantID) int { return len(entries(t, l, id, audit.Filter{Outcome: audit.Refused})) }
		got := [3]int{count("acme"), count("globex"), count("")}
		if want := [3]int{tt.acme, tt.globex, tt.system}; got != want {
			t.Errorf("%s: acme, globex, system: %v, want %v", name, got, want)
		}
		if r.Leaf == [32]byte{} {
			t.Errorf("%s: no receipt", name)
		}
		verify(t, l)
		mustClose(t, l)
	}
}

func TestForeignRefusalIsAnonymous(t *testing.T) {
	l := open(t, audit.WithoutTicks(smallOptions(t.TempDir())))
	register(t, l, "acme", "globex")
	s := person("p-1", domain.Owner, "acme")
	s.Home, s.Token = "acme", "acc-1"
	batches := l.Batches()
	refuse(t, l, denied(t, s, authz.Request{Action: authz.SecretRead, Tenant: "globex", Resource: "stripe/live"}))
	if n := l.Batches() - batches; n != 1 {
		t.Errorf("%d batches, want 1 for both records", n)
	}
	e := entries(t, l, "globex", audit.Filter{Outcome: audit.Refused})[0]
	b, err := json.Marshal(e.Event)
	must(t, err)
	for _, leak := range []string{"p-1", "acme", "acc-1", "198.51.100.7", "curl", "r-9", "token"} {
		if strings.Contains(string(b), leak) {
			t.Errorf("the foreign tenant's record holds %q: %s", leak, b)
		}
	}
	if e.Event.Action != "secret.read" || e.Event.Resource != "stripe/live" || e.Event.Actor != "anonymous" {
		t.Errorf("%s", b)
	}
	own := entries(t, l, "acme", audit.Filter{Outcome: audit.Refused})[0]
	if own.Event.Actor != "person:p-1" || own.Event.Auth != "token:acc-1" || !strings.Contains(string(own.Event.Detail), "globex") {
		t.Errorf("%+v", own.Event)
	}
}

// Whether the tenant exists makes no difference to the number of batches, and
// the vault is not asked anything.
func TestRefusalCostsTheSame(t *testing.T) {
	keys := &testKeys{seed: "test"}
	o := smallOptions(t.TempDir())
	o.Keys = keys
	l := open(t, audit.WithoutTicks(o))
	register(t, l, "acme", "globex")
	s := person("p-1", domain.Owner, "acme")
	s.Home = "acme"
	event(t, l, "acme")
	for _, tenant := range []domain.TenantID{"globex", "nobody", "globex", "nobody"} {
		batches, asked := l.Batches(), keys.asked()
		refuse(t, l, denied(t, s, authz.Request{Action: authz.SecretRead, Tenant: tenant}))
		if b, k := l.Batches()-batches, keys.asked()-asked; b != 1 || k != 0 {
			t.Errorf("%s: %d batches, %d keys", tenant, b, k)
		}
	}
}

// If the key of the tenant that was named is not at hand, its record follows
// without being waited for.
func TestRefusalWithAColdKey(t *testing.T) {
	o := audit.WithKeyCache(smallOptions(t.TempDir()), 1)
	l := open(t, o)
	register(t, l, "globex", "acme")
	s := person("p-1", domain.Owner, "acme")
	s.Home = "acme"
	event(t, l, "acme")
	refuse(t, l, denied(t, s, authz.Request{Action: authz.SecretRead, Tenant: "globex"}))
	n, err := l.Wait(background, "globex", 0)
	must(t, err)
	if n != 3 || len(entries(t, l, "globex", audit.Filter{Outcome: audit.Refused})) != 1 {
		t.Errorf("%d records", n)
	}
	verify(t, l)
}

func TestRefuseNothing(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	_, err := l.Refuse(background, nil, audit.Call{})
	wantKind(t, err, domain.Internal)
}

func TestUnauthenticatedIsSummedUp(t *testing.T) {
	l := open(t, audit.WithoutTicks(smallOptions(t.TempDir())))
	strays := func() []audit.Entry { return entries(t, l, "", audit.Filter{Action: audit.StrayAction}) }
	for i := range 5_000 {
		l.Unauthenticated(fmt.Sprintf("192.0.2.%d", i%200), "bad token")
		l.Unauthenticated("192.0.2.1", fmt.Sprintf("reason %d", i))
	}
	l.Tick(1)
	first := len(strays())
	if first == 0 || first > 40 {
		t.Fatalf("%d events", first)
	}
	var d struct {
		Reason  string
		Count   int
		Sources map[string]int
	}
	total := 0
	for _, e := range strays() {
		must(t, json.Unmarshal(e.Event.Detail, &d))
		total += d.Count
		if d.Reason == "bad token" && (d.Count != 5_000 || len(d.Sources) != 17 || d.Sources["other"] != 4_600) {
			t.Errorf("%+v", d)
		}
	}
	if total != 10_000 {
		t.Errorf("%d refusals summed up, want 10000", total)
	}
	l.Unauthenticated("192.0.2.1", "bad token")
	for i := range 58 {
		l.Tick(i + 2)
	}
	if n := len(strays()); n != first {
		t.Errorf("%d events within the minute, want %d", n, first)
	}
	l.Tick(60)
	l.Tick(61)
	if n := len(strays()); n != first+1 {
		t.Errorf("%d events after a minute, want %d", n, first+1)
	}
	if d := cmp.Diff("nobody", strays()[0].Event.Actor); d != "" {
		t.Error(d)
	}
}

func TestUnauthenticatedIsWrittenAtTheEnd(t *testing.T) {
	o := smallOptions(t.TempDir())
	l := open(t, o)
	l.Unauthenticated("192.0.2.1", "bad token")
	mustClose(t, l)
	l = open(t, o)
	if n := len(entries(t, l, "", audit.Filter{Action: audit.StrayAction})); n != 1 {
		t.Errorf("%d events", n)
	}
}
