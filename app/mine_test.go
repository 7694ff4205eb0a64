package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/app"
	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

func opened(tb testing.TB, wall func() time.Time) *app.Opened {
	tb.Helper()
	o, err := app.OpenForTest(tb.Context(), tb.TempDir(), wall)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := o.Close(); err != nil {
			tb.Error(err)
		}
	})
	return o
}

// asPerson is a caller who is a person without a role on the appliance, as a
// session makes one.
func asPerson(id string, roles ...domain.Role) actions.Caller {
	return actions.Caller{
		Subject: authz.Subject{Principal: domain.Principal{Kind: domain.Person, ID: id}, Appliance: roles},
		Call:    audit.Call{Source: "test", Auth: "test"},
	}
}

func do[In, Out any](tb testing.TB, o *app.Opened, who actions.Caller, op actions.Operation[In, Out], in In) Out {
	tb.Helper()
	out, _, err := op.Do(tb.Context(), o.Service, who, in)
	if err != nil {
		tb.Fatalf("%s: %v", op.Action(), err)
	}
	return out
}

// operatorOf is the operator at the socket.
func operatorOf(tb testing.TB, o *app.Opened) actions.Caller {
	tb.Helper()
	s, err := o.Socket(tb.Context(), 4711)
	if err != nil {
		tb.Fatal(err)
	}
	return actions.Caller{Subject: s, Call: audit.Call{Source: "local", Auth: "socket"}}
}

func overviewOf(tb testing.TB, out actions.MineOut, id domain.TenantID) actions.Overview {
	tb.Helper()
	i := slices.IndexFunc(out.Tenants, func(v actions.Overview) bool { return v.ID == id })
	if i < 0 {
		tb.Fatalf("%s is not in %+v", id, out.Tenants)
	}
	return out.Tenants[i]
}

// TestMineShowsOnlyOnesOwn: a person sees the tenants in which the person is a
// member, with what the role may list, and learns of no other.
func TestMineShowsOnlyOnesOwn(t *testing.T) {
	o := opened(t, nil)
	op := operatorOf(t, o)
	for _, id := range []string{"acme", "globex", "initech"} {
		do(t, o, op, actions.TenantCreate, actions.TenantCreateIn{
			ID: id, Name: strings.ToUpper(id), Workload: &actions.NewWorkload{Name: "shop", Grants: []string{"sql:analyst"}}, Token: &actions.NewToken{},
		})
	}
	bob := do(t, o, op, actions.MemberAdd, actions.MemberIn{Tenant: "acme", Name: "bob", Role: "viewer"}).Person
	do(t, o, op, actions.MemberAdd, actions.MemberIn{Tenant: "globex", Name: "bob", Role: "owner"})

	all := do(t, o, op, actions.TenantMine, actions.Page{})
	if len(all.Tenants) != 3 || all.Next != "" {
		t.Fatalf("the operator sees %+v", all)
	}
	acme := overviewOf(t, all, "acme")
	if acme.Name != "ACME" || acme.Role != domain.Owner || acme.Tokens != 1 || acme.Workloads != 1 || acme.Members != 2 || acme.LastEvent == nil || acme.OldestCredential == nil {
		t.Errorf("%+v", acme)
	}
	auditor := do(t, o, asPerson("p_auditor", domain.Auditor), actions.TenantMine, actions.Page{})
	if len(auditor.Tenants) != 3 || auditor.Tenants[0].Role != "" || auditor.Tenants[0].Members != 2 {
		t.Errorf("the auditor sees %+v", auditor)
	}

	mine := do(t, o, asPerson(bob), actions.TenantMine, actions.Page{})
	if len(mine.Tenants) != 2 {
		t.Fatalf("bob sees %+v", mine)
	}
	if v := overviewOf(t, mine, "acme"); v.Role != domain.Viewer || v.Tokens+v.Workloads+v.Members != 0 || v.OldestCredential != nil || v.LastEvent == nil {
		t.Errorf("a viewer who made nothing sees %+v", v)
	}
	if v := overviewOf(t, mine, "globex"); v.Role != domain.Owner || v.Tokens != 1 || v.Workloads != 1 || v.Members != 2 {
		t.Errorf("an owner sees %+v", v)
	}
	do(t, o, asPerson(bob), actions.TokenIssue, actions.TokenIssueIn{Tenant: "acme"})
	if v := overviewOf(t, do(t, o, asPerson(bob), actions.TenantMine, actions.Page{}), "acme"); v.Tokens != 1 {
		t.Errorf("a viewer's own token is not counted: %+v", v)
	}
	// What was counted before is not remembered beyond a change.
	if v := overviewOf(t, do(t, o, op, actions.TenantMine, actions.Page{}), "acme"); v.Tokens != 2 {
		t.Errorf("after a token was issued: %+v", v)
	}
	do(t, o, op, actions.MemberRemove, actions.MemberIn{Tenant: "acme", Name: "bob"})
	if v := overviewOf(t, do(t, o, op, actions.TenantMine, actions.Page{}), "acme"); v.Tokens != 1 || v.Members != 1 {
		t.Errorf("after bob was removed: %+v", v)
	}
	// A cursor that names a foreign tenant is a place in the order and no more.
	for _, after := range []string{"acme", "globe", "globex", "initech", "\x00", "zz/../acme"} {
		out := do(t, o, asPerson(bob), actions.TenantMine, actions.Page{After: after})
		for _, v := range out.Tenants {
			if v.ID != "globex" {
				t.Errorf("after %q bob sees %s", after, v.ID)
			}
		}
	}
	if out := do(t, o, asPerson("p_nobody"), actions.TenantMine, actions.Page{}); len(out.Tenants) != 0 || out.Next != "" {
		t.Errorf("who is a member of nothing sees %+v", out)
	}
	if _, _, err := actions.TenantMine.Do(t.Context(), o.Service, actions.Caller{
		Subject: authz.Subject{Principal: domain.Principal{Kind: domain.Workload, ID: "w_x"}, Home: "acme"},
	}, actions.Page{}); domain.KindOf(err) != domain.Denied {
		t.Errorf("a workload has an overview: %v", err)
	}
	do(t, o, op, actions.TenantDestroy, actions.TenantDestroyIn{Tenant: "initech", Confirm: "initech"})
	if v := overviewOf(t, do(t, o, op, actions.TenantMine, actions.Page{}), "initech"); v.State != "destroyed" || v.Tokens != 0 || v.Members != 0 {
		t.Errorf("a destroyed tenant: %+v", v)
	}
}

// TestMineWithToken: a token sees its own tenant, as the role that bounds it.
func TestMineWithToken(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	for _, tc := range []struct {
		in   object
		want int
	}{
		{object{"role": "owner"}, 1},
		{object{"role": "viewer"}, 1},
		{object{"grants": []string{"secret:read:stripe/*"}}, 0},
	} {
		var out actions.MineOut
		r.must(r.issue("acme", tc.in), "GET", "/api/v1/mine", nil, &out)
		if len(out.Tenants) != tc.want || tc.want > 0 && (out.Tenants[0].ID != "acme" || out.Tenants[0].Role != domain.Role(fmt.Sprint(tc.in["role"]))) {
			t.Errorf("%v sees %+v", tc.in, out)
		}
		if tc.in["role"] == "viewer" && out.Tenants[0].Members != 0 {
			t.Errorf("a viewer's token counts members: %+v", out)
		}
	}
	r.must("", "POST", "/api/v1/tenants/globex/suspend", nil, nil)
	var out actions.MineOut
	r.must("", "GET", "/api/v1/mine?limit=1&after=acme", nil, &out)
	if len(out.Tenants) != 1 || out.Tenants[0].ID != "globex" || out.Tenants[0].State != "suspended" || out.Next != "" {
		t.Errorf("%+v", out)
	}
	if a := r.do("", "GET", "/api/v1/mine?after="+strings.Repeat("a", 2000), nil); a.status != http.StatusBadRequest {
		t.Errorf("a long cursor: %d", a.status)
	}
}

// TestMineForgetsWhatEnds: what was counted holds until the first of it ends.
func TestMineForgetsWhatEnds(t *testing.T) {
	ahead := time.Duration(0)
	o := opened(t, func() time.Time { return time.Now().Add(ahead) })
	op := operatorOf(t, o)
	do(t, o, op, actions.TenantCreate, actions.TenantCreateIn{ID: "acme", Name: "Acme"})
	do(t, o, op, actions.TokenIssue, actions.TokenIssueIn{Tenant: "acme", TTL: actions.Duration(time.Hour)})
	for _, want := range []int{1, 1, 0, 0} {
		if v := overviewOf(t, do(t, o, op, actions.TenantMine, actions.Page{}), "acme"); v.Tokens != want || (v.OldestCredential != nil) != (want > 0) {
			t.Errorf("%v ahead: %+v", ahead, v)
		}
		ahead += 40 * time.Minute
	}
}

// BenchmarkAlerts looks through a thousand tenants.
func BenchmarkAlerts(b *testing.B) {
	o := opened(b, nil)
	if err := o.Fill(b.Context(), 1000, 5, "p_me"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		do(b, o, asPerson("p_me", domain.Operator), actions.AlertList, actions.Page{})
	}
}

// BenchmarkMine reads a page of a hundred overviews of a thousand tenants.
func BenchmarkMine(b *testing.B) {
	o := opened(b, nil)
	if err := o.Fill(b.Context(), 1000, 3, "p_me"); err != nil {
		b.Fatal(err)
	}
	for _, who := range []struct {
		name string
		actions.Caller
	}{{"operator", asPerson("p_me", domain.Operator)}, {"member", asPerson("p_me")}, {"stranger", asPerson("p_none")}} {
		b.Run(who.name, func(b *testing.B) {
			began := time.Now()
			do(b, o, who.Caller, actions.TenantMine, actions.Page{})
			first := time.Since(began) // of the first caller: nothing was counted before
			for b.Loop() {
				out := do(b, o, who.Caller, actions.TenantMine, actions.Page{After: "t-00400"})
				if who.name != "stranger" && len(out.Tenants) != 100 {
					b.Fatalf("%d tenants", len(out.Tenants))
				}
			}
			b.ReportMetric(float64(first.Microseconds()), "first-µs")
		})
	}
}
