package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

const (
	// persistEvery is how far what is given out may run ahead of the persisted
	// time, and how old that may become while the clock is being read. After a
	// crash together with a clock that was set back, at most this much time is
	// given out twice.
	persistEvery = 5 * time.Second
	// trustAhead is how far one jump of the wall clock moves Trusted.
	trustAhead = 24 * time.Hour
	// trustAfter is how long a process must have run before the jump that it
	// saw counts for the next one, so that a crash loop under a wrong clock
	// does not add up to a year.
	trustAfter = time.Hour
	// backwardStep and forwardStep are the smallest jumps that are reported.
	backwardStep = time.Second
	forwardStep  = 24 * time.Hour
	// maxSteps bounds the jumps kept until Steps takes them; of more, the
	// oldest are kept.
	maxSteps = 64
)

// ErrClockDamaged means that the clock file is not what this package wrote:
// restore it from a backup, or move it away after checking that the system
// clock is right. The file is left as it is.
var ErrClockDamaged = errors.New("clock file is damaged")

// ErrClockRange means that the system clock stands before 1970 or after 2200:
// set it.
var ErrClockRange = errors.New("system clock is out of range")

// Step is a jump of the wall clock.
type Step struct {
	At     time.Time     // what Now gave when it was seen
	Jump   time.Duration // forward positive, backward negative
	AtBoot bool          // relative to the persisted time: a forward one may be plain downtime
}

// Clock gives a time that never runs backwards: max(wall clock, last value +
// monotonic time since), over restarts as well, since the largest value is
// persisted. It may be used concurrently.
type Clock struct {
	path string
	wall func() time.Time
	mono func() time.Duration

	mu       sync.Mutex
	largest  time.Time     // the last value given out
	lastWall time.Time     // the last reading of the wall clock
	lastMono time.Duration // when both were read
	base     time.Time     // of Trusted, at bootMono
	bootMono time.Duration
	saved    time.Duration // when the record was last persisted or tried to
	kept     time.Time     // the largest value in that record
	steps    []Step
	err      error // of the last attempt to persist

	saving sync.Mutex // held while the record is written, not while it is read
}

// OpenClock opens the clock file at path; if there is none it begins one at
// the wall clock's time. wall and mono replace the system's clocks in tests;
// nil means the real ones (mono counts through suspend on Linux). A damaged
// file is ErrClockDamaged.
func OpenClock(path string, wall func() time.Time, mono func() time.Duration) (*Clock, error) {
	if wall == nil {
		wall = time.Now
	}
	if mono == nil {
		mono = bootTime
	}
	c := &Clock{path: path, wall: wall, mono: mono}
	w, m := wall().Round(0).UTC(), mono()
	if w.Unix() < 0 || w.After(time.Unix(0, int64(maxClockNano))) {
		return nil, fmt.Errorf("opening clock %s: %w: %s", path, ErrClockRange, w.Format(time.RFC3339))
	}
	data, err := ReadFile(path, int64(clockSize))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.start(clockRecord{largest: w, trusted: w}, w, m)
		if err := CreateFile(path, c.record(m).encode()); err != nil {
			return nil, err
		}
		return c, nil
	case errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNotRegular):
		return nil, fmt.Errorf("%w: %w", ErrClockDamaged, err)
	case err != nil:
		return nil, err
	}
	r, err := decodeClock(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w; it was left as it is: restore it from a backup, "+
			"or move it away after checking that the system clock is right", ErrClockDamaged, path, err)
	}
	c.start(r, w, m)
	return c, nil
}

// start sets the clock from a record and the first readings.
func (c *Clock) start(r clockRecord, w time.Time, m time.Duration) {
	c.largest, c.base = r.largest, r.trusted
	c.lastWall, c.lastMono, c.bootMono, c.saved, c.kept = w, m, m, m, r.largest
	c.note(w.Sub(r.largest), true)
	if w.After(c.largest) {
		c.largest = w
	}
}

// Now gives the time. If persisting it failed it still gives it; Err tells.
// While one caller persists a time that has run on, the others do not wait; a
// jump forward is given out to nobody before it is persisted.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	now, m := c.read()
	ahead := now.Sub(c.kept)
	due := m-c.saved >= persistEvery || ahead >= persistEvery
	c.mu.Unlock()
	switch {
	case !due:
		return now
	case ahead >= 2*persistEvery:
		c.saving.Lock()
	case !c.saving.TryLock():
		return now
	}
	defer c.saving.Unlock()
	c.mu.Lock()
	covered := now.Sub(c.kept) < persistEvery && m-c.saved < persistEvery // by who held the lock before
	c.mu.Unlock()
	if !covered {
		_ = c.save()
	}
	return now
}

// read takes a reading of both clocks; c.mu is held.
func (c *Clock) read() (time.Time, time.Duration) {
	w, m := c.wall().Round(0).UTC(), c.mono()
	elapsed := max(m-c.lastMono, 0)
	next := c.largest.Add(elapsed)
	if w.After(next) && w.Before(time.Unix(0, int64(maxClockNano))) {
		next = w
	}
	c.largest = next
	jump := w.Sub(c.lastWall) - elapsed
	c.lastWall, c.lastMono = w, m
	c.note(jump, false)
	return next, m
}

// note remembers a jump if it is worth reporting; c.mu is held or c is new.
func (c *Clock) note(jump time.Duration, atBoot bool) {
	if jump <= forwardStep && jump >= -backwardStep {
		return
	}
	if len(c.steps) < maxSteps {
		c.steps = append(c.steps, Step{At: c.largest, Jump: jump, AtBoot: atBoot})
	}
}

// Trusted gives the time by which something may be erased for good. It is
// never later than Now, nor later than the persisted base + the monotonic time
// since the start + 24 hours: a clock set a year ahead erases a day too early
// at most. The base follows by at most 24 hours at each start, and only if the
// process before ran for an hour. After a longer downtime Trusted therefore
// lags, which delays erasure, until Trust or further starts move it.
func (c *Clock) Trusted() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, m := c.read()
	return c.trusted(now, m)
}

func (c *Clock) trusted(now time.Time, m time.Duration) time.Time {
	limit := c.base.Add(max(m-c.bootMono, 0)).Add(trustAhead)
	if now.Before(limit) {
		return now
	}
	return limit
}

// Trust makes Now the base of Trusted, durably: somebody who may says that
// the clock is right after a jump.
func (c *Clock) Trust() error {
	c.mu.Lock()
	now, m := c.read()
	c.base, c.bootMono = now, m
	c.mu.Unlock()
	return c.Flush()
}

// Advance moves the clock to t if it is behind, durably: something that was
// found on disk at start happened at t. Trusted's base does not move.
func (c *Clock) Advance(t time.Time) error {
	t = t.Round(0).UTC()
	if t.Unix() < 0 || t.After(time.Unix(0, int64(maxClockNano))) {
		return fmt.Errorf("advancing clock %s to %s: %w", c.path, t.Format(time.RFC3339), ErrClockRange)
	}
	c.mu.Lock()
	if now, _ := c.read(); t.After(now) {
		c.largest = t
	}
	c.mu.Unlock()
	return c.Flush()
}

// Steps gives the jumps seen since the last call, oldest first.
func (c *Clock) Steps() []Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	steps := c.steps
	c.steps = nil
	return steps
}

// Err is the failure of the last attempt to persist the time, nil if it
// succeeded. While it fails a crash can set the clock back.
func (c *Clock) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Flush persists the time now.
func (c *Clock) Flush() error {
	c.saving.Lock()
	defer c.saving.Unlock()
	return c.save()
}

// save writes the record; c.saving is held, so that an older record never
// replaces a newer one.
func (c *Clock) save() error {
	c.mu.Lock()
	_, m := c.read()
	r := c.record(m)
	c.mu.Unlock()

	err := WriteFile(c.path, r.encode())

	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved, c.kept, c.err = m, r.largest, err
	return err
}

// record is what has to be remembered at m; c.mu is held or c is new.
func (c *Clock) record(m time.Duration) clockRecord {
	ran := max(m-c.bootMono, 0)
	trusted := c.base.Add(ran)
	if ran >= trustAfter {
		trusted = c.trusted(c.largest, m)
	}
	if trusted.After(c.largest) {
		trusted = c.largest
	}
	return clockRecord{largest: c.largest, trusted: trusted}
}

// Close persists the time. The clock keeps working, so that what is shut down
// later can still read it; closing again persists again.
func (c *Clock) Close() error { return c.Flush() }
