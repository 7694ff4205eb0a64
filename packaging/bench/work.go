package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// work is one kind of unit. id is a number that no row has yet.
type work struct {
	what string
	do   func(ctx context.Context, s system, n size, id int64) error
}

var works = []work{
	{"a request that does nothing", func(ctx context.Context, s system, _ size, _ int64) error {
		return s.Nothing(ctx)
	}},
	{"point read, any tenant", func(ctx context.Context, s system, n size, _ int64) error {
		return s.Read(ctx, rand.IntN(n.tenants), 1+rand.Int64N(int64(n.rows)))
	}},
	{"the same, a new connection for each", func(ctx context.Context, s system, n size, _ int64) error {
		return s.ReadAnew(ctx, rand.IntN(n.tenants), 1+rand.Int64N(int64(n.rows)))
	}},
	{"insert, any tenant", func(ctx context.Context, s system, n size, id int64) error {
		return s.Insert(ctx, rand.IntN(n.tenants), id)
	}},
	{"insert, all into one tenant", func(ctx context.Context, s system, _ size, id int64) error {
		return s.Insert(ctx, 0, id)
	}},
	{"transaction of many inserts", func(ctx context.Context, s system, n size, id int64) error {
		return s.Batch(ctx, rand.IntN(n.tenants), id, n.batch)
	}},
}

// result is what a system did of one kind of work.
type result struct {
	rate     float64 // units a second
	p50, p99 time.Duration
	cpu      time.Duration // of the system's processes for a unit
}

// measure gives every system every kind of work, one after the other, and prints
// the medians of the rounds.
func measure(ctx context.Context, n size, systems []system) error {
	found := map[pair][]result{}
	var next atomic.Int64
	next.Store(1 << 20)
	works := slices.DeleteFunc(slices.Clone(works), func(w work) bool { return !strings.Contains(w.what, n.only) })
	for range n.rounds {
		for w := range works {
			for s := range systems {
				r, err := undisturbed(systems, n.each, func() (result, error) { return perform(ctx, n, systems[s], works[w], &next) })
				if err != nil {
					return fmt.Errorf("%s, %s: %w", systems[s].Name(), works[w].what, err)
				}
				found[pair{w, s}] = append(found[pair{w, s}], r)
			}
		}
	}
	for w := range works {
		fmt.Printf("\n| %s | units/s | p50 | p99 | CPU of the server |\n|---|---|---|---|---|\n", works[w].what)
		for s := range systems {
			r := median(found[pair{w, s}])
			fmt.Printf("| %s | %.0f | %s ms | %s ms | %.0f µs |\n", systems[s].Name(), r.rate, ms(r.p50), ms(r.p99), float64(r.cpu)/1000)
		}
	}
	fmt.Println("\n| after all of that | memory, sum of the resident | shared pages counted once | processes |\n|---|---|---|---|")
	for _, s := range systems {
		if err := printMemory(s); err != nil {
			return err
		}
	}
	return nil
}

// Others may use so much of a processor during a measurement, in hundredths, and
// it is repeated so often if they use more.
const (
	mostOthers = 15
	mostTries  = 20
)

// undisturbed measures until nobody else was at work meanwhile.
func undisturbed(systems []system, each time.Duration, measure func() (result, error)) (r result, err error) {
	for range mostTries {
		watched, err := watchOthers(systems)
		if err != nil {
			return r, err
		}
		if r, err = measure(); err != nil {
			return r, err
		}
		used, err := watched.used()
		if err != nil || used < each*mostOthers/100 {
			return r, err
		}
		fmt.Fprintf(os.Stderr, "others used %v of a processor: once more\n", used.Round(10*time.Millisecond))
	}
	return r, errors.New("the machine is not quiet enough for a measurement")
}

// pair is a kind of work and who did it.
type pair struct{ work, system int }

// perform runs one kind of work on all connections for a while.
func perform(ctx context.Context, n size, s system, w work, next *atomic.Int64) (result, error) {
	var out result
	before, err := processorTime(s)
	if err != nil {
		return out, err
	}
	times := make([][]time.Duration, n.connections)
	errs := make([]error, n.connections)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range n.connections {
		wg.Go(func() {
			for errs[i] == nil && time.Since(began) < n.each {
				start := time.Now()
				errs[i] = w.do(ctx, s, n, next.Add(int64(n.batch)))
				times[i] = append(times[i], time.Since(start))
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := cmp.Or(errs...); err != nil {
		return out, err
	}
	after, err := processorTime(s)
	if err != nil {
		return out, err
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	out.rate = float64(len(all)) / took.Seconds()
	out.p50, out.p99 = all[len(all)/2], all[len(all)*99/100]
	out.cpu = (after - before) / time.Duration(len(all))
	return out, nil
}

// median is that of each figure by itself.
func median(rs []result) (m result) {
	m.rate = middle(rs, func(r result) float64 { return r.rate })
	m.p50 = middle(rs, func(r result) time.Duration { return r.p50 })
	m.p99 = middle(rs, func(r result) time.Duration { return r.p99 })
	m.cpu = middle(rs, func(r result) time.Duration { return r.cpu })
	return m
}

func middle[T cmp.Ordered](rs []result, of func(result) T) T {
	var all []T
	for _, r := range rs {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// fill makes all tenants with their rows, and prints what that took.
func fill(ctx context.Context, n size, systems []system) error {
	fmt.Printf("\n| %d tenants of %d rows | a tenant is made in | disk | of that the log |\n|---|---|---|---|\n", n.tenants, n.rows)
	for _, s := range systems {
		began := time.Now()
		for t := range n.tenants {
			if err := s.Create(ctx, t); err != nil {
				return fmt.Errorf("%s: creating a tenant: %w", s.Name(), err)
			}
		}
		took := time.Since(began)
		for t := range n.tenants {
			if err := s.Fill(ctx, t); err != nil {
				return fmt.Errorf("%s: filling a tenant: %w", s.Name(), err)
			}
		}
		if err := s.Ready(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.Name(), err)
		}
		if err := printDisk(s, took/time.Duration(n.tenants)); err != nil {
			return err
		}
	}
	return nil
}

// tenantID is a tenant's name.
func tenantID(tenant int) string { return fmt.Sprintf("tenant-%03d", tenant) }

// rest is what stands in every row behind what tells it from others.
var rest = strings.Repeat("x", 80)

// value is what a row holds; a wrong one shows whose it was.
func value(tenant int, id int64) string {
	return fmt.Sprintf("%s row %d %s", tenantID(tenant), id, rest)
}

// check compares what was read.
func check(got string, tenant int, id int64) error {
	if want := value(tenant, id); got != want {
		return fmt.Errorf("read %q instead of %q", got, want)
	}
	return nil
}

// ms is a time in milliseconds with two digits that matter.
func ms(d time.Duration) string {
	switch f := float64(d) / 1e6; {
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	case f < 100:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.0f", f)
	}
}
