package sqlapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/audit"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// feed is an answer in parts: lines of JSON that are written while others are
// sent. Writing never waits for the client, so that a slow one holds no
// connection to the database; the answer's bound bounds what lies here. The last
// line is held back until the end, which says whether it may leave.
type feed struct {
	answer
	mu    sync.Mutex // guards the answer's buffer and what follows
	more  *sync.Cond
	sent  int // bytes that left the buffer's beginning
	total int // bytes of all lines
	ready int // bytes that may leave: all but the last line
	ended bool
	err   error
}

func newFeed(b *budget) *feed {
	f := &feed{answer: answer{budget: b}}
	f.more = sync.NewCond(&f.mu)
	return f
}

// line adds a line.
func (f *feed) line(write func(a *answer)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = len(f.buf)
	write(&f.answer)
	f.buf = append(f.buf, '\n')
	f.total = f.sent + len(f.buf)
	f.more.Signal()
	return f.account(f.total)
}

// end lets the last line go, or puts an error in its place.
func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.buf = f.buf[:f.ready]
		f.raw(`{"type":"error","error":`)
		f.failure(err)
		f.raw("}\n")
	}
	f.ended, f.err, f.ready = true, err, len(f.buf)
	f.more.Broadcast()
}

// send writes the lines as they come, until the end. When the client is gone it
// stops the statements and waits until they have.
func (f *feed) send(w *bufio.Writer, stop func()) {
	defer f.release()
	gone := false
	for {
		f.mu.Lock()
		for f.ready == 0 && !f.ended {
			f.more.Wait()
		}
		part := append([]byte(nil), f.buf[:f.ready]...)
		f.buf = f.buf[:copy(f.buf, f.buf[f.ready:])]
		f.sent, f.ready = f.sent+len(part), 0
		ended := f.ended
		f.mu.Unlock()
		if !gone {
			if _, err := w.Write(part); err != nil || w.Flush() != nil {
				gone = true
				stop()
			}
		}
		if ended {
			return
		}
	}
}

// cursor answers a batch line by line.
func (a *API) cursor(c *fiber.Ctx) error {
	ctx, cancel := httpd.Context()
	service, who, err := a.begin(ctx, c)
	if err != nil {
		cancel()
		return err
	}
	in, err := parseCursor(c)
	if err != nil {
		cancel()
		return err
	}
	f := newFeed(&a.budget)
	started := make(chan audit.Receipt, 1)
	ended := make(chan error, 1)
	var refused audit.Receipt // of an operation that did not start
	in.stream.Started = func(baton string, r audit.Receipt) {
		_ = f.line(func(a *answer) { a.head(baton) }) // the first line is short
		started <- r
	}
	in.stream.Run = func(ctx context.Context, s *actions.Stream) error { return in.batch.feed(ctx, s, f) }
	go func() {
		err := safely(func() (err error) {
			_, refused, err = actions.SQLStream.Do(ctx, service, who, in.stream)
			return err
		})
		f.end(err)
		ended <- err
	}()
	select {
	case r := <-started:
		httpd.Receipt(c, r)
	case err := <-ended:
		select {
		case r := <-started: // both are there
			httpd.Receipt(c, r)
		default:
			cancel()
			f.release()
			httpd.Receipt(c, refused)
			return err
		}
	}
	httpd.RequestID(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderContentType, "text/plain")
	log := a.log
	request := httpd.RequestID(c)
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer cancel()
		f.send(w, cancel)
		if p := httpd.ProblemOf(f.err); f.err != nil && p.Ours() {
			log.Error("request failed", "request", request, "error", f.err)
		}
	})
	return nil
}

// safely turns a panic into an error, as the server does for what it runs itself.
func safely(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = domain.Errorf(domain.Internal, "panic: %v at %s", r, debug.Stack())
		}
	}()
	return fn()
}

func (a *answer) head(baton string) {
	a.raw(`{"baton":`)
	a.baton(baton)
	a.raw(`,"base_url":null}`)
}

func (a *answer) baton(baton string) {
	if baton == "" {
		a.raw(`null`)
		return
	}
	a.text(baton)
}

// feed executes the steps of a batch and writes each one's lines. A step that
// does not run writes none.
func (b batch) feed(ctx context.Context, s *actions.Stream, f *feed) error {
	ends := make([]ending, len(b.Steps))
	for i, st := range b.Steps {
		if !st.Condition.holds(s, ends[:i]) {
			continue
		}
		err := st.Stmt.feed(ctx, s, f, i)
		ends[i] = ending{ran: true, failed: err != nil}
		if err == nil {
			continue
		}
		if whole(err) || errors.Is(err, errFull) {
			return err
		}
		if err := f.line(func(a *answer) {
			a.raw(fmt.Sprintf(`{"type":"step_error","step":%d,"error":`, i))
			a.failure(err)
			a.raw(`}`)
		}); err != nil {
			return err
		}
	}
	return nil
}

// errFull marks an answer that has no room for another line, not for that of an
// error either.
var errFull = errors.New("the answer is full")

func (st stmt) feed(ctx context.Context, s *actions.Stream, f *feed, step int) error {
	sql, err := textOf(s, st.SQL, st.SQLID)
	if err != nil {
		return err
	}
	full := func(err error) error {
		if err != nil {
			return errors.Join(err, errFull)
		}
		return nil
	}
	out, err := s.Execute(ctx, st.request(sql), guard.Sink{
		Columns: func(cols []sqlite.Column) error {
			return full(f.line(func(a *answer) {
				a.raw(fmt.Sprintf(`{"type":"step_begin","step":%d,`, step))
				a.columns(cols)
				a.raw(`}`)
			}))
		},
		Row: func(row []sqlite.Value) error {
			if st.WantRows != nil && !*st.WantRows {
				return nil
			}
			return full(f.line(func(a *answer) {
				a.raw(`{"type":"row","row":[`)
				for i, v := range row {
					if i > 0 {
						a.raw(`,`)
					}
					a.buf = appendValue(a.buf, v)
				}
				a.raw(`]}`)
			}))
		},
	})
	if err != nil {
		return err
	}
	return full(f.line(func(a *answer) {
		a.raw(`{"type":"step_end",`)
		a.counts(out)
		a.raw(`}`)
	}))
}
