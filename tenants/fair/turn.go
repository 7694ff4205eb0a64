package fair

import (
	"context"
	"sync/atomic"
	"time"
)

// The states of a turn. Another goroutine moves it from paused to robbed, all
// else is done by the turn's own.
const (
	running int32 = iota
	paused        // its statement waits for the taker of its rows
	robbed        // and has lost its slot meanwhile
)

// breath and breathEvery are how long and how often a heavy statement sleeps
// while short ones have the other processors: when all are busy, Go looks for what
// came in from the network only every 10 ms.
const (
	breath      = 50 * time.Microsecond
	breathEvery = time.Millisecond
)

// patience is how long a statement may hand out one row before its slot can be
// taken away: making an answer of it is work like any other, waiting for a client
// is not.
const patience = 2 * time.Millisecond

// Turn is one statement's use of a slot. It is for the goroutine that runs the
// statement.
type Turn struct {
	queue   *Queue
	tenant  string
	granted chan struct{}
	state   atomic.Int32
	paused  atomic.Int64 // since when, in nanoseconds

	lane     *lane         // whose slot it has; nil for none
	estimate time.Duration // what was taken off the account for it

	since   time.Time     // it runs since then
	used    time.Duration // with this slot, up to since
	total   time.Duration // with earlier slots
	breathe time.Time     // when to sleep next

	movable bool
	moved   bool
}

// wait gets a slot of a lane. A slot that it has is given back once it stands in
// the queue, so that it is not passed over for the next.
func (t *Turn) wait(ctx context.Context, l *lane) error {
	q := t.queue
	q.mu.Lock()
	now := time.Now()
	room := l.join(t, now)
	if room {
		q.waiting.Add(1)
	}
	if t.lane != nil {
		t.release(now)
	}
	q.hand(l, now)
	q.mu.Unlock()
	if !room {
		return ErrFull
	}
	select {
	case <-t.granted:
	case <-ctx.Done():
		if t.quit(l) {
			return context.Cause(ctx)
		}
		<-t.granted // it came at the same moment: the caller finds out by itself
	}
	t.used, t.since = 0, time.Now()
	t.state.Store(running)
	return nil
}

// quit takes the turn out of the queue, and reports whether it still was there.
func (t *Turn) quit(l *lane) bool {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	if !l.quit(t, time.Now()) {
		return false
	}
	t.queue.waiting.Add(-1)
	return true
}

// release gives the slot back; the queue's mutex is held.
func (t *Turn) release(now time.Time) {
	q, l := t.queue, t.lane
	t.total += t.used
	t.lane = nil
	q.giveBack(l, t, now)
	q.hand(l, now)
}

// Movable says whether the statement can be stopped and begun elsewhere.
func (t *Turn) Movable(yes bool) { t.movable = yes }

// Moved says that Tick refused because the statement is to be moved.
func (t *Turn) Moved() bool { return t.moved }

// Tick is called now and then while the statement runs, within a millisecond or
// so, and can wait. It reports whether the statement may go on.
func (t *Turn) Tick(ctx context.Context) bool {
	if t.moved || t.lane == nil {
		return false
	}
	q := t.queue
	now := time.Now()
	used := t.used + now.Sub(t.since)
	if t.lane == q.light {
		return used < q.opts.Quantum || t.grow(ctx, now)
	}
	switch {
	case t.movable && t.total+used >= q.opts.Move:
		t.moved = true
		return false
	case used >= q.opts.Slice && q.waiting.Load() > 0:
		return t.again(ctx, now)
	case now.After(t.breathe) && int(q.quick.Load()) >= q.procs-1:
		time.Sleep(breath)
		t.breathe = now.Add(breathEvery + breath)
	}
	return ctx.Err() == nil
}

// grow makes a statement heavy.
func (t *Turn) grow(ctx context.Context, now time.Time) bool {
	t.used += now.Sub(t.since)
	return t.wait(ctx, t.queue.heavy) == nil
}

// again hands a heavy slot on and waits for the next.
func (t *Turn) again(ctx context.Context, now time.Time) bool {
	q := t.queue
	q.mu.Lock()
	wanted := q.heavy.waits()
	q.mu.Unlock()
	if !wanted {
		return ctx.Err() == nil
	}
	t.used += now.Sub(t.since)
	return t.wait(ctx, q.heavy) == nil
}

// Pause says that the statement hands out a row until Resume. If that takes long,
// it costs nothing and the slot can be taken away.
func (t *Turn) Pause() {
	if t.lane == nil {
		return
	}
	now := time.Now()
	t.used += now.Sub(t.since)
	t.paused.Store(now.UnixNano())
	t.state.Store(paused)
	if t.queue.waiting.Load() == 0 {
		return
	}
	// Whoever waits may have looked just before.
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	t.queue.arm()
}

// Resume goes on after Pause. If the slot was taken away it waits for another.
func (t *Turn) Resume(ctx context.Context) error {
	if t.lane == nil {
		return nil
	}
	if t.state.CompareAndSwap(paused, running) {
		now := time.Now()
		t.since = now.Add(-min(patience, time.Duration(now.UnixNano()-t.paused.Load())))
		return nil
	}
	l := t.lane
	t.queue.mu.Lock() // whoever took it may be about to settle
	t.total += t.used
	t.lane = nil
	t.queue.mu.Unlock()
	return t.wait(ctx, l)
}

// Leave ends the turn. It is safe twice.
func (t *Turn) Leave() {
	if t.lane == nil {
		return
	}
	if !t.state.CompareAndSwap(paused, running) {
		if t.state.Load() == robbed {
			t.lane = nil
			return
		}
		t.used += time.Since(t.since)
	} else {
		t.used += min(patience, time.Duration(time.Now().UnixNano()-t.paused.Load()))
	}
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	t.release(time.Now())
}
