package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/policies"
	"coffer/app/queries"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/migrate"
	"coffer/vault/lease"
	"coffer/vault/token"
	"coffer/vault/wrap"
)

// TenantInfo is what can be shown of a tenant.
type TenantInfo struct {
	ID            domain.TenantID `json:"id"`
	Name          string          `json:"name"`
	State         tenants.State   `json:"state"`
	Created       time.Time       `json:"created"`
	Changed       time.Time       `json:"changed"`
	Slot          uint32          `json:"log_slot" doc:"number of its log in the journal"`
	RetentionDays uint32          `json:"retention_days" doc:"how long its log is kept"`
	SecretBytes   int64           `json:"secret_bytes" doc:"quota of its secrets"`
	FileBytes     int64           `json:"file_bytes" doc:"quota of its file"`
	Isolation     string          `json:"isolation" doc:"shared, or process if its database lives in a process of its own"`
	ClientKey     string          `json:"client_key,omitempty" doc:"open or closed, if it has a client-held key"`
	Confined      string          `json:"confined,omitempty" doc:"how that process is limited, if it runs; for people"`
}

func tenantInfo(r tenants.Record) TenantInfo {
	quota := r.Quota.WithDefaults()
	return TenantInfo{
		ID: r.ID, Name: r.Name, State: r.State, Created: r.Created, Changed: r.Changed, Slot: r.Log.Slot,
		RetentionDays: r.Log.Policy.RetentionDays, SecretBytes: quota.Secrets, FileBytes: quota.File,
		Isolation: r.Isolation.String(),
	}
}

// abandonTenant removes the keys and the file of a tenant that has no record.
func (s *Service) abandonTenant(ctx context.Context, p *audit.Permit, id domain.TenantID) error {
	err := s.db.View(ctx, func(tx *store.Tx) error {
		_, err := tenants.Find(tx, id)
		return err
	})
	if !errors.Is(err, tenants.ErrUnknown) {
		return err // there is a record after all: the commit had happened
	}
	return errors.Join(s.vault.AbandonTenant(ctx, p, id), s.files.Abandon(ctx, p, id))
}

// TenantListOut is a page of tenants; Next is the cursor of the one after it.
type TenantListOut struct {
	Tenants []TenantInfo `json:"tenants"`
	Next    string       `json:"next,omitempty"`
}

// TenantList lists the tenants by id.
var TenantList = Operation[Page, TenantListOut]{
	action: authz.TenantList,
	ask: func(_ context.Context, _ *Service, in Page) (authz.Request, error) {
		return authz.Request{}, in.check()
	},
	act: func(ctx context.Context, c *call, in Page) (TenantListOut, error) {
		out := TenantListOut{Tenants: []TenantInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			limit := in.size()
			page, err := tenants.List(tx, domain.TenantID(in.After), limit+1)
			if len(page) > limit {
				page = page[:limit]
				out.Next = string(page[limit-1].ID)
			}
			for _, r := range page {
				out.Tenants = append(out.Tenants, tenantInfo(r))
			}
			return err
		})
		c.detail["count"] = len(out.Tenants)
		return out, err
	},
}

// TenantShow shows one tenant.
var TenantShow = Operation[TenantRef, TenantInfo]{
	action: authz.TenantShow,
	ask:    askTenant,
	act: func(ctx context.Context, c *call, _ TenantRef) (out TenantInfo, err error) {
		err = c.db.View(ctx, func(tx *store.Tx) error {
			r, err := tenants.Find(tx, c.permit.Tenant())
			out = tenantInfo(r)
			return err
		})
		if k := c.vault.ClientKey(c.permit.Tenant()); k.Form != "" {
			out.ClientKey = clientState(k)
		}
		out.Confined = c.files.Confinement(c.permit.Tenant())
		return out, err
	},
}

// TenantIsolateIn says where a tenant's database is to live.
type TenantIsolateIn struct {
	Tenant    string `path:"tenant" json:"-"`
	Isolation string `json:"isolation" doc:"shared or process" schema:"enum=shared|process"`
}

// TenantIsolate moves a tenant's database into a process of its own, or back. Its
// file is closed and opened again; transactions that are open are rolled back.
var TenantIsolate = Operation[TenantIsolateIn, TenantInfo]{
	action: authz.TenantIsolate,
	ask: func(ctx context.Context, s *Service, in TenantIsolateIn) (authz.Request, error) {
		if in.Isolation == "" {
			return authz.Request{}, domain.Fieldf("isolation", "missing")
		}
		if _, err := tenants.ParseIsolation(in.Isolation); err != nil {
			return authz.Request{}, err
		}
		return askTenant(ctx, s, TenantRef{Tenant: in.Tenant})
	},
	act: func(ctx context.Context, c *call, in TenantIsolateIn) (out TenantInfo, err error) {
		to, err := tenants.ParseIsolation(in.Isolation)
		if err != nil {
			return out, err
		}
		c.detail["isolation"] = to.String()
		var was tenants.Isolation
		err = c.change(ctx, func(tx *store.Tx) error {
			r, err := tenants.Find(tx, c.permit.Tenant())
			if err != nil {
				return err
			}
			was = r.Isolation
			r, err = tenants.SetIsolation(tx, c.permit.Tenant(), to)
			out = tenantInfo(r)
			return err
		})
		if err == nil && was != to {
			c.files.Reopen(c.permit.Tenant())
		}
		return out, err
	},
}

// TenantSuspend closes a tenant for everybody, its open files and keys included.
var TenantSuspend = Operation[TenantRef, TenantInfo]{
	action: authz.TenantSuspend,
	ask:    askTenant,
	act: func(ctx context.Context, c *call, _ TenantRef) (TenantInfo, error) {
		r, err := c.setState(ctx, tenants.Suspended, nil)
		if err != nil {
			return TenantInfo{}, err
		}
		err = c.followState(ctx)
		return tenantInfo(r), err
	},
}

// TenantResume opens a suspended tenant again.
var TenantResume = Operation[TenantRef, TenantInfo]{
	action: authz.TenantResume,
	ask:    askTenant,
	act: func(ctx context.Context, c *call, _ TenantRef) (TenantInfo, error) {
		r, err := c.setState(ctx, tenants.Active, nil)
		if err == nil {
			err = c.followState(ctx)
		}
		return tenantInfo(r), err
	},
}

// followState opens or closes the tenant's file as its record says.
func (c *call) followState(ctx context.Context) error { return c.follow(ctx, c.permit.Tenant()) }

// follow opens or closes a tenant's file as its record and its client's key say.
// It looks again afterwards: somebody who suspends or resumes, opens or closes at
// the same moment must not leave a tenant that is open with a file that is closed.
func (s *Service) follow(ctx context.Context, id domain.TenantID) error {
	type standing struct {
		state  tenants.State
		closed bool // under the client's key
	}
	for followed := (standing{}); ; {
		now := standing{closed: s.vault.ClientKey(id).Closed()}
		err := s.db.View(ctx, func(tx *store.Tx) error {
			r, err := tenants.Find(tx, id)
			now.state = r.State
			return err
		})
		if err != nil || now == followed {
			return err
		}
		if followed = now; now == (standing{state: tenants.Active}) {
			s.files.Admit(id)
			continue
		}
		err = s.files.Bar(ctx, id)
		s.vault.Forget(id)
		if now.state != tenants.Active { // it must not be open by itself when it is resumed
			s.vault.CloseClient(id)
		}
		if err != nil {
			return err
		}
	}
}

// TenantDestroy destroys a tenant: first its keys, which makes its data and
// secrets unreadable at once, then the bytes. Its log stays until its retention
// ends. Once the decision is committed it is carried out, at the next start if
// need be.
var TenantDestroy = Operation[TenantDestroyIn, TenantInfo]{
	action: authz.TenantDestroy,
	ask: func(_ context.Context, _ *Service, in TenantDestroyIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err == nil && in.Confirm != in.Tenant {
			err = domain.Fieldf("confirm", "type the tenant's id to destroy it").
				WithHint("coffer tenant destroy -t %s --confirm %s; nothing brings it back", in.Tenant, in.Tenant)
		}
		return authz.Request{Tenant: tenant}, err
	},
	act: func(ctx context.Context, c *call, _ TenantDestroyIn) (TenantInfo, error) {
		r, err := c.setState(ctx, tenants.Destroying, func(tx *store.Tx) error {
			if err := errors.Join(directory.RemoveTenant(tx, c.permit.Tenant()), migrate.Forget(tx, c.permit.Tenant()), queries.RemoveTenant(tx, c.permit.Tenant()), forgetRotations(tx, c.permit.Tenant()),
				wrap.RemoveTenant(tx, c.permit.Tenant()), policies.RemoveTenant(tx, c.permit.Tenant())); err != nil {
				return err
			}
			n, err := token.RevokeWhere(tx, c.permit.Tenant(), func(token.Token) bool { return true })
			c.detail["tokens_revoked"] = n
			return errors.Join(err, lease.RevokePrefix(tx, c.permit.Tenant(), "", c.clock.Now()))
		})
		if err != nil {
			return TenantInfo{}, err
		}
		r, err = c.destroy(context.WithoutCancel(ctx), c.permit, r)
		return tenantInfo(r), err
	},
}

// TenantDestroyIn names the tenant twice.
type TenantDestroyIn struct {
	Tenant  string `path:"tenant" json:"-"`
	Confirm string `query:"confirm" json:"-" doc:"the tenant's id once more; nothing brings it back" schema:"required"`
}

// destroy carries a committed decision out. Every step may be done again.
func (s *Service) destroy(ctx context.Context, p *audit.Permit, r tenants.Record) (tenants.Record, error) {
	if err := s.files.Bar(ctx, r.ID); err != nil {
		return r, err
	}
	s.rekeying.Lock()
	defer s.rekeying.Unlock()
	if err := s.vault.DestroyTenant(ctx, p, r.ID); err != nil {
		return r, fmt.Errorf("destroying the keys of tenant %q: %w", r.ID, err)
	}
	if err := s.files.Remove(ctx, p); err != nil {
		return r, fmt.Errorf("removing the file of tenant %q: %w", r.ID, err)
	}
	_, err := s.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err = s.vault.Purge(ctx, tx, p, r.UID); err != nil {
			return err
		}
		r, err = tenants.SetState(tx, r.ID, tenants.Destroyed, s.clock.Now())
		return err
	})
	return r, err
}

func (c *call) setState(ctx context.Context, to tenants.State, also func(*store.Tx) error) (r tenants.Record, err error) {
	err = c.change(ctx, func(tx *store.Tx) error {
		if r, err = tenants.SetState(tx, c.permit.Tenant(), to, c.clock.Now()); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
	return r, err
}
