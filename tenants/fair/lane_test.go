package fair

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)

// naive is the rule in its plainest words: go round the tenants that wait; who
// is above zero is served; if nobody is, everybody who may run gets a quantum.
type naive struct {
	free, share, depth int
	quantum            int
	order              []string // of the tenants that wait
	waiting            map[string][]int
	running            map[string]int
	balance            map[string]int
	typical            map[string]int
	estimate           map[int]int
	left               map[string]int
	now                int
}

func (m *naive) touch(tenant string) {
	if _, known := m.typical[tenant]; !known {
		m.typical[tenant], m.left[tenant] = m.quantum/4, m.now
	}
	if m.running[tenant] == 0 && len(m.waiting[tenant]) == 0 {
		m.balance[tenant] = min(0, m.balance[tenant]+m.now-m.left[tenant])
	}
}

func (m *naive) join(tenant string, id int) bool {
	m.touch(tenant)
	if len(m.waiting[tenant]) >= m.depth {
		return false
	}
	if len(m.waiting[tenant]) == 0 {
		m.order = append(m.order, tenant)
	}
	m.waiting[tenant] = append(m.waiting[tenant], id)
	return true
}

func (m *naive) gone(tenant string) {
	m.order = slices.DeleteFunc(m.order, func(s string) bool { return s == tenant })
	m.left[tenant] = m.now
}

func (m *naive) next() (id int, ok bool) {
	if m.free == 0 {
		return 0, false
	}
	for {
		able := false
		for i, tenant := range m.order {
			if m.running[tenant] >= m.share {
				continue
			}
			able = true
			if m.balance[tenant] <= 0 {
				continue
			}
			m.order = append(slices.Clone(m.order[i:]), m.order[:i]...)
			id := m.waiting[tenant][0]
			if m.waiting[tenant] = m.waiting[tenant][1:]; len(m.waiting[tenant]) == 0 {
				m.gone(tenant)
			}
			m.estimate[id] = m.typical[tenant]
			m.balance[tenant] -= m.typical[tenant]
			m.running[tenant]++
			m.free--
			return id, true
		}
		if !able {
			return 0, false
		}
		for _, tenant := range m.order {
			if m.running[tenant] < m.share {
				m.balance[tenant] = min(m.balance[tenant]+m.quantum, m.quantum)
			}
		}
	}
}

func (m *naive) done(tenant string, id, cost int) {
	m.free++
	m.running[tenant]--
	m.balance[tenant] = max(m.balance[tenant]+m.estimate[id]-cost, -int(maxDebt))
	m.typical[tenant] += (min(cost, m.quantum) - m.typical[tenant]) / 8
	if m.running[tenant] == 0 && len(m.waiting[tenant]) == 0 {
		m.balance[tenant] = min(m.balance[tenant], 0)
		m.left[tenant] = m.now
	}
}

func (m *naive) quit(tenant string, id int) bool {
	i := slices.Index(m.waiting[tenant], id)
	if i < 0 {
		return false
	}
	m.waiting[tenant] = slices.Delete(m.waiting[tenant], i, i+1)
	if len(m.waiting[tenant]) == 0 {
		m.gone(tenant)
		m.balance[tenant] = min(m.balance[tenant], 0)
	}
	return true
}

// TestLaneAgainstNaiveModel: whatever comes and goes, the lane serves whom the
// plain rule serves, in that order.
func TestLaneAgainstNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 4).Draw(t, "slots")
		share := rapid.IntRange(1, slots).Draw(t, "share")
		const quantum = 5 * time.Millisecond
		l := newLane(slots, share, 4, quantum)
		m := &naive{
			free: slots, share: share, depth: 4, quantum: int(quantum), waiting: map[string][]int{}, running: map[string]int{},
			balance: map[string]int{}, typical: map[string]int{}, estimate: map[int]int{}, left: map[string]int{},
		}
		turns, ids, next := map[int]*Turn{}, map[*Turn]int{}, 0
		var running []int
		now := func() time.Time { return epoch.Add(time.Duration(m.now)) }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			m.now += rapid.IntRange(0, int(3*time.Millisecond)).Draw(t, "passes")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				turn := &Turn{tenant: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "tenant")}
				next++
				turns[next], ids[turn] = turn, next
				if got, want := l.join(turn, now()), m.join(turn.tenant, next); got != want {
					t.Fatalf("join %v, want %v", got, want)
				}
			case 2:
				if len(running) > 0 {
					i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
					id := running[i]
					running = slices.Delete(running, i, i+1)
					cost := rapid.IntRange(0, int(40*time.Millisecond)).Draw(t, "cost")
					l.giveBack(turns[id], time.Duration(cost), now())
					m.done(turns[id].tenant, id, cost)
				}
			case 3:
				if next > 0 {
					id := rapid.IntRange(1, next).Draw(t, "whom")
					if got, want := l.quit(turns[id], now()), m.quit(turns[id].tenant, id); got != want {
						t.Fatalf("quit %v, want %v", got, want)
					}
				}
			}
			for {
				turn := l.next(now())
				id, ok := m.next()
				if (turn != nil) != ok || ids[turn] != id {
					t.Fatalf("served %d, want %d", ids[turn], id)
				}
				if !ok {
					break
				}
				running = append(running, id)
			}
			if len(running) > slots || l.free != slots-len(running) {
				t.Fatalf("%d run, %d slots are free of %d", len(running), l.free, slots)
			}
			if l.free > 0 && l.waits() {
				t.Fatal("a slot is free, and somebody who may have it waits")
			}
		}
	})
}

// TestCheapIsNeverBehindLoud: a tenant of cheap statements, whatever the loud
// ones have waiting, is served within one statement of each of them.
func TestCheapIsNeverBehindLoud(t *testing.T) {
	l := newLane(1, 1, 64, 5*time.Millisecond)
	now := epoch
	costs := map[string]time.Duration{"loud-1": 5 * time.Millisecond, "loud-2": 5 * time.Millisecond, "quiet": 50 * time.Microsecond}
	for range 64 {
		l.join(&Turn{tenant: "loud-1"}, now)
		l.join(&Turn{tenant: "loud-2"}, now)
	}
	var waited, used time.Duration
	for i := range 60 {
		if i%3 == 2 {
			l.join(&Turn{tenant: "quiet"}, now)
			waited = 0
		}
		turn := l.next(now)
		now = now.Add(costs[turn.tenant])
		waited += costs[turn.tenant]
		if turn.tenant == "quiet" {
			used++
			if waited > 15*time.Millisecond {
				t.Errorf("quiet waited for %v", waited)
			}
		}
		l.giveBack(turn, costs[turn.tenant], now)
	}
	if used < 18 {
		t.Errorf("quiet ran %d times", used)
	}
}

// TestSharesAreEven: two that always wait get the same time, whatever their
// statements cost.
func TestSharesAreEven(t *testing.T) {
	l := newLane(2, 1, 64, 5*time.Millisecond)
	now := epoch
	cost := map[string]time.Duration{"a": 300 * time.Microsecond, "b": 4 * time.Millisecond, "c": 9 * time.Millisecond}
	got := map[string]time.Duration{}
	for range 3 {
		for tenant := range cost {
			l.join(&Turn{tenant: tenant}, now)
		}
	}
	for range 3000 {
		turn := l.next(now)
		now = now.Add(cost[turn.tenant] / 2)
		got[turn.tenant] += cost[turn.tenant]
		l.join(&Turn{tenant: turn.tenant}, now)
		l.giveBack(turn, cost[turn.tenant], now)
	}
	for tenant, d := range got {
		if share := float64(d) / float64(got["a"]+got["b"]+got["c"]); share < 0.32 || share > 0.35 {
			t.Errorf("%s has %.3f of the time", tenant, share)
		}
	}
}

// TestAccountsAreForgotten: as many tenants as there are ids leave no more
// behind than the bound.
func TestAccountsAreForgotten(t *testing.T) {
	l := newLane(1, 1, 4, 5*time.Millisecond)
	now := epoch
	for i := range 3 * maxIdle {
		now = now.Add(time.Millisecond)
		l.join(&Turn{tenant: fmt.Sprint(i)}, now)
		l.giveBack(l.next(now), time.Millisecond, now)
	}
	if len(l.accounts) > maxIdle {
		t.Errorf("%d accounts", len(l.accounts))
	}
}
