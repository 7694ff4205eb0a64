package tenants

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants/guard"
	"coffer/tenants/migrate"
	"coffer/tenants/sqlite"
	"coffer/tenants/worker"
)

// Bounds of migrations in one tenant.
const (
	MigrationStatement = 10 * time.Minute    // of one statement
	migrationTurn      = 30 * time.Second    // that it waits for its turn to write
	firstPages         = 64 << 20 / pageSize // that a set may fill in an empty database
)

// createMigrations is Coffer's own table of what a file has. It is made with the
// first migration, and no role sees it. FORMAT.md describes it.
const createMigrations = `CREATE TABLE IF NOT EXISTS __coffer_migrations(` +
	`number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 BLOB NOT NULL, intent BLOB NOT NULL)`

// Migrated is what migrations did to a tenant's file. It never has a value or a
// text of theirs.
type Migrated struct {
	From, To   int // numbers of the last migration before and after
	Snapshot   string
	Statements map[guard.Kind]int
	Tables     []string // sorted
	Truncated  bool     // there were more
	Rows       int64    // that were inserted, updated or deleted
	At         int      // the migration that failed, 0 if none did
}

func (m *Migrated) add(r guard.Report) {
	if m.Statements == nil {
		m.Statements = map[guard.Kind]int{}
	}
	m.Statements[r.Kind]++
	m.Rows += r.RowsIn
	m.Truncated = m.Truncated || r.Truncated
	known := map[string]bool{}
	for _, t := range slices.Concat(m.Tables, r.Tables) {
		known[t] = true
	}
	m.Tables = slices.Sorted(maps.Keys(known))
	if len(m.Tables) > guard.MaxReportTables {
		m.Tables, m.Truncated = m.Tables[:guard.MaxReportTables], true
	}
}

// Migrate brings the permit's tenant to the end of the set: what is pending in one
// transaction, after a snapshot of the file, together with the record of what
// the file has and the permit's intent. Results of statements are thrown away.
//
// The error names the file and the statement. It is for operators, who read no
// tenant's data, so it has nothing in it that SQLite made of rows.
func (p *Pool) Migrate(ctx context.Context, permit *audit.Permit, set migrate.Set) (m Migrated, err error) {
	if permit.Tenant() == "" {
		return m, domain.Errorf(domain.Internal, "migrations without a tenant")
	}
	if err := permit.CheckChange(permit.Tenant(), authz.MigrationApply); err != nil {
		return m, err
	}
	intent, _ := permit.IntentID() // CheckChange has seen that there is one
	f, err := p.acquireFor(ctx, permit, authz.MigrationApply)
	if err != nil {
		return m, err
	}
	defer p.release(f)
	ctx, done := f.interruptible(ctx)
	defer done()
	err = f.writeSoon(ctx, func(c session) error {
		m, err = f.migrate(ctx, c, set, intent)
		return err
	})
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, errClosing) && err != nil {
		err = domain.Errorf(domain.Unavailable, "stopped: the tenant is being closed, or Coffer is stopping").
			WithHint("nothing of it was kept; apply again")
	}
	return m, err
}

// writeSoon lends the writing connection to fn, which takes as long as it needs,
// unless the turn does not come soon.
func (f *file) writeSoon(ctx context.Context, fn func(session) error) error {
	limited, cancel := context.WithTimeout(ctx, migrationTurn)
	defer cancel()
	if err := f.wait(limited, f.writing); err != nil {
		return err
	}
	defer func() { <-f.writing }()
	return f.after(fn(f.writer))
}

var errClosing = errors.New("the file is being closed")

// interruptible is a context that also ends when somebody wants the file closed.
func (f *file) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	key := &cancel
	f.mu.Lock()
	if f.interrupts == nil {
		f.interrupts = map[*context.CancelCauseFunc]struct{}{}
	}
	f.interrupts[key] = struct{}{}
	f.mu.Unlock()
	if !f.pool.mayOpen(f.id) { // whoever closes it has been here already
		cancel(errClosing)
	}
	return ctx, func() {
		f.mu.Lock()
		delete(f.interrupts, key)
		f.mu.Unlock()
		cancel(nil)
	}
}

// interrupt ends what interruptible began.
func (f *file) interrupt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for cancel := range f.interrupts {
		(*cancel)(errClosing)
	}
}

// migrate is for whose turn it is to write.
func (f *file) migrate(ctx context.Context, c session, set migrate.Set, intent audit.IntentID) (m Migrated, err error) {
	has, err := applied(ctx, c)
	if err != nil {
		return m, err
	}
	m.From, m.To = len(has), len(has)
	pending, err := set.Pending(has)
	if err != nil || len(pending) == 0 {
		return m, err
	}
	if m.Snapshot, err = f.snapshot(ctx, c, len(has)); err != nil {
		return m, err
	}
	err = transaction(ctx, c, pending, func() error {
		if err := run(ctx, c, pending, intent, &m); err != nil {
			return err
		}
		return f.mark(ctx, c, intent)
	})
	if after, done := errors.AsType[*afterCommit](err); done {
		f.pool.opts.Alarm(f.id, fmt.Sprintf("foreign keys of %s may not be enforced until its file is opened again: %v", f.id, after))
		err = nil
	}
	uncertain, open := errors.AsType[*UncertainError](err)
	switch {
	case err == nil:
		m.To, m.At = set.Top(), 0
		f.pool.pruneSnapshots(f.id)
		return m, nil
	case open:
		return m, uncertain // the file may be either: the snapshot is wanted
	}
	err = errors.Join(err, f.dropSnapshot(m.Snapshot)) // the file is what it was
	m.Snapshot = ""
	return m, err
}

// applied reads which migrations a file has.
func applied(ctx context.Context, c session) (out []migrate.Applied, err error) {
	there, err := c.Trusted(ctx, "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '__coffer_migrations'")
	if err != nil || len(there) == 0 {
		return nil, err
	}
	rows, err := c.Trusted(ctx, "SELECT number, name, sha256 FROM __coffer_migrations ORDER BY number")
	for _, r := range rows {
		a := migrate.Applied{Number: int(r[0].Int64()), Name: r[1].Raw()}
		if copy(a.Sum[:], r[2].Bytes()) != len(a.Sum) {
			return nil, domain.Errorf(domain.Tampered, "the database's record of migration %04d is malformed", a.Number)
		}
		out = append(out, a)
	}
	return out, err
}

// transaction runs fn and commits. If one of the migrations asks for it, foreign
// keys are enforced for none of them, and checked before the commit.
func transaction(ctx context.Context, c session, pending migrate.Set, fn func() error) (err error) {
	loose := false
	for _, m := range pending {
		asks, err := m.Loose()
		if err != nil {
			return err
		}
		loose = loose || asks
	}
	end := context.WithoutCancel(ctx)
	if loose {
		if _, err := c.Trusted(ctx, "PRAGMA foreign_keys = OFF"); err != nil {
			return err
		}
		defer func() {
			if _, on := c.Trusted(end, "PRAGMA foreign_keys = ON"); on != nil && err == nil {
				err = &afterCommit{on}
			} else {
				err = errors.Join(err, on)
			}
		}()
	}
	if _, err := c.Trusted(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err = fn(); err == nil && loose {
		err = checkForeignKeys(ctx, c)
	}
	if err == nil {
		if _, err = c.Trusted(end, "COMMIT"); err != nil {
			err = commitError(err)
		}
	}
	if err != nil {
		return errors.Join(err, c.Rollback(end))
	}
	return nil
}

// afterCommit is about what failed once the transaction was committed.
type afterCommit struct{ err error }

func (e *afterCommit) Error() string { return e.err.Error() }
func (e *afterCommit) Unwrap() error { return e.err }

// commitError is about foreign keys whose check was deferred, or the disk.
func commitError(err error) error {
	if unflushed(err) {
		return &UncertainError{err}
	}
	if code, ok := errors.AsType[*sqlite.Error](err); ok && code.Primary() == sqlite.CodeConstraint {
		return domain.Errorf(domain.Conflict, "foreign keys whose check was deferred do not hold at the end")
	}
	return err
}

func checkForeignKeys(ctx context.Context, c session) error {
	rows, err := c.Trusted(ctx, `SELECT "table", parent FROM pragma_foreign_key_check LIMIT 1`)
	if err != nil || len(rows) == 0 {
		return err
	}
	return domain.Errorf(domain.Conflict, "rows of %.80q refer to rows of %.80q that are not there", rows[0][0].Raw(), rows[0][1].Raw()).
		WithHint("foreign keys were not enforced in this transaction; they have to hold at its end")
}

// run runs the migrations' statements as the writer's role, which sees nothing of
// Coffer's own, and records that the file has them.
func run(ctx context.Context, c session, pending migrate.Set, intent audit.IntentID, done *Migrated) error {
	if _, err := c.Trusted(ctx, createMigrations); err != nil {
		return err
	}
	for _, m := range pending {
		done.At = m.Number
		statements := guard.Split(m.SQL)
		if len(statements) == 0 {
			return domain.Errorf(domain.Invalid, "%s: there is no statement in it", m.Name)
		}
		for i, sql := range statements {
			if err := statement(ctx, c, sql, done); err != nil {
				return named(err, m.Name, i+1)
			}
		}
		if _, err := c.Trusted(ctx, "INSERT INTO __coffer_migrations(number, name, sha256, intent) VALUES (?, ?, ?, ?)",
			sqlite.Int(int64(m.Number)), sqlite.Text(m.Name), sqlite.Blob(m.Sum[:]), sqlite.Blob(intent[:])); err != nil {
			return err
		}
	}
	return nil
}

// statement runs one statement and throws its rows away. What is wrong with its
// text is found out before it runs, so that what goes wrong then can be told in
// Coffer's words: SQLite's can have values in them.
func statement(ctx context.Context, c session, sql string, done *Migrated) error {
	if _, err := c.Describe(ctx, sql); err != nil {
		return err
	}
	out, err := c.Stream(ctx, guard.Request{SQL: sql, Deadline: MigrationStatement}, guard.Sink{})
	done.add(out.Report)
	if err == nil && !c.InTransaction() {
		return domain.Errorf(domain.Invalid, "it ended the transaction")
	}
	return guard.WithoutValues(err)
}

// named puts the file and the number of the statement before an error's text.
func named(err error, name string, n int) error {
	e, ok := errors.AsType[*domain.Error](err)
	if !ok {
		return err
	}
	told := *e
	told.Msg, told.Field = fmt.Sprintf("%s, statement %d: %s", name, n, e.Msg), ""
	return &told
}

// Migrations reads which migrations the tenant's file has.
func (p *Pool) Migrations(ctx context.Context, permit *audit.Permit) (out []migrate.Applied, err error) {
	f, err := p.acquire(ctx, permit)
	if err != nil {
		return nil, err
	}
	defer p.release(f)
	err = f.write(ctx, func(c session) error {
		out, err = applied(ctx, c)
		return err
	})
	return out, err
}

// TryMigrations runs a set on an empty database in memory, under the guard under
// which tenants' files have it: what does not run there does not start a tenant.
func TryMigrations(ctx context.Context, set migrate.Set) (err error) {
	db, err := sqlite.Open("file::memory:", sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		return err
	}
	// What does not fit is not spilled into files beside those of tenants.
	if err := db.Exec(ctx, "PRAGMA temp_store = MEMORY"); err != nil {
		return errors.Join(err, db.Close())
	}
	c, err := guarded(ctx, db, guard.Limits{Pages: firstPages})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if len(set) == 0 {
		return nil
	}
	return transaction(ctx, c, set, func() error { return run(ctx, c, set, audit.IntentID{}, &Migrated{}) })
}

// guarded sets a connection up for migrations.
func guarded(ctx context.Context, db *sqlite.Conn, limits guard.Limits) (session, error) {
	g, err := worker.Guard(ctx, db, guard.Writer, limits)
	if err != nil {
		return nil, err
	}
	return &local{Guard: g, db: db}, nil
}
