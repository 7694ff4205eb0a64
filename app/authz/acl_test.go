package authz_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coffer/app/authz"
	"coffer/app/domain"
)

func acl(rules ...authz.Rule) *authz.ACL { return authz.CompileACL(rules) }

func rule(path string, powers authz.Powers) authz.Rule {
	return authz.Rule{Policy: "p", Path: path, Powers: powers}
}

// holder is a token's subject with policies of the rules.
func holder(rules ...authz.Rule) authz.Subject {
	return authz.Subject{
		Principal: domain.Principal{Kind: domain.Workload, ID: "w_1"}, Home: "acme",
		Tenants: map[domain.TenantID][]authz.Layer{"acme": {{Policies: []string{"p"}, ACL: acl(rules...)}}},
	}
}

// TestACL has the examples of Vault's documentation, and what an attacker tries.
func TestACL(t *testing.T) {
	documented := acl(
		rule("secret/*", authz.MayRead), rule("secret/super-secret", authz.Deny), rule("secret/restricted", authz.MayCreate),
		rule("secret/foo", authz.MayRead|authz.MayList), rule("secret/bar/*", authz.MayUpdate), rule("secret/zip-*", authz.MayDelete),
		rule("secret/+/teamb", authz.MayPatch), rule("secret/+/+/teamb", authz.MaySudo),
	)
	for path, want := range map[string]authz.Powers{
		"secret/super-secret": authz.Deny, "secret/restricted": authz.MayCreate, "secret/foo": authz.MayRead | authz.MayList,
		"secret/foo/": authz.MayRead | authz.MayList, "secret/foo/x": authz.MayRead, "secret/foobar": authz.MayRead,
		"secret/bar/zip": authz.MayUpdate, "secret/bar/zip/zap": authz.MayUpdate, "secret/bars/zip": authz.MayRead, "secret/bar": authz.MayRead,
		"secret/zip-zap": authz.MayDelete, "secret/zip-zap/zong": authz.MayDelete, "secret/zip/zap": authz.MayRead,
		"secret/x/teamb": authz.MayPatch, // secret/* has its * where the other has its +, but ends in it
		"secret":         0, "secrets/foo": 0, "Secret/foo": 0, "": 0, "secret/super-secret/": authz.Deny, "secret/super-secret/x": authz.MayRead,
	} {
		if got := documented.Powers(path); got != want {
			t.Errorf("%s: %v, want %v", path, got.Names(), want.Names())
		}
	}
	for _, tc := range []struct {
		strong, weak, path string
	}{ // the documented order, rule by rule
		{"secret/foo/+", "secret/+/bar", "secret/foo/bar"},
		{"secret/foo/*", "secret/+/bar", "secret/foo/bar"},
		{"secret/+/bar", "secret/+/*", "secret/foo/bar"},
		{"secret/+/bar/x", "secret/+/+/x", "secret/foo/bar/x"},
		{"secret/+/bar*", "secret/+/b*", "secret/foo/bar"},
		{"secret/foo/bar", "secret/foo/bar*", "secret/foo/bar"},
		{"secret/foo/b*", "secret/foo/*", "secret/foo/bar"},
	} {
		if a := acl(rule(tc.weak, authz.MayRead), rule(tc.strong, authz.Deny)); a.Powers(tc.path) != authz.Deny {
			t.Errorf("%s is weaker than %s on %s", tc.strong, tc.weak, tc.path)
		}
	}
	united := acl(authz.Rule{Policy: "a", Path: "x", Powers: authz.MayRead}, authz.Rule{Policy: "b", Path: "x", Powers: authz.MayUpdate})
	denied := acl(authz.Rule{Policy: "a", Path: "x", Powers: authz.Deny}, authz.Rule{Policy: "b", Path: "x", Powers: authz.MayUpdate})
	if united.Powers("x") != authz.MayRead|authz.MayUpdate || denied.Powers("x") != authz.Deny {
		t.Error("policies on one path are not united, or a deny does not win")
	}
}

// naiveFind is the definition: the rule that names the path, and else, of all with
// + or * that match, by trying, the first in the documented order. What is listed
// is looked for without its slash first, but a deny of it wins.
func naiveFind(rules []authz.Rule, path string) authz.Powers {
	folder, listed := strings.CutSuffix(path, "/")
	for _, exact := range []string{path, folder} {
		if p, ok := united(rules, exact); ok && !strings.Contains("/"+exact+"/", "/+/") && !strings.HasSuffix(exact, "*") {
			return p
		}
	}
	whole, _ := strongest(rules, path)
	if p, ok := strongest(rules, folder); listed && ok && whole != authz.Deny {
		return p
	}
	return whole
}

func strongest(rules []authz.Rule, path string) (authz.Powers, bool) {
	var found []string
	for _, r := range rules {
		if strings.ContainsAny(r.Path, "+*") && naiveGlob(r.Path, path) {
			found = append(found, r.Path)
		}
	}
	if len(found) == 0 {
		return 0, false
	}
	slices.SortFunc(found, func(a, b string) int {
		switch x, y := strings.IndexAny(a, "+*"), strings.IndexAny(b, "+*"); {
		case x != y:
			return y - x
		case strings.HasSuffix(a, "*") != strings.HasSuffix(b, "*"):
			if strings.HasSuffix(a, "*") {
				return 1
			}
			return -1
		case strings.Count(a, "+") != strings.Count(b, "+"):
			return strings.Count(a, "+") - strings.Count(b, "+")
		case len(a) != len(b):
			return len(b) - len(a)
		}
		return strings.Compare(b, a)
	})
	return united(rules, found[0])
}

func united(rules []authz.Rule, pattern string) (p authz.Powers, ok bool) {
	for _, r := range rules {
		if r.Path == pattern {
			p, ok = p|r.Powers, true
		}
	}
	if p&authz.Deny != 0 {
		p = authz.Deny
	}
	return p, ok
}

// naiveGlob matches character by character.
func naiveGlob(pattern, path string) bool {
	switch {
	case pattern == "*":
		return true
	case pattern == "":
		return path == ""
	case pattern[0] == '+':
		for i := 0; i <= len(path); i++ {
			if naiveGlob(pattern[1:], path[i:]) {
				return true
			}
			if i < len(path) && path[i] == '/' {
				return false
			}
		}
		return false
	}
	return path != "" && pattern[0] == path[0] && naiveGlob(pattern[1:], path[1:])
}

var powers = rapid.SampledFrom([]authz.Powers{
	authz.MayRead, authz.MayRead | authz.MayUpdate | authz.MayCreate, authz.MayList, authz.MayList | authz.MayRead, authz.Deny,
	authz.MayCreate | authz.MayRead | authz.MayUpdate | authz.MayPatch | authz.MayDelete | authz.MayList | authz.MaySudo,
})

func drawRules(t *rapid.T, name string, roots ...string) (out []authz.Rule) {
	for range rapid.IntRange(1, 5).Draw(t, name+" rules") {
		segments := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "+"}), 0, 3).Draw(t, name+" path")
		path := rapid.SampledFrom(roots).Draw(t, name+" root") + strings.Join(segments, "/")
		path += rapid.SampledFrom([]string{"", "", "/", "/*", "*"}).Draw(t, name+" end")
		path, err := authz.ParseRulePath(path)
		if err != nil {
			continue
		}
		out = append(out, authz.Rule{Policy: "p", Path: path, Powers: powers.Draw(t, name+" powers")})
	}
	return out
}

func drawPolicies(t *rapid.T, name string) authz.Layer {
	rules := drawRules(t, name, "secret/data/", "secret/metadata/", "secret/", "+/data/", "", "sql", "auth/token/create")
	return authz.Layer{Policies: []string{name}, ACL: acl(rules...)}
}

// TestACLAgainstModel: the compiled rules decide as the definition does.
func TestACLAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rules := drawRules(rt, "rules", "", "x/")
		path := rapid.SampledFrom([]string{"", "x/"}).Draw(rt, "root") +
			strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "c"}), 1, 4).Draw(rt, "path"), "/") +
			rapid.SampledFrom([]string{"", "/"}).Draw(rt, "slash")
		if got, want := acl(rules...).Powers(path), naiveFind(rules, path); got != want {
			rt.Fatalf("%v on %s: %v, want %v", rules, path, got.Names(), want.Names())
		}
	})
}

// TestRoutes: every action in a tenant has a route, or a reason why no policy gives
// it; and an owner may do all that a policy can give.
func TestRoutes(t *testing.T) {
	for _, info := range authz.Actions() {
		_, routed := authz.RouteOf(info.Action, "x")
		why := authz.Unrouted(info.Action)
		switch {
		case info.Scope == authz.Tenant && routed == (why != ""):
			t.Errorf("%s has no route and no reason, or both", info.Action)
		case info.Scope != authz.Tenant && (routed || why != ""):
			t.Errorf("%s is about no tenant", info.Action)
		case routed && !info.Permits(domain.Owner):
			t.Errorf("%s can be given by a policy, and not by an owner's role", info.Action)
		}
	}
}

// TestPoliciesBind: what a policy allows on Vault's path it allows on every
// surface, and nothing besides.
func TestPoliciesBind(t *testing.T) {
	all := authz.MayCreate | authz.MayRead | authz.MayUpdate | authz.MayPatch | authz.MayDelete | authz.MayList | authz.MaySudo
	for _, tc := range []struct {
		who    authz.Subject
		action domain.Action
		on     string
		route  authz.Route
		want   bool
	}{
		{holder(rule("secret/data/stripe/*", authz.MayRead)), authz.SecretRead, "stripe/live", authz.Route{}, true},
		{holder(rule("secret/data/stripe/*", authz.MayRead)), authz.SecretRead, "stripe", authz.Route{}, false},
		{holder(rule("secret/data/stripe/*", authz.MayRead)), authz.SecretPut, "stripe/live", authz.Route{}, false},
		{holder(rule("secret/data/a", authz.MayUpdate)), authz.SecretPut, "a", authz.Route{}, false}, // it could make it
		{holder(rule("secret/data/a", authz.MayUpdate)), authz.SecretPut, "a", authz.Route{Path: "secret/data/a", Powers: authz.MayPatch}, false},
		{holder(rule("secret/data/a/", authz.MayRead)), authz.SecretRead, "a", authz.Route{}, false},
		{holder(rule("secret/data/a", authz.MayRead)), authz.SecretRead, "A", authz.Route{}, false},
		{holder(rule("secret/data/a", authz.MayRead)), authz.SecretRead, "а", authz.Route{}, false}, // a Cyrillic one
		{holder(rule("globex/secret/data/*", all)), authz.SecretRead, "a", authz.Route{}, false},
		{holder(rule("*", all), rule("secret/data/*", authz.Deny)), authz.SecretRead, "a", authz.Route{}, false},
		{holder(rule("*", all), rule("secret/data/*", authz.Deny)), authz.SecretList, "", authz.Route{}, true},
		{holder(rule("*", all), rule("secret/metadata/*", authz.Deny)), authz.SecretVersions, "a", authz.Route{}, false},
		{holder(rule("auth/token/create-orphan", authz.MayUpdate)), authz.TokenOrphan, "", authz.Route{}, false}, // without sudo
		{holder(rule("auth/token/create-orphan", authz.MayUpdate)), authz.TokenOrphan, "", authz.Route{Path: "auth/token/create-orphan", Powers: authz.MayUpdate}, false},
		{holder(rule("auth/token/create", authz.MayUpdate)), authz.TokenOrphan, "", authz.Route{Path: "auth/token/create", Powers: authz.MayUpdate}, false},
		{holder(rule("auth/token/create", authz.MayUpdate|authz.MaySudo)), authz.TokenOrphan, "", authz.Route{Path: "auth/token/create", Powers: authz.MayUpdate}, true},
		{holder(rule("sql/", authz.MayRead)), authz.SQLQuery, "", authz.Route{}, true},
		{holder(rule("sql", authz.MayRead)), authz.SQLWrite, "", authz.Route{}, false},
		{holder(rule("*", all)), authz.MemberAdd, "", authz.Route{}, false},
		{holder(rule("*", all)), authz.SQLExport, "", authz.Route{Path: "sql/", Powers: authz.MayRead}, false},
		{holder(rule("*", all)), authz.AuditRead, "", authz.Route{}, false},
	} {
		_, err := authz.Authorize(tc.who, authz.Request{Action: tc.action, Tenant: "acme", Resource: tc.on, Route: tc.route})
		if (err == nil) != tc.want {
			t.Errorf("%s on %q by %+v: %v", tc.action, tc.on, tc.route, err)
		}
	}
	s := holder(rule("*", all))
	s.Tenants["acme"][0].ACL = nil // names without what they say
	if _, err := authz.Authorize(s, authz.Request{Action: authz.SecretRead, Tenant: "acme", Resource: "a"}); err == nil {
		t.Error("a policy that was not resolved allows something")
	}
}

// TestSeesUnderPolicies: a list shows what stands in folders that may be listed.
func TestSeesUnderPolicies(t *testing.T) {
	s := holder(rule("secret/metadata/*", authz.MayList), rule("secret/metadata/hidden/*", authz.Deny))
	g, err := authz.Authorize(s, authz.Request{Action: authz.SecretList, Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[domain.SecretPath]bool{"a": true, "x/y": true, "hidden/x": false, "hidden/y/z": false, "hiddenx/y": true} {
		if g.Sees(path) != want {
			t.Errorf("%s is seen: %v", path, !want)
		}
	}
}

func FuzzRulePath(f *testing.F) {
	for _, s := range []string{"secret/data/*", "/a/+/b", "a//b", "../x", "a%2fb", "+", "*", "a/", "{{identity.entity.id}}", "a*b"} {
		f.Add(s, "secret/data/a")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		p, err := authz.ParseRulePath(pattern)
		if err != nil {
			return
		}
		if again, err := authz.ParseRulePath(p); (err != nil || again != p) && !strings.HasPrefix(p, "/") {
			t.Fatalf("%q became %q, %v", p, again, err)
		}
		if got, want := acl(rule(p, authz.MayRead)).Powers(path), naiveFind([]authz.Rule{rule(p, authz.MayRead)}, path); got != want {
			t.Fatalf("%q on %q: %v, want %v", p, path, got.Names(), want.Names())
		}
	})
}

func BenchmarkACL(b *testing.B) {
	var rules []authz.Rule
	for i := range 1000 {
		root := "secret/data/" + strings.Repeat("x", i%40) + string(rune('a'+i%26))
		rules = append(rules, rule(root+[]string{"", "/*", "/+/y"}[i%3], authz.MayRead))
	}
	a := acl(rules...)
	for b.Loop() {
		a.Powers("secret/data/xxxxa/live/key")
	}
}
