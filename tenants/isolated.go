package tenants

import (
	"context"
	"errors"
	"fmt"

	"coffer/app/domain"
	"coffer/tenants/fair"
	"coffer/tenants/guard"
	"coffer/tenants/worker"
)

// Isolation says where a tenant's file lives.
type Isolation string

// The kinds of isolation.
const (
	Shared  Isolation = ""        // in Coffer's process, with those of other tenants
	Process Isolation = "process" // in a process of its own with limits of its own
)

// isolationShared is what people call Shared.
const isolationShared = "shared"

// String is the kind's name, for people and on the wire.
func (i Isolation) String() string {
	if i == Shared {
		return isolationShared
	}
	return string(i)
}

// ParseIsolation reads the kind's name; none means Shared.
func ParseIsolation(s string) (Isolation, error) {
	switch s {
	case "", isolationShared:
		return Shared, nil
	case string(Process):
		return Process, nil
	}
	return Shared, domain.Fieldf("isolation", "%.20q is neither shared nor process", s)
}

// startWorker starts a worker for the file.
func (f *file) startWorker(ctx context.Context) (*worker.Process, error) {
	o := f.pool.opts.Worker
	if o == nil {
		return nil, domain.Errorf(domain.Unavailable, "this Coffer starts no worker processes")
	}
	w, err := worker.Start(ctx, *o, worker.Spec{Path: f.pool.path(f.id), FileID: f.fileID, Keys: f.keys, Limits: f.limits})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.workers[w] = struct{}{}
	f.mu.Unlock()
	f.pool.note(f.id, fmt.Sprintf("started worker %d: %s", w.PID(), w.Confined()))
	return w, nil
}

// keep remembers what an ended worker has counted.
func (f *file) keep(w *worker.Process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.workers[w]; known {
		delete(f.workers, w)
		f.pastFailures += w.AuthFailures()
		f.pastTorn += w.TornTails()
	}
}

// failed counts what did not authenticate, wherever it was read; f.mu is held.
func (f *file) failed() (failures, torn uint64) {
	failures, torn = f.pastFailures, f.pastTorn
	if f.reg != nil {
		failures, torn = failures+f.reg.AuthFailures(), torn+f.reg.TornTails()
	}
	for w := range f.workers {
		failures, torn = failures+w.AuthFailures(), torn+w.TornTails()
	}
	return failures, torn
}

// isolate starts the worker in which all connections of the file live.
func (f *file) isolate(ctx context.Context) error {
	w, err := f.startWorker(ctx)
	if err != nil {
		return err
	}
	f.process = w
	f.pool.background.Go(func() {
		<-w.Done()
		f.pool.retire(f, fmt.Sprintf("its worker has ended: %v", w.Err()))
	})
	return nil
}

// retire closes a file as soon as nobody uses it, such as one whose worker has
// ended: who uses it learns so from its connections. Who comes meanwhile waits for
// the next. why is for the operator's log.
func (p *Pool) retire(f *file, why string) {
	ctx := context.Background()
	for {
		p.mu.Lock()
		if p.files[f.id] != f || f.closing {
			p.mu.Unlock()
			return
		}
		if f.users == 0 {
			f.closing = true
			p.mu.Unlock()
			if why != "" {
				p.note(f.id, why)
			}
			if err := p.shut(ctx, f); err != nil {
				p.opts.Alarm(f.id, err.Error())
			}
			return
		}
		f.broken = true
		if f.idle == nil {
			f.idle = make(chan struct{})
		}
		until := f.idle
		p.mu.Unlock()
		if why != "" {
			p.note(f.id, why)
			why = ""
		}
		f.interrupt()
		f.endTransactions(ctx)
		<-until
	}
}

// note tells the operator's log something of a tenant's worker.
func (p *Pool) note(id domain.TenantID, text string) {
	if p.opts.Note != nil {
		p.opts.Note(id, text)
	}
}

// Confinement says how the worker of a tenant's file is limited, and which
// process it is; "" if the file is closed or lives in this process.
func (p *Pool) Confinement(id domain.TenantID) string {
	p.mu.Lock()
	f := p.files[id]
	p.mu.Unlock()
	if f == nil {
		return ""
	}
	select {
	case <-f.ready:
	default:
		return ""
	}
	if f.process == nil {
		return ""
	}
	return fmt.Sprintf("worker %d: %s", f.process.PID(), f.process.Confined())
}

// Workers says how processes for single tenants are limited.
func (p *Pool) Workers() string {
	if p.opts.Worker == nil {
		return "there are none"
	}
	return p.opts.Worker.Describe()
}

// Reopen closes a tenant's file once nobody uses it, so that the next statement
// opens it as the tenant's record then says. Who comes meanwhile waits;
// transactions that are open are rolled back.
func (p *Pool) Reopen(id domain.TenantID) {
	p.mu.Lock()
	f := p.files[id]
	p.mu.Unlock()
	if f != nil {
		p.retire(f, "")
	}
}

// remote opens a connection in the file's worker.
func (f *file) remote(ctx context.Context, role guard.Role) (session, error) {
	s, err := f.process.Open(ctx, role)
	if err != nil {
		return nil, err
	}
	s.Around = f.around
	return s, nil
}

// around has rows of a worker be handed out when it is the tenant's turn: making
// an answer of them costs time in this process.
func (f *file) around(ctx context.Context, hand func() error) error {
	turn, err := f.pool.queue.Enter(ctx, string(f.id))
	if errors.Is(err, fair.ErrFull) {
		return crowded(f.id)
	}
	if err != nil {
		return err
	}
	defer turn.Leave()
	turn.Pause() // the taker may be slow
	return hand()
}

// notLost leaves out that a worker has ended, which closing it need not say.
func notLost(err error) error {
	if errors.Is(err, worker.ErrLost) {
		return nil
	}
	return err
}

// again runs fn once more if the tenant's worker turned out to have ended, which
// is not noticed before it is asked. fn has had no effect then.
func again(fn func() error) error {
	err := fn()
	if errors.Is(err, worker.ErrLost) && !errors.Is(err, worker.ErrOwnFault) {
		return fn()
	}
	return err
}
