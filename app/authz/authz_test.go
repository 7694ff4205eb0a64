package authz_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coffer/app/authz"
	"coffer/app/domain"
)

func person(tenant domain.TenantID, role domain.Role) authz.Subject {
	return authz.Subject{
		Principal: domain.Principal{Kind: domain.Person, ID: "p_1"},
		Tenants:   map[domain.TenantID][]authz.Layer{tenant: {{Role: role}}},
	}
}

func workload(t testing.TB, tenant domain.TenantID, caps ...string) authz.Subject {
	t.Helper()
	list, err := authz.ParseCapabilities(caps)
	if err != nil {
		t.Fatal(err)
	}
	return authz.Subject{
		Principal: domain.Principal{Kind: domain.Workload, ID: "w_1"}, Home: tenant,
		Tenants: map[domain.TenantID][]authz.Layer{tenant: {{Capabilities: list}}},
	}
}

// TestRoles spells the table of the design out: for each action, exactly these
// roles may. It is written a second time on purpose.
func TestRoles(t *testing.T) {
	want := map[domain.Action]string{
		authz.TenantShow: "owner admin analyst viewer client-auditor auditor operator",
		authz.MemberAdd:  "owner", authz.MemberList: "owner", authz.MemberRole: "owner", authz.MemberRemove: "owner",
		authz.SecretPut: "owner", authz.SecretRead: "owner", authz.SecretDelete: "owner",
		authz.SecretUndelete: "owner", authz.SecretDestroy: "owner",
		authz.SecretList: "owner admin analyst client-auditor", authz.SecretVersions: "owner admin analyst client-auditor",
		authz.TransitCreate: "owner", authz.TransitRead: "owner", authz.TransitList: "owner", authz.TransitConfig: "owner", authz.TransitRotate: "owner",
		authz.TransitTrim: "owner", authz.TransitRemove: "owner", authz.TransitEncrypt: "owner", authz.TransitDecrypt: "owner", authz.TransitRewrap: "owner",
		authz.TransitDatakey: "owner", authz.TransitSign: "owner", authz.TransitVerify: "owner", authz.TransitHMAC: "owner",
		authz.WorkloadCreate: "owner admin analyst viewer", authz.WorkloadList: "owner admin analyst viewer",
		authz.WorkloadSecretID: "owner admin analyst viewer", authz.WorkloadRemove: "owner admin analyst viewer",
		authz.TokenIssue: "owner admin analyst viewer client-auditor", authz.TokenList: "owner admin analyst viewer client-auditor",
		authz.TokenRevoke: "owner admin analyst viewer client-auditor", authz.TokenShow: "owner admin analyst viewer client-auditor",
		authz.LeaseList: "owner admin analyst viewer client-auditor", authz.LeaseLookup: "owner admin analyst viewer client-auditor",
		authz.LeaseRenew: "owner admin analyst viewer client-auditor", authz.LeaseRevoke: "owner admin analyst viewer client-auditor",
		authz.LeaseRevokePrefix: "owner admin", authz.LeaseRevokeAll: "owner admin", authz.LeaseEnd: "",
		authz.PolicyPut: "owner", authz.PolicyRead: "owner", authz.PolicyList: "owner", authz.PolicyRemove: "owner", authz.PolicyExplain: "owner",
		authz.PolicySelf:  "owner admin analyst viewer client-auditor",
		authz.WrapCreate:  "owner admin analyst viewer client-auditor",
		authz.TokenOrphan: "owner", authz.TokenRevokeAlone: "owner",
		authz.SQLQuery: "owner admin analyst", authz.SQLWrite: "owner admin", authz.SQLRollback: "", authz.SQLExport: "owner",
		authz.QuerySave: "owner admin analyst", authz.QueryRemove: "owner admin analyst", authz.QueryList: "owner admin analyst viewer", authz.QueryRun: "owner admin analyst viewer",
		authz.DashboardSave: "owner admin analyst", authz.DashboardRemove: "owner admin analyst", authz.DashboardList: "owner admin analyst viewer",
		authz.AuditRead: "owner admin client-auditor auditor operator", authz.AuditVerify: "owner admin client-auditor auditor",
		authz.TenantIsolate: "operator", authz.TenantSuspend: "operator", authz.TenantResume: "operator", authz.TenantDestroy: "operator", authz.BreakGlass: "operator",
		authz.TenantCreate: "operator", authz.TenantList: "auditor operator", authz.CheckStores: "operator",
		authz.SealAdd: "operator", authz.SealRemove: "operator", authz.SealRotate: "operator", authz.SealRecovery: "operator",
		authz.AuditSystem:  "auditor operator",
		authz.MigrationPut: "operator", authz.MigrationList: "auditor operator", authz.MigrationPlan: "operator",
		authz.MigrationRun: "operator", authz.MigrationContinue: "operator", authz.MigrationStatus: "owner auditor operator",
		authz.MigrationApply: "operator", authz.MigrationRestore: "operator",
		authz.ClientKeySet: "owner", authz.ClientKeyOpen: "owner", authz.ClientKeyClose: "owner", authz.ClientKeyRemove: "owner",
		authz.ClientKeyStatus: "owner admin analyst viewer client-auditor auditor operator",
		authz.RotateStart:     "operator", authz.RotateStatus: "auditor operator",
		authz.RotateTenant: "owner operator", authz.RotateTenantStatus: "owner auditor operator",
		authz.AlertList: "auditor operator", authz.AlertAck: "operator",
		authz.AlertTenant: "owner admin client-auditor auditor operator",

		authz.InvitationCreate: "owner", authz.InvitationList: "owner", authz.InvitationRevoke: "owner",
		authz.SetupLink: "operator", authz.PersonList: "auditor operator", authz.PersonRole: "operator", authz.PersonRecover: "operator",
	}
	for _, info := range authz.Actions() {
		if info.Scope == authz.Open {
			continue
		}
		row, ok := want[info.Action]
		if !ok {
			t.Errorf("%s: not in the table of this test", info.Action)
		}
		for _, role := range append(domain.TenantRoles(), domain.ApplianceRoles()...) {
			s := person("acme", role)
			if slices.Contains(domain.ApplianceRoles(), role) {
				s.Tenants, s.Appliance = nil, []domain.Role{role}
			}
			_, err := authz.Authorize(s, authz.Request{Action: info.Action, Tenant: "acme"})
			if got, want := err == nil, slices.Contains(strings.Fields(row), string(role)); got != want {
				t.Errorf("%s by %s: allowed %v, want %v", info.Action, role, got, want)
			}
		}
	}
}

func TestUnknownActionAndZeroSubject(t *testing.T) {
	if _, err := authz.Authorize(person("acme", domain.Owner), authz.Request{Action: "secret.steal", Tenant: "acme"}); err == nil {
		t.Error("an action that is not in the table was allowed")
	}
	if _, err := authz.Authorize(authz.Subject{}, authz.Request{Action: authz.SealStatus}); err == nil {
		t.Error("the zero subject was allowed")
	}
	if (authz.Grant{}).Valid() {
		t.Error("the zero grant is valid")
	}
}

func TestForeignAndUnknownLookTheSame(t *testing.T) {
	s := workload(t, "acme", "secret:read:*")
	_, foreign := authz.Authorize(s, authz.Request{Action: authz.SecretRead, Tenant: "globex", Resource: "a"})
	_, unknown := authz.Authorize(s, authz.Request{Action: authz.SecretRead, Tenant: "nobody", Resource: "a"})
	if foreign == nil || unknown == nil || foreign.Error() != unknown.Error() || domain.HintOf(foreign) != domain.HintOf(unknown) {
		t.Errorf("foreign: %v; unknown: %v", foreign, unknown)
	}
	if d, ok := errors.AsType[*authz.Denied](foreign); !ok || !d.Foreign || domain.KindOf(foreign) != domain.Denied {
		t.Errorf("%v is no foreign refusal", foreign)
	}
}

// TestHomeBindsApplianceRoles: a token of an operator reaches its tenant alone.
func TestHomeBindsApplianceRoles(t *testing.T) {
	s := person("acme", domain.Owner)
	s.Appliance, s.Home = []domain.Role{domain.Operator}, "acme"
	if _, err := authz.Authorize(s, authz.Request{Action: authz.TenantSuspend, Tenant: "globex"}); err == nil {
		t.Error("a token of acme suspended globex")
	}
}

func TestOwnOnly(t *testing.T) {
	s := person("acme", domain.Analyst)
	g, err := authz.Authorize(s, authz.Request{Action: authz.TokenRevoke, Tenant: "acme", OwnedBy: "p_1"})
	if err != nil || !g.OwnOnly() {
		t.Errorf("own token: %v, own only %v", err, err == nil && g.OwnOnly())
	}
	if _, err := authz.Authorize(s, authz.Request{Action: authz.TokenRevoke, Tenant: "acme", OwnedBy: "p_2"}); err == nil {
		t.Error("an analyst revoked somebody else's token")
	}
}

func TestCapabilityMatching(t *testing.T) {
	for _, tc := range []struct {
		cap  string
		path string
		want bool
	}{
		{"secret:read:*", "a", true},
		{"secret:read:*", "a/b/c", true},
		{"secret:read:stripe/*", "stripe/live", true},
		{"secret:read:stripe/*", "stripe/a/b", true},
		{"secret:read:stripe/*", "stripe", false},
		{"secret:read:stripe/*", "stripex/live", false},
		{"secret:read:*/live", "stripe/live", true},
		{"secret:read:*/live", "stripe/eu/live", false},
		{"secret:read:stripe/live", "stripe/live", true},
		{"secret:read:stripe/live", "stripe/live/x", false},
		{"secret:list:stripe/live", "stripe/live", false}, // another class
		{"sql:owner", "stripe/live", false},
	} {
		_, err := authz.Authorize(workload(t, "acme", tc.cap), authz.Request{Action: authz.SecretRead, Tenant: "acme", Resource: tc.path})
		if (err == nil) != tc.want {
			t.Errorf("%s on %s: allowed %v, want %v", tc.cap, tc.path, err == nil, tc.want)
		}
	}
}

func TestParseCapabilityRefuses(t *testing.T) {
	for _, s := range []string{
		"", "secret", "secret:read", "secret:read:", "secret:read:/a", "secret:read:a//b", "secret:read:a/", "secret:read:../b",
		"secret:read:a*", "secret:steal:a", "sql:", "sql:viewer", "sql:root", "SQL:analyst", " sql:analyst", "engine:", "secret:read:" + strings.Repeat("a", 700),
	} {
		if c, err := authz.ParseCapability(s); err == nil {
			t.Errorf("%q became %v", s, c)
		}
	}
}

var segment = rapid.SampledFrom([]string{"a", "b", "*"})

func drawPattern(t *rapid.T, name string) string {
	return strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, name), "/")
}

// naiveMatch is the definition of matching, by trying all expansions.
func naiveMatch(pattern, path []string) bool {
	switch {
	case len(pattern) == 0:
		return len(path) == 0
	case len(path) == 0:
		return false
	case len(pattern) == 1 && pattern[0] == "*":
		return true
	}
	return (pattern[0] == "*" || pattern[0] == path[0]) && naiveMatch(pattern[1:], path[1:])
}

func TestMatchAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pattern := drawPattern(rt, "pattern")
		path := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 5).Draw(rt, "path")
		want := naiveMatch(strings.Split(pattern, "/"), path)
		_, err := authz.Authorize(workload(t, "acme", "secret:read:"+pattern),
			authz.Request{Action: authz.SecretRead, Tenant: "acme", Resource: strings.Join(path, "/")})
		if (err == nil) != want {
			rt.Fatalf("%s on %v: %v, want %v", pattern, path, err == nil, want)
		}
	})
}

// TestNeverWider: whatever a subject may hand out, the receiver can do nothing
// that the giver cannot.
func TestNeverWider(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		giver, given := drawLayer(rt, "giver"), drawLayer(rt, "given")
		s := authz.Subject{
			Principal: domain.Principal{Kind: domain.Person, ID: "p_1"},
			Tenants:   map[domain.TenantID][]authz.Layer{"acme": {giver}},
		}
		if authz.MayDelegate(s, "acme", given) != nil {
			return
		}
		receiver := s
		receiver.Tenants = map[domain.TenantID][]authz.Layer{"acme": {given}}
		for _, info := range authz.Actions() {
			for _, resource := range []string{"", "a", "b", "a/b", "a/b/c", "c/a", "a/", "a/b/"} {
				for _, owner := range []string{"", "p_1", "p_2"} {
					r := authz.Request{Action: info.Action, Tenant: "acme", Resource: resource, OwnedBy: owner}
					if (resource == "" || strings.HasSuffix(resource, "/")) != (info.Resource == "prefix") && info.Resource != "" {
						continue // no operation asks so
					}
					_, got := authz.Authorize(receiver, r)
					_, had := authz.Authorize(s, r)
					if got == nil && had != nil {
						rt.Fatalf("%v may give %v, which may %s on %q of %q", giver, given, info.Action, resource, owner)
					}
				}
			}
		}
	})
}

func drawLayer(t *rapid.T, name string) authz.Layer {
	switch rapid.IntRange(0, 2).Draw(t, name+" kind") {
	case 0:
		return drawPolicies(t, name)
	case 1:
		return authz.Layer{Role: rapid.SampledFrom(domain.TenantRoles()).Draw(t, name)}
	}
	n := rapid.IntRange(1, 3).Draw(t, name+" n")
	var texts []string
	for range n {
		switch class := rapid.SampledFrom([]string{"secret:read:", "secret:write:", "secret:list:", "sql:"}).Draw(t, name+" class"); class {
		case "sql:":
			texts = append(texts, class+rapid.SampledFrom([]string{"analyst", "admin", "owner"}).Draw(t, name+" role"))
		default:
			texts = append(texts, class+drawPattern(t, name+" pattern"))
		}
	}
	caps, err := authz.ParseCapabilities(texts)
	if err != nil {
		t.Fatal(err)
	}
	return authz.Layer{Capabilities: caps}
}

// TestForeignNeverAllowed: no layers in one tenant allow anything in another.
func TestForeignNeverAllowed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := authz.Subject{
			Principal: domain.Principal{Kind: domain.Workload, ID: "w_1"}, Home: "acme",
			Tenants: map[domain.TenantID][]authz.Layer{"acme": {drawLayer(rt, "mine")}},
		}
		for _, info := range authz.Actions() {
			if info.Scope != authz.Tenant {
				continue
			}
			if _, err := authz.Authorize(s, authz.Request{Action: info.Action, Tenant: "globex", Resource: "a", OwnedBy: "w_1"}); err == nil {
				rt.Fatalf("%s in a foreign tenant", info.Action)
			}
		}
	})
}

func FuzzParseCapability(f *testing.F) {
	for _, s := range []string{"secret:read:a/*", "sql:analyst", "engine:pg/ro", "transit:*", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := authz.ParseCapability(s)
		if err != nil {
			return
		}
		if c.String() != s {
			t.Fatalf("%q became %q", s, c)
		}
		if !c.Covers(c) {
			t.Fatalf("%q does not cover itself", s)
		}
	})
}

func BenchmarkAuthorize(b *testing.B) {
	s := workload(b, "acme", "secret:list:*", "sql:analyst", "secret:read:stripe/*")
	r := authz.Request{Action: authz.SecretRead, Tenant: "acme", Resource: "stripe/live"}
	for b.Loop() {
		if _, err := authz.Authorize(s, r); err != nil {
			b.Fatal(err)
		}
	}
}
