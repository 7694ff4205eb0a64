package authz

import (
	"fmt"
	"slices"
	"strings"

	"coffer/app/domain"
)

// DefaultPolicy is the name of what every token may.
const DefaultPolicy = "default"

// defaultRules say what every token may about itself. The actions behind them ask
// for no more than a token, so that no other policy takes them away.
var defaultRules = []Rule{
	{DefaultPolicy, "auth/token/lookup-self", MayRead | MayUpdate},
	{DefaultPolicy, "auth/token/renew-self", MayUpdate},
	{DefaultPolicy, "auth/token/revoke-self", MayUpdate},
	{DefaultPolicy, "sys/capabilities-self", MayUpdate},
	{DefaultPolicy, "sys/leases/lookup", MayUpdate},
	{DefaultPolicy, "sys/leases/renew", MayUpdate},
	{DefaultPolicy, "sys/wrapping/wrap", MayUpdate},
	{DefaultPolicy, "sys/wrapping/lookup", MayRead | MayUpdate},
	{DefaultPolicy, "sys/wrapping/unwrap", MayUpdate},
	{DefaultPolicy, "sys/wrapping/rewrap", MayUpdate},
}

var defaultACL = CompileACL(defaultRules)

// BuiltInText is the policy of a role, or the default one, as a text in HCL; ok is
// false for any other name. It is made from the table of actions, for people to
// read: roles decide as roles.
func BuiltInText(name string) (text string, ok bool) {
	if name == DefaultPolicy {
		return "# What every token may about itself. It is read-only.\n" + rendered(defaultRules), true
	}
	role, err := domain.ParseTenantRole(name)
	if err != nil {
		return "", false
	}
	var rules []Rule
	var besides []string
	for _, info := range table {
		if info.Scope != Tenant || !info.Permits(role) && !info.PermitsOwn(role) {
			continue
		}
		route, routed := routes[info.Action]
		if !routed || !info.Permits(role) {
			line := "#   " + string(info.Action) + ": " + info.Meaning
			if !info.Permits(role) {
				line += " (its own)"
			}
			besides = append(besides, line)
			continue
		}
		path := strings.Replace(route.Path, resource, "*", 1)
		if before, after, deep := strings.Cut(path, "*"); deep && after != "" {
			path = before + "+" + after
		}
		rules = addRule(rules, Rule{name, path, route.needs().Powers})
		for _, o := range furtherRoutes {
			if o.Action == info.Action {
				rules = addRule(rules, Rule{name, strings.Replace(o.Route.Path, resource, "*", 1), o.Route.Powers})
			}
		}
	}
	text = "# What the role " + name + " may. It is read-only, and made from the table of actions.\n" + rendered(rules)
	if len(besides) > 0 {
		text += "\n# What no policy gives, or not as widely:\n" + strings.Join(besides, "\n") + "\n"
	}
	return text, true
}

func addRule(rules []Rule, r Rule) []Rule {
	if i := slices.IndexFunc(rules, func(o Rule) bool { return o.Path == r.Path }); i >= 0 {
		rules[i].Powers |= r.Powers
		return rules
	}
	return append(rules, r)
}

func rendered(rules []Rule) string {
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "path %q {\n  capabilities = [\"%s\"]\n}\n", r.Path, strings.Join(r.Powers.Names(), `", "`))
	}
	return b.String()
}
