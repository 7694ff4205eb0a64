package actions

import (
	"context"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/lease"
	"coffer/vault/token"
	"coffer/vault/wrap"
)

// LeaseListIn asks for a page of a tenant's leases.
type LeaseListIn struct {
	TenantPage
	Prefix string `query:"prefix" json:"-" doc:"of the ids, such as auth/approle/" schema:"maxLength=512"`
}

// LeaseListOut is a page of a tenant's leases; Next is the cursor of the one after
// it.
type LeaseListOut struct {
	Leases []LeaseInfo `json:"leases"`
	Next   string      `json:"next,omitempty"`
}

// LeaseList lists what ends, kind by kind; who manages nothing sees what is their own.
var LeaseList = Operation[LeaseListIn, LeaseListOut]{
	action: authz.LeaseList,
	ask: func(ctx context.Context, s *Service, in LeaseListIn) (authz.Request, error) {
		r, err := askTenantPage(ctx, s, in.TenantPage)
		if err == nil && in.Prefix != "" {
			err = parseLeaseID("prefix", in.Prefix)
		}
		r.Resource = in.Prefix
		return r, err
	},
	act: func(ctx context.Context, c *call, in LeaseListIn) (LeaseListOut, error) {
		out := LeaseListOut{Leases: []LeaseInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			page, next, err := c.leasePage(tx, in.Prefix, in.After, in.size())
			out.Leases, out.Next = append(out.Leases, page...), next
			return err
		})
		c.detail["count"] = len(out.Leases)
		return out, err
	},
}

// LeaseRef names a lease.
type LeaseRef struct {
	Tenant string `path:"tenant" json:"-"`
	ID     string `json:"id" doc:"of the lease" schema:"maxLength=512"`
}

// askLease finds whose the lease is.
func askLease(ctx context.Context, s *Service, in LeaseRef) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(in.Tenant)
	if err == nil {
		err = parseLeaseID("id", in.ID)
	}
	if err != nil {
		return authz.Request{}, err
	}
	r := authz.Request{Tenant: tenant, Resource: in.ID}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		l, err := findLease(tx, tenant, in.ID, s.clock.Now())
		mine(&r, l)
		if domain.KindOf(err) == domain.NotFound {
			err = nil // act says so to those who may know
		}
		return err
	})
	return r, err
}

// LeaseLookup shows a lease.
var LeaseLookup = Operation[LeaseRef, LeaseInfo]{
	action: authz.LeaseLookup,
	ask:    askLease,
	act: func(ctx context.Context, c *call, in LeaseRef) (out LeaseInfo, err error) {
		err = c.db.View(ctx, func(tx *store.Tx) error {
			out, err = findLease(tx, c.permit.Tenant(), in.ID, c.clock.Now())
			return err
		})
		return out, err
	},
}

// LeaseRenewIn names a lease, and for how long it shall live.
type LeaseRenewIn struct {
	LeaseRef
	Increment Duration `json:"increment,omitempty" doc:"for which it lives from now on; without it, what it was made with"`
}

// LeaseRenew lets what a lease is for live longer, up to its maximum and no longer
// than the token with which it was asked for.
var LeaseRenew = Operation[LeaseRenewIn, LeaseInfo]{
	action: authz.LeaseRenew,
	ask: func(ctx context.Context, s *Service, in LeaseRenewIn) (authz.Request, error) {
		if in.Increment < 0 {
			return authz.Request{}, domain.Fieldf("increment", "not a duration after which it ends")
		}
		return askLease(ctx, s, in.LeaseRef)
	},
	act: func(ctx context.Context, c *call, in LeaseRenewIn) (out LeaseInfo, err error) {
		if isOwn(in.ID) {
			err = c.change(ctx, func(tx *store.Tx) error {
				out, err = c.renewOwn(tx, in)
				return err
			})
		} else {
			out, err = c.renewElsewhere(ctx, in)
		}
		if err == nil {
			c.detail["expires"] = out.Expires
		}
		return out, err
	},
}

// isOwn says whether the id is that of a token, a secret id or a wrapped answer.
func isOwn(id string) bool {
	accessor := last(id)
	return strings.HasPrefix(accessor, token.AccessorPrefix) || strings.HasPrefix(accessor, wrap.AccessorPrefix) || strings.HasPrefix(accessor, "sa_")
}

func (c *call) renewOwn(tx *store.Tx, in LeaseRenewIn) (LeaseInfo, error) {
	now := c.clock.Now()
	l, err := findLease(tx, c.permit.Tenant(), in.ID, now)
	if err != nil || l.Kind != kindToken {
		if err == nil {
			err = lease.ErrNotRenewable
		}
		return l, err
	}
	t, err := token.ByAccessor(tx, c.permit.Tenant(), last(in.ID), now)
	if err == nil {
		t, err = token.Renew(tx, t, time.Duration(in.Increment), now)
	}
	return tokenLease(t), err
}

// renewElsewhere renews in the other system before it notes that it did: the lease
// never says more than is so.
func (c *call) renewElsewhere(ctx context.Context, in LeaseRenewIn) (out LeaseInfo, err error) {
	if err := c.begin(ctx); err != nil {
		return out, err
	}
	var l lease.Lease
	var until time.Time
	err = c.db.View(ctx, func(tx *store.Tx) error {
		now := c.clock.Now()
		if _, err := findLease(tx, c.permit.Tenant(), in.ID, now); err != nil {
			return err
		}
		if l, err = lease.Find(tx, c.permit.Tenant(), in.ID, now); err != nil {
			return err
		}
		var owner time.Time
		if l.Owner != "" {
			t, err := token.Held(tx, l.Tenant, l.Owner, now)
			if err != nil {
				return err
			}
			owner = t.Expires
		}
		until, err = l.Until(time.Duration(in.Increment), owner, now)
		return err
	})
	if err == nil {
		err = l.Extend(ctx, until)
	}
	if err != nil {
		return out, err
	}
	err = c.change(ctx, func(tx *store.Tx) error {
		now := c.clock.Now()
		l, err := lease.Renew(tx, l, until, now)
		out = elsewhereLease(l, now)
		return err
	})
	return out, err
}

// LeaseRevokeIn names a lease, and says whether to wait until it was taken back.
type LeaseRevokeIn struct {
	LeaseRef
	Sync bool `json:"sync,omitempty" doc:"whether the answer waits until it was taken back in the other system"`
}

// LeaseRevoke revokes a lease at once. What is in another system is taken back by
// and by, or before the answer.
var LeaseRevoke = Operation[LeaseRevokeIn, LeaseInfo]{
	action: authz.LeaseRevoke,
	ask: func(ctx context.Context, s *Service, in LeaseRevokeIn) (authz.Request, error) {
		return askLease(ctx, s, in.LeaseRef)
	},
	act: func(ctx context.Context, c *call, in LeaseRevokeIn) (out LeaseInfo, err error) {
		tenant, gone := c.permit.Tenant(), []string(nil)
		err = c.change(ctx, func(tx *store.Tx) error {
			now := c.clock.Now()
			if out, err = findLease(tx, tenant, in.ID, now); err != nil {
				return err
			}
			gone, err = revokeLease(tx, tenant, out, now)
			return err
		})
		if err != nil {
			return out, err
		}
		out.State = string(lease.Revoking)
		c.endStreams(gone...)
		if in.Sync && !isOwn(in.ID) {
			return out, c.leases.One(ctx, tenant, in.ID)
		}
		c.wakeLeases()
		return out, nil
	},
}

// revokeLease ends a lease of any kind, and gives the accessors of the tokens that
// ended with it.
func revokeLease(tx *store.Tx, tenant domain.TenantID, l LeaseInfo, now time.Time) (gone []string, err error) {
	switch l.Kind {
	case kindToken:
		t, err := token.ByAccessor(tx, tenant, last(l.ID), now)
		if err == nil {
			gone, err = token.Revoke(tx, t)
		}
		if err == nil {
			err = lease.OwnersGone(tx, tenant, now)
		}
		return gone, err
	case kindSecretID:
		return nil, endSecretIDs(tx, tenant, func(o LeaseInfo) bool { return o.ID == l.ID }, now)
	case kindWrap:
		_, err := wrap.Revoke(tx, tenant, last(l.ID), now)
		return nil, err
	}
	return nil, lease.End(tx, tenant, l.ID, now)
}
