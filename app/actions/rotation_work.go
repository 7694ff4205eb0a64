package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"coffer/app/alerts"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
)

// rotationBatch is how many values one transaction of a rotation seals anew. A
// change of somebody else waits for no more than that.
const rotationBatch = 100

// rotationSource says in the log whose events the steps of a rotation are.
const rotationSource = "rotation"

// errAgain says that something is left under an old key after all was seen.
var errAgain = errors.New("something is left under an old key")

func (s *Service) wakeRotations() {
	select {
	case s.rotating <- struct{}{}:
	default: // it is awake
	}
}

// Rotate works at the rotations that are under way, one at a time, until the
// context ends. What is under way then goes on with the next start.
func (s *Service) Rotate(ctx context.Context) {
	for {
		for ctx.Err() == nil {
			r, found, err := s.nextRotation(ctx)
			if err != nil || !found {
				break // a store that cannot be read is told elsewhere
			}
			s.rotateOne(ctx, &r)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.rotating:
		}
	}
}

// nextRotation finds one that runs, or that waits for a tenant which is open now.
func (s *Service) nextRotation(ctx context.Context) (next rotationRecord, found bool, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		return eachRotation(tx, func(r rotationRecord) error {
			if r.State == rotationRunning || r.State == rotationWaiting && !s.vault.ClientKey(r.Tenant).Closed() {
				next, found = r, true
				return store.ErrStop
			}
			return nil
		})
	})
	return next, found, err
}

// rotateOne does one rotation as far as it can be done now, and keeps what came
// of it.
func (s *Service) rotateOne(ctx context.Context, r *rotationRecord) {
	err := s.rotate(ctx, r)
	if ctx.Err() != nil {
		return
	}
	switch {
	case err == nil:
		r.State, r.Step = rotationDone, "done"
		r.Done = r.Total // what others had sealed anew meanwhile is done too
	case r.Tenant != "" && s.vault.ClientKey(r.Tenant).Closed():
		r.State, r.Step, r.Why = rotationWaiting, "waits", "the tenant is closed under its client's key"
	default:
		r.State, r.Step, r.Why = rotationFailed, "stopped", domain.KindOf(err).String()+": "+err.Error()
		if s.raise != nil {
			s.raise(alerts.Rotation, r.Tenant, "the rotation of "+r.Kind+" stopped: "+err.Error())
		}
	}
	_, _ = s.db.Update(ctx, func(tx *store.Tx) error { return r.save(tx, s.clock.Now()) }) // else it is done again
}

func (s *Service) rotate(ctx context.Context, r *rotationRecord) error {
	r.State, r.Why = rotationRunning, ""
	switch r.Kind {
	case rotateRoot:
		return s.rotateRoot(ctx, r)
	case rotateTable:
		return s.phase(ctx, r, "", "writing keys.db anew under a new key", func(p *audit.Permit) error {
			s.rekeying.Lock()
			defer s.rekeying.Unlock()
			return s.vault.RotateTable(context.WithoutCancel(ctx), p)
		})
	case rotateControl:
		return s.rotateControl(ctx, r)
	}
	if r.Tenant != "" {
		if err := s.rotateTenant(ctx, r, r.Tenant); err != nil {
			return err
		}
		return s.tidyKeys(ctx)
	}
	return s.rotateTenants(ctx, r)
}

// phase is one part of a rotation: an event of its own in the log of the tenant,
// or of the appliance, and a durable word of what is done now.
func (s *Service) phase(ctx context.Context, r *rotationRecord, tenant domain.TenantID, words string, task func(*audit.Permit) error) error {
	r.Step = words
	if _, err := s.db.Update(ctx, func(tx *store.Tx) error { return r.save(tx, s.clock.Now()) }); err != nil {
		return err
	}
	ask := authz.Request{Action: authz.RotateStart, Resource: r.Kind}
	if tenant != "" {
		ask = authz.Request{Action: authz.RotateTenant, Tenant: tenant, Resource: r.Kind}
	}
	detail := audit.Detail{"rotation": r.ID, "step": words}
	return s.asSystemFor(ctx, rotationSource, ask, detail, func(p *audit.Permit) error {
		if _, err := p.Intent(ctx, audit.Detail{"rotation": r.ID, "step": words}); err != nil {
			return err
		}
		rows := r.Rows
		err := task(p)
		if n := r.Rows - rows; n > 0 {
			detail["rows"] = n
		}
		return err
	})
}

// rest lets others have half of the time.
func rest(ctx context.Context, began time.Time) error {
	t := time.NewTimer(time.Since(began))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// batches seals anew in transactions of the control store until nothing is left.
// The record of the rotation goes along with each.
func (s *Service) batches(ctx context.Context, r *rotationRecord, count bool, batch func(tx *store.Tx) (done int, more bool, err error)) error {
	for more := true; more; {
		began, done := time.Now(), 0
		_, err := s.db.Update(ctx, func(tx *store.Tx) (err error) {
			if done, more, err = batch(tx); err != nil {
				return err
			}
			next := *r
			next.Rows += done
			if count {
				next.Done = min(next.Done+done, next.Total)
			}
			return next.save(tx, s.clock.Now())
		})
		if err != nil {
			return err
		}
		r.Rows += done
		if count {
			r.Done = min(r.Done+done, r.Total)
		}
		if more {
			if err := rest(ctx, began); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) rotateControl(ctx context.Context, r *rotationRecord) error {
	var stale func([]byte) bool
	err := s.phase(ctx, r, "", "adding a key", func(p *audit.Permit) (err error) {
		stale, err = s.vault.BeginControl(ctx, p)
		return err
	})
	if err != nil {
		return err
	}
	left := func() (n int, err error) {
		err = s.db.View(ctx, func(tx *store.Tx) error {
			_, n, err = tx.Stale(stale)
			return err
		})
		return n, err
	}
	err = s.phase(ctx, r, "", "sealing values anew", func(*audit.Permit) error {
		n, err := left()
		if err != nil {
			return err
		}
		r.Total, r.Done = n, 0
		for range 3 { // what was under way when the key was added is seen by the second
			at := store.Place{}
			err := s.batches(ctx, r, true, func(tx *store.Tx) (done int, more bool, err error) {
				at, done, more, err = tx.Reseal(at, rotationBatch, stale)
				return done, more, err
			})
			if err != nil {
				return err
			}
			if n, err := left(); err != nil || n == 0 {
				return err
			}
		}
		return errAgain
	})
	if err != nil {
		return err
	}
	return s.phase(ctx, r, "", "removing the old key", func(p *audit.Permit) error {
		if n, err := left(); err != nil || n > 0 {
			return errors.Join(err, errAgain)
		}
		if err := s.vault.EndControl(ctx, p); err != nil {
			return err
		}
		return s.tidyKeys(ctx)
	})
}

// tidyKeys rewrites keys.db, so that no older copy of it opens.
func (s *Service) tidyKeys(ctx context.Context) error {
	s.rekeying.Lock()
	defer s.rekeying.Unlock()
	return s.vault.Tidy(context.WithoutCancel(ctx))
}

func (s *Service) rotateRoot(ctx context.Context, r *rotationRecord) error {
	s.rekeying.Lock() // the root key must stay as it is
	defer s.rekeying.Unlock()
	root := s.seal.Root()
	err := s.phase(ctx, r, "", "adding a key", func(p *audit.Permit) error { return s.vault.BeginRoot(ctx, p, root) })
	if err != nil {
		return err
	}
	return s.phase(ctx, r, "", "wrapping keys anew, then removing the old key", func(p *audit.Permit) (err error) {
		if r.Total, err = s.vault.RootRows(ctx); err != nil {
			return err
		}
		r.Done = 0
		for range 3 {
			w, err := s.vault.RootRewrap(p, root)
			if err != nil {
				return err
			}
			for done, more := 0, true; more; {
				if done, more, err = w.Step(ctx, rotationBatch); err != nil {
					return err
				}
				if err := s.batches(ctx, r, true, func(*store.Tx) (int, bool, error) { return done, false, nil }); err != nil {
					return err
				}
			}
			left, err := s.vault.EndRoot(ctx, p, root)
			if err != nil {
				return err
			}
			if left == 0 {
				r.Done = r.Total
				return s.vault.Tidy(context.WithoutCancel(ctx))
			}
		}
		return errAgain
	})
}

// rotateTenants goes through all tenants by id. One that is closed under its
// client's key is left out and named; the owner can do it.
func (s *Service) rotateTenants(ctx context.Context, r *rotationRecord) error {
	var skipped []string
	for {
		t, found, err := s.tenantAfter(ctx, r.After)
		if err != nil {
			return err
		}
		if !found {
			break
		}
		began := time.Now()
		err = s.rotateTenant(ctx, r, t.ID)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && s.vault.ClientKey(t.ID).Closed():
			r.Skipped++
			if len(skipped) < 10 {
				skipped = append(skipped, string(t.ID))
			}
		case err != nil:
			if gone, lookErr := s.gone(ctx, t.ID); lookErr != nil || !gone {
				return fmt.Errorf("in %s: %w", t.ID, errors.Join(err, lookErr))
			}
		}
		r.After, r.Done = t.ID, min(r.Done+1, r.Total)
		if _, err := s.db.Update(ctx, func(tx *store.Tx) error { return r.save(tx, s.clock.Now()) }); err != nil {
			return err
		}
		if err := rest(ctx, began); err != nil {
			return err
		}
	}
	if r.Skipped > 0 {
		r.Why = fmt.Sprintf("%d closed under their client's key were left out, such as %s: their owners can do it", r.Skipped, strings.Join(skipped, ", "))
	}
	return s.tidyKeys(ctx)
}

// tenantAfter is the next tenant that has keys.
func (s *Service) tenantAfter(ctx context.Context, after domain.TenantID) (t tenants.Record, found bool, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		for {
			page, err := tenants.List(tx, after, MaxPage)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, r := range page {
				if after = r.ID; living(r.State) {
					t, found = r, true
					return nil
				}
			}
		}
	})
	return t, found, err
}

// gone says whether the tenant was destroyed meanwhile.
func (s *Service) gone(ctx context.Context, id domain.TenantID) (gone bool, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		t, err := tenants.Find(tx, id)
		gone = !living(t.State)
		return err
	})
	return gone, err
}

// rotateTenant rotates the keys of one tenant. The caller tidies.
func (s *Service) rotateTenant(ctx context.Context, r *rotationRecord, id domain.TenantID) error {
	if err := s.vault.CheckClient(id); err != nil {
		return err
	}
	if r.Kind == rotateKEK {
		return s.phase(ctx, r, id, "wrapping keysets under a new key", func(p *audit.Permit) error {
			if err := s.vault.RotateKEK(ctx, p, id); err != nil {
				return err
			}
			r.Rows++
			if r.Tenant != "" {
				r.Total, r.Done = 1, 1
			}
			return nil
		})
	}
	return s.rotateSecretsOf(ctx, r, id)
}

func (s *Service) rotateSecretsOf(ctx context.Context, r *rotationRecord, id domain.TenantID) error {
	if err := s.phase(ctx, r, id, "adding a key", func(p *audit.Permit) error { return s.vault.BeginSecrets(ctx, p, id) }); err != nil {
		return err
	}
	return s.phase(ctx, r, id, "sealing secrets anew, then removing the old key", func(p *audit.Permit) error {
		for range 3 {
			w, err := s.vault.Rewrap(ctx, p, id)
			if err != nil {
				return err
			}
			left := 0
			count := func(tx *store.Tx) (err error) {
				_, left, err = w.Left(tx)
				return err
			}
			if err := s.db.View(ctx, count); err != nil {
				return err
			}
			single := r.Tenant != ""
			if single && r.Total == 0 {
				r.Total = left
			}
			if err := s.batches(ctx, r, single, func(tx *store.Tx) (int, bool, error) { return w.Step(tx, rotationBatch) }); err != nil {
				return err
			}
			// Each batch came after all that was under way when the key was added.
			if err := s.db.View(ctx, count); err != nil {
				return err
			}
			if left == 0 {
				return s.vault.EndSecrets(ctx, p, id)
			}
		}
		return errAgain
	})
}
