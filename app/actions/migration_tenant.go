package actions

import (
	"context"
	"errors"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/migrate"
)

// Snapshot is a copy of a tenant's database from before a migration.
type Snapshot struct {
	ID     string    `json:"id"`
	Number int       `json:"number" doc:"of the last migration in it"`
	Bytes  int64     `json:"bytes"`
	Made   time.Time `json:"made"`
}

// MigrationStatusOut is how far one tenant has come, with its snapshots.
type MigrationStatusOut struct {
	TenantMigration
	Names     []string   `json:"names" doc:"of the migrations that are pending"`
	Snapshots []Snapshot `json:"snapshots" doc:"oldest first"`
}

// MigrationStatus shows how far one tenant has come.
var MigrationStatus = Operation[TenantRef, MigrationStatusOut]{
	action: authz.MigrationStatus,
	ask:    askTenant,
	act: func(ctx context.Context, c *call, _ TenantRef) (MigrationStatusOut, error) {
		out := MigrationStatusOut{Names: []string{}, Snapshots: []Snapshot{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			set, err := migrate.Load(tx)
			if err != nil {
				return err
			}
			r, err := tenants.Find(tx, c.permit.Tenant())
			if err != nil {
				return err
			}
			out.TenantMigration, err = tenantMigration(tx, r, set.Top())
			if !living(r.State) {
				out.Pending = 0
			}
			for _, m := range set[set.Top()-out.Pending:] {
				out.Names = append(out.Names, m.Name)
			}
			return err
		})
		if err != nil {
			return out, err
		}
		list, err := c.files.SnapshotsOf(c.permit)
		for _, s := range list {
			out.Snapshots = append(out.Snapshots, Snapshot(s))
		}
		return out, err
	},
}

// MigrationApplyIn says up to which migration.
type MigrationApplyIn struct {
	Tenant string `path:"tenant" json:"-"`
	To     int    `json:"to,omitempty" doc:"number of the last migration to apply; all if 0" schema:"minimum=0,maximum=9999,default=0"`
}

// MigrationResult is what became of one tenant.
type MigrationResult struct {
	Tenant  domain.TenantID `json:"tenant"`
	Outcome string          `json:"outcome" doc:"ok, failed or skipped"`
	From    int             `json:"from" doc:"number of the last migration that it had"`
	To      int             `json:"to" doc:"and has now"`
	Text    string          `json:"text,omitempty" doc:"why it failed or was skipped"`
}

// MigrationApply applies what is pending in one tenant, outside a run.
var MigrationApply = Operation[MigrationApplyIn, MigrationResult]{
	action: authz.MigrationApply,
	ask: func(_ context.Context, _ *Service, in MigrationApplyIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err == nil {
			err = checkTo(in.To)
		}
		return authz.Request{Tenant: tenant, Resource: resourceTo(in.To)}, err
	},
	act: func(ctx context.Context, c *call, in MigrationApplyIn) (MigrationResult, error) {
		return c.migrate(ctx, in.To, "")
	},
}

func checkTo(to int) error {
	if to < 0 || to > migrate.MaxNumber {
		return domain.Fieldf("to", "%d is not between 1 and %d", to, migrate.MaxNumber)
	}
	return nil
}

func resourceTo(to int) string {
	if to == 0 {
		return "all"
	}
	return migrate.Number(to)
}

// migrate brings the permit's tenant to a number of the set, the end of it if to
// is 0. The file says what is pending, whatever the control store says of it.
func (c *call) migrate(ctx context.Context, to int, run string) (MigrationResult, error) {
	c.migrating.RLock() // the set stays what it is
	defer c.migrating.RUnlock()
	id := c.permit.Tenant()
	out := MigrationResult{Tenant: id, Outcome: "ok"}
	var set migrate.Set
	var was migrate.State
	if err := c.db.View(ctx, func(tx *store.Tx) (err error) {
		if was, err = migrate.Find(tx, id); err != nil {
			return err
		}
		kept, err := c.keptSet(tx)
		if err == nil {
			set, err = upTo(kept, to)
		}
		return err
	}); err != nil {
		return out, err
	}
	c.announce(set, was, run)
	if err := c.begin(ctx); err != nil {
		return out, err
	}
	// It takes as long as it needs; closing the tenant ends it.
	ctx = context.WithoutCancel(ctx)
	m, err := c.files.Migrate(ctx, c.permit, set)
	c.describeMigrated(m)
	now := migrate.State{Number: m.To, Changed: c.clock.Now()}
	if err != nil {
		now.Number, now.Changed = was.Number, was.Changed
		now.Failed = &migrate.Failure{Number: m.At, Text: told(err), Time: c.clock.Now().UTC(), Run: run}
	}
	saved := c.saveMigrated(ctx, id, now)
	if err != nil {
		return out, errors.Join(err, saved)
	}
	c.changed = true // in the tenant's file: what fails from here on does not undo it
	out.From, out.To = m.From, m.To
	return out, saved
}

// keptSet is the set, for who holds migrating: it is large, and every tenant of a
// run needs it.
func (s *Service) keptSet(tx *store.Tx) (migrate.Set, error) {
	if set := s.set.Load(); set != nil {
		return *set, nil
	}
	set, err := migrate.Load(tx)
	if err == nil {
		s.set.Store(&set)
	}
	return set, err
}

// upTo is the set up to a number, all of it for 0.
func upTo(set migrate.Set, to int) (migrate.Set, error) {
	switch {
	case set.Top() == 0:
		return nil, domain.Errorf(domain.Conflict, "there are no migrations").WithHint("coffer migrate apply DIRECTORY")
	case to > set.Top():
		return nil, domain.Fieldf("to", "the set ends with %s", set[set.Top()-1].Name)
	case to > 0:
		set = set.To(to)
	}
	return set, nil
}

// announce puts into the intent what is about to be applied: names and sums, no
// SQL.
func (c *call) announce(set migrate.Set, was migrate.State, run string) {
	var names []string
	for _, m := range set[min(was.Number, set.Top()):] {
		names = append(names, m.Name+" "+m.Sum.String())
	}
	c.detail["to"] = set.Top()
	shown, _ := fitting(names, maxNoted/2)
	c.detail["migrations"] = shown
	if len(shown) < len(names) {
		c.detail["truncated"] = true
	}
	if run != "" {
		c.detail["run"] = run
	}
}

// describeMigrated says in the event what was touched, never a value or a text.
func (c *call) describeMigrated(m tenants.Migrated) {
	c.detail["from"], c.detail["to"] = m.From, m.To
	c.detail["statements"], c.detail["rows"] = m.Statements, m.Rows
	tables, _ := fitting(m.Tables, maxNoted/2-1<<10)
	c.detail["tables"] = tables
	if m.Truncated || len(tables) < len(m.Tables) {
		c.detail["truncated"] = true
	}
	if m.Snapshot != "" {
		c.detail["snapshot"] = m.Snapshot
	}
	if m.At != 0 {
		c.detail["failed_at"] = m.At
	}
}

// told is an error's text for lists.
func told(err error) string {
	e, ok := errors.AsType[*domain.Error](err)
	if !ok || e.Kind == domain.Internal {
		return "a fault of Coffer's own: the server's log has more"
	}
	return e.Msg
}

// MigrationRestoreIn names the snapshot, and the tenant twice.
type MigrationRestoreIn struct {
	Tenant   string `path:"tenant" json:"-"`
	Snapshot string `json:"snapshot" doc:"id of the snapshot" schema:"maxLength=64"`
	Confirm  string `query:"confirm" json:"-" doc:"the tenant's id once more: what was written since the snapshot is set aside" schema:"required"`
}

// MigrationRestored is what putting a snapshot back did.
type MigrationRestored struct {
	Tenant  domain.TenantID `json:"tenant"`
	Number  int             `json:"number" doc:"of the last migration that it has now"`
	Instead string          `json:"instead" doc:"id of a snapshot of what was replaced"`
}

// MigrationRestore puts a tenant's database back to a snapshot. It is for a
// migration that went through and did harm: all that was written since is set
// aside with it, in a snapshot of its own.
var MigrationRestore = Operation[MigrationRestoreIn, MigrationRestored]{
	action: authz.MigrationRestore,
	ask: func(_ context.Context, _ *Service, in MigrationRestoreIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		switch {
		case err != nil:
		case in.Snapshot == "" || len(in.Snapshot) > 64:
			err = domain.Fieldf("snapshot", "no snapshot is named").WithHint("see: coffer migrate status -t %s", tenant)
		case in.Confirm != in.Tenant:
			err = domain.Fieldf("confirm", "type the tenant's id to set aside what was written since the snapshot").
				WithHint("coffer migrate restore -t %s %s --confirm %s", tenant, in.Snapshot, tenant)
		}
		return authz.Request{Tenant: tenant, Resource: in.Snapshot}, err
	},
	act: func(ctx context.Context, c *call, in MigrationRestoreIn) (out MigrationRestored, err error) {
		c.migrating.RLock()
		defer c.migrating.RUnlock()
		id := c.permit.Tenant()
		var r tenants.Record
		if err := c.db.View(ctx, func(tx *store.Tx) error {
			r, err = tenants.Find(tx, id)
			return err
		}); err != nil {
			return out, err
		}
		if !living(r.State) {
			return out, domain.Errorf(domain.Conflict, "%s is %s", id, r.State)
		}
		if err := c.begin(ctx); err != nil {
			return out, err
		}
		ctx = context.WithoutCancel(ctx)
		done, err := c.files.Restore(ctx, c.permit, in.Snapshot)
		if r.State == tenants.Suspended {
			c.vault.Forget(id)
		}
		if err != nil {
			return out, err
		}
		c.changed = true
		c.detail["number"], c.detail["instead"] = done.Number, done.Instead
		out = MigrationRestored{Tenant: id, Number: done.Number, Instead: done.Instead}
		return out, c.saveMigrated(ctx, id, migrate.State{Number: done.Number, Changed: c.clock.Now()})
	},
}

// noteMigrated reads from the tenant's file how far it has come, after a crash
// between the file and the control store. A file that cannot be read keeps
// nothing from starting.
func (s *Service) noteMigrated(ctx context.Context, in audit.Intent) error {
	var has []migrate.Applied
	err := s.asSystem(ctx, authz.Request{Action: authz.SQLQuery, Tenant: in.Tenant}, func(p *audit.Permit) (err error) {
		has, err = s.files.Migrations(ctx, p)
		return err
	})
	if err != nil {
		return nil //nolint:nilerr // the next attempt in that tenant finds out
	}
	return s.saveMigrated(ctx, in.Tenant, migrate.State{Number: len(has), Changed: s.clock.Now()})
}

// saveMigrated records how far a tenant has come, unless it was destroyed meanwhile.
func (s *Service) saveMigrated(ctx context.Context, id domain.TenantID, now migrate.State) error {
	_, err := s.db.Update(ctx, func(tx *store.Tx) error {
		r, err := tenants.Find(tx, id)
		if err != nil || !living(r.State) {
			return err
		}
		return now.Set(tx, id)
	})
	return err
}
