package tenants

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// TxMode says on which connection a transaction runs.
type TxMode int

// The modes. A tenant has one writing connection, so its writing transactions
// follow one another.
const (
	TxRead  TxMode = iota // one snapshot, on a connection that cannot write
	TxWrite               // BEGIN IMMEDIATE on the writing connection
	TxLoose               // TxWrite with foreign keys not enforced, for rebuilding tables
)

// lockWait is how long a transaction waits for its connection: about SQLite's
// usual busy timeout, and longer than one lasts whose client went away.
const lockWait = 6 * time.Second

// Tx is a transaction that may outlive the permit with which it was begun:
// each use takes one of its own. Whoever begins one ends it with Commit or
// Rollback. Suspending the tenant, checking its file and closing the pool end it
// too. It is safe for concurrent use, one statement at a time.
type Tx struct {
	file *file
	conn session
	mode TxMode
	done chan struct{}

	mu    sync.Mutex // guards what follows, and the connection
	ended bool
	wrote bool
}

// CodeBusy and CodeTimeout are what clients of the wire protocol are told of a
// transaction that could not begin, and of one that was ended.
const (
	CodeBusy    = "SQLITE_BUSY"
	CodeTimeout = "TRANSACTION_TIMEOUT"
)

// Begin opens a transaction in the permit's tenant. A writing one needs no
// permit to write yet: each change in it does.
func (p *Pool) Begin(ctx context.Context, permit *audit.Permit, mode TxMode) (t *Tx, err error) {
	err = again(func() error {
		t, err = p.begin(ctx, permit, mode)
		return err
	})
	return t, err
}

func (p *Pool) begin(ctx context.Context, permit *audit.Permit, mode TxMode) (*Tx, error) {
	f, err := p.acquire(ctx, permit)
	if err != nil {
		return nil, err
	}
	t := &Tx{file: f, mode: mode, done: make(chan struct{})}
	if err := t.begin(ctx); err != nil {
		p.release(f)
		return nil, err
	}
	return t, nil
}

func (t *Tx) begin(ctx context.Context) (err error) {
	if t.conn, err = t.borrow(ctx); err != nil {
		return err
	}
	begin := []string{"BEGIN IMMEDIATE"}
	switch t.mode {
	case TxRead:
		begin = []string{"BEGIN"}
	case TxLoose:
		begin = []string{"PRAGMA foreign_keys = OFF", "BEGIN IMMEDIATE"}
	}
	for _, sql := range begin {
		if _, err := t.conn.Trusted(ctx, sql); err != nil {
			err = errors.Join(err, t.conn.Rollback(ctx), t.giveBack(ctx))
			return t.file.after(err)
		}
	}
	t.file.mu.Lock()
	defer t.file.mu.Unlock()
	t.file.open[t] = struct{}{}
	return nil
}

// borrow waits for the connection that the mode needs.
func (t *Tx) borrow(ctx context.Context) (session, error) {
	f := t.file
	limited, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	if t.mode != TxRead {
		if err := f.wait(limited, f.writing); err != nil {
			return nil, busy(ctx, err, "another transaction of %s is writing", f.id)
		}
		return f.writer, nil
	}
	if err := f.wait(limited, f.holding); err != nil { // the last reader is for single statements
		return nil, busy(ctx, err, "%d transactions of %s are reading", cap(f.holding), f.id)
	}
	c, err := f.borrowReader(limited)
	if err != nil {
		<-f.holding
		return nil, busy(ctx, err, "the connections of %s are in use", f.id)
	}
	return c, nil
}

// busy says what kept a transaction waiting in vain, unless its caller went away.
func busy(ctx context.Context, err error, format string, args ...any) error {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return guard.WithCode(CodeBusy, domain.Errorf(domain.Unavailable, format+": waited %v", append(args, lockWait)...).
		WithHint("try again; keep transactions short"))
}

// giveBack ends the use of the connection, which has no open transaction.
func (t *Tx) giveBack(ctx context.Context) (err error) {
	switch t.mode {
	case TxRead:
		t.file.returnReader(t.conn)
		<-t.file.holding
	case TxLoose:
		_, err = t.conn.Trusted(context.WithoutCancel(ctx), "PRAGMA foreign_keys = ON")
		<-t.file.writing
	default:
		<-t.file.writing
	}
	return err
}

// end lets go of everything; t.mu is held and no transaction is open.
func (t *Tx) end(ctx context.Context) error {
	t.ended = true
	close(t.done)
	err := t.giveBack(ctx)
	t.file.mu.Lock()
	delete(t.file.open, t)
	t.file.mu.Unlock()
	t.file.pool.release(t.file)
	return err
}

// Done is closed when the transaction has ended, however that came.
func (t *Tx) Done() <-chan struct{} { return t.done }

// Wrote says whether the transaction has changed something.
func (t *Tx) Wrote() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wrote
}

// Mode is the mode with which it was begun.
func (t *Tx) Mode() TxMode { return t.mode }

// check is what every use of the transaction begins with; t.mu is held.
func (t *Tx) check(permit *audit.Permit) error {
	if err := permit.Check(t.file.id, authz.SQLQuery, authz.SQLWrite); err != nil {
		return err
	}
	if t.ended {
		return guard.WithCode(CodeTimeout, domain.Errorf(domain.Conflict, "the transaction was ended and rolled back").
			WithHint("begin it again; one that waits for its client ends after a few seconds"))
	}
	return nil
}

// Stream runs one statement in the transaction. With a permit to read it only
// reads; with one to write, the intent must be durable. An error can end the
// transaction, see Done: an interrupted change, a full disk, ON CONFLICT ROLLBACK.
func (t *Tx) Stream(ctx context.Context, permit *audit.Permit, r guard.Request, sink guard.Sink) (guard.Outcome, error) {
	// Savepoints are possible; what ends the transaction comes as Commit or Rollback.
	control, err := guard.ControlOf(r.SQL)
	r.Transaction = err == nil && control == guard.NoControl
	return t.stream(ctx, permit, r, sink)
}

func (t *Tx) stream(ctx context.Context, permit *audit.Permit, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(permit); err != nil {
		return out, err
	}
	if r.ReadOnly = permit.Action() == authz.SQLQuery; !r.ReadOnly {
		if err := permit.CheckChange(t.file.id, authz.SQLWrite); err != nil {
			return out, err
		}
	}
	out, err = t.conn.Stream(ctx, r, sink)
	t.wrote = t.wrote || out.Wrote
	if err = t.file.after(err); t.mode == TxRead && !r.ReadOnly && guard.RefusedAsReader(err) {
		// It is the transaction's doing, and not the role's.
		err = guard.WithCode("SQLITE_READONLY", &domain.Error{
			Kind: domain.Denied, Msg: "this transaction may only read", Hint: "begin it without READONLY", Err: err,
		})
	}
	if !t.conn.InTransaction() {
		err = errors.Join(err, t.end(ctx))
	}
	return out, err
}

// Describe compiles a statement as the transaction sees the schema.
func (t *Tx) Describe(ctx context.Context, permit *audit.Permit, sql string) (d guard.Description, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(permit); err != nil {
		return d, err
	}
	d, err = t.conn.Describe(ctx, sql)
	return d, t.file.after(err)
}

// Commit ends the transaction. If it has changed something, the permit must be
// one to write, and its intent stands in the same transaction. When it returns
// nil the change is on stable storage (WAL, synchronous=FULL). A constraint that
// is checked here leaves the transaction open.
func (t *Tx) Commit(ctx context.Context, permit *audit.Permit) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(permit); err != nil {
		return err
	}
	// From here on the answer is yes or an error of the disk: a context that
	// ends now must not leave it open.
	ctx = context.WithoutCancel(ctx)
	err := t.commit(ctx, permit)
	if t.conn.InTransaction() {
		if code, ok := errors.AsType[*sqlite.Error](err); ok && code.Primary() == sqlite.CodeConstraint {
			return domain.Errorf(domain.Conflict, "%s (%s): %w", code.Message, code.Name(), code)
		}
		err = errors.Join(err, t.conn.Rollback(ctx))
	}
	return t.file.after(errors.Join(err, t.end(ctx)))
}

func (t *Tx) commit(ctx context.Context, permit *audit.Permit) error {
	if !t.wrote {
		_, err := t.conn.Trusted(ctx, "COMMIT")
		return err
	}
	if err := permit.CheckChange(t.file.id, authz.SQLWrite); err != nil {
		return err
	}
	intent, _ := permit.IntentID() // CheckChange has seen that there is one
	err := t.mark(ctx, intent)
	if err == nil {
		_, err = t.conn.Trusted(ctx, "COMMIT")
	}
	switch {
	case err == nil:
		t.file.marked(intent)
	case unflushed(err):
		t.file.marked(intent)
		return &UncertainError{err}
	case t.conn.InTransaction():
		_, undo := t.conn.Trusted(ctx, "ROLLBACK TO __coffer_mark")
		_, release := t.conn.Trusted(ctx, "RELEASE __coffer_mark")
		return errors.Join(err, undo, release)
	}
	return err
}

// mark puts the intent's id into the transaction, behind a savepoint in case
// that it cannot be committed. One that stands in the file already, for an
// earlier change of the same request, is left as it is.
func (t *Tx) mark(ctx context.Context, intent audit.IntentID) error {
	if _, err := t.conn.Trusted(ctx, "SAVEPOINT __coffer_mark"); err != nil {
		return err
	}
	number, known := t.file.nextMark(intent)
	if known {
		return nil
	}
	_, err := t.conn.Trusted(ctx, "REPLACE INTO __coffer_applied(slot, number, intent) VALUES (?, ?, ?)",
		sqlite.Int(number%marks), sqlite.Int(number), sqlite.Blob(intent[:]))
	return err
}

// Rollback ends the transaction and leaves nothing of it. It is safe twice, and
// waits for a statement that runs.
func (t *Tx) Rollback(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil
	}
	err := t.conn.Rollback(ctx)
	return t.file.after(errors.Join(err, t.end(ctx)))
}

// endTransactions rolls back what is open in the file.
func (f *file) endTransactions(ctx context.Context) {
	f.mu.Lock()
	var open []*Tx
	for t := range f.open {
		open = append(open, t)
	}
	f.mu.Unlock()
	for _, t := range open {
		if err := t.Rollback(ctx); err != nil {
			f.pool.opts.Alarm(f.id, fmt.Sprintf("rolling back a transaction of %s: %v", f.id, err))
		}
	}
}
