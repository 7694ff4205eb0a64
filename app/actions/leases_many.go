package actions

import (
	"context"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/lease"
	"coffer/vault/token"
	"coffer/vault/wrap"
)

// LeasePrefixIn names the leases whose ids begin with a prefix.
type LeasePrefixIn struct {
	Tenant string `path:"tenant" json:"-"`
	Prefix string `json:"prefix" doc:"of the ids, such as database/creds/readonly" schema:"maxLength=512"`
}

// LeasesRevoked says what was revoked. What is in other systems is taken back by and
// by.
type LeasesRevoked struct {
	Tokens int       `json:"tokens" doc:"tokens that were removed at once; of everything of a principal or tenant all are dead, and are removed when they would have ended"`
	Until  time.Time `json:"until" doc:"what was issued until then is revoked"`
}

// LeaseRevokePrefix revokes all leases whose ids begin with a prefix.
var LeaseRevokePrefix = Operation[LeasePrefixIn, LeasesRevoked]{
	action: authz.LeaseRevokePrefix,
	ask: func(_ context.Context, _ *Service, in LeasePrefixIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err == nil {
			err = parseLeaseID("prefix", in.Prefix)
		}
		return authz.Request{Tenant: tenant, Resource: in.Prefix}, err
	},
	act: func(ctx context.Context, c *call, in LeasePrefixIn) (out LeasesRevoked, err error) {
		// A prefix names whole segments: files/a means no lease of files/ab.
		prefix, tenant := strings.TrimSuffix(in.Prefix, "/")+"/", c.permit.Tenant()
		named := func(l LeaseInfo) bool { return strings.HasPrefix(l.ID, prefix) || l.ID+"/" == prefix }
		err = c.change(ctx, func(tx *store.Tx) error {
			out.Until = c.clock.Now().UTC()
			var err error
			if out.Tokens, err = token.RevokeWhere(tx, tenant, func(t token.Token) bool { return named(tokenLease(t)) }); err != nil {
				return err
			}
			if err := endSecretIDs(tx, tenant, named, out.Until); err != nil {
				return err
			}
			if strings.HasPrefix(prefix, wrapPath+"/") || strings.HasPrefix(wrapPath+"/", prefix) {
				if err := endWraps(tx, tenant, named, out.Until); err != nil {
					return err
				}
			}
			if err := lease.OwnersGone(tx, tenant, out.Until); err != nil {
				return err
			}
			return lease.RevokePrefix(tx, tenant, prefix, out.Until)
		})
		if err == nil {
			c.endDeadStreams(ctx, tenant)
			c.wakeLeases()
		}
		c.detail["tokens_revoked"] = out.Tokens
		return out, err
	},
}

// endSecretIDs removes the secret ids whose leases pick picks.
func endSecretIDs(tx *store.Tx, tenant domain.TenantID, pick func(LeaseInfo) bool, now time.Time) error {
	doomed := map[string]bool{}
	if err := eachSecretIDLease(tx, tenant, now, func(l LeaseInfo) error {
		if pick(l) {
			doomed[last(l.ID)] = true
		}
		return nil
	}); err != nil || len(doomed) == 0 {
		return err
	}
	return directory.RemoveSecretIDs(tx, tenant, func(s directory.HeldSecretID) bool { return doomed[s.Accessor] })
}

// endWraps takes back the wrapped answers whose leases pick picks.
func endWraps(tx *store.Tx, tenant domain.TenantID, pick func(LeaseInfo) bool, now time.Time) error {
	list, err := wrap.Page(tx, tenant, now, "", wrap.MaxTokens, func(t wrap.Token) bool { return pick(wrapLease(t)) })
	for _, t := range list {
		if err == nil {
			_, err = wrap.Revoke(tx, tenant, t.Accessor, now)
		}
	}
	return err
}

// RevokeAllIn says whose everything is revoked: exactly one of its members.
type RevokeAllIn struct {
	Tenant   string `path:"tenant" json:"-"`
	Token    string `json:"token,omitempty" doc:"accessor of a token: it, those made with it, and their leases"`
	Workload string `json:"workload,omitempty" doc:"name of a workload: its tokens, secret ids and leases; it can be given another secret id"`
	Member   string `json:"member,omitempty" doc:"name of a member: the tokens of the person and those the person issued, and their leases; the person stays a member"`
	All      bool   `json:"all,omitempty" doc:"all tokens, secret ids, wrapped answers and leases of the tenant, the caller's token among them"`
}

// selector names what is revoked, for the log.
func (in RevokeAllIn) selector() (string, error) {
	given, name := 0, ""
	for _, s := range []struct{ kind, value string }{{"token", in.Token}, {"workload", in.Workload}, {"member", in.Member}} {
		if s.value == "" {
			continue
		}
		if _, err := domain.ParseName(s.kind, s.value); err != nil {
			return "", err
		}
		given, name = given+1, s.kind+":"+s.value
	}
	if in.All {
		given, name = given+1, "all"
	}
	if given != 1 {
		return "", domain.Fieldf("all", "say whose: a token, a workload, a member, or all")
	}
	return name, nil
}

// LeaseRevokeAll revokes everything of somebody at once: for the day on which
// something was stolen. One row counts for all tokens, however many there are.
var LeaseRevokeAll = Operation[RevokeAllIn, LeasesRevoked]{
	action: authz.LeaseRevokeAll,
	ask: func(_ context.Context, _ *Service, in RevokeAllIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		name, err := in.selector()
		return authz.Request{Tenant: tenant, Resource: name}, err
	},
	act: func(ctx context.Context, c *call, in RevokeAllIn) (out LeasesRevoked, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			out, err = c.revokeAll(tx, in)
			return err
		})
		if err == nil {
			c.endDeadStreams(ctx, c.permit.Tenant())
			c.wakeLeases()
		}
		return out, err
	},
}

func (c *call) revokeAll(tx *store.Tx, in RevokeAllIn) (out LeasesRevoked, err error) {
	tenant, now := c.permit.Tenant(), c.clock.Now().UTC()
	out.Until = now
	everything := func(LeaseInfo) bool { return true }
	principal := ""
	switch {
	case in.Token != "":
		t, err := token.ByAccessor(tx, tenant, in.Token, now)
		if err != nil {
			return out, err
		}
		gone, err := token.Revoke(tx, t)
		out.Tokens = len(gone)
		if err == nil {
			err = lease.OwnersGone(tx, tenant, now)
		}
		return out, err
	case in.Workload != "":
		w, err := directory.WorkloadByName(tx, tenant, in.Workload)
		if err != nil {
			return out, err
		}
		principal = w.ID
		if err := endSecretIDs(tx, tenant, func(l LeaseInfo) bool { return l.Principal == w.ID }, now); err != nil {
			return out, err
		}
	case in.Member != "":
		p, _, err := c.member(tx, in.Member)
		if err != nil {
			return out, err
		}
		principal = p.ID
	default:
		if err := endSecretIDs(tx, tenant, everything, now); err != nil {
			return out, err
		}
		if err := endWraps(tx, tenant, everything, now); err != nil {
			return out, err
		}
		if err := lease.RevokePrefix(tx, tenant, "", now); err != nil {
			return out, err
		}
	}
	if err := token.CutOff(tx, tenant, principal, now); err != nil {
		return out, err
	}
	if principal != "" {
		if err := endWraps(tx, tenant, func(l LeaseInfo) bool { return l.Principal == principal }, now); err != nil {
			return out, err
		}
		if err := lease.RevokePrincipal(tx, tenant, principal, now); err != nil {
			return out, err
		}
	}
	return out, lease.OwnersGone(tx, tenant, now)
}
