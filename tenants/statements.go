package tenants

import (
	"context"
	"errors"

	"coffer/app/authz"
	"coffer/audit"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// marks is how many marks of intents a file keeps. It is more than the changes
// of one tenant whose outcome can be missing in the log after a crash: those
// that ran or waited, MaxWaiting.
const marks = 2 * MaxWaiting

// createMarks is Coffer's own table in a tenant's file: the ids of the last
// changes, each written in the transaction of its change. number counts the
// changes, slot is number modulo marks. No role sees it. FORMAT.md describes it.
const createMarks = `CREATE TABLE __coffer_applied(slot INTEGER PRIMARY KEY, number INTEGER NOT NULL, intent BLOB NOT NULL)`

// Query runs a statement that only reads, on a connection that cannot write.
func (p *Pool) Query(ctx context.Context, permit *audit.Permit, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	if err := permit.Check(permit.Tenant(), authz.SQLQuery); err != nil {
		return out, err
	}
	f, err := p.acquire(ctx, permit)
	if err != nil {
		return out, err
	}
	defer p.release(f)
	err = f.read(ctx, func(g *guard.Guard) error {
		out, err = g.Stream(ctx, r, sink)
		return err
	})
	return out, err
}

// Exec runs a statement that may change the file, in a transaction of its own
// that also carries the id of the permit's intent. When it returns without an
// error, the change is on stable storage (WAL, synchronous=FULL).
func (p *Pool) Exec(ctx context.Context, permit *audit.Permit, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	if err := permit.CheckChange(permit.Tenant(), authz.SQLWrite); err != nil {
		return out, err
	}
	intent, _ := permit.IntentID() // CheckChange has seen that there is one
	f, err := p.acquire(ctx, permit)
	if err != nil {
		return out, err
	}
	defer p.release(f)
	err = f.write(ctx, func(g *guard.Guard) error {
		out, err = f.change(ctx, g, intent, r, sink)
		return err
	})
	return out, err
}

// change is one transaction of the writer.
func (f *file) change(ctx context.Context, g *guard.Guard, intent audit.IntentID, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	if _, err := g.Trusted(ctx, "BEGIN IMMEDIATE"); err != nil {
		return out, err
	}
	out, err = g.Stream(ctx, r, sink)
	if err == nil {
		f.changes++
		_, err = g.Trusted(ctx, "REPLACE INTO __coffer_applied(slot, number, intent) VALUES (?, ?, ?)",
			sqlite.Int(f.changes%marks), sqlite.Int(f.changes), sqlite.Blob(intent[:]))
	}
	if err == nil {
		// From here on the answer is yes or an error of the disk: a context
		// that ends now must not leave it open.
		if _, err = g.Trusted(context.WithoutCancel(ctx), "COMMIT"); unflushed(err) {
			err = &UncertainError{err}
		}
	}
	if err != nil {
		return out, errors.Join(err, g.Rollback(ctx))
	}
	return out, nil
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
// the disk. A constraint or a full disk ends it before that.
func unflushed(err error) bool {
	code, ok := errors.AsType[*sqlite.Error](err)
	return ok && code.Primary() == sqlite.CodeIOErr
}

// Applied says whether a change with this intent is in the tenant's file.
func (p *Pool) Applied(ctx context.Context, permit *audit.Permit, intent audit.IntentID) (found bool, err error) {
	f, err := p.acquire(ctx, permit)
	if err != nil {
		return false, err
	}
	defer p.release(f)
	err = f.write(ctx, func(g *guard.Guard) error {
		rows, err := g.Trusted(ctx, "SELECT 1 FROM __coffer_applied WHERE intent = ?", sqlite.Blob(intent[:]))
		found = len(rows) > 0
		return err
	})
	return found, err
}

// checkMarks proves on opening that the file is one of Coffer's, and goes on
// numbering after the last mark.
func (f *file) checkMarks(ctx context.Context) error {
	rows, err := f.writer.guard.Trusted(ctx, "SELECT coalesce(max(number), 0) FROM __coffer_applied")
	if errors.Is(err, &sqlite.Error{Code: sqlite.CodeError}) { // there is no such table
		return f.damaged(err)
	}
	if err != nil {
		return f.explain(err)
	}
	f.changes = rows[0][0].Int64()
	return nil
}
