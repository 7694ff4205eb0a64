package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"coffer/audit/record"
	"coffer/audit/wal"
)

// Sizes of the state that stands in each segment's header; FORMAT.md draws it.
const (
	snapshotVersion   = 1
	snapshotFixedSize = 24
	snapshotHeadSize  = 128
	snapshotOpenSize  = 40
	periodFieldSize   = 8

	maxSnapshotHeads   = 1 << 18
	maxSnapshotIntents = 1 << 18
)

var errSnapshot = errors.New("malformed state in a segment header")

// snapshot is the state of all logs between two batches.
type snapshot struct {
	boot     uint32
	lastWall int64 // largest wall clock of any record
	heads    []headState
	intents  []openIntent
}

// headState is one log.
type headState struct {
	tag   Tag
	used  int64 // bytes of the journal that its records take
	state record.State
}

// openIntent says where the record of an intent without an outcome stands.
type openIntent struct {
	id      IntentID
	segment uint64
	offset  int64
}

func (s snapshot) encode() []byte {
	b := make([]byte, 0, snapshotFixedSize+len(s.heads)*snapshotHeadSize+len(s.intents)*snapshotOpenSize)
	b = binary.BigEndian.AppendUint32(b, snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, s.boot)
	b = binary.BigEndian.AppendUint64(b, uint64(s.lastWall))
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.heads)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.intents)))
	for _, h := range s.heads {
		b = append(b, h.tag[:]...)
		b = binary.BigEndian.AppendUint32(b, h.state.Slot)
		b = binary.BigEndian.AppendUint32(b, h.state.RetentionDays)
		b = binary.BigEndian.AppendUint64(b, h.state.Size)
		b = append(b, h.state.Leaf[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(h.used))
		var period [periodFieldSize]byte
		copy(period[:], h.state.Key.Period)
		b = append(b, period[:]...)
		b = append(b, h.state.Key.Commitment[:]...)
		b = binary.BigEndian.AppendUint64(b, h.state.Key.First)
		b = binary.BigEndian.AppendUint64(b, h.state.Key.Count)
	}
	for _, i := range s.intents {
		b = append(b, i.id[:]...)
		b = binary.BigEndian.AppendUint64(b, i.segment)
		b = binary.BigEndian.AppendUint64(b, uint64(i.offset))
	}
	return b
}

// decodeSnapshot accepts exactly what encode makes. The bytes were
// authenticated before; the bounds guard against our own mistakes.
func decodeSnapshot(b []byte) (snapshot, error) {
	var s snapshot
	if len(b) < snapshotFixedSize || binary.BigEndian.Uint32(b) != snapshotVersion {
		return s, fmt.Errorf("%w: unknown version", errSnapshot)
	}
	s.boot = binary.BigEndian.Uint32(b[4:])
	s.lastWall = int64(binary.BigEndian.Uint64(b[8:]))
	heads, intents := binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
	b = b[snapshotFixedSize:]
	if heads > maxSnapshotHeads || intents > maxSnapshotIntents ||
		len(b) != int(heads)*snapshotHeadSize+int(intents)*snapshotOpenSize {
		return s, fmt.Errorf("%w: %d heads and %d intents in %d bytes", errSnapshot, heads, intents, len(b))
	}
	s.heads = make([]headState, 0, heads)
	seen := make(map[Tag]bool, heads)
	for range heads {
		h, err := decodeHead(b[:snapshotHeadSize])
		if err != nil {
			return s, err
		}
		if seen[h.tag] {
			return s, fmt.Errorf("%w: two heads of one log", errSnapshot)
		}
		seen[h.tag] = true
		s.heads = append(s.heads, h)
		b = b[snapshotHeadSize:]
	}
	for range intents {
		i := openIntent{id: IntentID(b[:24]), segment: binary.BigEndian.Uint64(b[24:]), offset: int64(binary.BigEndian.Uint64(b[32:]))}
		if i.offset < 0 || !seen[i.id.Tag()] {
			return s, fmt.Errorf("%w: an intent of no log", errSnapshot)
		}
		s.intents = append(s.intents, i)
		b = b[snapshotOpenSize:]
	}
	return s, nil
}

func decodeHead(b []byte) (headState, error) {
	h := headState{tag: Tag(b[:16]), used: int64(binary.BigEndian.Uint64(b[64:]))}
	h.state.Slot = binary.BigEndian.Uint32(b[16:])
	h.state.RetentionDays = binary.BigEndian.Uint32(b[20:])
	h.state.Size = binary.BigEndian.Uint64(b[24:])
	copy(h.state.Leaf[:], b[32:])
	period := b[72:80]
	h.state.Key.Period = string(bytes.TrimRight(period, "\x00"))
	copy(h.state.Key.Commitment[:], b[80:])
	h.state.Key.First = binary.BigEndian.Uint64(b[112:])
	h.state.Key.Count = binary.BigEndian.Uint64(b[120:])
	if h.state.Size == 0 || h.used < 0 || slices.Contains([]byte(h.state.Key.Period), 0) {
		return h, fmt.Errorf("%w: a head out of range", errSnapshot)
	}
	if h.state.Key.Period != "" {
		if _, err := record.PeriodStart(h.state.Key.Period); err != nil {
			return h, fmt.Errorf("%w: %w", errSnapshot, err)
		}
	} else if (h.state.Key != record.KeyState{}) {
		return h, fmt.Errorf("%w: a key without a period", errSnapshot)
	}
	return h, nil
}

// position is where a record stands in the journal.
type position struct {
	segment uint64
	offset  int64
}

func positionOf(r wal.Record) position { return position{r.Segment, r.Offset} }
