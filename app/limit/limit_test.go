package limit_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer/app/limit"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

// bucket is the same thing, counted with fractions.
type bucket struct {
	tokens float64
	at     time.Time
}

// TestLikeBuckets compares with plain token buckets under a clock that also
// jumps back, which fills none.
func TestLikeBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const every = time.Second
		burst := rapid.IntRange(1, 5).Draw(t, "burst")
		now, latest := start, time.Time{}
		l := limit.New(limit.Options{Burst: burst, Every: every, Most: 100, Now: func() time.Time { return now }})
		model := map[string]*bucket{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-2, 6).Draw(t, "quarters")) * every / 4)
			if now.After(latest) {
				latest = now
			}
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			b := model[key]
			if b == nil {
				b = &bucket{float64(burst), latest}
				model[key] = b
			}
			b.tokens, b.at = min(float64(burst), b.tokens+latest.Sub(b.at).Seconds()), latest
			want := b.tokens >= 1
			looked := l.Wait(key)
			ok, wait := l.Take(key)
			if ok != want || (wait == 0) != ok || looked != wait {
				t.Fatalf("%s: %v, wait %v (looked %v), with %v tokens", key, ok, wait, looked, b.tokens)
			}
			if ok {
				b.tokens--
			} else if need := time.Duration((1 - b.tokens) * float64(every)); wait != need {
				t.Fatalf("wait %v, want %v", wait, need)
			}
		}
	})
}

// count is how many of three of a key are let through.
func count(take func(string) bool, key string) (n int) {
	for range 3 {
		if take(key) {
			n++
		}
	}
	return n
}

// TestBounded: a flood of sources neither grows the table nor gives anybody a
// fresh bucket, and does not touch who is known.
func TestBounded(t *testing.T) {
	now := start
	l := limit.New(limit.Options{Burst: 2, Every: time.Minute, Most: 10, Now: func() time.Time { return now }})
	take := func(key string) bool {
		ok, _ := l.Take(key)
		return ok
	}
	if n := count(take, "victim"); n != 2 {
		t.Fatalf("%d at once", n)
	}
	let := 0
	for i := range 10_000 {
		if take(fmt.Sprint("flood ", i)) {
			let++
		}
	}
	if l.Len() != 10 || let > 9+2 {
		t.Errorf("%d keys, %d of the flood let through", l.Len(), let)
	}
	if take("victim") {
		t.Error("a flood gave a fresh bucket")
	}
	now = now.Add(2 * time.Minute) // all are full again, and make room
	if n := count(take, "new"); n != 2 || l.Len() != 1 {
		t.Errorf("%d at once, %d keys", n, l.Len())
	}
	if l.Forget("new"); !take("new") {
		t.Error("what was forgotten is counted")
	}
}

func TestSource(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7":           "192.0.2.7",
		"::ffff:192.0.2.7":    "192.0.2.7",
		"2001:db8:1:2:3::4":   "2001:db8:1:2::/64",
		"2001:db8:1:2::99":    "2001:db8:1:2::/64",
		"fe80::1%eth0":        "fe80::/64",
		"2001:db8:1:3:3::4":   "2001:db8:1:3::/64",
		"::1":                 "::/64",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::/64",
	} {
		if got := limit.Source(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}
