package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"coffer/app/domain"
	"coffer/audit/record"
)

// Entry is one record as it can be shown.
type Entry struct {
	Header record.Header
	Leaf   record.Hash
	Event  record.Payload  // of events, intents and outcomes
	Body   json.RawMessage // of records about the log itself
}

// Receipt is the record's.
func (e Entry) Receipt() Receipt { return Receipt{Seq: e.Header.Seq, Leaf: e.Leaf} }

// Filter says which records are wanted. Fields left zero match everything; a
// record about the log itself matches only a filter on times and numbers.
type Filter struct {
	From, To  time.Time // by the wall clock; To is not included
	Actor     string
	Action    domain.Action
	Resource  string
	Outcome   Outcome
	RequestID string
	After     uint64 // records behind this one; 0 means from the first
	Limit     int    // at most so many records; 0 means all
}

func (f Filter) time(h record.Header) bool {
	t := h.Time()
	return (f.From.IsZero() || !t.Before(f.From)) && (f.To.IsZero() || t.Before(f.To))
}

func (f Filter) fields(p record.Payload) bool {
	match := func(want, got string) bool { return want == "" || want == got }
	return match(f.Actor, p.Actor) && match(string(f.Action), p.Action) && match(f.Resource, p.Resource) &&
		match(string(f.Outcome), p.Outcome) && match(f.RequestID, p.RequestID)
}

// errEnough ends a query that has its limit.
var errEnough = errors.New("enough")

// Query calls fn for the durable records of a tenant's log ("" for the system
// log) that the filter wants, in order. Records are decrypted and so
// authenticated one by one; Verify checks the log as a whole. An error of fn
// ends the query and is returned.
func (l *Log) Query(ctx context.Context, tenant domain.TenantID, f Filter, fn func(Entry) error) error {
	t, done, err := l.read(tenant)
	if err != nil {
		return err
	}
	defer done()
	from := f.After
	if from > 0 {
		from++
	}
	n := 0
	err = l.records(ctx, t, from, func(r located) error {
		if !f.time(r.header) {
			return nil
		}
		e, err := l.open(ctx, t, r)
		if err != nil {
			return err
		}
		if !f.fields(e.Event) {
			return nil
		}
		if err := fn(e); err != nil {
			return err
		}
		if n++; f.Limit > 0 && n >= f.Limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// read finds a log for reading. Close waits until done was called.
func (l *Log) read(tenant domain.TenantID) (t *tenantLog, done func(), err error) {
	if t = l.find(tenant); t == nil {
		return nil, nil, errNoTenant()
	}
	l.reading.RLock()
	if l.ended {
		l.reading.RUnlock()
		return nil, nil, errEnded()
	}
	return t, l.reading.RUnlock, nil
}

// open decrypts one record.
func (l *Log) open(ctx context.Context, t *tenantLog, r located) (Entry, error) {
	e := Entry{Header: r.header, Leaf: record.LeafHash(r.raw)}
	if !r.header.Type.Encrypted() {
		body, err := record.Text(r.raw)
		if err != nil {
			return e, fmt.Errorf("record %d of %s: %w", r.header.Seq, l.nameOf(t), err)
		}
		e.Body = bytes.Clone(body)
		return e, nil
	}
	key, err := l.keys.committed(ctx, t.tag, r.key)
	if err != nil {
		return e, err
	}
	if e.Event, err = key.Open(r.raw); err != nil {
		d := domain.Errorf(domain.Tampered, "record %d of %s is not as it was written: %w", r.header.Seq, l.nameOf(t), err).
			WithHint("find the place with: coffer audit verify")
		return e, d
	}
	return e, nil
}

// entry reads one record.
func (l *Log) entry(ctx context.Context, t *tenantLog, seq uint64) (e Entry, err error) {
	found := false
	err = l.records(ctx, t, seq, func(r located) error {
		found = true
		if e, err = l.open(ctx, t, r); err != nil {
			return err
		}
		return errEnough
	})
	if err == nil && !found {
		return e, domain.Errorf(domain.NotFound, "%s has no record %d", l.nameOf(t), seq)
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return e, err
}

// Entry reads one record of a tenant's log.
func (l *Log) Entry(ctx context.Context, tenant domain.TenantID, seq uint64) (Entry, error) {
	t, done, err := l.read(tenant)
	if err != nil {
		return Entry{}, err
	}
	defer done()
	return l.entry(ctx, t, seq)
}

// Tail gives the last n records of a tenant's log, oldest first.
func (l *Log) Tail(ctx context.Context, tenant domain.TenantID, n int) ([]Entry, error) {
	size, _, err := l.Head(tenant)
	if err != nil || size == 0 || n <= 0 {
		return nil, err
	}
	var f Filter
	f.Limit = n
	if size > uint64(n) {
		f.After = size - uint64(n) - 1
	}
	if size == uint64(n)+1 { // After 0 means from the first
		f.Limit++
	}
	var list []Entry
	err = l.Query(ctx, tenant, f, func(e Entry) error {
		list = append(list, e)
		return nil
	})
	return list[max(0, len(list)-n):], err
}

// LastEvent is the wall clock of the last durable record of a tenant's log, zero
// if there is none. It opens no record: the time stands in its header. After a
// start, a log that has nothing in the newest segment is looked up once.
func (l *Log) LastEvent(ctx context.Context, tenant domain.TenantID) (time.Time, error) {
	t, done, err := l.read(tenant)
	if err != nil {
		return time.Time{}, err
	}
	defer done()
	l.mu.Lock()
	last, size := t.last, t.pub.Size
	l.mu.Unlock()
	if last == 0 && size > 0 {
		if err := l.records(ctx, t, size-1, func(r located) error {
			last = r.header.Wall
			return nil
		}); err != nil {
			return time.Time{}, err
		}
		l.mu.Lock()
		if t.last == 0 {
			t.last = last
		}
		l.mu.Unlock()
	}
	if last == 0 {
		return time.Time{}, nil
	}
	return time.Unix(0, last).UTC(), nil
}

// Record gives the exact bytes of one record, as they were hashed.
func (l *Log) Record(ctx context.Context, tenant domain.TenantID, seq uint64) ([]byte, error) {
	t, done, err := l.read(tenant)
	if err != nil {
		return nil, err
	}
	defer done()
	var raw []byte
	err = l.records(ctx, t, seq, func(r located) error {
		raw = bytes.Clone(r.raw)
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if raw == nil {
		return nil, domain.Errorf(domain.NotFound, "%s has no record %d", l.nameOf(t), seq)
	}
	return raw, nil
}

// Wait returns as soon as a tenant's log has more than size records, with how
// many it has, or with ctx's error.
func (l *Log) Wait(ctx context.Context, tenant domain.TenantID, size uint64) (uint64, error) {
	t := l.find(tenant)
	if t == nil {
		return 0, errNoTenant()
	}
	for {
		l.mu.Lock()
		now := t.pub.Size
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if now > size {
			return now, nil
		}
		select {
		case <-changed:
		case <-l.closed:
			return now, errEnded()
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}
