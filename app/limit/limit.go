package limit

import (
	"net/netip"
	"sync"
	"time"
)

// Options of a Limiter.
type Options struct {
	Burst int              // how many may come at once
	Every time.Duration    // how long it takes until there is room for one more
	Most  int              // keys that are remembered
	Now   func() time.Time // nil for the machine's clock
}

// Limiter is a token bucket for each of many keys (GCRA: of each bucket only the
// time is kept at which it will be full again). It remembers a bounded number of
// keys. While that many are below their burst, keys that it does not know share
// one bucket: nobody gets a fresh one by pushing others out.
type Limiter struct {
	o Options

	mu     sync.Mutex
	full   map[string]time.Time // when the key's bucket is full again
	rest   time.Time            // the same, of the bucket that unknown keys share
	swept  time.Time
	lately time.Time // the latest time seen: buckets do not refill when the clock is set back
}

// New makes a limiter in which every bucket is full.
func New(o Options) *Limiter {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Limiter{o: o, full: map[string]time.Time{}}
}

// Take counts one for a key. When there is no room for it nothing is counted and
// wait, above zero, says after how long there is.
func (l *Limiter) Take(key string) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	full, known := l.full[key]
	if !known && len(l.full) >= l.o.Most && !l.sweep(now) {
		l.rest, ok, wait = l.take(l.rest, now)
		return ok, wait
	}
	full, ok, wait = l.take(full, now)
	l.full[key] = full
	return ok, wait
}

// Wait says after how long there is room for one more of a key; zero for now. It
// counts nothing.
func (l *Limiter) Wait(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, known := l.full[key]
	if !known && len(l.full) >= l.o.Most {
		full = l.rest
	}
	_, _, wait := l.take(full, l.now())
	return wait
}

// Forget fills a key's bucket.
func (l *Limiter) Forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.full, key)
}

// Len is how many keys are remembered.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.full)
}

// now never runs backwards.
func (l *Limiter) now() time.Time {
	if now := l.o.Now(); now.After(l.lately) {
		l.lately = now
	}
	return l.lately
}

// take takes one from a bucket that is full at a time.
func (l *Limiter) take(full, now time.Time) (next time.Time, ok bool, wait time.Duration) {
	if full.Before(now) {
		full = now
	}
	next = full.Add(l.o.Every)
	if wait = next.Sub(now) - time.Duration(l.o.Burst)*l.o.Every; wait > 0 {
		return full, false, wait
	}
	return next, true, 0
}

// sweep forgets keys whose buckets are full again, and says whether there is
// room. It looks through all of them at most once in the time in which one
// bucket gains one.
func (l *Limiter) sweep(now time.Time) bool {
	if now.Sub(l.swept) < l.o.Every {
		return false
	}
	l.swept = now
	for key, full := range l.full {
		if !full.After(now) {
			delete(l.full, key)
		}
	}
	return len(l.full) < l.o.Most
}

// sourceBits is what one holder of IPv6 addresses usually has of them: a /64.
const sourceBits = 64

// Source is the key of an address: itself, or its network where one holder has
// as many addresses as it likes.
func Source(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a.String()
	}
	p, err := a.Prefix(sourceBits)
	if err != nil {
		return a.String()
	}
	return p.String()
}
