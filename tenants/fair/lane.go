package fair

import (
	"slices"
	"time"
)

// maxDebt is the most that an account can be below zero: who ran alone for an
// hour owes the others no hour.
const maxDebt = time.Second

// maxIdle is how many accounts of tenants that wait for nothing are kept; what
// most of them say has lapsed.
const maxIdle = 4096

// lane is some slots and who waits for them. The queue's mutex guards it.
type lane struct {
	free    int
	share   int           // most slots of one tenant
	quantum time.Duration // put on each waiting account in a round
	depth   int           // most turns that wait for one tenant

	accounts map[string]*account
	ring     []*account // that have turns waiting, in the order of their turn
	holding  map[*Turn]struct{}
}

// account is what a tenant may still use in this round.
type account struct {
	tenant  string
	waiting []*Turn
	running int
	balance time.Duration
	typical time.Duration // cost of its statements lately, the estimate for the next
	left    time.Time     // when it last had something running or waiting
}

func newLane(slots, share, depth int, quantum time.Duration) *lane {
	return &lane{
		free: slots, share: share, depth: depth, quantum: quantum,
		accounts: map[string]*account{}, holding: map[*Turn]struct{}{},
	}
}

// account finds or makes a tenant's account.
func (l *lane) account(tenant string, now time.Time) *account {
	a := l.accounts[tenant]
	if a == nil {
		if len(l.accounts) >= maxIdle {
			l.forget(now)
		}
		a = &account{tenant: tenant, left: now, typical: l.quantum / 4}
		l.accounts[tenant] = a
	}
	if a.running == 0 && len(a.waiting) == 0 {
		// While it was away its debt lapsed, as if others had been served.
		a.balance = min(0, a.balance+now.Sub(a.left))
	}
	return a
}

// forget drops the accounts whose debt has lapsed.
func (l *lane) forget(now time.Time) {
	for name, a := range l.accounts {
		if a.running == 0 && len(a.waiting) == 0 && a.balance+now.Sub(a.left) >= 0 {
			delete(l.accounts, name)
		}
	}
}

// join puts a turn into its tenant's queue. It reports whether there was room.
func (l *lane) join(t *Turn, now time.Time) bool {
	a := l.account(t.tenant, now)
	if len(a.waiting) >= l.depth {
		return false
	}
	if len(a.waiting) == 0 {
		l.ring = append(l.ring, a)
	}
	a.waiting = append(a.waiting, t)
	return true
}

// quit takes a turn out of the queue, and reports whether it was there.
func (l *lane) quit(t *Turn, now time.Time) bool {
	a := l.accounts[t.tenant]
	if a == nil {
		return false
	}
	i := slices.Index(a.waiting, t)
	if i < 0 {
		return false
	}
	a.waiting = slices.Delete(a.waiting, i, i+1)
	if len(a.waiting) == 0 {
		l.leave(a, now)
	}
	return true
}

// leave takes an account out of the ring. Nothing is saved up for later.
func (l *lane) leave(a *account, now time.Time) {
	if i := slices.Index(l.ring, a); i >= 0 {
		l.ring = slices.Delete(l.ring, i, i+1)
	}
	a.balance = min(a.balance, 0)
	a.left = now
}

// next takes the turn out of the queue that is to have a free slot, nil if
// nobody may have one.
func (l *lane) next(now time.Time) *Turn {
	if l.free <= 0 {
		return nil
	}
	for {
		rounds := time.Duration(-1)
		for i, a := range l.ring {
			if a.running >= l.share {
				continue
			}
			if a.balance > 0 {
				if i > 0 { // who was passed over has had his turn in this round
					l.ring = append(l.ring[i:], l.ring[:i]...)
				}
				return l.serve(a, now)
			}
			if n := -a.balance/l.quantum + 1; rounds < 0 || n < rounds {
				rounds = n
			}
		}
		if rounds < 0 {
			return nil
		}
		for _, a := range l.ring {
			if a.running < l.share {
				a.balance = min(a.balance+rounds*l.quantum, l.quantum)
			}
		}
	}
}

// serve gives the first turn of an account a slot.
func (l *lane) serve(a *account, now time.Time) *Turn {
	t := a.waiting[0]
	a.waiting = slices.Delete(a.waiting, 0, 1)
	if len(a.waiting) == 0 {
		balance := a.balance
		l.leave(a, now)
		a.balance = balance // it is settled when the statement has run
	}
	l.take(a, t)
	return t
}

// take hands a slot out.
func (l *lane) take(a *account, t *Turn) {
	t.estimate = a.typical
	a.balance -= t.estimate
	a.running++
	l.free--
	l.holding[t] = struct{}{}
}

// giveBack ends the use of a slot.
func (l *lane) giveBack(t *Turn, cost time.Duration, now time.Time) {
	a := l.accounts[t.tenant]
	delete(l.holding, t)
	l.free++
	a.running--
	a.balance = max(a.balance+t.estimate-cost, -maxDebt)
	a.typical += (min(cost, l.quantum) - a.typical) / 8
	t.estimate = 0
	if a.running == 0 && len(a.waiting) == 0 {
		a.balance = min(a.balance, 0)
		a.left = now
	}
}

// charge takes something off an account besides.
func (l *lane) charge(tenant string, cost time.Duration, now time.Time) {
	a := l.account(tenant, now)
	a.balance = max(a.balance-cost, -maxDebt)
	a.left = now
}

// waits says whether somebody waits who may have a slot.
func (l *lane) waits() bool {
	for _, a := range l.ring {
		if a.running < l.share {
			return true
		}
	}
	return false
}
