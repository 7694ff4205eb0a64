package tenants

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/audit"
	"coffer/tenants/cryptvfs"
	"coffer/tenants/migrate"
	"coffer/tenants/sqlite"
)

// Create makes a tenant's file durable, with the migrations that are given. What a
// crashed creation of the same id left is removed first: it has no record, so it
// never counted.
func (p *Pool) Create(ctx context.Context, permit *audit.Permit, id domain.TenantID, set ...migrate.Migration) (err error) {
	keys, fileID, err := p.opts.Keys.TenantPages(ctx, permit, id)
	if err != nil {
		return err
	}
	if err := p.Abandon(ctx, permit, id); err != nil {
		return err
	}
	if err := durable.MkdirAll(p.dir(id)); err != nil {
		return err
	}
	reg, err := cryptvfs.Register(fileID, keys)
	if err != nil {
		return err
	}
	defer reg.Close()
	db, err := sqlite.Open(reg.URI(p.path(id), cryptvfs.Options{Mode: cryptvfs.Create}), sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		return err
	}
	err = db.Exec(ctx, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "+createMarks+"; PRAGMA wal_checkpoint(TRUNCATE);")
	if err == nil && len(set) > 0 {
		err = p.firstMigrations(ctx, permit, db, set)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Chmod(p.path(id), 0o600); err != nil {
		return err
	}
	return durable.SyncDir(p.dir(id))
}

// firstMigrations brings a new file to where the set ends.
func (p *Pool) firstMigrations(ctx context.Context, permit *audit.Permit, db *sqlite.Conn, set migrate.Set) error {
	intent, _ := permit.IntentID() // Abandon has seen that there is one
	limits := p.opts.Limits
	limits.Pages = firstPages
	c, err := guarded(ctx, db, limits)
	if err != nil {
		return err
	}
	if err := transaction(ctx, c, set, func() error { return run(ctx, c, set, intent, &Migrated{}) }); err != nil {
		return err
	}
	_, err = c.Trusted(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// Abandon removes the file of a tenant whose creation did not reach its commit.
func (p *Pool) Abandon(_ context.Context, permit *audit.Permit, id domain.TenantID) error {
	if err := permit.CheckChange("", authz.TenantCreate); err != nil {
		return err
	}
	if permit.Grant().Resource() != string(id) {
		return domain.Errorf(domain.Internal, "a permit to create %q was used for %q", permit.Grant().Resource(), id)
	}
	return p.removeDir(id)
}

// Remove removes the file of a tenant that is being destroyed. The tenant must
// be barred.
func (p *Pool) Remove(_ context.Context, permit *audit.Permit) error {
	if err := permit.CheckChange(permit.Tenant(), authz.TenantDestroy); err != nil {
		return err
	}
	if p.mayOpen(permit.Tenant()) {
		return domain.Errorf(domain.Internal, "the file of %s was to be removed while it can be opened", permit.Tenant())
	}
	return p.removeDir(permit.Tenant())
}

func (p *Pool) removeDir(id domain.TenantID) error {
	if _, err := os.Lstat(p.dir(id)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return durable.RemoveAll(p.dir(id))
}

// Verify authenticates every page of a tenant's file and of its snapshots, for a
// permit to check the stores. The file is closed meanwhile.
func (p *Pool) Verify(ctx context.Context, permit *audit.Permit, id domain.TenantID) error {
	if err := permit.Check("", authz.CheckStores); err != nil {
		return err
	}
	keys, fileID, err := p.opts.Keys.TenantPages(ctx, permit, id)
	if err != nil {
		return err
	}
	if err := p.checkThere(id); err != nil {
		return err
	}
	defer p.hold(id)()
	if err := p.evict(ctx, id); err != nil {
		return err
	}
	reg, err := cryptvfs.Register(fileID, keys)
	if err != nil {
		return err
	}
	defer reg.Close()
	if err := cryptvfs.Verify(ctx, p.path(id), reg); err != nil {
		return fmt.Errorf("the file of tenant %q: %w", id, err)
	}
	snapshots, err := p.snapshots(id)
	for _, s := range snapshots {
		if err := cryptvfs.Verify(ctx, p.snapshotPath(id, s.ID), reg); err != nil {
			return fmt.Errorf("the snapshot %s of tenant %q: %w", s.ID, id, err)
		}
	}
	return err
}

// hold keeps a tenant's file closed until the function that it returns is
// called, whatever Bar and Admit say meanwhile.
func (p *Pool) hold(id domain.TenantID) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[id]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held[id]--; p.held[id] == 0 {
			delete(p.held, id)
		}
	}
}

// mayOpen says whether a statement could open the tenant's file now.
func (p *Pool) mayOpen(id domain.TenantID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.closed && !p.barred[id] && p.held[id] == 0
}
