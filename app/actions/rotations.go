package actions

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/tenants"
)

// RotationKind is a kind of key that can be rotated, or why it is not.
type RotationKind struct {
	Kind    string `json:"kind"`
	Scope   string `json:"scope" doc:"appliance, or tenant: one of them or all"`
	Meaning string `json:"meaning" doc:"for people"`
}

// rotationKinds are what `rotate start` knows.
var rotationKinds = []RotationKind{
	{rotateRoot, "appliance", "the root keyset, which wraps all other keys: a new key, all of keys.db wrapped anew, the old key destroyed"},
	{rotateTable, "appliance", "the key that seals keys.db: the file is written anew and the old one overwritten"},
	{rotateControl, "appliance", "the key that seals control.db: a new key, every value sealed anew, the old key destroyed"},
	{rotateKEK, "tenant", "a tenant's key-encryption key: a new one, the tenant's keysets wrapped anew, the old one destroyed"},
	{rotateSecrets, "tenant", "the key of a tenant's secrets: a new one, every secret sealed anew, the old one destroyed"},
}

// RotationOther is a kind of key that `rotate start` does not touch.
type RotationOther struct {
	Key string `json:"key"`
	How string `json:"how" doc:"how it is replaced, or why it is not, for people"`
}

var rotationOthers = []RotationOther{
	{"root key", "coffer seal rotate: it is under the key slots, some of which need a person"},
	{"pages of tenants' databases", "every opening of a file writes under a new random subkey. The keyset they are derived from is not rotated: " +
		"a page does not say under which of two it stands, so the whole file would have to be copied while the tenant is closed"},
	{"blind names of secrets", "not rotated: the name under which each secret is found would change. It hides paths and opens nothing"},
	{"keys of the log", "each period of each log has a key of its own, and ends with it; they are wrapped anew with the root keyset. " +
		"The key of the log's heads stays, since older heads must still be told from forged ones"},
	{"tokens, sessions, links", "there is no key: what is kept of them is a SHA-256 of 260 random bits, and each ends by itself"},
}

// RotationInfo is a rotation as it stands.
type RotationInfo struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Tenant  domain.TenantID `json:"tenant,omitempty" doc:"absent for the appliance, or all tenants"`
	By      string          `json:"by"`
	State   string          `json:"state" doc:"running, waiting, failed or done"`
	Step    string          `json:"step" doc:"what is done now, for people"`
	Why     string          `json:"why,omitempty" doc:"why it waits or failed, or what was left out"`
	Started time.Time       `json:"started"`
	Changed time.Time       `json:"changed"`
	Total   int             `json:"total" doc:"values to seal anew; of all tenants, how many there are"`
	Done    int             `json:"done"`
	Rows    int             `json:"rows" doc:"values sealed anew so far"`
	Skipped int             `json:"skipped,omitempty" doc:"tenants that were left out"`
}

func rotationInfo(r rotationRecord) RotationInfo {
	return RotationInfo{
		ID: r.ID, Kind: r.Kind, Tenant: r.Tenant, By: r.By, State: r.State, Step: r.Step, Why: r.Why, Started: r.Started,
		Changed: r.Changed, Total: r.Total, Done: r.Done, Rows: r.Rows, Skipped: r.Skipped,
	}
}

// RotationsOut is what there is to see of rotations.
type RotationsOut struct {
	Rotations []RotationInfo  `json:"rotations" doc:"the last one of each kind"`
	Kinds     []RotationKind  `json:"kinds"`
	Others    []RotationOther `json:"others" doc:"keys that are replaced in another way, or not"`
}

func rotationsOut() RotationsOut {
	return RotationsOut{Rotations: []RotationInfo{}, Kinds: rotationKinds, Others: rotationOthers}
}

// RotateIn says which keys.
type RotateIn struct {
	Kind string `json:"kind" doc:"root, table, control; kek or secrets for all tenants" schema:"enum=root|table|control|kek|secrets"`
}

func rotationKindOf(name string) (RotationKind, error) {
	i := slices.IndexFunc(rotationKinds, func(k RotationKind) bool { return k.Kind == name })
	if i < 0 {
		return RotationKind{}, domain.Fieldf("kind", "%.20q is no kind of key that is rotated", name).WithHint("see: coffer rotate status")
	}
	return rotationKinds[i], nil
}

// RotateStart begins a rotation of the appliance's keys, or of a kind of key in
// all tenants. It runs in the background, across restarts.
var RotateStart = Operation[RotateIn, RotationInfo]{
	action: authz.RotateStart,
	ask: func(_ context.Context, _ *Service, in RotateIn) (authz.Request, error) {
		_, err := rotationKindOf(in.Kind)
		return authz.Request{Resource: in.Kind}, err
	},
	act: func(ctx context.Context, c *call, in RotateIn) (RotationInfo, error) {
		return c.startRotation(ctx, in.Kind)
	},
}

// RotateTenantIn says which keys of a tenant.
type RotateTenantIn struct {
	Tenant string `path:"tenant" json:"-"`
	Kind   string `json:"kind" doc:"kek or secrets" schema:"enum=kek|secrets"`
}

// RotateTenant begins a rotation of one tenant's keys.
var RotateTenant = Operation[RotateTenantIn, RotationInfo]{
	action: authz.RotateTenant,
	ask: func(ctx context.Context, s *Service, in RotateTenantIn) (authz.Request, error) {
		k, err := rotationKindOf(in.Kind)
		if err == nil && k.Scope != "tenant" {
			err = domain.Fieldf("kind", "%s is a key of the appliance", in.Kind).WithHint("coffer rotate start %s, without a tenant", in.Kind)
		}
		if err != nil {
			return authz.Request{}, err
		}
		r, err := askTenant(ctx, s, TenantRef{Tenant: in.Tenant})
		r.Resource = in.Kind
		return r, err
	},
	act: func(ctx context.Context, c *call, in RotateTenantIn) (RotationInfo, error) {
		return c.startRotation(ctx, in.Kind)
	},
}

// startRotation puts the record from which the background works.
func (c *call) startRotation(ctx context.Context, kind string) (RotationInfo, error) {
	tenant, now := c.permit.Tenant(), c.clock.Now().UTC()
	r := rotationRecord{
		Version: recordVersion, ID: "ro_" + strings.ToLower(rand.Text()), Kind: kind, Tenant: tenant,
		By: c.permit.Grant().Principal().String(), State: rotationRunning, Step: "waits for its turn", Started: now,
	}
	c.detail["rotation"] = r.ID
	err := c.change(ctx, func(tx *store.Tx) error {
		for _, of := range []domain.TenantID{tenant, ""} { // of all tenants is of this one too
			old, found, err := findRotation(tx, kind, of)
			if err != nil {
				return err
			}
			if found && old.open() {
				return domain.Errorf(domain.Conflict, "a rotation of %s is %s already", kind, old.State).
					WithHint("see: coffer rotate status; go on with it: coffer rotate resume")
			}
		}
		if k, err := rotationKindOf(kind); err == nil && tenant == "" && k.Scope == "tenant" {
			if err := eachTenant(tx, func(t tenants.Record) error {
				if living(t.State) {
					r.Total++
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return r.save(tx, now)
	})
	if err == nil {
		c.wakeRotations()
	}
	return rotationInfo(r), err
}

// RotateResume goes on with rotations that failed or wait.
var RotateResume = Operation[Nothing, RotationsOut]{
	action: authz.RotateStart,
	ask: func(context.Context, *Service, Nothing) (authz.Request, error) {
		return authz.Request{Resource: "resume"}, nil
	},
	act: func(ctx context.Context, c *call, _ Nothing) (RotationsOut, error) {
		out := rotationsOut()
		err := c.change(ctx, func(tx *store.Tx) error {
			var again []rotationRecord
			if err := eachRotation(tx, func(r rotationRecord) error {
				if r.State == rotationFailed || r.State == rotationWaiting {
					again = append(again, r)
				}
				return nil
			}); err != nil {
				return err
			}
			for _, r := range again {
				r.State, r.Why, r.Step = rotationRunning, "", "waits for its turn"
				if err := r.save(tx, c.clock.Now()); err != nil {
					return err
				}
				out.Rotations = append(out.Rotations, rotationInfo(r))
			}
			return nil
		})
		c.detail["count"] = len(out.Rotations)
		if err == nil {
			c.wakeRotations()
		}
		return out, err
	},
}

// RotateStatus shows the last rotation of each kind.
var RotateStatus = Operation[Nothing, RotationsOut]{
	action: authz.RotateStatus,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (RotationsOut, error) {
		return c.rotations(ctx, func(rotationRecord) bool { return true })
	},
}

// openRotations are those that are not done.
func (c *call) openRotations(ctx context.Context) ([]RotationInfo, error) {
	out, err := c.rotations(ctx, rotationRecord.open)
	return out.Rotations, err
}

// RotateTenantStatus shows those of one tenant.
var RotateTenantStatus = Operation[TenantRef, RotationsOut]{
	action: authz.RotateTenantStatus,
	ask:    askTenant,
	act: func(ctx context.Context, c *call, _ TenantRef) (RotationsOut, error) {
		return c.rotations(ctx, func(r rotationRecord) bool { return r.Tenant == c.permit.Tenant() })
	},
}

// mostRotations bounds a list of rotations.
const mostRotations = 1000

func (c *call) rotations(ctx context.Context, wanted func(rotationRecord) bool) (RotationsOut, error) {
	out := rotationsOut()
	err := c.db.View(ctx, func(tx *store.Tx) error {
		return eachRotation(tx, func(r rotationRecord) error {
			if wanted(r) {
				out.Rotations = append(out.Rotations, rotationInfo(r))
			}
			if len(out.Rotations) == mostRotations {
				return store.ErrStop
			}
			return nil
		})
	})
	return out, err
}
