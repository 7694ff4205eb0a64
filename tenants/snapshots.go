package tenants

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/audit"
	"coffer/tenants/cryptvfs"
	"coffer/tenants/guard"
	"coffer/tenants/migrate"
	"coffer/tenants/sqlite"
)

// Snapshots is how many copies of its file are kept of a tenant.
const Snapshots = 2

// Snapshot is a copy of a tenant's file, encrypted as the file is: each page says
// to which file and place it belongs, so it is good under the same keys and for
// this tenant alone.
type Snapshot struct {
	ID     string // order and number, as 000003-0007
	Number int    // of the last migration in it
	Bytes  int64
	Made   time.Time
}

var snapshotName = regexp.MustCompile(`^([0-9]{6})-([0-9]{4})\.db$`)

func (p *Pool) snapshotDir(id domain.TenantID) string { return filepath.Join(p.dir(id), "snapshots") }

// SnapshotsOf lists the snapshots of the permit's tenant, oldest first.
func (p *Pool) SnapshotsOf(permit *audit.Permit) ([]Snapshot, error) {
	if err := permit.Check(permit.Tenant(), authz.MigrationStatus, authz.MigrationApply, authz.MigrationRestore); err != nil {
		return nil, err
	}
	return p.snapshots(permit.Tenant())
}

func (p *Pool) snapshots(id domain.TenantID) (out []Snapshot, err error) {
	entries, err := os.ReadDir(p.snapshotDir(id)) // by name, so by order
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		match := snapshotName.FindStringSubmatch(e.Name())
		if match == nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed since
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking at the snapshots of tenant %q: %w", id, err)
		}
		number, _ := strconv.Atoi(match[2]) // four digits
		out = append(out, Snapshot{strings.TrimSuffix(e.Name(), ".db"), number, info.Size(), info.ModTime().UTC()})
	}
	return out, err
}

// snapshot copies the file, whose migrations end with a number, for whose turn it
// is to write: nobody else changes the file, and readers read its log.
func (f *file) snapshot(ctx context.Context, c session, number int) (id string, err error) {
	limited, cancel := context.WithTimeout(ctx, migrationTurn)
	defer cancel()
	for {
		// It waits as long as SQLite's busy timeout for who reads an older state.
		rows, err := c.Trusted(ctx, "PRAGMA wal_checkpoint(FULL)")
		if err != nil {
			return "", err
		}
		if rows[0][0].Int64() == 0 && rows[0][1].Int64() == rows[0][2].Int64() {
			return f.pool.copySnapshot(ctx, f.id, number)
		}
		if limited.Err() != nil {
			return "", domain.Errorf(domain.Unavailable, "a transaction that reads is in the way of the snapshot: waited %v", migrationTurn).
				WithHint("apply again; keep transactions short")
		}
	}
}

// copySnapshot copies a file that nobody changes.
func (p *Pool) copySnapshot(ctx context.Context, id domain.TenantID, number int) (string, error) {
	if err := durable.MkdirAll(p.snapshotDir(id)); err != nil {
		return "", err
	}
	if err := durable.SweepTemp(p.snapshotDir(id)); err != nil { // of a copy that a crash cut off
		return "", err
	}
	if err := removeWork(p.workPath(id)); err != nil { // of a restoration
		return "", err
	}
	have, err := p.snapshots(id)
	if err != nil {
		return "", err
	}
	order := 1
	if n := len(have); n > 0 {
		last, _ := strconv.Atoi(have[n-1].ID[:6])
		order = last + 1
	}
	name := fmt.Sprintf("%06d-%s", order, migrate.Number(number))
	if err := durable.Fill(p.snapshotPath(id, name), func(w io.Writer) error { return cryptvfs.Copy(ctx, w, p.path(id)) }); err != nil {
		return "", &domain.Error{
			Kind: domain.Unavailable, Msg: "the database could not be copied first", Err: err,
			Hint: "the copy needs as much room on the disk as the database",
		}
	}
	return name, nil
}

func (p *Pool) snapshotPath(id domain.TenantID, name string) string {
	return filepath.Join(p.snapshotDir(id), name+".db")
}

func (f *file) dropSnapshot(id string) error {
	if id == "" {
		return nil
	}
	return durable.Remove(f.pool.snapshotPath(f.id, id))
}

// pruneSnapshots removes the oldest ones beyond the bound. What they were for is
// done by then, so that a failure is for the operator's eyes alone.
func (p *Pool) pruneSnapshots(id domain.TenantID) {
	have, err := p.snapshots(id)
	for _, s := range have[:max(0, len(have)-Snapshots)] {
		err = errors.Join(err, durable.Remove(p.snapshotPath(id, s.ID)))
	}
	if err != nil {
		p.opts.Alarm(id, fmt.Sprintf("old snapshots of %s could not be removed: %v", id, err))
	}
}

// Restored is what putting a snapshot back did.
type Restored struct {
	Number  int    // of the last migration that the tenant has now
	Instead string // a snapshot of the file that was replaced
}

// Restore puts a snapshot in the place of the permit's tenant's file. The file is
// closed meanwhile; what was written since the snapshot is kept in a snapshot of
// its own. The marks of intents go along: what the log says of changes before
// stays what happened, and the restoration's own intent is among them. It is the
// file that says after a crash whether the snapshot was put back.
func (p *Pool) Restore(ctx context.Context, permit *audit.Permit, snapshot string) (out Restored, err error) {
	id := permit.Tenant()
	if id == "" {
		return out, domain.Errorf(domain.Internal, "a snapshot without a tenant")
	}
	if err := permit.CheckChange(id, authz.MigrationRestore); err != nil {
		return out, err
	}
	intent, _ := permit.IntentID() // CheckChange has seen that there is one
	defer p.hold(id)()
	if err := p.evict(ctx, id); err != nil {
		return out, err
	}
	r, err := p.restoration(ctx, permit, snapshot)
	if err != nil {
		return out, err
	}
	defer r.reg.Close()
	marks, number, err := r.readMarks(ctx)
	if code, fromSQLite := errors.AsType[*sqlite.Error](err); fromSQLite && damage(code) {
		return out, domain.Errorf(domain.Tampered, "%s does not authenticate, and what it has cannot be set aside: %w", p.path(id), err).
			WithHint("restore it from a backup; it was left as it is")
	}
	if err != nil {
		return out, err
	}
	if out.Instead, err = p.copySnapshot(ctx, id, number); err != nil {
		return out, err
	}
	if out.Number, err = r.replace(ctx, p.snapshotPath(id, snapshot), append(marks, intent)); err != nil {
		if uncertain, open := errors.AsType[*UncertainError](err); open {
			return out, uncertain
		}
		return out, errors.Join(err, durable.Remove(p.snapshotPath(id, out.Instead)))
	}
	p.pruneSnapshots(id)
	return out, nil
}

// restoration works on a tenant's closed file.
type restoration struct {
	pool *Pool
	id   domain.TenantID
	reg  *cryptvfs.Registration
}

// restoration makes sure that there is something to put back, and something to
// put it in the place of.
func (p *Pool) restoration(ctx context.Context, permit *audit.Permit, snapshot string) (r restoration, err error) {
	id := permit.Tenant()
	have, err := p.snapshots(id)
	if err != nil {
		return r, err
	}
	if !slices.ContainsFunc(have, func(s Snapshot) bool { return s.ID == snapshot }) {
		return r, domain.Fieldf("snapshot", "%s has no snapshot %.40q", id, snapshot).WithHint("see: coffer migrate status -t %s", id)
	}
	if err := p.checkThere(id); err != nil {
		return r, err
	}
	keys, fileID, err := p.opts.Keys.TenantPages(ctx, permit, id)
	if err != nil {
		return r, err
	}
	reg, err := cryptvfs.Register(fileID, keys)
	return restoration{p, id, reg}, err
}

// with opens a database file of the tenant for Coffer's own statements. When it
// is closed again all is in the file, and its log is gone.
func (r restoration) with(ctx context.Context, path string, fn func(session) error) (err error) {
	db, err := sqlite.Open(r.reg.URI(path, cryptvfs.Options{Mode: cryptvfs.ReadWrite}), sqlite.Options{Mode: sqlite.ReadWrite})
	if err != nil {
		return err
	}
	c, err := guarded(ctx, db, guard.Limits{})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if err = fn(c); err == nil {
		_, err = c.Trusted(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	err = errors.Join(err, c.Close())
	if _, left := os.Lstat(path + "-wal"); err == nil && !errors.Is(left, fs.ErrNotExist) {
		err = domain.Errorf(domain.Unavailable, "the log of the file of %s is still there", r.id).WithHint("try again")
	}
	return err
}

// readMarks gives the marks of the file as it is, oldest first, and how far its
// migrations go.
func (r restoration) readMarks(ctx context.Context) (marks []audit.IntentID, number int, err error) {
	err = r.with(ctx, r.pool.path(r.id), func(c session) error {
		rows, err := c.Trusted(ctx, "SELECT intent FROM __coffer_applied ORDER BY number")
		if err != nil {
			return err
		}
		for _, row := range rows {
			var id audit.IntentID
			copy(id[:], row[0].Bytes())
			marks = append(marks, id)
		}
		has, err := applied(ctx, c)
		number = len(has)
		return err
	})
	return marks, number, err
}

// replace makes a copy of the snapshot, gives it the marks and puts it in the
// place of the file, in one step.
func (r restoration) replace(ctx context.Context, from string, ids []audit.IntentID) (number int, err error) {
	to := r.pool.path(r.id)
	work := r.pool.workPath(r.id)
	if err := durable.Fill(work, func(w io.Writer) error { return cryptvfs.Copy(ctx, w, from) }); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, removeWork(work)) }()
	if err := cryptvfs.Verify(ctx, work, r.reg); err != nil {
		return 0, fmt.Errorf("the snapshot of tenant %q: %w", r.id, err)
	}
	err = r.with(ctx, work, func(c session) error {
		if _, err := c.Trusted(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		if _, err := c.Trusted(ctx, "DELETE FROM __coffer_applied"); err != nil {
			return err
		}
		for i, id := range ids[max(0, len(ids)-marks):] {
			n := int64(i + 1)
			if _, err := c.Trusted(ctx, "INSERT INTO __coffer_applied(slot, number, intent) VALUES (?, ?, ?)",
				sqlite.Int(n%marks), sqlite.Int(n), sqlite.Blob(id[:])); err != nil {
				return err
			}
		}
		has, err := applied(ctx, c)
		if number = len(has); err != nil {
			return err
		}
		_, err = c.Trusted(ctx, "COMMIT")
		return err
	})
	if err != nil {
		return number, err
	}
	if err := durable.Rename(work, to); err != nil {
		return number, &UncertainError{err}
	}
	return number, nil
}

// workPath is where a restoration prepares the file.
func (p *Pool) workPath(id domain.TenantID) string {
	return filepath.Join(p.snapshotDir(id), "restored.tmp")
}

// removeWork removes what a restoration prepared.
func removeWork(work string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(work + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
