package audit

import (
	"context"
	"fmt"
	"path/filepath"

	"coffer/app/domain"
	"coffer/audit/record"
	"coffer/audit/wal"
)

// maxIndexes is how many segments' indexes are kept besides the open one's. An
// index takes four bytes a record.
const maxIndexes = 8

// indexes tell where the records of a log stand. Log.mu guards them; a span
// that was handed out only ever grows behind its end.
type indexes struct {
	active *segmentIndex
	starts map[uint64][]uint64 // segment → size of each log at its start, by tenantLog.index
	kept   map[uint64]*segmentIndex
}

type segmentIndex struct {
	number uint64
	spans  map[Tag]*span
}

// span is the records of one log in one segment.
type span struct {
	first   uint64 // seq of the first
	offsets []uint32
	keys    []record.KeyState // in use in the segment, oldest first
}

// begin starts the index of a new segment. The one before is dropped; see keep.
func (x *indexes) begin(number uint64, order []*tenantLog) {
	if x.starts == nil {
		x.starts, x.kept = map[uint64][]uint64{}, map[uint64]*segmentIndex{}
	}
	sizes := make([]uint64, len(order))
	for i, t := range order {
		sizes[i] = t.pub.Size
	}
	x.starts[number] = sizes
	x.active = &segmentIndex{number: number, spans: map[Tag]*span{}}
}

// keep holds a complete index for later.
func (x *indexes) keep(s *segmentIndex) {
	for n := range x.kept {
		if len(x.kept) < maxIndexes {
			break
		}
		delete(x.kept, n)
	}
	x.kept[s.number] = s
}

// start is the size of a log at the start of a segment.
func (x *indexes) start(segment uint64, t *tenantLog) uint64 {
	if s := x.starts[segment]; t.index < len(s) {
		return s[t.index]
	}
	return 0
}

// add enters a record into the open segment's index.
func (x *indexes) add(tag Tag, p placed) { x.active.add(tag, p.seq, p.at.offset, p.key) }

func (s *segmentIndex) add(tag Tag, seq uint64, offset int64, key record.KeyState) {
	sp := s.spans[tag]
	if sp == nil {
		sp = &span{first: seq}
		s.spans[tag] = sp
	}
	sp.offsets = append(sp.offsets, uint32(offset)) // segments are smaller than 4 GiB
	if n := len(sp.keys); key.Period != "" && (n == 0 || sp.keys[n-1].Commitment != key.Commitment) {
		sp.keys = append(sp.keys, key)
	}
}

// key finds the key that a record names.
func (s span) key(id [16]byte) (record.KeyState, bool) {
	for _, k := range s.keys {
		if k.ID() == id {
			return k, true
		}
	}
	return record.KeyState{}, false
}

// located is one record with what is needed to read it.
type located struct {
	header record.Header
	raw    []byte // valid until the next
	key    record.KeyState
}

// records calls fn for the durable records of a log from seq on, in order.
func (l *Log) records(ctx context.Context, t *tenantLog, from uint64, fn func(located) error) error {
	l.mu.Lock()
	size, segments := t.pub.Size, l.journal.Segments()
	ends := make([]uint64, len(segments))
	for i := range segments {
		if ends[i] = size; i+1 < len(segments) {
			ends[i] = min(size, l.indexes.start(segments[i+1].Number, t))
		}
	}
	l.mu.Unlock()
	for i, s := range segments {
		if ends[i] <= from {
			continue
		}
		if err := l.recordsIn(ctx, t, s, from, ends[i], fn); err != nil {
			return err
		}
		from = ends[i]
	}
	return nil
}

// recordsIn is records for the part of a log in one segment.
func (l *Log) recordsIn(ctx context.Context, t *tenantLog, s wal.Segment, from, end uint64, fn func(located) error) error {
	sp, err := l.spanOf(s, t.tag)
	if err != nil {
		return err
	}
	if from < sp.first || end-sp.first > uint64(len(sp.offsets)) {
		return l.misplaced(t, from, s, s.Start)
	}
	r, err := wal.NewReader(s)
	if err != nil {
		return err
	}
	defer r.Close()
	for seq := from; seq < end; seq++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		off := int64(sp.offsets[seq-sp.first])
		rec, err := r.Record(off)
		if err != nil {
			return l.explain(err)
		}
		h, err := record.Parse(rec.Bytes)
		if err != nil || h.Tag != t.tag || h.Seq != seq {
			return l.misplaced(t, seq, s, off)
		}
		key, ok := sp.key(h.KeyID)
		if h.Type.Encrypted() && !ok {
			return l.misplaced(t, seq, s, off)
		}
		if err := fn(located{header: h, raw: rec.Bytes, key: key}); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) misplaced(t *tenantLog, seq uint64, s wal.Segment, off int64) error {
	return l.tampered(t, seq, s.Path, off, "it is not where it was written")
}

// tampered is the error for a record that is not as it was written.
func (l *Log) tampered(t *tenantLog, seq uint64, path string, off int64, why string) error {
	return domain.Errorf(domain.Tampered, "record %d of %s is not as it was written: %s (%s, offset %d)",
		seq, l.nameOf(t), why, filepath.Base(path), off).
		WithHint("keep a copy of %s, find out what happened, and compare with the last export or receipt", l.o.Dir)
}

func (l *Log) nameOf(t *tenantLog) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.name()
}

// spanOf gives a log's records in a segment, reading the segment if its index
// is not at hand.
func (l *Log) spanOf(s wal.Segment, tag Tag) (span, error) {
	l.mu.Lock()
	idx := l.indexes.kept[s.Number]
	if l.indexes.active.number == s.Number {
		idx = l.indexes.active
	}
	if idx != nil {
		defer l.mu.Unlock()
		return idx.span(tag), nil
	}
	l.mu.Unlock()
	idx, err := l.readIndex(s)
	if err != nil {
		return span{}, l.explain(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.indexes.keep(idx)
	return idx.span(tag), nil
}

func (s *segmentIndex) span(tag Tag) span {
	if sp := s.spans[tag]; sp != nil {
		return *sp
	}
	return span{}
}

// readIndex builds the index of a segment from its records.
func (l *Log) readIndex(s wal.Segment) (*segmentIndex, error) {
	r, err := wal.NewReader(s)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, _, err := r.Head(l.headKey, l.o.Instance)
	if err != nil {
		return nil, err
	}
	snap, err := decodeSnapshot(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	keys := make(map[Tag]record.KeyState, len(snap.heads))
	for _, h := range snap.heads {
		keys[h.tag] = h.state.Key
	}
	idx := &segmentIndex{number: s.Number, spans: map[Tag]*span{}}
	err = r.Each(func(rec wal.Record) error {
		h, err := record.Parse(rec.Bytes)
		if err != nil {
			return &wal.DamageError{File: s.Path, Offset: rec.Offset, Reason: err.Error()}
		}
		if h.Type == record.KeyOpen {
			_, body, err := record.DecodeClear(rec.Bytes)
			if err != nil {
				return &wal.DamageError{File: s.Path, Offset: rec.Offset, Reason: err.Error()}
			}
			k := body.(record.OpenedKey) //nolint:forcetypeassert // DecodeClear gives it for this type
			keys[h.Tag] = record.KeyState{Period: k.Period, Commitment: k.Commitment}
		}
		idx.add(h.Tag, h.Seq, rec.Offset, keys[h.Tag])
		return nil
	})
	return idx, err
}
