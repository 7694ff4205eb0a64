package durable_test

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/app/durable"
)

const day = 24 * time.Hour

// world is a machine whose clocks the test sets.
type world struct {
	path string
	wall time.Time
	mono time.Duration
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return &world{path: filepath.Join(tb.TempDir(), "clock"), wall: since, mono: time.Hour}
}

// pass lets real time go by; jump sets the wall clock.
func (w *world) pass(d time.Duration) { w.wall, w.mono = w.wall.Add(d), w.mono+d }
func (w *world) jump(d time.Duration) { w.wall = w.wall.Add(d) }

// boot opens the clock as after a restart that took d.
func (w *world) boot(tb testing.TB, d time.Duration) *durable.Clock {
	tb.Helper()
	w.wall, w.mono = w.wall.Add(d), time.Second
	c, err := durable.OpenClock(w.path, func() time.Time { return w.wall }, func() time.Duration { return w.mono })
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func wantTime(tb testing.TB, what string, got, want time.Time) {
	tb.Helper()
	if !got.Equal(want) {
		tb.Errorf("%s is %v, want %v (%v off)", what, got, want, got.Sub(want))
	}
}

func mustClose(tb testing.TB, c *durable.Clock) {
	tb.Helper()
	if err := c.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestClockFollowsWall(t *testing.T) {
	w := newWorld(t)
	c := w.boot(t, 0)
	for range 10 {
		w.pass(time.Minute)
		wantTime(t, "Now", c.Now(), w.wall)
		wantTime(t, "Trusted", c.Trusted(), w.wall)
	}
	mustClose(t, c)
	c = w.boot(t, 10*time.Hour)
	wantTime(t, "Now after a night", c.Now(), w.wall)
	if steps := c.Steps(); steps != nil {
		t.Errorf("steps: %v", steps)
	}
}

func TestClockSetBack(t *testing.T) {
	w := newWorld(t)
	c := w.boot(t, 0)
	w.pass(time.Hour)
	before := c.Now()
	w.jump(-5 * time.Hour)
	wantTime(t, "Now", c.Now(), before)
	w.pass(time.Hour)
	wantTime(t, "Now an hour later", c.Now(), before.Add(time.Hour))
	want := []durable.Step{{At: before, Jump: -5 * time.Hour}}
	if diff := cmp.Diff(want, c.Steps()); diff != "" {
		t.Error(diff)
	}
	if steps := c.Steps(); steps != nil {
		t.Errorf("not drained: %v", steps)
	}
	mustClose(t, c)
	c = w.boot(t, time.Minute)
	wantTime(t, "Now after a restart", c.Now(), before.Add(time.Hour))
	steps := c.Steps()
	if len(steps) != 1 || !steps[0].AtBoot || steps[0].Jump != -5*time.Hour+time.Minute {
		t.Errorf("steps: %v", steps)
	}
}

func TestClockSmallStepsAreNoSteps(t *testing.T) {
	w := newWorld(t)
	c := w.boot(t, 0)
	for _, d := range []time.Duration{-time.Second, time.Hour, day} {
		w.jump(d)
		c.Now()
	}
	if steps := c.Steps(); steps != nil {
		t.Errorf("steps: %v", steps)
	}
}

func TestClockForwardErasesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.boot(t, 0)
	w.pass(2 * time.Hour)
	right := w.wall
	w.jump(365 * day)
	wantTime(t, "Now", c.Now(), w.wall)
	wantTime(t, "Trusted", c.Trusted(), right.Add(day-0))
	steps := c.Steps()
	if len(steps) != 1 || steps[0].Jump != 365*day || steps[0].AtBoot {
		t.Errorf("steps: %v", steps)
	}
	for range 5 {
		c.Trusted()
		mustFlush(t, c)
	}
	wantTime(t, "Trusted, asked again", c.Trusted(), right.Add(day))

	// A crash loop under the wrong clock gains a day once, not once a start.
	mustClose(t, c)
	last := c.Trusted()
	for range 50 {
		c = w.boot(t, time.Second)
		c.Now()
		mustFlush(t, c)
	}
	if got := c.Trusted(); got.After(last.Add(day + time.Minute)) {
		t.Errorf("50 starts moved Trusted by %v", got.Sub(last))
	}
	if steps := c.Steps(); steps != nil {
		t.Errorf("steps relative to the persisted time: %v", steps)
	}
	if err := c.Trust(); err != nil {
		t.Fatal(err)
	}
	wantTime(t, "Trusted after Trust", c.Trusted(), w.wall)
	c = w.boot(t, 0)
	wantTime(t, "and after a restart", c.Trusted(), w.wall)
}

func mustFlush(tb testing.TB, c *durable.Clock) {
	tb.Helper()
	if err := c.Flush(); err != nil {
		tb.Fatal(err)
	}
}

func TestClockLongDowntime(t *testing.T) {
	w := newWorld(t)
	mustClose(t, w.boot(t, 0))
	start := w.wall
	c := w.boot(t, 30*day)
	wantTime(t, "Now", c.Now(), w.wall)
	wantTime(t, "Trusted", c.Trusted(), start.Add(day))
	steps := c.Steps()
	if len(steps) != 1 || !steps[0].AtBoot || steps[0].Jump != 30*day {
		t.Errorf("steps: %v", steps)
	}
	w.pass(2 * time.Hour)
	wantTime(t, "Trusted later", c.Trusted(), start.Add(day+2*time.Hour))
	mustClose(t, c)
	c = w.boot(t, 0) // the run before was long enough to count
	wantTime(t, "Trusted at the next start", c.Trusted(), start.Add(2*day+2*time.Hour))
}

func TestClockNightlyOff(t *testing.T) {
	w := newWorld(t)
	for range 60 {
		c := w.boot(t, 15*time.Hour)
		w.pass(9 * time.Hour)
		wantTime(t, "Trusted", c.Trusted(), w.wall)
		mustClose(t, c)
	}
}

func TestClockAdvance(t *testing.T) {
	w := newWorld(t)
	c := w.boot(t, 0)
	later := w.wall.Add(3 * time.Hour)
	if err := c.Advance(later); err != nil {
		t.Fatal(err)
	}
	wantTime(t, "Now", c.Now(), later)
	if err := c.Advance(w.wall); err != nil { // earlier: nothing
		t.Fatal(err)
	}
	w.pass(time.Minute)
	wantTime(t, "Now", c.Now(), later.Add(time.Minute))
	c = w.boot(t, 0) // without a Close: Advance was durable
	if got := c.Now(); got.Before(later) {
		t.Errorf("after a crash: %v is before %v", got, later)
	}
	for _, bad := range []time.Time{time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if err := c.Advance(bad); !errors.Is(err, durable.ErrClockRange) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// TestClockPersists counts the writes: at most one in five seconds, and after
// a crash at most five seconds are lost.
func TestClockPersists(t *testing.T) {
	w := newWorld(t)
	c := w.boot(t, 0)
	writes, last := 0, mustRead(t, w.path)
	for range 100 {
		w.pass(time.Second)
		c.Now()
		if now := mustRead(t, w.path); now != last {
			writes, last = writes+1, now
		}
	}
	if writes < 19 || writes > 20 {
		t.Errorf("%d writes in 100 s", writes)
	}
	given := c.Now()
	w.jump(-day)
	c = w.boot(t, 0) // a crash: no Close
	if got := c.Now(); got.Before(given.Add(-5 * time.Second)) {
		t.Errorf("%v were given out twice", given.Sub(got))
	}
}

// TestClockPersistsAJump: a jump forward is kept before it is given out, even
// if no time has passed; after a crash and a jump back it is not given twice.
func TestClockPersistsAJump(t *testing.T) {
	w := newWorld(t)
	c := w.boot(t, 0)
	w.jump(time.Hour)
	given := c.Now()
	w.jump(-time.Hour)
	c = w.boot(t, 0) // a crash: no Close
	if got := c.Now(); got.Before(given) {
		t.Errorf("%v were given out twice", given.Sub(got))
	}
}

func TestClockCannotPersist(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := &world{path: filepath.Join(dir, "clock"), wall: since}
	if err := durable.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	c := w.boot(t, 0)
	if err := errors.Join(c.Err(), os.Rename(dir, dir+"2")); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	wantTime(t, "Now", c.Now(), w.wall)
	if c.Err() == nil || c.Flush() == nil {
		t.Error("no error")
	}
	if err := os.Rename(dir+"2", dir); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	c.Now()
	if err := c.Err(); err != nil {
		t.Errorf("after repair: %v", err)
	}
}

func TestClockDamaged(t *testing.T) {
	w := newWorld(t)
	mustClose(t, w.boot(t, 0))
	sound := mustRead(t, w.path)
	open := func() error {
		_, err := durable.OpenClock(w.path, func() time.Time { return w.wall }, nil)
		return err
	}
	cases := []string{"", "x", sound + "x", sound[:len(sound)-1], strings.Repeat("\x00", len(sound))}
	for i := range len(sound) * 8 {
		b := []byte(sound)
		b[i/8] ^= 1 << (i % 8)
		cases = append(cases, string(b))
	}
	for _, damaged := range cases {
		if err := os.WriteFile(w.path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		err := open()
		if !errors.Is(err, durable.ErrClockDamaged) || !strings.Contains(err.Error(), w.path) {
			t.Fatalf("%x: %v", damaged, err)
		}
		if mustRead(t, w.path) != damaged {
			t.Fatal("the damaged file was overwritten")
		}
	}
	if err := errors.Join(os.Remove(w.path), os.Symlink("/dev/null", w.path)); err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, durable.ErrClockDamaged) {
		t.Errorf("link: %v", err)
	}
}

func TestClockRange(t *testing.T) {
	w := newWorld(t)
	for _, wall := range []time.Time{time.Unix(-1, 0), time.Date(2201, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, err := durable.OpenClock(w.path, func() time.Time { return wall }, nil)
		if !errors.Is(err, durable.ErrClockRange) {
			t.Errorf("%v: %v", wall, err)
		}
	}
	if _, err := os.Stat(w.path); err == nil {
		t.Error("a file was made")
	}
}

func TestRealClocks(t *testing.T) {
	c, err := durable.OpenClock(filepath.Join(t.TempDir(), "clock"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := c.Now()
			for range 1000 {
				now := c.Now()
				if now.Before(last) {
					t.Errorf("%v after %v", now, last)
				}
				last = now
			}
		})
	}
	wg.Wait()
	mustClose(t, c)
	mustClose(t, c)
}

// TestClockProperties: whatever the machine does, Now never runs backwards by
// more than a crash may lose, never forwards less than real time within a run,
// and Trusted is never later than Now.
func TestClockProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		c := w.boot(t, 0)
		last, real := c.Now(), w.mono
		for range rapid.IntRange(1, 30).Draw(rt, "events") {
			slack := time.Duration(0)
			switch rapid.IntRange(0, 4).Draw(rt, "event") {
			case 0:
				w.pass(time.Duration(rapid.Int64Range(0, int64(2*day)).Draw(rt, "pass")))
			case 1:
				w.jump(time.Duration(rapid.Int64Range(-int64(400*day), int64(400*day)).Draw(rt, "jump")))
			case 2:
				mustClose(t, c)
				c = w.boot(t, time.Duration(rapid.Int64Range(0, int64(2*day)).Draw(rt, "down")))
				real = w.mono
			case 3:
				c = w.boot(t, 0) // crash
				real, slack = w.mono, 5*time.Second
			case 4:
				if err := c.Advance(last.Add(time.Hour)); err != nil {
					rt.Fatal(err)
				}
			}
			now, trusted := c.Now(), c.Trusted()
			if now.Before(last.Add(w.mono - real - slack)) {
				rt.Fatalf("Now is %v after %v and %v", now, last, w.mono-real)
			}
			if trusted.After(now) {
				rt.Fatalf("Trusted %v is later than Now %v", trusted, now)
			}
			last, real = now, w.mono
		}
	})
}

func TestClockVectors(t *testing.T) {
	for name, want := range map[string][2]time.Time{
		"clock-2026.hex":  {time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC), time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)},
		"clock-epoch.hex": {time.Unix(0, 0).UTC(), time.Unix(0, 0).UTC()},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "v1", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		largest, trusted, err := durable.DecodeClock(b)
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(want, [2]time.Time{largest, trusted}); diff != "" {
			t.Error(name, diff)
		}
		if got := durable.EncodeClock(want[0], want[1]); string(got) != string(b) {
			t.Errorf("%s: encoded %x, want %x", name, got, b)
		}
	}
}

func FuzzDecodeClock(f *testing.F) {
	f.Add(durable.EncodeClock(since, since))
	f.Add(durable.EncodeClock(since, since)[:39])
	f.Add([]byte("CFCLOCK\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		largest, trusted, err := durable.DecodeClock(b)
		if err == nil && string(durable.EncodeClock(largest, trusted)) != string(b) {
			t.Errorf("%x decodes to something that encodes otherwise", b)
		}
	})
}

func BenchmarkClockNow(b *testing.B) {
	c, err := durable.OpenClock(filepath.Join(b.TempDir(), "clock"), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c.Now()
	}
}
