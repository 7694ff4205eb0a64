package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// Rows are sent in messages of about so many bytes, or after so long.
const (
	batchBytes = 64 << 10
	batchTime  = 20 * time.Millisecond
)

// peer is one connection in the worker.
type peer struct {
	server *server
	id     uint32
	calls  chan message
	taken  chan bool

	guard *guard.Guard
	db    *sqlite.Conn

	mu        sync.Mutex // guards what follows
	number    uint32     // of the call that runs
	cancelled uint32     // of the last call that was to be stopped
	stop      context.CancelFunc
	owed      bool // rows were sent and not yet answered
}

// run answers calls until the connection is closed.
func (p *peer) run(ctx context.Context) {
	for m := range p.calls {
		if ended := p.one(ctx, m); ended {
			return
		}
	}
}

// begin gives a call a context that cancel ends.
func (p *peer) begin(ctx context.Context, number uint32) context.Context {
	ctx, stop := context.WithCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number, p.stop = number, stop
	if p.cancelled == number { // it came first
		stop()
	}
	return ctx
}

func (p *peer) cancel(number uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancelled = number
	if p.number == number && p.stop != nil {
		p.stop()
	}
}

// answer takes the answer to rows.
func (p *peer) answer(m *taken) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case m.Number == p.cancelled && (!p.owed || m.Number != p.number):
		return nil // they were given up
	case !p.owed || m.Number != p.number:
		return fmt.Errorf("an answer to rows that were not sent")
	}
	p.owed = false
	p.taken <- m.OK
	return nil
}

// one answers a call, and reports whether the connection is closed.
func (p *peer) one(ctx context.Context, m message) (closed bool) {
	d := &done{}
	var err error
	switch m := m.(type) {
	case *open:
		d.call = m.call
		err = p.open(p.begin(ctx, m.Number), guard.Role(m.Role))
	case *stream:
		d.call = m.call
		d.Outcome, err = p.stream(p.begin(ctx, m.Number), m)
	case *describe:
		d.call = m.call
		d.Description, err = p.guard.Describe(p.begin(ctx, m.Number), m.SQL)
	case *trusted:
		d.call = m.call
		d.Rows, err = p.guard.Trusted(p.begin(ctx, m.Number), m.SQL, m.Args...)
	case *rollback:
		d.call = m.call
		err = p.guard.Rollback(p.begin(ctx, m.Number))
	case *shut:
		d.call = m.call
		err, closed = p.shut(), true
	}
	if p.guard == nil { // it could not be opened, or is closed
		closed = true
		p.server.mu.Lock()
		delete(p.server.peers, p.id)
		p.server.mu.Unlock()
	} else {
		d.Open = p.guard.InTransaction()
	}
	if reg := p.server.reg; reg != nil {
		d.Failures, d.Torn = reg.AuthFailures(), reg.TornTails()
	}
	d.Fault = faultOf(err)
	p.mu.Lock()
	if p.stop != nil {
		p.stop()
	}
	p.mu.Unlock()
	if err := p.server.send(d); err != nil && !closed {
		// It can only be too large: a smaller answer says so.
		_ = p.server.send(&done{call: d.call, Open: d.Open, Failures: d.Failures, Torn: d.Torn, Fault: faultOf(err)})
	}
	return closed
}

func (p *peer) open(ctx context.Context, role guard.Role) error {
	if role != guard.Reader && role != guard.Writer {
		return fmt.Errorf("a connection for the role %d", role)
	}
	reg, err := p.server.registration()
	if err != nil {
		return err
	}
	p.guard, p.db, err = Connect(ctx, reg, p.server.hello.Path, role, p.server.hello.Limits)
	return err
}

func (p *peer) shut() error {
	if p.db == nil {
		return nil
	}
	err := p.db.Close()
	p.guard, p.db = nil, nil
	return err
}

// errNotTaken is the sink's error when the parent wants no more rows.
var errNotTaken = errors.New("the rows are not wanted any more")

// stream runs a statement and sends its rows. Before it ends, all of them have
// been taken: a change whose rows nobody takes is undone.
func (p *peer) stream(ctx context.Context, m *stream) (guard.Outcome, error) {
	batch := &rows{call: m.call, First: true}
	size, sent, since := 0, false, time.Time{}
	flush := func() error {
		err := p.hand(ctx, batch)
		*batch = rows{call: m.call}
		size, sent = 0, true
		return err
	}
	// A row is not kept back for long by a statement that goes on without one.
	p.guard.Pace(func(context.Context) bool {
		return len(batch.Rows) == 0 || time.Since(since) < batchTime || flush() == nil
	})
	defer p.guard.Pace(nil)
	return p.guard.Stream(ctx, m.Request, guard.Sink{
		Columns: func(c []sqlite.Column) error { batch.Columns = c; return nil },
		Row: func(row []sqlite.Value) error {
			if len(batch.Rows) == 0 {
				since = time.Now()
			}
			batch.Rows = append(batch.Rows, append([]sqlite.Value(nil), row...))
			for _, v := range row {
				size += 5 + v.Size()
			}
			if size < batchBytes {
				return nil
			}
			return flush()
		},
		End: func() error {
			if sent && len(batch.Rows) == 0 {
				return nil
			}
			return flush()
		},
	})
}

// hand sends rows and waits until they are taken.
func (p *peer) hand(ctx context.Context, batch *rows) error {
	p.mu.Lock()
	p.owed = true
	p.mu.Unlock()
	if err := p.server.send(batch); err != nil {
		return err
	}
	select {
	case ok := <-p.taken:
		if !ok {
			return errNotTaken
		}
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.owed { // the answer will be for nobody
			p.owed = false
			return context.Cause(ctx)
		}
		if ok := <-p.taken; !ok {
			return errNotTaken
		}
		return nil
	}
}
