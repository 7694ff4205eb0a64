package fair

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// ErrFull means that too many statements of the tenant wait already: try again
// later.
var ErrFull = errors.New("too many statements of the tenant wait already")

// Options say how much is shared out. The zero value of a field means its
// default for the processors that the process may use.
type Options struct {
	Slots   int           // statements that run at once; as many as processors, at least 2
	Heavy   int           // of those that have run for a Quantum; one less than the processors, at least 1
	Quantum time.Duration // after which a statement is heavy, and what a tenant gets in a round
	Slice   time.Duration // after which a heavy statement hands on its slot, if others wait
	Move    time.Duration // after which a heavy statement that can be moved is told so
	Depth   int           // turns of one tenant that wait in a lane
}

// Defaults of Options.
const (
	DefaultQuantum = 5 * time.Millisecond
	DefaultSlice   = 20 * time.Millisecond
	DefaultMove    = 100 * time.Millisecond
	DefaultDepth   = 64
)

func (o Options) withDefaults() Options {
	procs := runtime.GOMAXPROCS(0)
	o.Slots = orDefault(o.Slots, max(2, procs))
	o.Heavy = orDefault(o.Heavy, max(1, procs-1))
	o.Quantum = orDefault(o.Quantum, DefaultQuantum)
	o.Slice = orDefault(o.Slice, DefaultSlice)
	o.Move = orDefault(o.Move, DefaultMove)
	o.Depth = orDefault(o.Depth, DefaultDepth)
	return o
}

func orDefault[T int | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// Queue shares slots out. It is safe for concurrent use.
type Queue struct {
	opts    Options
	procs   int
	waiting atomic.Int32 // turns that wait for a slot
	quick   atomic.Int32 // turns that have a slot of the first lane

	mu    sync.Mutex // guards what follows
	light *lane
	heavy *lane
	armed bool // a timer looks again for turns that wait for the takers of their rows
}

// New makes a queue.
func New(o Options) *Queue {
	o = o.withDefaults()
	return &Queue{
		opts: o, procs: runtime.GOMAXPROCS(0),
		// One slot is always left to the other tenants.
		light: newLane(o.Slots, max(1, o.Slots-1), o.Depth, o.Quantum),
		heavy: newLane(o.Heavy, o.Heavy, o.Depth, o.Slice),
	}
}

// Enter waits for a slot. Whoever gets a turn ends it with Leave. The error is
// ErrFull, at once, or that of the context.
func (q *Queue) Enter(ctx context.Context, tenant string) (*Turn, error) {
	return q.enter(ctx, q.light, tenant)
}

// EnterHeavy is Enter for what is known to be heavy before it begins.
func (q *Queue) EnterHeavy(ctx context.Context, tenant string) (*Turn, error) {
	return q.enter(ctx, q.heavy, tenant)
}

func (q *Queue) enter(ctx context.Context, l *lane, tenant string) (*Turn, error) {
	t := &Turn{queue: q, tenant: tenant, granted: make(chan struct{}, 1)}
	if err := t.wait(ctx, l); err != nil {
		return nil, err
	}
	return t, nil
}

// Charge takes a cost off a tenant's account that came without a turn.
func (q *Queue) Charge(tenant string, cost time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.light.charge(tenant, cost, time.Now())
}

// Usage says how many statements run, how many of these are heavy, and how many
// wait.
func (q *Queue) Usage() (running, heavy, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.light.holding) + len(q.heavy.holding), len(q.heavy.holding), int(q.waiting.Load())
}

// hand gives free slots to whoever is next. If nobody can have one, those are
// taken away that are held by turns whose statement waits for the taker of its
// rows. q.mu is held.
func (q *Queue) hand(l *lane, now time.Time) {
	for len(l.ring) > 0 {
		t := l.next(now)
		if t == nil {
			if !q.rob(l, now) {
				return
			}
			continue
		}
		t.lane = l
		q.waiting.Add(-1)
		if l == q.light {
			q.quick.Add(1)
		}
		t.granted <- struct{}{}
	}
}

// rob takes one slot from a turn that does not need it now, if that helps
// somebody who waits: the slot is of the lane, or of the tenant's own share.
func (q *Queue) rob(l *lane, now time.Time) bool {
	for t := range l.holding {
		own := len(l.accounts[t.tenant].waiting) > 0
		if (!own && (l.free > 0 || !l.waits())) || t.state.Load() != paused {
			continue
		}
		if now.UnixNano()-t.paused.Load() < int64(patience) {
			q.arm()
		} else if t.state.CompareAndSwap(paused, robbed) {
			t.used += patience
			q.giveBack(l, t, now)
			return true
		}
	}
	return false
}

// arm has somebody look again when patience is over; q.mu is held.
func (q *Queue) arm() {
	if q.armed {
		return
	}
	q.armed = true
	time.AfterFunc(patience, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.armed = false
		now := time.Now()
		q.hand(q.light, now)
		q.hand(q.heavy, now)
	})
}

// giveBack ends a turn's use of a slot; q.mu is held.
func (q *Queue) giveBack(l *lane, t *Turn, now time.Time) {
	l.giveBack(t, t.used, now)
	if l == q.light {
		q.quick.Add(-1)
		return
	}
	q.light.charge(t.tenant, t.used, now) // it has cost the others as much, wherever it ran
}
