package wal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"coffer/app/durable"
)

// Replay takes what a start reads. An error of a method ends the start.
type Replay interface {
	// Segment is called for every segment in order with the snapshot in its
	// header.
	Segment(s Segment, snapshot []byte) error
	// Record is called for every record of the last segment in order.
	Record(r Record) error
}

// Recovery says what a start found.
type Recovery struct {
	Created bool   // there was no journal
	Torn    bool   // the last segment ends in a tear; the next write goes to a new one
	Dropped []Drop // tears since the last segment that has a batch, oldest first
}

// Open reads the journal, checks that it reaches the mark, and makes it ready
// for the committer. It writes nothing but a copy of a tear into the
// quarantine. A new journal has no segment before the first Rotate. Damage is
// a *DamageError.
func Open(o Options, m Mark, r Replay) (*Journal, Recovery, error) {
	var rec Recovery
	if err := o.setDefaults(); err != nil {
		return nil, rec, err
	}
	if err := durable.MkdirAll(o.Dir); err != nil {
		return nil, rec, err
	}
	if err := sweep(o.Dir); err != nil {
		return nil, rec, err
	}
	j := &Journal{o: o, number: 1, reserve: exists(filepath.Join(o.Dir, reserveName))}
	headers, err := j.readHeaders(m, r)
	if err != nil {
		return nil, rec, err
	}
	if len(headers) == 0 {
		rec.Created = true
		return j, rec, nil
	}
	if err := j.replayLast(headers, m, r, &rec); err != nil {
		if j.active != nil {
			err = errors.Join(err, j.active.Close())
		}
		return nil, rec, err
	}
	return j, rec, nil
}

// readHeaders reads the header of every segment and checks that they follow
// each other without a gap.
func (j *Journal) readHeaders(m Mark, r Replay) ([]segmentHeader, error) {
	numbers, err := listSegments(j.o.Dir)
	if err != nil {
		return nil, err
	}
	if len(numbers) == 0 {
		if m.First != 0 {
			return nil, &DamageError{j.o.Dir, 0, "the journal's segments are gone"}
		}
		return nil, nil
	}
	if m.First != 0 && numbers[0] != m.First || m.First == 0 && numbers[0] != 1 {
		return nil, &DamageError{segmentPath(j.o.Dir, max(m.First, 1)), 0, "the first segment is missing, or there is an older one"}
	}
	headers := make([]segmentHeader, 0, len(numbers))
	for i, n := range numbers {
		path := segmentPath(j.o.Dir, n)
		if n != numbers[0]+uint64(i) {
			return nil, &DamageError{segmentPath(j.o.Dir, numbers[0]+uint64(i)), 0, "the segment is missing"}
		}
		h, size, err := readHeader(path, j.o.MACKey, j.o.Instance)
		if err != nil {
			return nil, err
		}
		if h.number != n {
			return nil, &DamageError{path, 0, fmt.Sprintf("segment %d stands under the name of %d", h.number, n)}
		}
		if i > 0 {
			prev := &j.segments[i-1]
			if h.firstLSN < prev.FirstLSN || h.firstBatch < prev.FirstBatch || h.prevEnd < prev.Start {
				return nil, &DamageError{path, 0, "the segment does not follow the one before it"}
			}
			prev.End = h.prevEnd
			prev.Dropped = Drop{Segment: prev.Number, Offset: h.prevEnd, Bytes: h.dropped, SHA256: h.dropHash}
			if h.prevEnd+h.dropped > j.size {
				return nil, &DamageError{prev.Path, j.size, "the segment was cut"}
			}
		}
		j.size = size
		headers = append(headers, h)
		j.segments = append(j.segments, segmentOf(j.o.Dir, h))
		if err := r.Segment(j.segments[i], h.snapshot); err != nil {
			return nil, err
		}
	}
	return headers, nil
}

// readHeader reads and authenticates one segment's header and tells the
// file's size.
func readHeader(path string, key []byte, instance [16]byte) (segmentHeader, int64, error) {
	var h segmentHeader
	f, err := os.Open(path)
	if err != nil {
		return h, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return h, 0, err
	}
	h, err = decodeHeaderOf(f, key, instance)
	if errors.Is(err, errBytes) || errors.Is(err, io.ErrUnexpectedEOF) {
		return h, 0, &DamageError{path, 0, err.Error()}
	}
	return h, info.Size(), err
}

func decodeHeaderOf(r io.ReaderAt, key []byte, instance [16]byte) (segmentHeader, error) {
	b := make([]byte, headerAlign)
	if err := readAt(r, b, 0); err != nil {
		return segmentHeader{}, err
	}
	n, err := segmentHeaderSize(b)
	if err != nil {
		return segmentHeader{}, err
	}
	b = make([]byte, n)
	if err := readAt(r, b, 0); err != nil {
		return segmentHeader{}, err
	}
	return decodeSegmentHeader(b, key, instance)
}

// replayLast reads the last segment and judges its end.
func (j *Journal) replayLast(headers []segmentHeader, m Mark, r Replay, rec *Recovery) error {
	i := len(headers) - 1
	h, seg := headers[i], &j.segments[i]
	var err error
	if j.active, err = j.o.Files.Open(seg.Path); err != nil {
		return err
	}
	j.size, j.last = j.active.Size(), h.lastBatch
	s := &scanner{r: j.active, limit: j.size, off: seg.Start, number: h.firstBatch, lsn: h.firstLSN}
	bad, err := j.replayBatches(s, seg.Number, r)
	if err != nil {
		return err
	}
	seg.End, j.number, j.lsn = s.off, s.number, s.lsn
	if err := j.judge(*seg, bad, m, rec); err != nil {
		return err
	}
	rec.Dropped = unreported(headers, j.segments, s.number)
	if rec.Torn {
		if err := quarantine(j.o.Quarantine, j.active, j.torn); err != nil {
			return err
		}
		rec.Dropped = append(rec.Dropped, j.torn)
	}
	// What was read may stand in memory only: a process that was killed
	// between write and flush leaves it so.
	return j.active.Sync()
}

// replayBatches hands out the records of all good batches and remembers the
// hash of the last one.
func (j *Journal) replayBatches(s *scanner, number uint64, r Replay) (bad *errBatch, err error) {
	last, size := int64(0), 0
	defer func() {
		if size > 0 && err == nil {
			b := make([]byte, size)
			err = readAt(s.r, b, last)
			j.last = sha256.Sum256(b)
		}
	}()
	for {
		at := s.off
		batch, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if errors.As(err, &bad) {
			return bad, nil
		}
		if err != nil {
			return nil, err
		}
		last, size = at, len(batch)
		if err := each(number, at, batch, r.Record); err != nil {
			return nil, err
		}
	}
}

// judge decides what the bytes after the last good batch are.
func (j *Journal) judge(seg Segment, bad *errBatch, m Mark, rec *Recovery) error {
	d, later, err := tail(j.active, seg.End, j.size, j.number)
	if err != nil {
		return err
	}
	reason := "bytes where no batch begins"
	if bad != nil {
		reason = bad.reason
	}
	damage := func(format string, args ...any) error {
		return &DamageError{seg.Path, seg.End, fmt.Sprintf(format, args...)}
	}
	switch {
	case later >= 0:
		return damage("%s, and a batch begins after it at offset %d", reason, later)
	case d.Bytes > maxBatchOnDisk || d.Bytes > 0 && bad != nil && !bad.torn:
		return damage("%s", reason)
	case j.lsn < m.LSN || seg.Number < m.Segment:
		if d.Bytes > 0 {
			return damage("%s, and records up to number %d were durable", reason, m.LSN)
		}
		return damage("the journal ends at record %d, and records up to number %d were durable: it was cut or is an older copy", j.lsn, m.LSN)
	case m.Clean && (d.Bytes > 0 || j.lsn != m.LSN || seg.Number != m.Segment || seg.End != m.End):
		return damage("the journal was changed after an orderly end at record %d", m.LSN)
	}
	if d.Bytes > 0 {
		d.Segment = seg.Number
		rec.Torn, j.torn = true, d
	}
	return nil
}

// unreported gives the tears that no batch has followed yet: a crash may have
// come before the owner could write about them. batch is the number of the
// next batch.
func unreported(headers []segmentHeader, segments []Segment, batch uint64) []Drop {
	var drops []Drop
	for i := len(headers) - 1; i > 0 && headers[i].firstBatch == batch; i-- {
		if d := segments[i-1].Dropped; d.Bytes > 0 {
			drops = append([]Drop{d}, drops...)
		}
	}
	return drops
}

// quarantine keeps a copy of a tear. The segment that holds it stays as it is.
func quarantine(dir string, r io.ReaderAt, d Drop) error {
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	b := make([]byte, d.Bytes)
	if err := readAt(r, b, d.Offset); err != nil {
		return err
	}
	name := filepath.Join(dir, fmt.Sprintf("%016x-%08x.torn", d.Segment, d.Offset))
	err := durable.CreateFile(name, b)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	old, err := durable.ReadFile(name, math.MaxInt32)
	if err != nil {
		return err
	}
	if sha256.Sum256(old) != d.SHA256 {
		return &DamageError{name, 0, "another tear stands in quarantine under this name"}
	}
	return nil
}
