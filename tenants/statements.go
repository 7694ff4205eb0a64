package tenants

import (
	"context"
	"errors"
	"slices"

	"coffer/app/authz"
	"coffer/audit"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
	"coffer/tenants/worker"
)

// marks is how many marks of intents a file keeps, one for each request that
// changed something. It is more than the requests of one tenant whose outcome
// can be missing in the log after a crash: those that are under way.
const marks = 512

// recentMarks is how many of them are remembered, so that a request of many
// changes needs one.
const recentMarks = 64

// createMarks is Coffer's own table in a tenant's file: the ids of the last
// changes, each written in the transaction of its change. number counts the
// changes, slot is number modulo marks. No role sees it. FORMAT.md describes it.
const createMarks = `CREATE TABLE __coffer_applied(slot INTEGER PRIMARY KEY, number INTEGER NOT NULL, intent BLOB NOT NULL)`

// Query runs a statement that only reads, on a connection that cannot write.
func (p *Pool) Query(ctx context.Context, permit *audit.Permit, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	seen := false // something of the result
	counted := sink
	counted.Columns = func(c []sqlite.Column) error {
		if seen = true; sink.Columns == nil {
			return nil
		}
		return sink.Columns(c)
	}
	err = again(func() error {
		if seen {
			return err
		}
		out, err = p.query(ctx, permit, r, counted)
		return err
	})
	return out, err
}

func (p *Pool) query(ctx context.Context, permit *audit.Permit, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	f, err := p.acquireFor(ctx, permit, authz.SQLQuery, authz.SQLWrite, authz.QueryRun)
	if err != nil {
		return out, err
	}
	defer p.release(f)
	err = f.read(ctx, func(c session) error {
		out, err = f.stream(ctx, c, r, sink)
		return err
	})
	return out, err
}

// Describe says what a statement would take and give, to who may only read or,
// with a permit to write, to who may write too.
func (p *Pool) Describe(ctx context.Context, permit *audit.Permit, sql string) (d guard.Description, err error) {
	err = again(func() error {
		d, err = p.describe(ctx, permit, sql)
		return err
	})
	return d, err
}

func (p *Pool) describe(ctx context.Context, permit *audit.Permit, sql string) (d guard.Description, err error) {
	f, err := p.acquireFor(ctx, permit, authz.SQLQuery, authz.SQLWrite, authz.QuerySave)
	if err != nil {
		return d, err
	}
	defer p.release(f)
	lend := f.read
	if permit.Action() == authz.SQLWrite {
		lend = f.write
	}
	err = lend(ctx, func(c session) error {
		d, err = c.Describe(ctx, sql)
		return err
	})
	return d, err
}

// Exec runs a statement that may change the file, in a transaction of its own
// that also carries the id of the permit's intent. When it returns without an
// error, the change is on stable storage (WAL, synchronous=FULL).
func (p *Pool) Exec(ctx context.Context, permit *audit.Permit, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	if err := permit.CheckChange(permit.Tenant(), authz.SQLWrite); err != nil {
		return out, err
	}
	t, err := p.Begin(ctx, permit, TxWrite)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, t.Rollback(context.WithoutCancel(ctx))) }() // of no effect after the commit
	if out, err = t.stream(ctx, permit, r, sink); err != nil {
		return out, err
	}
	return out, t.Commit(ctx, permit)
}

// mark writes the mark of an intent into the transaction that is open.
func (f *file) mark(ctx context.Context, c session, intent audit.IntentID) error {
	f.changes++
	_, err := c.Trusted(ctx, "REPLACE INTO __coffer_applied(slot, number, intent) VALUES (?, ?, ?)",
		sqlite.Int(f.changes%marks), sqlite.Int(f.changes), sqlite.Blob(intent[:]))
	return err
}

// UncertainError is about a change that may be on the disk or not: all of it was
// written, but the disk did not say that it holds it. It is not seen now; a crash
// before the next change can bring it back.
type UncertainError struct{ err error }

// Error is the text of the failure.
func (e *UncertainError) Error() string { return e.err.Error() }

// Unwrap gives the failure.
func (e *UncertainError) Unwrap() error { return e.err }

// unflushed says whether a COMMIT failed so late that its last frame may be on
// the disk. A constraint or a full disk ends it before that; a worker can end at
// any moment.
func unflushed(err error) bool {
	if errors.Is(err, worker.ErrLost) {
		return true
	}
	code, ok := errors.AsType[*sqlite.Error](err)
	return ok && code.Primary() == sqlite.CodeIOErr
}

// Applied says whether a change with this intent is in the tenant's file.
func (p *Pool) Applied(ctx context.Context, permit *audit.Permit, intent audit.IntentID) (found bool, err error) {
	err = again(func() error {
		found, err = p.applied(ctx, permit, intent)
		return err
	})
	return found, err
}

func (p *Pool) applied(ctx context.Context, permit *audit.Permit, intent audit.IntentID) (found bool, err error) {
	f, err := p.acquire(ctx, permit)
	if err != nil {
		return false, err
	}
	defer p.release(f)
	err = f.write(ctx, func(c session) error {
		rows, err := c.Trusted(ctx, "SELECT 1 FROM __coffer_applied WHERE intent = ?", sqlite.Blob(intent[:]))
		found = len(rows) > 0
		return err
	})
	return found, err
}

// checkMarks proves on opening that the file is one of Coffer's, and goes on
// numbering after the last mark.
func (f *file) checkMarks(ctx context.Context) error {
	rows, err := f.writer.Trusted(ctx, "SELECT coalesce(max(number), 0) FROM __coffer_applied")
	if errors.Is(err, &sqlite.Error{Code: sqlite.CodeError}) { // there is no such table
		return f.damaged(err)
	}
	if err != nil {
		return f.explain(err)
	}
	f.changes = rows[0][0].Int64()
	return nil
}

// nextMark numbers the mark of an intent; known says that it stands in the file.
// Whose turn it is to write may ask.
func (f *file) nextMark(intent audit.IntentID) (number int64, known bool) {
	return f.changes + 1, slices.Contains(f.recent, intent)
}

// marked remembers that the mark is in the file, or may be.
func (f *file) marked(intent audit.IntentID) {
	if slices.Contains(f.recent, intent) {
		return
	}
	f.changes++
	if f.recent = append(f.recent, intent); len(f.recent) > recentMarks {
		f.recent = f.recent[1:]
	}
}
