package vaultapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// approle are the endpoints of workloads, which are roles of AppRole to these clients.
func (a *API) approle() []endpoint {
	e := func(o op, pattern string, action domain.Action, handle func(context.Context, *request) (*reply, error)) endpoint {
		return endpoint{kind: "approle", op: o, pattern: pattern, action: action, handle: handle}
	}
	return []endpoint{
		e(opWrite, "login", authz.WorkloadLogin, logIn),
		e(opList, "role", authz.WorkloadList, listRoles),
		e(opRead, "role/{name}", authz.WorkloadList, readRole),
		e(opWrite, "role/{name}", authz.WorkloadCreate, writeRole),
		e(opDelete, "role/{name}", authz.WorkloadRemove, removeRole),
		e(opRead, "role/{name}/role-id", authz.WorkloadList, readRoleID),
		e(opWrite, "role/{name}/secret-id", authz.WorkloadSecretID, makeSecretID),
	}
}

// badLogin is the answer to every login that fails. It still counts as a credential
// that does not hold.
func badLogin(err error) error {
	if errors.Is(err, domain.ErrCredential) {
		return &fault{status: http.StatusBadRequest, texts: []string{"invalid role or secret ID"}, cause: err}
	}
	return err
}

func logIn(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	in := actions.Login{}
	if r.named {
		in.Tenant = r.tenant
	}
	if in.RoleID, err = f.text("role_id"); err != nil {
		return nil, err
	}
	if in.SecretID, err = f.secret("secret_id"); err != nil {
		return nil, err
	}
	switch {
	case in.RoleID == "":
		return nil, failf(http.StatusBadRequest, "missing role_id")
	case in.SecretID.Len() == 0:
		return nil, failf(http.StatusBadRequest, "missing secret_id")
	}
	out, err := do(ctx, r, actions.WorkloadLogin, in)
	if err != nil {
		return nil, badLogin(err)
	}
	return &reply{auth: authOf(out)}, nil
}

// roles goes through the workloads of the namespace.
func (r *request) roles(ctx context.Context, each func(actions.WorkloadInfo)) error {
	in := actions.TenantPage{Tenant: r.tenant, Page: actions.Page{Limit: actions.MaxPage}}
	for {
		out, err := do(ctx, r, actions.WorkloadList, in)
		if err != nil {
			return err
		}
		for _, w := range out.Workloads {
			each(w)
		}
		if in.After = out.Next; in.After == "" {
			return nil
		}
	}
}

func listRoles(ctx context.Context, r *request) (*reply, error) {
	var keys []string
	if err := r.roles(ctx, func(w actions.WorkloadInfo) { keys = append(keys, w.Name) }); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, missing()
	}
	slices.Sort(keys)
	return &reply{data: map[string]any{"keys": keys}}, nil
}

// role finds the workload of the path.
func (r *request) role(ctx context.Context) (found actions.WorkloadInfo, err error) {
	err = r.roles(ctx, func(w actions.WorkloadInfo) {
		if w.Name == r.params["name"] {
			found = w
		}
	})
	if err == nil && found.RoleID == "" {
		err = missing()
	}
	return found, err
}

func readRole(ctx context.Context, r *request) (*reply, error) {
	w, err := r.role(ctx)
	if err != nil {
		return nil, err
	}
	return &reply{data: map[string]any{
		"token_policies": policiesOf("", w.Capabilities, w.Policies)[1:], "token_ttl": seconds(time.Duration(w.TokenTTL)),
		"token_max_ttl": seconds(domain.MaxTTL), "token_type": "service", "token_num_uses": 0, "token_period": 0,
		"token_explicit_max_ttl": 0, "token_bound_cidrs": []string{}, "token_no_default_policy": false,
		"bind_secret_id": true, "local_secret_ids": false, "secret_id_num_uses": 0, "secret_id_ttl": 0, "secret_id_bound_cidrs": nil,
	}}, nil
}

func readRoleID(ctx context.Context, r *request) (*reply, error) {
	w, err := r.role(ctx)
	if err != nil {
		return nil, err
	}
	return &reply{data: map[string]any{"role_id": w.RoleID}}, nil
}

// unkept are fields of a role that would bound it further than a workload can be
// bound: one that was asked for and not kept would be a hole.
var unkept = []string{
	"secret_id_num_uses", "secret_id_ttl", "secret_id_bound_cidrs", "token_bound_cidrs", "bound_cidr_list", "token_num_uses", "token_period", "period",
	"token_explicit_max_ttl", "token_max_ttl", "role_id", "local_secret_ids",
}

func writeRole(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	if err := f.refuse(unkept, "a workload does not keep it; bound its secret ids when they are made, and its tokens end after 24 hours in any case"); err != nil {
		return nil, err
	}
	in := actions.WorkloadCreateIn{Tenant: r.tenant, Name: r.params["name"], Bare: true}
	names, err := f.list("token_policies")
	if err == nil && len(names) == 0 {
		names, err = f.list("policies")
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		switch {
		case name == "default": // every token has it
		case strings.Contains(name, ":"):
			in.Grants = append(in.Grants, name)
		default:
			in.Policies = append(in.Policies, name)
		}
	}
	ttl, err := f.duration("token_ttl")
	if err != nil {
		return nil, err
	}
	in.TokenTTL = actions.Duration(ttl)
	r.who.Route.Powers = authz.MayCreate
	if _, err := do(ctx, r, actions.WorkloadCreate, in); err != nil {
		return nil, err
	}
	return &reply{}, nil
}

// refuse refuses fields that are there and say something.
func (f fields) refuse(names []string, why string) error {
	for _, name := range names {
		s := strings.Trim(string(f[name]), `"[]{} `)
		if n, err := strconv.ParseFloat(s, 64); s != "" && s != "null" && s != "false" && (err != nil || n != 0) {
			return failf(http.StatusBadRequest, name+": "+why)
		}
	}
	return nil
}

func removeRole(ctx context.Context, r *request) (*reply, error) {
	_, err := do(ctx, r, actions.WorkloadRemove, actions.WorkloadRef{Tenant: r.tenant, Name: r.params["name"]})
	if err != nil && domain.KindOf(err) != domain.NotFound {
		return nil, err
	}
	return &reply{}, nil
}

func makeSecretID(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	if err := f.refuse([]string{"cidr_list", "token_bound_cidrs", "metadata"}, "a secret id does not keep it"); err != nil {
		return nil, err
	}
	in := actions.WorkloadRef{Tenant: r.tenant, Name: r.params["name"]}
	ttl, err := f.duration("ttl")
	if err != nil {
		return nil, err
	}
	if in.Uses, err = f.number("num_uses"); err != nil {
		return nil, err
	}
	in.TTL = actions.Duration(ttl)
	out, err := do(ctx, r, actions.WorkloadSecretID, in)
	if err != nil {
		return nil, err
	}
	return &reply{data: map[string]any{
		"secret_id": out.SecretID, "secret_id_accessor": out.Accessor, "secret_id_num_uses": in.Uses, "secret_id_ttl": seconds(time.Until(out.Expires)),
	}}, nil
}
