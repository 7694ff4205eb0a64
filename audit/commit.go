package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"coffer/app/domain"
	"coffer/audit/record"
)

const (
	// logRecords is how many records about the log itself one record can
	// bring with it: TENANT_OPEN, PERIOD_CLOSE, KEY_OPEN.
	logRecords = 3
	// logRecordSize bounds each of them, in bytes.
	logRecordSize = 512
	// maxReseals bounds how often a record is encrypted again because its
	// period ended while it waited. Periods last a week.
	maxReseals = 8
)

// placed is a record that has its place, and waits for the flush.
type placed struct {
	log     *tenantLog
	kind    record.Type
	seq     uint64
	at      position
	wall    int64
	size    int64
	closes  *uint64 // the intent whose outcome this is
	key     record.KeyState
	receipt Receipt
}

// header begins a record's header.
func (l *Log) header(t *tenantLog, kind record.Type, now time.Time) record.Header {
	return record.Header{
		Type: kind, Instance: l.o.Instance, Tag: t.tag, Wall: now.UnixNano(),
		Boot: l.boot, Mono: max(time.Since(l.started), 0),
	}
}

// seal encrypts a record in the goroutine of the caller.
func (l *Log) seal(ctx context.Context, t *tenantLog, kind record.Type, p record.Payload) (item, error) {
	now := l.o.Now()
	period := t.period(now)
	key, err := l.keys.key(ctx, t.tag, period)
	if err != nil {
		return item{}, err
	}
	state := record.KeyState{Period: period, Commitment: key.Commitment()}
	if err := t.checkKey(state); err != nil && !errors.Is(err, errStale) {
		return item{}, err
	}
	raw, err := key.Seal(l.header(t, kind, now), p)
	if err != nil {
		return item{}, fmt.Errorf("encrypting an audit record: %w", err)
	}
	return item{log: t, kind: kind, payload: p, raw: raw, key: state}, nil
}

// append makes records durable together. It does not end early: a record that
// is on its way is written, and its caller has to know that it was.
func (l *Log) append(items ...item) ([]item, error) {
	for range maxReseals {
		s := &submission{items: items, wait: true, done: make(chan struct{})}
		if err := l.queue.put(s); err != nil {
			return nil, err
		}
		<-s.done
		if !errors.Is(s.err, errStale) {
			return s.items, s.err
		}
		if err := l.reseal(items); err != nil {
			return nil, err
		}
	}
	return nil, domain.Errorf(domain.Unavailable, "the audit log changed its key period too often")
}

// appendLater queues records and does not wait.
func (l *Log) appendLater(items ...item) error {
	return l.queue.put(&submission{items: items, done: make(chan struct{})})
}

// reseal encrypts again under the keys that are open now.
func (l *Log) reseal(items []item) error {
	for i, it := range items {
		if !it.kind.Encrypted() {
			continue
		}
		fresh, err := l.seal(context.Background(), it.log, it.kind, it.payload)
		if err != nil {
			return err
		}
		items[i] = fresh
	}
	return nil
}

// commitLoop is the committer: the one goroutine that gives records their
// place and writes them. No timer is needed: while one flush runs, the next
// batch gathers.
func (l *Log) commitLoop() {
	defer close(l.queue.done)
	for {
		list := l.queue.take()
		if list == nil {
			return
		}
		for len(list) > 0 {
			list = l.gather(list)
			rest, err := list, l.queue.err() // the keeper may have ended all writing
			if err == nil {
				rest, err = l.commit(list)
			}
			if err != nil {
				l.broken(err, list)
				break
			}
			list = l.queue.more(rest)
		}
	}
}

// gather lets goroutines that are ready to run hand their records in before the
// flush, as long as that brings more: those that the last flush woke are about
// to. It waits for nobody, so a single caller loses less than a microsecond.
func (l *Log) gather(list []*submission) []*submission {
	for range maxGather {
		before := len(list)
		runtime.Gosched()
		if list = l.queue.more(list); len(list) == before {
			break
		}
	}
	return list
}

// maxGather bounds how often gather looks again.
const maxGather = 16

// broken ends all writing after the first failure: whether the batch is on
// disk is unknown, and a second try could report as durable what the kernel
// has dropped.
func (l *Log) broken(err error, list []*submission) {
	first := l.queue.fail(err)
	for _, s := range list {
		if !s.finished() {
			s.finish(errBroken(err))
		}
	}
	if !first {
		return // alarmed already
	}
	l.keeper.alarm(Alarm{Kind: WriteFailed, Text: "the audit log cannot be written: " + err.Error()})
}

// commit makes one batch of the first submissions and returns the others.
func (l *Log) commit(list []*submission) ([]*submission, error) {
	if err := l.rotateDaily(); err != nil {
		return nil, err
	}
	var done []placed
	n := 0
	for ; n < len(list) && !l.journal.Full(); n++ {
		s := list[n]
		records, size := s.bound()
		if !l.journal.Fits(records, size) {
			if l.journal.Pending() > 0 {
				break
			}
			if err := l.rotate(size + int64(records)*recordOverhead); err != nil {
				return nil, err
			}
		}
		if err := s.checkKeys(); errors.Is(err, errStale) {
			l.giveBack(s)
			continue
		} else if err != nil {
			s.finish(err)
			continue
		}
		for i := range s.items {
			var err error
			if done, err = l.place(&s.items[i], done); err != nil {
				return nil, err
			}
		}
	}
	if err := l.journal.Commit(); err != nil {
		return nil, err
	}
	l.publish(done)
	for _, s := range list[:n] {
		if !s.finished() {
			s.finish(nil)
		}
	}
	if l.journal.NeedsNext() {
		l.keeper.prepareSoon()
	}
	return list[n:], nil
}

// bound is the most that a submission adds to a batch.
func (s *submission) bound() (records int, size int64) {
	for _, it := range s.items {
		size += int64(len(it.raw)) + logRecords*logRecordSize
		records += 1 + logRecords
	}
	return records, size
}

// checkKeys looks whether the records are under keys that their logs can take
// now. Anything but errStale is a fault of the keys and ends this submission
// alone.
func (s *submission) checkKeys() error {
	for _, it := range s.items {
		if !it.kind.Encrypted() {
			continue
		}
		if err := it.log.checkKey(it.key); err != nil {
			return err
		}
	}
	return nil
}

func (t *tenantLog) checkKey(key record.KeyState) error {
	open := t.open.Load()
	switch {
	case open == nil:
		return nil
	case open.Period == key.Period && open.Commitment != key.Commitment:
		return errOtherKey(t.tag, key.Period)
	case open.Period != key.Period && !later(key.Period, open.Period):
		return errStale
	}
	return nil
}

// giveBack lets a stale submission be encrypted again, by the goroutine that
// waits for it or else by the keeper.
func (l *Log) giveBack(s *submission) {
	s.finish(errStale)
	if s.wait {
		return
	}
	items := slices.Clone(s.items)
	l.keeper.later(func() {
		if err := l.reseal(items); err == nil {
			_, _ = l.append(items...) // a failure has poisoned the log
		}
	})
}

// place gives a record its number and puts it into the batch, after the
// records about the log itself that must stand before it.
func (l *Log) place(it *item, done []placed) ([]placed, error) {
	t := it.log
	if t.chain.Size() == 0 {
		body := record.OpenedTenant{Slot: t.slot, RetentionDays: t.retention}
		var err error
		if done, err = l.placeClear(t, body, done); err != nil {
			return nil, err
		}
	}
	if it.kind.Encrypted() {
		var err error
		if done, err = l.placeKey(t, it.key, done); err != nil {
			return nil, err
		}
	}
	p, err := l.add(t, it.raw)
	if err != nil {
		return nil, err
	}
	if it.kind == record.Outcome {
		p.closes = it.payload.Intent
	}
	it.receipt = p.receipt
	return append(done, p), nil
}

// placeKey closes the period before and opens the record's key, if that is
// not the one in use.
func (l *Log) placeKey(t *tenantLog, key record.KeyState, done []placed) ([]placed, error) {
	open := t.chain.State().Key
	if open.Period == key.Period {
		return done, nil
	}
	var err error
	if open.Period != "" {
		id := open.ID()
		body := record.ClosedPeriod{
			Period: open.Period, First: open.First, Last: t.chain.Size() - 1, KeyID: id[:], Count: open.Count,
		}
		if done, err = l.placeClear(t, body, done); err != nil {
			return nil, err
		}
	}
	return l.placeClear(t, record.OpenedKey{Period: key.Period, Commitment: key.Commitment}, done)
}

func (l *Log) placeClear(t *tenantLog, body record.Body, done []placed) ([]placed, error) {
	raw, err := record.Clear(l.header(t, 0, l.o.Now()), body)
	if err != nil {
		return nil, err
	}
	p, err := l.add(t, raw)
	return append(done, p), err
}

// add puts a record at the end of its chain. The chain verifies it as an
// auditor would, so that nothing is written which would not verify.
func (l *Log) add(t *tenantLog, raw []byte) (placed, error) {
	seq, prev := t.chain.Size(), t.chain.Leaf()
	if seq == 0 {
		prev = record.Genesis(l.o.Instance, t.tag, t.slot, t.retention)
	}
	record.Place(raw, seq, prev)
	h, err := t.chain.Add(raw)
	if err != nil {
		return placed{}, fmt.Errorf("%s, record %d: %w", l.nameOf(t), seq, err)
	}
	r, err := l.journal.Add(raw)
	if err != nil {
		return placed{}, err
	}
	if h.Type == record.KeyOpen {
		t.noteKey()
	}
	return placed{
		log: t, kind: h.Type, seq: seq, at: positionOf(r), wall: h.Wall, size: int64(len(raw)) + recordOverhead,
		key: t.chain.State().Key, receipt: Receipt{Seq: seq, Leaf: t.chain.Leaf()},
	}, nil
}

// publish makes records visible that are durable now.
func (l *Log) publish(done []placed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range done {
		t := p.log
		t.used += p.size
		t.last = p.wall
		l.lastWall = max(l.lastWall, p.wall)
		l.indexes.add(t.tag, p)
		switch p.kind {
		case record.Intent:
			l.intents[intentID(t.tag, p.seq)] = p.at
		case record.Outcome:
			delete(l.intents, intentID(t.tag, *p.closes))
		}
	}
	for _, p := range done {
		p.log.pub = p.log.chain.State()
	}
	l.watchSpace(done)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	if !l.headsDue && l.journal.LSN() >= l.headsAt+headsEvery {
		l.headsDue = true
		l.keeper.headsSoon()
	}
}

// rotate goes on in a new segment. Nothing is pending, so the published state
// is that of all chains.
func (l *Log) rotate(room int64) error {
	if err := l.journal.Rotate(l.snapshot().encode(), room); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.indexes.active != nil {
		l.indexes.keep(l.indexes.active)
	}
	l.indexes.begin(l.journal.Active().Number, l.order)
	return nil
}

// rotateDaily starts a new segment at the first write of a day (UTC), so that
// what is archived or erased later has the grain of a day. On a full disk the
// day goes on in the old one.
func (l *Log) rotateDaily() error {
	s := l.journal.Active()
	const day = 24 * time.Hour
	if !l.o.Now().Truncate(day).After(s.Created.Truncate(day)) || s.End == s.Start || l.keeper.diskFull.Load() {
		return nil
	}
	return l.rotate(0)
}

// snapshot is the state that a segment's header holds.
func (l *Log) snapshot() snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := snapshot{boot: l.boot, lastWall: l.lastWall}
	for _, t := range l.order {
		if t.pub.Size > 0 {
			s.heads = append(s.heads, headState{tag: t.tag, used: t.used, state: t.pub})
		}
	}
	for id, at := range l.intents {
		s.intents = append(s.intents, openIntent{id: id, segment: at.segment, offset: at.offset})
	}
	sortIntents(s.intents)
	return s
}
