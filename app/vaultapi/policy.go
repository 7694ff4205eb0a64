package vaultapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/policies"
)

// policies are the endpoints of ACL policies, also at their paths of before, and
// those that say what one may.
func (a *API) policies() []endpoint {
	out := []endpoint{
		{kind: "sys", op: opWrite, pattern: "capabilities-self", action: authz.PolicySelf, handle: capabilitiesSelf},
		{kind: "sys", op: opWrite, pattern: "capabilities", action: authz.PolicyExplain, handle: capabilitiesOf},
		{kind: "sys", op: opWrite, pattern: "capabilities-accessor", action: authz.PolicyExplain, handle: capabilitiesAccessor},
		{kind: "sys", op: opRead, pattern: "policy", action: authz.PolicyList, handle: listPolicies},
	}
	for _, base := range []string{"policies/acl", "policy"} {
		out = append(out,
			endpoint{kind: "sys", op: opList, pattern: base, action: authz.PolicyList, handle: listPolicies},
			endpoint{kind: "sys", op: opRead, pattern: base + "/{name}", action: authz.PolicyRead, handle: readPolicy},
			endpoint{kind: "sys", op: opWrite, pattern: base + "/{name}", action: authz.PolicyPut, handle: writePolicy},
			endpoint{kind: "sys", op: opDelete, pattern: base + "/{name}", action: authz.PolicyRemove, handle: removePolicy},
		)
	}
	return out
}

func (r *request) isLegacy() bool { return r.path[0] == "policy" }

func listPolicies(ctx context.Context, r *request) (*reply, error) {
	keys := []string{}
	in := actions.TenantPage{Tenant: r.tenant, Page: actions.Page{Limit: actions.MaxPage}}
	for {
		out, err := do(ctx, r, actions.PolicyList, in)
		if err != nil {
			return nil, err
		}
		for _, p := range out.Policies {
			keys = append(keys, p.Name)
		}
		if in.After = out.Next; in.After == "" {
			break
		}
	}
	data := map[string]any{"keys": keys}
	if r.isLegacy() {
		data["policies"] = keys
	}
	return &reply{data: data, top: r.isLegacy()}, nil
}

// policyName is the name in the path; Vault takes it without regard to case.
func (r *request) policyName() string { return strings.ToLower(r.params["name"]) }

func readPolicy(ctx context.Context, r *request) (*reply, error) {
	p, err := do(ctx, r, actions.PolicyRead, actions.PolicyRef{Tenant: r.tenant, Name: r.policyName()})
	if err != nil {
		return nil, err
	}
	data := map[string]any{"name": p.Name, "policy": p.Policy}
	if r.isLegacy() {
		data = map[string]any{"name": p.Name, "rules": p.Policy}
	}
	return &reply{data: data, top: r.isLegacy()}, nil
}

func writePolicy(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	text, err := f.text("policy")
	if err == nil && text == "" {
		text, err = f.text("rules")
	}
	if err != nil {
		return nil, err
	}
	if text == "" {
		if err := r.refuseFirst(ctx); err != nil {
			return nil, err
		}
		return nil, failf(http.StatusBadRequest, "'policy' parameter not supplied or empty")
	}
	if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
		text = string(plain) // which Vault takes too
	}
	_, err = do(ctx, r, actions.PolicyPut, actions.PolicyPutIn{Tenant: r.tenant, Name: r.policyName(), Policy: text})
	return orNothing(err)
}

// refuseFirst refuses who may not do it at all, before anything of the input is said.
func (r *request) refuseFirst(ctx context.Context) error {
	_, err := r.service.Offer(ctx, r.who, authz.PolicyPut, r.tenant)
	return err
}

func removePolicy(ctx context.Context, r *request) (*reply, error) {
	_, err := do(ctx, r, actions.PolicyRemove, actions.PolicyRef{Tenant: r.tenant, Name: r.policyName()})
	if domain.KindOf(err) == domain.NotFound {
		err = nil // as Vault answers: it is not there
	}
	return orNothing(err)
}

// paths reads about which paths is asked.
func (f fields) paths() ([]string, error) {
	paths, err := f.list("paths")
	if err == nil && len(paths) == 0 {
		paths, err = f.list("path")
	}
	return paths, err
}

func capabilitiesSelf(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	paths, err := f.paths()
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		if err := r.atHome(ctx); err != nil {
			return nil, err
		}
		return nil, failf(http.StatusBadRequest, "no paths supplied")
	}
	out, err := do(ctx, r, actions.PolicySelf, actions.PolicySelfIn{Tenant: r.tenant, Paths: paths})
	if err != nil {
		return nil, err
	}
	return capabilitiesReply(paths, out.Capabilities), nil
}

func capabilitiesReply(paths []string, found map[string][]string) *reply {
	data := map[string]any{}
	for path, names := range found {
		data[path] = names
	}
	if len(paths) == 1 {
		data["capabilities"] = found[paths[0]]
	}
	return &reply{data: data, top: true}
}

// capabilitiesOf is about a token that stands in the body.
func capabilitiesOf(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	text, err := f.secret("token")
	if err != nil {
		return nil, err
	}
	return explainPaths(ctx, r, f, r.service.Accessor(ctx, text, domain.TenantID(r.tenant)))
}

func capabilitiesAccessor(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	ref, err := r.accessor()
	if err != nil {
		return nil, err
	}
	return explainPaths(ctx, r, f, ref.Accessor)
}

func explainPaths(ctx context.Context, r *request, f fields, accessor string) (*reply, error) {
	paths, err := f.paths()
	if err != nil {
		return nil, err
	}
	asked := paths
	if len(paths) == 0 {
		asked = []string{"sys/"} // who may not ask is refused all the same
	}
	found := map[string][]string{}
	for _, path := range asked[:min(len(asked), maxExplained)] {
		out, err := do(ctx, r, actions.PolicyExplain, actions.PolicyExplainIn{Tenant: r.tenant, Token: accessor, Path: path})
		if domain.KindOf(err) == domain.NotFound {
			return nil, failf(http.StatusBadRequest, "invalid token")
		}
		if err != nil {
			return nil, err
		}
		found[path] = out.Has
	}
	switch {
	case len(paths) == 0:
		return nil, failf(http.StatusBadRequest, "no paths supplied")
	case len(paths) > maxExplained:
		return nil, failf(http.StatusBadRequest, "too many paths")
	}
	return capabilitiesReply(paths, found), nil
}

// maxExplained bounds the paths of one request, each of which is an event.
const maxExplained = 16

// routeOf is the path of a request and what is needed on it, for ACL policies. What
// is written is changed; an operation that could make something besides says so.
func routeOf(r *request, o op) authz.Route {
	route := authz.Route{Path: r.full(), Powers: map[op]authz.Powers{
		opRead: authz.MayRead, opList: authz.MayList, opWrite: authz.MayUpdate, opPatch: authz.MayPatch, opDelete: authz.MayDelete,
	}[o]}
	if o == opList {
		route.Path += "/"
	}
	return route
}

// splitPolicies tells the names of policies from those of roles and capabilities.
func splitPolicies(in *actions.TokenIssueIn, name string) bool {
	if policies.BuiltIn(name) {
		return false
	}
	if _, err := domain.ParseName("policies", name); err != nil {
		return false
	}
	if !slices.Contains(in.Policies, name) {
		in.Policies = append(in.Policies, name)
	}
	return true
}
