package vaultapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// leases are the endpoints of sys/leases, and those that older clients know.
func (a *API) leases() []endpoint {
	e := func(o op, pattern string, action domain.Action, handle func(context.Context, *request) (*reply, error)) endpoint {
		return endpoint{kind: "sys", op: o, pattern: pattern, action: action, handle: handle}
	}
	return []endpoint{
		e(opWrite, "leases/lookup", authz.LeaseLookup, lookupLease),
		e(opList, "leases/lookup/{prefix...}", authz.LeaseList, listLeases),
		e(opWrite, "leases/renew/{id...}", authz.LeaseRenew, renewLease),
		e(opWrite, "renew/{id...}", authz.LeaseRenew, renewLease),
		e(opWrite, "leases/revoke/{id...}", authz.LeaseRevoke, revokeLease),
		e(opWrite, "revoke/{id...}", authz.LeaseRevoke, revokeLease),
		e(opWrite, "leases/revoke-prefix/{prefix...}", authz.LeaseRevokePrefix, revokePrefix),
		e(opWrite, "leases/revoke-force/{prefix...}", authz.LeaseRevokePrefix, revokePrefix),
		e(opWrite, "revoke-prefix/{prefix...}", authz.LeaseRevokePrefix, revokePrefix),
	}
}

// leaseRef reads which lease is meant, from the path or the body.
func (r *request) leaseRef() (f fields, ref actions.LeaseRef, err error) {
	if f, err = r.fields(); err != nil {
		return nil, ref, err
	}
	ref.Tenant, ref.ID = r.tenant, r.params["id"]
	if ref.ID == "" {
		ref.ID, err = f.text("lease_id")
	}
	if ref.ID == "" {
		ref.ID = "none" // who may not ask is told so before what is missing
	}
	return f, ref, err
}

// leaseError gives a lease that is not there, or cannot be one, the text of Vault.
func leaseError(err error, text string) error {
	e, ours := errors.AsType[*domain.Error](err)
	switch {
	case !ours:
		return err
	case e.Kind == domain.NotFound:
		return failf(http.StatusBadRequest, text)
	case e.Kind == domain.Invalid && e.Field == "":
		return failf(http.StatusBadRequest, e.Msg)
	}
	return err
}

func lookupLease(ctx context.Context, r *request) (*reply, error) {
	_, ref, err := r.leaseRef()
	if err != nil {
		return nil, err
	}
	l, err := do(ctx, r, actions.LeaseLookup, ref)
	if err != nil {
		return nil, leaseError(err, "invalid lease")
	}
	data := map[string]any{
		"id": l.ID, "issue_time": l.Issued, "expire_time": l.Expires, "last_renewal": nil, "renewable": l.Renewable,
		"ttl": max(seconds(l.Expires.Sub(r.service.Now())), 0),
	}
	if l.Renewed != nil {
		data["last_renewal"] = *l.Renewed
	}
	return &reply{data: data}, nil
}

// listLeases lists what stands directly under a prefix; what has more below it ends
// in a slash.
func listLeases(ctx context.Context, r *request) (*reply, error) {
	in := actions.LeaseListIn{TenantPage: actions.TenantPage{Tenant: r.tenant, Page: actions.Page{Limit: actions.MaxPage}}}
	if p := r.params["prefix"]; p != "" {
		in.Prefix = p + "/"
	}
	found, seen := map[string]bool{}, 0
	for {
		out, err := do(ctx, r, actions.LeaseList, in)
		if err != nil {
			return nil, err
		}
		for _, l := range out.Leases {
			name, _, more := strings.Cut(strings.TrimPrefix(l.ID, in.Prefix), "/")
			if more {
				name += "/"
			}
			found[name] = true
		}
		seen += len(out.Leases)
		if in.After = out.Next; in.After == "" || seen >= maxKeys {
			break
		}
	}
	if len(found) == 0 {
		return nil, missing()
	}
	keys := make([]string, 0, len(found))
	for name := range found {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return &reply{data: map[string]any{"keys": keys}}, nil
}

func renewLease(ctx context.Context, r *request) (*reply, error) {
	f, ref, err := r.leaseRef()
	if err != nil {
		return nil, err
	}
	increment, err := f.duration("increment")
	if err != nil {
		return nil, err
	}
	l, err := do(ctx, r, actions.LeaseRenew, actions.LeaseRenewIn{LeaseRef: ref, Increment: actions.Duration(increment)})
	if err != nil {
		return nil, leaseError(err, "lease not found")
	}
	lives := l.Expires.Sub(r.service.Now()).Round(time.Second)
	out := &reply{lease: &lease{ID: l.ID, Renewable: l.Renewable, Duration: lives}}
	if increment > 0 && lives < increment-time.Second {
		out.warnings = []string{"the lease lives no longer: its maximum, or the end of its token, comes first"}
	}
	return out, nil
}

// taken is the answer to a revocation: that it will be done, or that it was.
func taken(wait bool) *reply {
	if wait {
		return &reply{}
	}
	return &reply{status: http.StatusAccepted}
}

// revokeLease answers alike for a lease that is not there.
func revokeLease(ctx context.Context, r *request) (*reply, error) {
	f, ref, err := r.leaseRef()
	if err != nil {
		return nil, err
	}
	wait, err := f.flag("sync", false)
	if err != nil {
		return nil, err
	}
	_, err = do(ctx, r, actions.LeaseRevoke, actions.LeaseRevokeIn{LeaseRef: ref, Sync: wait})
	if err != nil && domain.KindOf(err) != domain.NotFound {
		return nil, err
	}
	return taken(wait), nil
}

func revokePrefix(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	in := actions.LeasePrefixIn{Tenant: r.tenant, Prefix: r.params["prefix"]}
	if in.Prefix == "" {
		if in.Prefix, err = f.text("prefix"); err != nil {
			return nil, err
		}
	}
	if _, err := do(ctx, r, actions.LeaseRevokePrefix, in); err != nil {
		return nil, err
	}
	return taken(false), nil
}
