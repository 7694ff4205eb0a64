package fair_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"coffer/tenants/fair"
)

// run is a statement that computes for so long, in steps of a tenth of a
// millisecond, and reports whether it came to its end.
func run(ctx context.Context, turn *fair.Turn, cost time.Duration) bool {
	const step = 100 * time.Microsecond
	for ; cost > 0; cost -= step {
		time.Sleep(step)
		if !turn.Tick(ctx) {
			return false
		}
	}
	return true
}

func enter(t *testing.T, q *fair.Queue, tenant string) *fair.Turn {
	t.Helper()
	turn, err := q.Enter(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

// TestQuietBesideLoud: while three tenants keep every place taken with endless
// statements, one with short ones never waits longer than a quantum of each slot.
func TestQuietBesideLoud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fair.New(fair.Options{Slots: 2, Heavy: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, tenant := range []string{"loud-1", "loud-2", "loud-3"} {
			for range 16 {
				wg.Go(func() {
					for ctx.Err() == nil {
						turn, err := q.Enter(ctx, tenant)
						if err != nil {
							continue
						}
						run(ctx, turn, 5*time.Second)
						turn.Leave()
					}
				})
			}
		}
		time.Sleep(time.Second)
		for range 200 {
			time.Sleep(17 * time.Millisecond)
			start := time.Now()
			turn := enter(t, q, "quiet")
			if waited := time.Since(start); waited > 2*fair.DefaultQuantum {
				t.Errorf("waited for %v", waited)
			}
			run(ctx, turn, 300*time.Microsecond)
			turn.Leave()
		}
		if running, heavy, _ := q.Usage(); heavy != 1 || running > 3 {
			t.Errorf("%d run, %d of them heavy", running, heavy)
		}
		cancel()
		wg.Wait()
		if running, heavy, waiting := q.Usage(); running+heavy+waiting != 0 {
			t.Errorf("%d run, %d heavy, %d wait at the end", running, heavy, waiting)
		}
	})
}

// TestHeavyTakeTurns: endless statements of different tenants share the heavy
// slot evenly.
func TestHeavyTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fair.New(fair.Options{Slots: 4, Heavy: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var steps [3]atomic.Int64
		var wg sync.WaitGroup
		for i, tenant := range []string{"a", "b", "b"} {
			wg.Go(func() {
				turn := enter(t, q, tenant)
				defer turn.Leave()
				for time.Sleep(time.Millisecond); turn.Tick(ctx); time.Sleep(time.Millisecond) {
					steps[i].Add(1)
				}
			})
		}
		wg.Wait()
		a, b := steps[0].Load(), steps[1].Load()+steps[2].Load()
		if share := float64(a) / float64(a+b); share < 0.45 || share > 0.55 {
			t.Errorf("one statement of a ran %d steps, two of b %d", a, b)
		}
	})
}

// TestHeavyFromTheBeginning: what is known to be heavy takes turns with what became
// so, and never holds up what is short.
func TestHeavyFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fair.New(fair.Options{Slots: 2, Heavy: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var statement, sending atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			turn := enter(t, q, "a")
			defer turn.Leave()
			for time.Sleep(time.Millisecond); turn.Tick(ctx); time.Sleep(time.Millisecond) {
				statement.Add(1)
			}
		})
		wg.Go(func() {
			turn, err := q.EnterHeavy(ctx, "b")
			if err != nil {
				t.Error(err)
				return
			}
			defer turn.Leave()
			for time.Sleep(time.Millisecond); turn.Tick(ctx); time.Sleep(time.Millisecond) {
				sending.Add(1)
			}
		})
		for ctx.Err() == nil {
			time.Sleep(17 * time.Millisecond)
			start := time.Now()
			turn := enter(t, q, "quiet")
			if waited := time.Since(start); waited > fair.DefaultQuantum {
				t.Errorf("waited for %v", waited)
			}
			turn.Leave()
		}
		wg.Wait()
		if share := float64(sending.Load()) / float64(sending.Load()+statement.Load()); share < 0.45 || share > 0.55 {
			t.Errorf("%.2f of the steps were those of what began heavy", share)
		}
	})
}

// TestMovedWhereItCan: what can run elsewhere goes when it has run for a while,
// what waits for a slot not counted.
func TestMovedWhereItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fair.New(fair.Options{Slots: 3, Heavy: 1})
		first, second := enter(t, q, "a"), enter(t, q, "b")
		first.Movable(true)
		second.Movable(true)
		done := make(chan time.Duration)
		for _, turn := range []*fair.Turn{first, second} {
			go func() {
				start := time.Now()
				if run(t.Context(), turn, time.Second) || !turn.Moved() {
					t.Error("it was not moved")
				}
				turn.Leave()
				done <- time.Since(start)
			}()
		}
		const most = 2*fair.DefaultMove + fair.DefaultSlice + time.Millisecond
		if soon, later := <-done, <-done; soon < fair.DefaultMove || later > most {
			t.Errorf("moved after %v and %v", soon, later)
		}
	})
}

// TestPausedHoldsNothing: who reads a result slowly keeps nobody from running,
// and does not pay for the time.
func TestPausedHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fair.New(fair.Options{Slots: 2, Heavy: 1})
		slow := []*fair.Turn{enter(t, q, "slow-1"), enter(t, q, "slow-2")}
		for _, turn := range slow {
			turn.Pause()
		}
		start := time.Now()
		turns := []*fair.Turn{enter(t, q, "a"), enter(t, q, "b")}
		if waited := time.Since(start); waited > 5*time.Millisecond {
			t.Errorf("waited for %v", waited)
		}
		time.Sleep(time.Hour)
		resumed := make(chan error)
		go func() { resumed <- slow[0].Resume(t.Context()) }()
		synctest.Wait()
		select {
		case <-resumed:
			t.Error("resumed without a slot")
		default:
		}
		turns[0].Leave()
		if err := <-resumed; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := slow[1].Resume(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for _, turn := range append(slow, turns...) {
			turn.Leave()
			turn.Leave()
		}
		if running, _, waiting := q.Usage(); running+waiting != 0 {
			t.Errorf("%d run, %d wait", running, waiting)
		}
	})
}

// TestPausedKeepsNoneOfItsOwnWaiting: a tenant that reads its results slowly goes
// on with its other statements.
func TestPausedKeepsNoneOfItsOwnWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fair.New(fair.Options{Slots: 2, Heavy: 1})
		start := time.Now()
		var turns []*fair.Turn
		for range 5 {
			turn := enter(t, q, "a")
			turn.Pause()
			turns = append(turns, turn)
		}
		if waited := time.Since(start); waited > 20*time.Millisecond {
			t.Errorf("waited for %v", waited)
		}
		for _, turn := range turns {
			if err := turn.Resume(t.Context()); err != nil {
				t.Error(err)
			}
			turn.Leave()
		}
	})
}

// TestFull: a tenant's queue has a bound, and others have queues of their own.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fair.New(fair.Options{Slots: 1, Heavy: 1, Depth: 3})
		holder := enter(t, q, "a")
		var wg sync.WaitGroup
		for _, tenant := range []string{"a", "a", "a", "b"} {
			wg.Go(func() { enter(t, q, tenant).Leave() })
		}
		synctest.Wait()
		if _, err := q.Enter(t.Context(), "a"); !errors.Is(err, fair.ErrFull) {
			t.Errorf("error %v, want that the queue is full", err)
		}
		holder.Leave()
		wg.Wait()
	})
}

// TestRandomSchedule: many tenants do all that can be done, in any order; nothing
// is lost, no bound is passed and nobody waits for ever.
func TestRandomSchedule(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	for seed := range uint64(rounds) {
		synctest.Test(t, func(t *testing.T) { schedule(t, seed) })
	}
}

func schedule(t *testing.T, seed uint64) {
	draw := rand.New(rand.NewPCG(seed, 7))
	slots, heavy := 1+draw.IntN(4), 1+draw.IntN(2)
	q := fair.New(fair.Options{Slots: slots, Heavy: heavy, Depth: 8})
	var computing atomic.Int32
	var wg sync.WaitGroup
	for range 40 {
		r := rand.New(rand.NewPCG(seed, draw.Uint64()))
		tenant := string(rune('a' + r.IntN(6)))
		wg.Go(func() {
			for range 5 {
				time.Sleep(time.Duration(r.IntN(int(20 * time.Millisecond))))
				statement(t, q, tenant, r, &computing, int32(slots+heavy))
			}
		})
	}
	wg.Wait()
	if running, heavy, waiting := q.Usage(); running+heavy+waiting != 0 {
		t.Errorf("seed %d: %d run, %d heavy, %d wait at the end", seed, running, heavy, waiting)
	}
}

// statement runs one of a random kind.
func statement(t *testing.T, q *fair.Queue, tenant string, r *rand.Rand, computing *atomic.Int32, most int32) {
	ctx, cancel := t.Context(), context.CancelFunc(func() {})
	if r.IntN(3) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(int(60*time.Millisecond))))
	}
	defer cancel()
	turn, err := q.Enter(ctx, tenant)
	if err != nil {
		if !errors.Is(err, fair.ErrFull) && ctx.Err() == nil {
			t.Error(err)
		}
		return
	}
	defer turn.Leave()
	turn.Movable(r.IntN(4) == 0)
	for range r.IntN(5) {
		for range r.IntN(1 + r.IntN(400)) {
			if n := computing.Add(1); n > most {
				t.Errorf("%d statements compute at once, of %d slots", n, most)
			}
			time.Sleep(100 * time.Microsecond)
			computing.Add(-1)
			if !turn.Tick(ctx) {
				return
			}
		}
		turn.Pause()
		time.Sleep(time.Duration(r.IntN(int(5 * time.Millisecond))))
		if err := turn.Resume(ctx); err != nil {
			return
		}
	}
}
