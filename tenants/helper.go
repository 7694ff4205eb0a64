package tenants

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"coffer/tenants/guard"
	"coffer/tenants/worker"
)

// helperIdle is how long a worker stays that has nothing to do.
const helperIdle = 30 * time.Second

// helpers are the workers in which statements go on that read for long, of
// tenants whose files live in this process. Each is one tenant's.
type helpers struct {
	options *worker.Options // nil for no workers
	most    int
	closing sync.WaitGroup

	mu   sync.Mutex // guards what follows
	open map[*file]*helper
	tick uint64
}

// helper is a worker with reading connections of one file.
type helper struct {
	ready   chan struct{} // closed when it was started, with err
	err     error
	process *worker.Process

	// The mutex of helpers guards these.
	idle  []*worker.Session
	users int
	used  uint64
}

// errNoHelper says that a statement cannot go on elsewhere now.
var errNoHelper = errors.New("all workers are busy")

func newHelpers(o *worker.Options) *helpers {
	return &helpers{options: o, most: max(2, runtime.GOMAXPROCS(0)), open: map[*file]*helper{}}
}

// available says whether a statement of the file could go on in a worker now.
func (h *helpers) available(f *file) bool {
	if h.options == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[f] != nil || len(h.open) < h.most || h.idlest() != nil
}

// idlest is the file whose worker did nothing for longest, nil if all are busy.
func (h *helpers) idlest() (victim *file) {
	for f, w := range h.open {
		if w.users == 0 && (victim == nil || w.used < h.open[victim].used) {
			victim = f
		}
	}
	return victim
}

// run runs a statement that reads in the file's worker, which is started if need
// be.
func (h *helpers) run(ctx context.Context, f *file, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	w, err := h.acquire(ctx, f)
	if err != nil {
		return out, err
	}
	defer h.release(f, w)
	s, err := h.session(ctx, w)
	if err == nil {
		s.Around = f.around
		out, err = s.Stream(ctx, r, sink)
	}
	if errors.Is(err, worker.ErrLost) {
		h.dropped(f, w)
	}
	if s == nil || errors.Is(err, worker.ErrLost) {
		return out, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	w.idle = append(w.idle, s)
	return out, err
}

// acquire finds or starts the file's worker.
func (h *helpers) acquire(ctx context.Context, f *file) (*helper, error) {
	h.mu.Lock()
	w := h.open[f]
	if w != nil {
		w.users++
		h.mu.Unlock()
		if err := wait(ctx, w.ready); err != nil {
			h.release(f, w)
			return nil, err
		}
		if w.err != nil {
			h.release(f, w)
			return nil, errNoHelper
		}
		return w, nil
	}
	if len(h.open) >= h.most {
		victim := h.idlest()
		if victim == nil {
			h.mu.Unlock()
			return nil, errNoHelper
		}
		h.end(victim)
	}
	w = &helper{ready: make(chan struct{}), users: 1}
	h.open[f] = w
	h.mu.Unlock()
	w.process, w.err = f.startWorker(context.WithoutCancel(ctx))
	close(w.ready)
	if w.err != nil {
		f.pool.note(f.id, "no worker for a long statement: "+w.err.Error())
		h.release(f, w)
		h.dropped(f, w)
		return nil, errNoHelper
	}
	return w, nil
}

// session finds or opens a reading connection.
func (h *helpers) session(ctx context.Context, w *helper) (*worker.Session, error) {
	h.mu.Lock()
	if n := len(w.idle); n > 0 {
		s := w.idle[n-1]
		w.idle = w.idle[:n-1]
		h.mu.Unlock()
		return s, nil
	}
	h.mu.Unlock()
	return w.process.Open(ctx, guard.Reader)
}

// release ends a use of the worker, which ends if there is no other for a while.
func (h *helpers) release(f *file, w *helper) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.users--
	h.tick++
	w.used = h.tick
	if now := h.tick; w.users == 0 {
		time.AfterFunc(helperIdle, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.open[f] == w && w.users == 0 && w.used == now {
				h.end(f)
			}
		})
	}
}

// end lets go of a file's worker; h.mu is held.
func (h *helpers) end(f *file) {
	w := h.open[f]
	delete(h.open, f)
	h.closing.Go(func() {
		<-w.ready
		if w.process != nil {
			f.keep(w.process)
			_ = w.process.Close() // it only waits
		}
	})
}

// drop ends a file's worker, if it has one.
func (h *helpers) drop(f *file) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[f] != nil {
		h.end(f)
	}
}

// dropped is drop for a worker that is of no use any more.
func (h *helpers) dropped(f *file, w *helper) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[f] == w {
		h.end(f)
	}
}

// close ends them all and waits.
func (h *helpers) close() {
	h.mu.Lock()
	for f := range h.open {
		h.end(f)
	}
	h.mu.Unlock()
	h.closing.Wait()
}

// stream runs a statement that reads, in a worker if it takes long.
func (f *file) stream(ctx context.Context, c session, r guard.Request, sink guard.Sink) (guard.Outcome, error) {
	l, here := c.(*local)
	if !here || !f.pool.helpers.available(f) {
		return c.Stream(ctx, r, sink)
	}
	out, err := l.streamOrMove(ctx, r, sink)
	if !errors.Is(err, errMoved) {
		return out, err
	}
	out, err = f.pool.helpers.run(ctx, f, r, sink)
	if errors.Is(err, errNoHelper) {
		return l.Stream(ctx, r, sink)
	}
	return out, err
}
