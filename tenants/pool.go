package tenants

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"syscall"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants/fair"
	"coffer/tenants/guard"
	"coffer/tenants/worker"
)

// fdsPerConn is what one connection costs: the file, its WAL, its shared memory.
const fdsPerConn = 3

// fdReserve are the descriptors left to everything else: sockets, the journal,
// the stores.
const fdReserve = 256

// Bounds of the pool.
const (
	MaxConns         = 1024 // connections open at once, if the process may have the descriptors
	ReadersPerTenant = 4    // reading connections of one tenant
	MaxWaiting       = 64   // statements of one tenant that wait for a connection
)

// PageKeys gives what derives the page keys of a tenant's file (a cryptvfs.Keys)
// and the file's id, for a permit. The vault is one.
type PageKeys interface {
	TenantPages(ctx context.Context, p *audit.Permit, id domain.TenantID) (keys interface {
		Derive(info []byte, n int) ([]byte, error)
	}, fileID [16]byte, err error)
}

// Options say where the files are and how many may be open.
type Options struct {
	Dir      string
	Keys     PageKeys
	MaxConns int          // 0: as many as the process may have, at most MaxConns
	Limits   guard.Limits // of one statement
	Fair     fair.Options // how statements of different tenants share the processors
	Turns    *fair.Queue  // the same, shared with whatever else takes turns; nil for one of its own
	// Quota says how large a tenant's file may become; nil means the default.
	Quota func(ctx context.Context, id domain.TenantID) (Quota, error)
	Alarm func(id domain.TenantID, text string)

	// Worker says how processes of single tenants are started; nil for none.
	Worker *worker.Options
	// Isolation says where a tenant's file lives; nil means Shared for all.
	Isolation func(ctx context.Context, id domain.TenantID) (Isolation, error)
	// Note is told what became of workers, for the operator's log.
	Note func(id domain.TenantID, text string)
}

// Pool keeps the tenants' files open, a bounded number at a time. It is safe for
// concurrent use.
type Pool struct {
	opts  Options
	queue *fair.Queue

	helpers    *helpers
	background sync.WaitGroup // who waits for workers to end

	mu      sync.Mutex
	files   map[domain.TenantID]*file
	barred  map[domain.TenantID]bool
	held    map[domain.TenantID]int  // kept closed for a while, see hold
	damaged map[domain.TenantID]bool // could not be opened, which was said
	conns   int                      // open or being opened
	tick    uint64                   // orders files by their last use
	closed  bool
}

// Open makes a pool. No file is opened yet.
func Open(o Options) (*Pool, error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return nil, fmt.Errorf("reading the limit of open files: %w", err)
	}
	most := MaxFiles(int(min(lim.Cur, math.MaxInt32))) / fdsPerConn
	if o.MaxConns == 0 || o.MaxConns > most {
		o.MaxConns = most
	}
	if o.MaxConns < 1+ReadersPerTenant {
		return nil, domain.Errorf(domain.Unavailable, "the process may open %d files, too few for one tenant", lim.Cur).
			WithHint("raise the limit: ulimit -n 4096")
	}
	if o.Alarm == nil {
		o.Alarm = func(domain.TenantID, string) {}
	}
	if o.Quota == nil {
		o.Quota = func(context.Context, domain.TenantID) (Quota, error) { return Quota{}, nil }
	}
	if o.Isolation == nil {
		o.Isolation = func(context.Context, domain.TenantID) (Isolation, error) { return Shared, nil }
	}
	if o.Turns == nil {
		o.Turns = fair.New(o.Fair)
	}
	return &Pool{opts: o, queue: o.Turns, helpers: newHelpers(o.Worker), files: map[domain.TenantID]*file{}, barred: map[domain.TenantID]bool{}, held: map[domain.TenantID]int{}, damaged: map[domain.TenantID]bool{}}, nil
}

// MaxFiles is how many descriptors a pool uses at most in a process that may have
// so many.
func MaxFiles(limit int) int {
	return min(MaxConns, max(0, limit-fdReserve)/fdsPerConn) * fdsPerConn
}

func (p *Pool) dir(id domain.TenantID) string  { return filepath.Join(p.opts.Dir, string(id)) }
func (p *Pool) path(id domain.TenantID) string { return filepath.Join(p.dir(id), "data.db") }

// acquire gives the open file of the permit's tenant for statements of whoever
// may run them, opening it if need be. The caller releases it.
func (p *Pool) acquire(ctx context.Context, permit *audit.Permit) (*file, error) {
	return p.acquireFor(ctx, permit, authz.SQLQuery, authz.SQLWrite)
}

// acquireFor is acquire for permits of other actions.
func (p *Pool) acquireFor(ctx context.Context, permit *audit.Permit, actions ...domain.Action) (*file, error) {
	if err := permit.Check(permit.Tenant(), actions...); err != nil {
		return nil, err
	}
	id := permit.Tenant()
	for {
		p.mu.Lock()
		if p.closed || p.barred[id] || p.held[id] > 0 {
			p.mu.Unlock()
			return nil, domain.Errorf(domain.Unavailable, "the file of %s is closed", id).
				WithHint("it is being checked, or the tenant is suspended, or Coffer is stopping; try again in a moment")
		}
		f := p.files[id]
		if f == nil {
			f = newFile(p, id)
			p.files[id] = f
			p.use(f)
			p.mu.Unlock()
			return p.openFirst(ctx, permit, f)
		}
		if f.closing || f.broken {
			p.mu.Unlock()
			if err := wait(ctx, f.gone); err != nil {
				return nil, err
			}
			continue
		}
		p.use(f)
		p.mu.Unlock()
		if err := wait(ctx, f.ready); err != nil {
			p.release(f)
			return nil, err
		}
		if f.err != nil {
			p.release(f)
			return nil, f.err
		}
		if f.process == nil || f.process.Err() == nil {
			return f, nil
		}
		p.release(f)
		if err := wait(ctx, f.gone); err != nil { // another worker is started
			return nil, err
		}
	}
}

// openFirst opens a file that others may be waiting for already.
func (p *Pool) openFirst(ctx context.Context, permit *audit.Permit, f *file) (*file, error) {
	// Others wait for this answer: it must not end with this caller.
	f.err = f.start(context.WithoutCancel(ctx), permit)
	close(f.ready)
	if f.err == nil {
		return f, nil
	}
	err := f.err
	p.mu.Lock()
	// Every request tries again: one alarm for each file is enough.
	raise := domain.KindOf(err) == domain.Tampered && !p.damaged[f.id]
	if raise {
		p.damaged[f.id] = true
	}
	f.closing = true
	delete(p.files, f.id)
	close(f.gone)
	p.mu.Unlock()
	if raise {
		p.opts.Alarm(f.id, err.Error())
	}
	p.release(f)
	return nil, err
}

func (p *Pool) use(f *file) {
	f.users++
	p.tick++
	f.used = p.tick
}

func (p *Pool) release(f *file) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.users--
	if f.users == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// reserve makes room for one more connection, closing the file that was idle
// longest if need be.
func (p *Pool) reserve(ctx context.Context) error {
	for {
		p.mu.Lock()
		if p.conns < p.opts.MaxConns {
			p.conns++
			p.mu.Unlock()
			return nil
		}
		victim, leaving := p.idlest(), p.leaving()
		p.mu.Unlock()
		switch {
		case victim != nil:
			if err := p.shut(ctx, victim); err != nil {
				// That is not the business of the tenant that is served now.
				p.opts.Alarm(victim.id, err.Error())
			}
		case leaving != nil:
			if err := wait(ctx, leaving.gone); err != nil {
				return err
			}
		default:
			return domain.Errorf(domain.Limit, "all %d database connections are in use", p.opts.MaxConns).
				WithHint("try again in a moment; more need a higher limit of open files").WithRetry(Retry)
		}
	}
}

// leaving is a file that somebody is closing, nil if there is none.
func (p *Pool) leaving() *file {
	for _, f := range p.files {
		if f.closing {
			return f
		}
	}
	return nil
}

// idlest claims the file that nobody uses and that was used longest ago.
func (p *Pool) idlest() *file {
	var victim *file
	for _, f := range p.files {
		if f.users == 0 && !f.closing && (victim == nil || f.used < victim.used) {
			victim = f
		}
	}
	if victim != nil {
		victim.closing = true
	}
	return victim
}

// shut closes a file that has been claimed by setting closing.
func (p *Pool) shut(ctx context.Context, f *file) error {
	err := f.close(context.WithoutCancel(ctx))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.files[f.id] == f {
		delete(p.files, f.id)
	}
	close(f.gone)
	return err
}

func (p *Pool) unreserve(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns -= n
}

// Bar closes a tenant's file and keeps it closed until Admit. It waits for
// statements that run.
func (p *Pool) Bar(ctx context.Context, id domain.TenantID) error {
	p.mu.Lock()
	p.barred[id] = true
	p.mu.Unlock()
	return p.evict(ctx, id)
}

// Admit lets a tenant's file be opened again.
func (p *Pool) Admit(id domain.TenantID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.barred, id)
}

// evict closes a tenant's file once nobody uses it.
func (p *Pool) evict(ctx context.Context, id domain.TenantID) error {
	for {
		p.mu.Lock()
		f := p.files[id]
		if f == nil {
			p.mu.Unlock()
			return nil
		}
		var until chan struct{}
		switch {
		case f.closing:
			until = f.gone
		case f.users > 0:
			if f.idle == nil {
				f.idle = make(chan struct{})
			}
			until = f.idle
			p.mu.Unlock()
			f.interrupt()
			f.endTransactions(ctx)
			p.mu.Lock()
		default:
			f.closing = true
			p.mu.Unlock()
			return p.shut(ctx, f)
		}
		p.mu.Unlock()
		if err := wait(ctx, until); err != nil {
			return err
		}
	}
}

// Close closes every file after its checkpoint. It waits for statements that
// run, and is safe twice.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	var ids []domain.TenantID
	for id := range p.files {
		ids = append(ids, id)
	}
	p.mu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, p.evict(ctx, id))
	}
	p.helpers.close()
	if err := errors.Join(errs...); err != nil {
		return err // a file may be open still
	}
	p.background.Wait()
	return nil
}

// Usage says how many files and connections are open.
func (p *Pool) Usage() (files, conns int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.files), p.conns
}

func wait(ctx context.Context, until <-chan struct{}) error {
	select {
	case <-until:
		return nil
	case <-ctx.Done():
		return domain.Errorf(domain.Unavailable, "gave up waiting for a database connection: %w", ctx.Err()).
			WithHint("try again in a moment")
	}
}
