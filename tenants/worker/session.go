package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// Session is a guarded connection in a worker. Its methods are those of
// guard.Guard, and like that it is for one caller at a time.
type Session struct {
	process *Process
	id      uint32
	number  atomic.Uint32 // of the call that is under way, else 0
	last    uint32
	answers chan message
	open    bool // a transaction
	closed  bool

	// Around, if not nil, runs what hands rows to a sink, for the caller to bound
	// how much of that is done at once.
	Around func(ctx context.Context, hand func() error) error
}

// Open opens and guards a connection.
func (p *Process) Open(ctx context.Context, role guard.Role) (*Session, error) {
	p.mu.Lock()
	p.last++
	// Room for two: rows, and the end of a call that was cancelled meanwhile.
	s := &Session{process: p, id: p.last, answers: make(chan message, 2)}
	p.sessions[s.id] = s
	p.mu.Unlock()
	if _, err := s.call(ctx, &open{call: s.next(), Role: uint8(role)}, longest, guard.Sink{}); err != nil {
		s.forget()
		return nil, err
	}
	return s, nil
}

func (s *Session) forget() {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	delete(s.process.sessions, s.id)
	s.closed, s.open = true, false
}

// next numbers a call.
func (s *Session) next() call {
	s.last++
	return call{s.id, s.last}
}

// Stream runs one statement.
func (s *Session) Stream(ctx context.Context, r guard.Request, sink guard.Sink) (guard.Outcome, error) {
	d, err := s.call(ctx, &stream{call: s.next(), Request: r}, max(r.Deadline, s.deadline()), sink)
	return d.Outcome, err
}

// Describe compiles one statement.
func (s *Session) Describe(ctx context.Context, sql string) (guard.Description, error) {
	d, err := s.call(ctx, &describe{call: s.next(), SQL: sql}, s.deadline(), guard.Sink{})
	return d.Description, err
}

// Trusted runs one statement of Coffer's own.
func (s *Session) Trusted(ctx context.Context, sql string, args ...sqlite.Value) ([][]sqlite.Value, error) {
	d, err := s.call(ctx, &trusted{call: s.next(), SQL: sql, Args: args}, longest, guard.Sink{})
	return d.Rows, err
}

// Rollback ends a transaction that is open. The end of the worker has ended it
// too.
func (s *Session) Rollback(ctx context.Context) error {
	if !s.InTransaction() {
		return nil
	}
	_, err := s.call(context.WithoutCancel(ctx), &rollback{s.next()}, longest, guard.Sink{})
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

// InTransaction reports whether a transaction is open.
func (s *Session) InTransaction() bool { return s.open && s.process.Err() == nil }

// Close closes the connection. It is safe twice.
func (s *Session) Close() error {
	if s.closed {
		return nil
	}
	defer s.forget()
	_, err := s.call(context.Background(), &shut{s.next()}, longest, guard.Sink{})
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

// deadline is when the worker itself has stopped a statement of a role.
func (s *Session) deadline() time.Duration {
	if d := s.process.spec.Limits.Deadline; d > 0 {
		return d
	}
	return guard.DefaultDeadline
}

// caller is what numbers a message.
type caller interface {
	message
	ref() call
}

func (m *call) ref() call { return *m }

// call sends a call and waits for its end. Silence for longer than it may take
// means that the worker hangs in one instruction: then it is killed.
func (s *Session) call(ctx context.Context, m caller, most time.Duration, sink guard.Sink) (*done, error) {
	if s.closed {
		return &done{}, errors.New("the connection to the worker is closed")
	}
	p := s.process
	p.calls.Add(1)
	defer p.calls.Add(-1)
	c := m.ref()
	s.number.Store(c.Number)
	defer s.number.Store(0)
	if err := p.send(m); err != nil {
		return &done{}, err
	}
	timer := time.NewTimer(most + grace)
	defer timer.Stop()
	ended := ctx.Done()
	var refused error // by the sink
	for {
		select {
		case a := <-s.answers:
			if d, ok := a.(*done); ok {
				s.open = d.Open
				return d, errors.Join(refused, s.failure(d, refused))
			}
			timer.Reset(most + grace)
			r, _ := a.(*rows)
			hand := func() error { return pass(r, sink) }
			switch {
			case refused != nil:
			case s.Around != nil:
				refused = s.Around(ctx, hand)
			default:
				refused = hand()
			}
			if err := p.send(&taken{c, refused == nil}); err != nil {
				return &done{}, errors.Join(refused, err)
			}
		case <-ended:
			ended = nil
			timer.Reset(grace)
			if err := p.send(&cancel{c}); err != nil {
				return &done{}, err
			}
		case <-timer.C:
			p.end(fmt.Errorf("it did not answer in time: %w", ErrOwnFault))
			return &done{}, p.lost()
		case <-p.reading:
			// What came before the end counts.
			select {
			case a := <-s.answers:
				if d, ok := a.(*done); ok {
					return d, errors.Join(refused, s.failure(d, refused))
				}
			default:
			}
			return &done{}, errors.Join(refused, p.lost())
		}
	}
}

// failure is the error of an answer; what the sink said is the reason for one.
func (s *Session) failure(d *done, refused error) error {
	if refused != nil {
		return nil
	}
	return d.Fault.err()
}

// pass hands rows to the sink.
func pass(r *rows, sink guard.Sink) error {
	if r.First && sink.Columns != nil {
		if err := sink.Columns(r.Columns); err != nil {
			return err
		}
	}
	for _, row := range r.Rows {
		if len(row) == 0 {
			return fmt.Errorf("a row without values")
		}
		if sink.Row != nil {
			if err := sink.Row(row); err != nil {
				return err
			}
		}
	}
	return nil
}
