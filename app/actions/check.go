package actions

import (
	"context"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/tenants"
)

// Checked is one part of the appliance that was checked.
type Checked struct {
	Part    string `json:"part"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
	Note    string `json:"note,omitempty" doc:"what could not be looked at, and why"`
}

// CheckOut says what was checked and whether all of it was good.
type CheckOut struct {
	OK    bool      `json:"ok"`
	Parts []Checked `json:"parts"`

	Rotations []RotationInfo `json:"rotations" doc:"of keys, that are not done"`

	Workers string `json:"workers" doc:"how processes for single tenants are limited on this machine; for people"`
}

// CheckStores checks everything on disk: each value of the stores, each page of
// each tenant's file, each record of each log.
var CheckStores = Operation[Nothing, CheckOut]{
	action: authz.CheckStores,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (out CheckOut, err error) {
		out = CheckOut{OK: true, Workers: c.files.Workers()}
		add := func(part string, err error) {
			item := Checked{Part: part, OK: err == nil}
			if err != nil {
				item.Problem, out.OK = err.Error(), false
			}
			out.Parts = append(out.Parts, item)
		}
		add("vault/seal.json", c.seal.file.Verify(c.seal.Root()))
		add("vault/keys.db", c.vault.Check(ctx))
		add("control.db", c.db.Check(ctx))
		add("nothing left over", c.leftover(ctx))
		var all []tenants.Record
		if err := c.db.View(ctx, func(tx *store.Tx) error {
			return eachTenant(tx, func(r tenants.Record) error {
				all = append(all, r)
				return nil
			})
		}); err != nil {
			return out, err
		}
		// One pass over the journal is for all logs; each log needs one of its own
		// only to tell which is damaged.
		_, damage := c.log.VerifyAll(ctx)
		add("the audit journal", damage)
		damageOf := func(id domain.TenantID) error {
			if damage == nil {
				return nil
			}
			_, err := c.log.Verify(ctx, id)
			return err
		}
		for _, r := range all {
			if c.vault.ClientKey(r.ID).Closed() {
				out.Parts = append(out.Parts, Checked{
					Part: "tenants/" + string(r.ID) + "/data.db", OK: true, Note: "closed under its client's key: not looked into",
				})
			} else if r.State == tenants.Active || r.State == tenants.Suspended {
				add("tenants/"+string(r.ID)+"/data.db", c.files.Verify(ctx, c.permit, r.ID))
			}
			add("the log of "+string(r.ID), damageOf(r.ID))
		}
		add("the appliance's own log", damageOf(""))
		if out.Rotations, err = c.openRotations(ctx); err != nil {
			return out, err
		}
		c.detail["ok"] = out.OK
		return out, ctx.Err()
	},
}

// leftover names keys and files that belong to no tenant. A start removes what
// an unfinished creation or destruction left, so that there are none.
func (s *Service) leftover(ctx context.Context) error {
	s.creating.Lock() // a creation makes both before the record
	defer s.creating.Unlock()
	known := map[domain.TenantID]bool{}
	// The records are read first: a destruction removes both before it changes
	// the record for the last time.
	err := s.db.View(ctx, func(tx *store.Tx) error {
		return eachTenant(tx, func(r tenants.Record) error {
			known[r.ID] = r.State != tenants.Destroyed
			return nil
		})
	})
	if err != nil {
		return err
	}
	keys, err := s.vault.Tenants(ctx)
	if err != nil {
		return err
	}
	for _, id := range keys {
		if !known[id] {
			return domain.Errorf(domain.Tampered, "vault/keys.db has keys of %q, which is no tenant", id)
		}
	}
	dirs, err := s.files.Dirs()
	if err != nil {
		return err
	}
	for _, name := range dirs {
		if !known[domain.TenantID(name)] {
			return domain.Errorf(domain.Tampered, "tenants/%s belongs to no tenant", name)
		}
	}
	return nil
}
