package vaultapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// createInRole is for roles of tokens, of which there are none.
func createInRole(_ context.Context, r *request) (*reply, error) {
	if _, err := authz.Authorize(r.who.Subject, authz.Request{Action: authz.TokenIssue, Tenant: domain.TenantID(r.tenant)}); err != nil {
		return nil, domain.Errorf(domain.Denied, "permission denied")
	}
	return nil, failf(http.StatusBadRequest, "unknown role "+clip(r.params["role"]))
}

func createToken(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	in, warnings, err := tokenSpec(f)
	if err != nil {
		return nil, err
	}
	in.Tenant, in.Path = r.tenant, r.full()
	in.Orphan = in.Orphan || r.path[0] == "create-orphan"
	out, err := do(ctx, r, actions.TokenIssue, in)
	if err != nil {
		return nil, err
	}
	return &reply{auth: authOf(out), warnings: append(warnings, out.Warnings...)}, nil
}

// authOf is the block of a token that was just made.
func authOf(out actions.Issued) *auth {
	policies := policiesOf(out.Role, out.Capabilities, out.Policies)
	return &auth{
		ClientToken: out.Token, Accessor: out.Accessor, Policies: policies, TokenPolicies: policies, Metadata: orNone(out.Meta),
		LeaseDuration: seconds(time.Duration(out.TTL)), Renewable: out.Renewable, TokenType: "service", Orphan: out.Parent == "", NumUses: out.Uses,
	}
}

// tokenSpec reads what a token shall be. Times beyond what a token may live are
// taken for that, with a warning: clients ask for a month without a thought.
func tokenSpec(f fields) (in actions.TokenIssueIn, warnings []string, err error) {
	texts := map[string]string{}
	for _, name := range []string{"type", "display_name", "id", "entity_alias"} {
		if texts[name], err = f.text(name); err != nil {
			return in, nil, err
		}
	}
	switch {
	case texts["type"] == "batch":
		return in, nil, failf(http.StatusBadRequest, "batch tokens are not made here; ask for a service token")
	case !slices.Contains([]string{"", "service", "default"}, texts["type"]):
		return in, nil, failf(http.StatusBadRequest, "invalid 'type' value")
	case texts["id"] != "":
		return in, nil, failf(http.StatusBadRequest, "a token's id cannot be chosen")
	case texts["entity_alias"] != "":
		return in, nil, failf(http.StatusBadRequest, "'entity_alias' is only allowed in combination with token role")
	}
	in.Name = texts["display_name"]
	for name, to := range map[string]*actions.Duration{"lease": &in.TTL, "ttl": &in.TTL, "explicit_max_ttl": &in.MaxTTL, "period": &in.Period} {
		d, err := f.duration(name)
		if err != nil {
			return in, nil, err
		}
		if d == 0 {
			continue
		}
		if d > domain.MaxTTL {
			warnings = append(warnings, fmt.Sprintf("%s of %q exceeded the effective max_ttl of %q; the value is capped accordingly", name, d, domain.MaxTTL))
			d = domain.MaxTTL
		}
		*to = actions.Duration(d)
	}
	if in.Period > 0 {
		in.TTL = in.Period
	}
	if in.Uses, err = f.number("num_uses"); err != nil {
		return in, nil, err
	}
	if in.Renewable, err = f.flag("renewable", true); err != nil {
		return in, nil, err
	}
	if in.Orphan, err = f.flag("no_parent", false); err != nil {
		return in, nil, err
	}
	if in.Meta, err = f.pairs("meta"); err != nil {
		return in, nil, err
	}
	if in.Meta == nil {
		in.Meta, err = f.pairs("metadata")
	}
	if err != nil {
		return in, nil, err
	}
	names, err := f.list("policies")
	if err != nil {
		return in, nil, err
	}
	slices.Sort(warnings)
	return in, warnings, bindPolicies(&in, names)
}

// bindPolicies makes of the names of policies what bounds a token: one role, or
// capabilities. Without any it is as wide as its maker.
func bindPolicies(in *actions.TokenIssueIn, names []string) error {
	for _, name := range names {
		if name == "default" {
			continue
		}
		if splitPolicies(in, name) {
			continue
		}
		if _, err := domain.ParseTenantRole(name); err == nil {
			if in.Role != "" && in.Role != name {
				return failf(http.StatusBadRequest, "a token has one role")
			}
			in.Role = name
			continue
		}
		if _, err := authz.ParseCapability(name); err != nil {
			return failf(http.StatusBadRequest, "unknown policy "+clip(name))
		}
		in.Grants = append(in.Grants, name)
	}
	if in.Role != "" && len(in.Grants) > 0 || len(in.Policies) > 0 && (in.Role != "" || len(in.Grants) > 0) {
		return failf(http.StatusBadRequest, "a token has a role, capabilities or policies: one of them")
	}
	return nil
}
