package tenants

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants/cryptvfs"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
	"coffer/tenants/worker"
)

// file is one tenant's open database: one writing connection and, as they are
// needed, some reading ones.
type file struct {
	pool  *Pool
	id    domain.TenantID
	ready chan struct{} // closed when open has ended, with err
	gone  chan struct{} // closed when the file is closed
	err   error

	keys   cryptvfs.Keys
	fileID [16]byte
	reg    *cryptvfs.Registration // nil if the file lives in a worker
	alarms uint64                 // failures of authentication that were reported
	limits guard.Limits

	waiting chan struct{}    // a place for each statement that waits
	writing chan struct{}    // the turn of the writer
	reading chan struct{}    // a turn for each reader
	changes int64            // the number of the last mark; whose turn it is to write may use it
	recent  []audit.IntentID // of the last marks, likewise

	holding chan struct{} // a turn for each reader that a transaction may hold

	process *worker.Process // in which the connections live; nil for this one

	mu                     sync.Mutex // guards what follows
	workers                map[*worker.Process]struct{}
	pastFailures, pastTorn uint64 // counted by workers that have ended
	writer                 session
	readers                []session        // idle
	opened                 int              // connections, of the pool's budget
	open                   map[*Tx]struct{} // transactions that were begun

	interrupts map[*context.CancelCauseFunc]struct{} // what ends when the file is to be closed

	// The pool's mutex guards these.
	users   int
	used    uint64
	closing bool
	broken  bool // its worker has ended: it closes as soon as nobody uses it
	idle    chan struct{}
}

func newFile(p *Pool, id domain.TenantID) *file {
	return &file{
		pool: p, id: id, ready: make(chan struct{}), gone: make(chan struct{}),
		waiting: make(chan struct{}, MaxWaiting), writing: make(chan struct{}, 1), reading: make(chan struct{}, ReadersPerTenant),
		holding: make(chan struct{}, ReadersPerTenant-1), open: map[*Tx]struct{}{},
		workers: map[*worker.Process]struct{}{},
	}
}

// start registers the keys and opens the writer, which also recovers the WAL.
func (f *file) start(ctx context.Context, permit *audit.Permit) (err error) {
	if err := f.pool.checkThere(f.id); err != nil {
		return err
	}
	keys, fileID, err := f.pool.opts.Keys.TenantPages(ctx, permit, f.id)
	if err != nil {
		return err
	}
	quota, err := f.pool.opts.Quota(ctx, f.id)
	if err != nil {
		return err
	}
	if f.limits = f.pool.opts.Limits; f.limits.Pages == 0 {
		f.limits.Pages = quota.pages()
	}
	isolation, err := f.pool.opts.Isolation(ctx, f.id)
	if err != nil {
		return err
	}
	f.keys, f.fileID = keys, fileID
	if isolation == Process {
		err = f.isolate(ctx)
	} else {
		f.reg, err = cryptvfs.Register(fileID, keys)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close(context.WithoutCancel(ctx)))
		}
	}()
	if f.writer, err = f.connect(ctx, guard.Writer); err != nil {
		return err
	}
	if err := f.checkMarks(ctx); err != nil {
		return err
	}
	return f.checkRecovery()
}

// checkRecovery refuses a file whose WAL held more than a power cut explains.
func (f *file) checkRecovery() error {
	f.mu.Lock()
	failures, torn := f.failed()
	f.alarms = failures
	f.mu.Unlock()
	if failures > torn {
		return f.damaged(errors.New("its write-ahead log was changed"))
	}
	if torn > 0 {
		f.pool.opts.Alarm(f.id, fmt.Sprintf("the write-ahead log of %s ended in %d frames that do not authenticate: a power cut, or somebody cut it", f.id, torn))
	}
	return nil
}

func (f *file) damaged(cause error) error {
	return domain.Errorf(domain.Tampered, "%s does not authenticate: %w", f.pool.path(f.id), cause).
		WithHint("the other tenants go on; restore this one from a backup; the file was left as it is")
}

// connect opens and guards a connection. It counts against the pool's budget.
func (f *file) connect(ctx context.Context, role guard.Role) (session, error) {
	if err := f.pool.reserve(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.opened++
	f.mu.Unlock()
	c, err := f.dial(ctx, role)
	if err != nil {
		f.mu.Lock()
		f.opened--
		f.mu.Unlock()
		f.pool.unreserve(1)
		return nil, fmt.Errorf("opening the database of tenant %q: %w", f.id, f.explain(err))
	}
	return c, nil
}

// dial decides where a connection lives.
func (f *file) dial(ctx context.Context, role guard.Role) (session, error) {
	if f.process != nil {
		return f.remote(ctx, role)
	}
	g, db, err := worker.Connect(ctx, f.reg, f.pool.path(f.id), role, f.limits)
	if err != nil {
		return nil, err
	}
	return &local{g, db, f.pool.queue, f.id}, nil
}

// checkThere refuses a file that was removed or emptied: a tenant's file is never
// empty, and never made again in place of a lost one.
func (p *Pool) checkThere(id domain.TenantID) error {
	info, err := os.Lstat(p.path(id))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Size() == 0:
		return domain.Errorf(domain.Tampered, "%s is missing or empty", p.path(id)).
			WithHint("the other tenants go on; put it back, or restore this one from a backup")
	case err != nil:
		return domain.Errorf(domain.Unavailable, "looking for the file of tenant %q: %w", id, err).
			WithHint("check the owner and mode of the data directory")
	}
	return nil
}

// explain gives a file that does not authenticate its name and its kind, and
// SQLite's errors about Coffer's own statements, such as a COMMIT on a full
// disk, theirs.
func (f *file) explain(err error) error {
	code, fromSQLite := errors.AsType[*sqlite.Error](err)
	_, told := errors.AsType[*domain.Error](err)
	switch {
	case domain.KindOf(err) == domain.Tampered, fromSQLite && damage(code):
		return f.damaged(err)
	case told:
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return domain.Errorf(domain.Unavailable, "the statement was stopped because its caller went away: %w", err)
	case !fromSQLite:
		return err
	case code.Primary() == sqlite.CodeFull:
		return domain.Errorf(domain.Limit, "the database of %s has reached its quota, or the disk is full: %w", f.id, err).
			WithHint("delete what is not needed, or ask the operator for a larger quota")
	}
	return domain.Errorf(domain.Unavailable, "the database file of %s cannot be read or written: %w", f.id, err).
		WithHint("look at the operator's log and run: coffer doctor")
}

// damage says whether the code is one for pages that do not authenticate: for
// page 1, for others, or for what follows from them.
func damage(e *sqlite.Error) bool {
	const ioErrData = sqlite.CodeIOErr | 32<<8 // SQLITE_IOERR_DATA
	return e.Primary() == sqlite.CodeNotADB || e.Primary() == sqlite.CodeCorrupt || e.Code == ioErrData
}

// place takes one of the tenant's places, so that one tenant cannot queue
// without bound.
func (f *file) place() error {
	select {
	case f.waiting <- struct{}{}:
		return nil
	default:
		return crowded(f.id)
	}
}

// turn waits for one of the turns that ch holds.
func turn(ctx context.Context, ch chan struct{}) error {
	select {
	case ch <- struct{}{}:
		return nil
	case <-ctx.Done():
		return domain.Errorf(domain.Unavailable, "gave up waiting for a database connection: %w", ctx.Err()).
			WithHint("try again in a moment")
	}
}

// read lends a reading connection to fn.
func (f *file) read(ctx context.Context, fn func(session) error) error {
	c, err := f.borrowReader(ctx)
	if err != nil {
		return err
	}
	defer f.returnReader(c)
	return f.after(fn(c))
}

// borrowReader waits for a reading connection. Its turn is given back with it.
func (f *file) borrowReader(ctx context.Context) (_ session, err error) {
	if err := f.wait(ctx, f.reading); err != nil {
		return nil, err
	}
	if c := f.takeReader(); c != nil {
		return c, nil
	}
	c, err := f.connect(ctx, guard.Reader)
	if err != nil {
		<-f.reading
	}
	return c, err
}

func (f *file) returnReader(c session) {
	f.mu.Lock()
	f.readers = append(f.readers, c)
	f.mu.Unlock()
	<-f.reading
}

func (f *file) takeReader() session {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.readers)
	if n == 0 {
		return nil
	}
	c := f.readers[n-1]
	f.readers = f.readers[:n-1]
	return c
}

// write lends the writing connection to fn.
func (f *file) write(ctx context.Context, fn func(session) error) error {
	if err := f.wait(ctx, f.writing); err != nil {
		return err
	}
	defer func() { <-f.writing }()
	return f.after(fn(f.writer))
}

// wait takes one of the tenant's places until it is its turn.
func (f *file) wait(ctx context.Context, ch chan struct{}) error {
	if err := f.place(); err != nil {
		return err
	}
	defer func() { <-f.waiting }()
	return turn(ctx, ch)
}

// after looks for failed authentication once a statement has run.
func (f *file) after(err error) error {
	f.mu.Lock()
	failures, _ := f.failed()
	raise := failures > f.alarms
	f.alarms = failures
	f.mu.Unlock()
	if raise {
		f.pool.opts.Alarm(f.id, fmt.Sprintf("a page of %s does not authenticate", f.pool.path(f.id)))
	}
	return f.explain(err)
}

// close checkpoints the WAL and closes every connection. Nobody uses the file.
func (f *file) close(ctx context.Context) error {
	f.pool.helpers.drop(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, c := range f.readers {
		errs = append(errs, c.Close())
	}
	f.readers = nil
	if f.writer != nil {
		if _, err := f.writer.Trusted(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); notLost(err) != nil {
			errs = append(errs, err)
		}
		errs = append(errs, f.writer.Close())
		f.writer = nil
	}
	f.pool.unreserve(f.opened)
	f.opened = 0
	if f.reg != nil {
		f.reg.Close()
	}
	if f.process != nil {
		errs = append(errs, f.process.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the database of tenant %q: %w", f.id, err)
	}
	return nil
}
