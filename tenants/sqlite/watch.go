package sqlite

import (
	"context"
	"sync/atomic"
)

// watch ties running statements to a context. When the context ends it sets a
// flag, which the progress handler sees; it interrupts SQLite, which reaches
// the few loops that ask no progress handler (count(*) over a b-tree, a
// checkpoint); and it has large blocks of memory refused (see heap.go), which
// reaches what grows within one instruction. All act only while a call under this watch is in progress, so
// that the end of one context never stops a statement of another.
type watch struct {
	conn  *Conn
	ctx   context.Context // of the calls that it watches; the watch does not outlive them
	fired atomic.Bool
	stop  func() bool
	done  chan struct{} // closed when fire has run
}

// newWatch starts a watch, or returns nil for a context that cannot end.
func (c *Conn) newWatch(ctx context.Context) *watch {
	if ctx.Done() == nil {
		return nil
	}
	w := &watch{conn: c, ctx: ctx, done: make(chan struct{})}
	w.stop = context.AfterFunc(ctx, w.fire)
	return w
}

func (w *watch) fire() {
	defer close(w.done)
	w.fired.Store(true)
	c := w.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == w && !c.closed {
		c.refuseBlocks(true)
		c.interruptLocked()
	}
}

// end takes the watch away and waits for fire if that has begun.
func (w *watch) end() {
	if w != nil && !w.stop() {
		<-w.done
	}
}

// enter marks a call into SQLite as running under w and returns what ran
// before, for leave. With a nil watch nothing is to be guarded.
func (c *Conn) enter(w *watch) *watch {
	c.mu.Lock()
	before := c.running
	c.running = w
	c.mu.Unlock()
	return before
}

func (c *Conn) leave(before *watch) {
	c.mu.Lock()
	if w := c.running; w != nil && w.fired.Load() {
		c.refuseBlocks(false)
	}
	c.running = before
	c.mu.Unlock()
}
