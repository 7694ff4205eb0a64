package tenants

import (
	"context"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/tenants/fair"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// Retry is after how long somebody who was refused for others' load may try again.
const Retry = time.Second

// worthCharging is from which time on a statement of Coffer's own, such as a
// COMMIT, counts for its tenant.
const worthCharging = 200 * time.Microsecond

// local is a session in this process. Its statements take their turn among those
// of all tenants.
type local struct {
	*guard.Guard
	db    *sqlite.Conn
	queue *fair.Queue // nil for one that competes with nobody
	id    domain.TenantID
}

// Close closes the connection.
func (l *local) Close() error { return l.db.Close() }

// Stream runs one statement when it is its turn.
func (l *local) Stream(ctx context.Context, r guard.Request, sink guard.Sink) (guard.Outcome, error) {
	if l.queue == nil {
		return l.Guard.Stream(ctx, r, sink)
	}
	turn, err := l.enter(ctx)
	if err != nil {
		return guard.Outcome{}, err
	}
	defer turn.Leave()
	return l.paced(ctx, turn, r, yielding(ctx, turn, sink))
}

// errMoved says that a statement was stopped to be run again elsewhere.
var errMoved = errors.New("the statement is to run elsewhere")

// streamOrMove is Stream for a statement that may run elsewhere instead. If it
// takes long before it has handed out more than a few rows, it is stopped with
// errMoved, and nothing of it was given to the sink.
func (l *local) streamOrMove(ctx context.Context, r guard.Request, sink guard.Sink) (guard.Outcome, error) {
	turn, err := l.enter(ctx)
	if err != nil {
		return guard.Outcome{}, err
	}
	defer turn.Leave()
	turn.Movable(true)
	held := &holdback{sink: yielding(ctx, turn, sink), passed: func() { turn.Movable(false) }}
	out, err := l.paced(ctx, turn, r, held.wrap())
	if err != nil && turn.Moved() {
		return guard.Outcome{}, errMoved
	}
	return out, err
}

func (l *local) enter(ctx context.Context) (*fair.Turn, error) {
	turn, err := l.queue.Enter(ctx, string(l.id))
	switch {
	case errors.Is(err, fair.ErrFull):
		return nil, crowded(l.id)
	case err != nil:
		return nil, domain.Errorf(domain.Unavailable, "gave up waiting for a turn: %w", err).WithHint("try again in a moment")
	}
	return turn, nil
}

// crowded is the answer to who has too many statements waiting.
func crowded(id domain.TenantID) error {
	return domain.Errorf(domain.Limit, "%d statements of %s wait already", MaxWaiting, id).
		WithHint("try again in a moment").WithRetry(Retry)
}

// paced runs a statement with a turn.
func (l *local) paced(ctx context.Context, turn *fair.Turn, r guard.Request, sink guard.Sink) (guard.Outcome, error) {
	l.Pace(turn.Tick)
	defer l.Pace(nil)
	return l.Guard.Stream(ctx, r, sink)
}

// yielding is a sink that holds the turn against nobody while it takes a row.
func yielding(ctx context.Context, turn *fair.Turn, sink guard.Sink) guard.Sink {
	take := sink.Row
	if take == nil {
		return sink
	}
	sink.Row = func(row []sqlite.Value) error {
		turn.Pause()
		err := take(row)
		return errors.Join(err, turn.Resume(ctx))
	}
	return sink
}

// Describe compiles one statement when it is its turn.
func (l *local) Describe(ctx context.Context, sql string) (guard.Description, error) {
	if l.queue == nil {
		return l.Guard.Describe(ctx, sql)
	}
	turn, err := l.enter(ctx)
	if err != nil {
		return guard.Description{}, err
	}
	defer turn.Leave()
	return l.Guard.Describe(ctx, sql)
}

// Trusted runs a statement of Coffer's own at once: others of the tenant wait for
// it already. What it costs is put on the tenant's account.
func (l *local) Trusted(ctx context.Context, sql string, args ...sqlite.Value) ([][]sqlite.Value, error) {
	start := time.Now()
	rows, err := l.Guard.Trusted(ctx, sql, args...)
	if took := time.Since(start); took > worthCharging && l.queue != nil {
		l.queue.Charge(string(l.id), took)
	}
	return rows, err
}

// holdback keeps the beginning of a result, so that a statement can be stopped
// and run again without anybody having seen a part of it.
type holdback struct {
	sink    guard.Sink
	passed  func() // called before the first row is handed on
	through bool
	columns []sqlite.Column
	rows    [][]sqlite.Value
	bytes   int
}

// What a holdback keeps at most.
const (
	heldRows  = 256
	heldBytes = 64 << 10
)

// wrap is the sink that fills it.
func (h *holdback) wrap() guard.Sink {
	return guard.Sink{
		Columns: func(c []sqlite.Column) error { h.columns = c; return nil },
		Row: func(row []sqlite.Value) error {
			if h.through {
				return h.row(row)
			}
			h.rows = append(h.rows, append([]sqlite.Value(nil), row...))
			for _, v := range row {
				h.bytes += v.Size()
			}
			if len(h.rows) < heldRows && h.bytes < heldBytes {
				return nil
			}
			return h.flush()
		},
		End: func() error {
			if err := h.flush(); err != nil || h.sink.End == nil {
				return err
			}
			return h.sink.End()
		},
	}
}

func (h *holdback) row(row []sqlite.Value) error {
	if h.sink.Row == nil {
		return nil
	}
	return h.sink.Row(row)
}

// flush hands on what was kept, once.
func (h *holdback) flush() error {
	if h.through {
		return nil
	}
	h.through = true
	h.passed()
	if h.sink.Columns != nil {
		if err := h.sink.Columns(h.columns); err != nil {
			return err
		}
	}
	for _, row := range h.rows {
		if err := h.row(row); err != nil {
			return err
		}
	}
	h.rows = nil
	return nil
}
