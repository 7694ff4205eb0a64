package actions

import (
	"context"
	"errors"
	"fmt"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/once"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
)

// recover completes what a crash interrupted, before anybody is served: it
// finishes destructions, removes what unfinished creations left, and gives
// every intent without an outcome the outcome that is found on disk.
func (s *Service) recover(ctx context.Context) error {
	for _, in := range s.log.OpenIntents() {
		outcome, err := s.outcomeOnDisk(ctx, in)
		if err != nil {
			return fmt.Errorf("finding out whether %s on %q happened: %w", in.Action, in.Tenant, err)
		}
		if in.Action == authz.TenantCreate && outcome != audit.OK {
			if err := s.cleanUp(ctx, domain.TenantID(in.Resource)); err != nil {
				return fmt.Errorf("removing what the creation of tenant %q left: %w", in.Resource, err)
			}
		}
		if in.Action == authz.SealAdd && outcome != audit.OK { // the mark of its key was put before
			if _, err := s.db.Update(ctx, func(tx *store.Tx) error { return once.DropIntent(tx, in.ID) }); err != nil {
				return err
			}
		}
		if changesFile(in.Action) && in.Action != authz.SQLWrite {
			if err := s.noteMigrated(ctx, in); err != nil {
				return err
			}
		}
		if err := s.log.Resolve(ctx, in.ID, outcome, audit.Detail{"derived": true}); err != nil {
			return err
		}
	}
	if err := s.noteAllCreated(ctx); err != nil {
		return err
	}
	if err := s.finishDestructions(ctx); err != nil {
		return err
	}
	return errors.Join(s.dropAllMarkers(ctx), s.vault.DropMarks(ctx))
}

// changesFile says whether the action's change is in the tenant's file, with the
// intent's id beside it, and not in the control store.
func changesFile(a domain.Action) bool {
	return a == authz.SQLWrite || a == authz.MigrationApply || a == authz.MigrationRestore
}

// outcomeOnDisk finds out whether an announced change happened.
func (s *Service) outcomeOnDisk(ctx context.Context, in audit.Intent) (audit.Outcome, error) {
	happened := false
	var err error
	switch {
	case in.Action == authz.SQLQuery:
		return audit.Unknown, nil // an answer in parts; how many left, nobody knows
	case in.Action == authz.LeaseEnd:
		return audit.Unknown, nil // it is done again
	case changesFile(in.Action):
		happened, err = s.appliedSQL(ctx, in)
		if err != nil {
			// The tenant's file cannot say: it is damaged or gone. That must
			// not keep the other tenants closed.
			return audit.Unknown, nil
		}
	case s.seal.Changed(in.ID):
		happened = true
	default:
		err = s.db.View(ctx, func(tx *store.Tx) error {
			_, err := tx.Get(bucketIntents, in.ID[:])
			happened = err == nil
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return err
		})
		if err == nil && !happened { // changes of keys have their mark there
			happened, err = s.vault.Changed(ctx, in.ID)
		}
	}
	if happened {
		return audit.OK, err
	}
	return audit.Failed, err
}

// appliedSQL looks for the intent's id in the tenant's own file.
func (s *Service) appliedSQL(ctx context.Context, in audit.Intent) (found bool, err error) {
	err = s.asSystem(ctx, authz.Request{Action: authz.SQLQuery, Tenant: in.Tenant}, func(p *audit.Permit) error {
		found, err = s.files.Applied(ctx, p, in.ID)
		return err
	})
	return found, err
}

// cleanUp removes the keys and the file of a tenant whose creation did not
// reach its commit.
func (s *Service) cleanUp(ctx context.Context, id domain.TenantID) error {
	return s.asSystem(ctx, authz.Request{Action: authz.TenantCreate, Resource: string(id)}, func(p *audit.Permit) error {
		if _, err := p.Intent(ctx, audit.Detail{"task": "remove what an unfinished creation left"}); err != nil {
			return err
		}
		return s.abandonTenant(ctx, p, id)
	})
}

// finishDestructions carries out what was decided before the crash.
func (s *Service) finishDestructions(ctx context.Context) error {
	var doomed []tenants.Record
	err := s.db.View(ctx, func(tx *store.Tx) error {
		return eachTenant(tx, func(r tenants.Record) error {
			if r.State == tenants.Destroying {
				doomed = append(doomed, r)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, r := range doomed {
		err := s.asSystem(ctx, authz.Request{Action: authz.TenantDestroy, Tenant: r.ID}, func(p *audit.Permit) error {
			if _, err := p.Intent(ctx, audit.Detail{"task": "finish a destruction that was interrupted"}); err != nil {
				return err
			}
			_, err := s.destroy(ctx, p, r)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// asSystem runs a task of the appliance itself under a permit.
func (s *Service) asSystem(ctx context.Context, r authz.Request, task func(*audit.Permit) error) error {
	return s.asSystemFor(ctx, "boot", r, audit.Detail{}, task)
}

// asSystemFor is asSystem for another occasion. The outcome says what is in the
// detail by then.
func (s *Service) asSystemFor(ctx context.Context, source string, r authz.Request, detail audit.Detail, task func(*audit.Permit) error) error {
	p, err := s.log.Begin(ctx, authz.ForSystem(r), audit.Call{Source: source, Client: "coffer", Auth: "system"})
	if err != nil {
		return err
	}
	defer p.Abort()
	outcome, taskErr := audit.OK, task(p)
	if taskErr != nil || r.Action == authz.TenantCreate { // no tenant came of it: what was left is removed
		outcome = audit.Failed
	}
	// Nobody waits for an answer; who reads the log next finds it whole.
	_, err = p.FinishDurable(context.WithoutCancel(ctx), outcome, detail)
	return errors.Join(taskErr, err)
}

// dropAllMarkers clears the intents' markers: every intent has its outcome now.
func (s *Service) dropAllMarkers(ctx context.Context) error {
	var ids []audit.IntentID
	err := s.db.View(ctx, func(tx *store.Tx) error {
		return tx.Scan(bucketIntents, nil, nil, func(key, _ []byte) error {
			if len(key) != len(audit.IntentID{}) {
				return domain.Errorf(domain.Tampered, "a marker in the control store has %d bytes", len(key))
			}
			ids = append(ids, audit.IntentID(key))
			return nil
		})
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	_, err = s.db.Update(ctx, func(tx *store.Tx) error { return dropMarkers(tx, ids) })
	return err
}

func eachTenant(tx *store.Tx, fn func(tenants.Record) error) error {
	for after := domain.TenantID(""); ; {
		page, err := tenants.List(tx, after, MaxPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if err := fn(r); err != nil {
				return err
			}
		}
		after = page[len(page)-1].ID
	}
}
