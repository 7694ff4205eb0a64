package wal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// Reader reads one segment of an open journal, up to the end that was durable
// when the Segment was listed.
type Reader struct {
	s    Segment
	f    *os.File
	scan *scanner
	win  []byte // a window of the file, for ReadRecord
	at   int64  // where the window begins
}

// windowSize is how much ReadRecord reads ahead, in bytes.
const windowSize = 256 << 10

// NewReader opens a segment for reading.
func NewReader(s Segment) (*Reader, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, err
	}
	return &Reader{s: s, f: f, scan: &scanner{
		r: f, limit: s.End, off: s.Start, number: s.FirstBatch, lsn: s.FirstLSN,
	}}, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }

// Each calls fn for every record in order. Anything that is not a good batch
// up to the segment's end is a *DamageError.
func (r *Reader) Each(fn func(Record) error) error {
	for r.scan.off < r.s.End {
		at := r.scan.off
		batch, err := r.scan.next()
		if err != nil {
			return r.damage(at, err)
		}
		if r.scan.off >= r.s.End {
			r.scan.last = sha256.Sum256(batch)
		}
		if err := each(r.s.Number, at, batch, fn); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) damage(at int64, err error) error {
	var bad *errBatch
	switch {
	case errors.As(err, &bad):
		return &DamageError{r.s.Path, at, bad.reason}
	case errors.Is(err, io.EOF):
		return &DamageError{r.s.Path, at, "zeros where a batch should be"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &DamageError{r.s.Path, at, "the segment was cut"}
	}
	return err
}

// Record reads the record whose frame stands at off. Reading ascending offsets
// is cheap. The bytes are valid until the next call.
func (r *Reader) Record(off int64) (Record, error) {
	if off < r.s.Start || off+FrameOverhead > r.s.End {
		return Record{}, &DamageError{r.s.Path, off, "no record can stand here"}
	}
	b, err := r.window(off, FrameOverhead)
	if err != nil {
		return Record{}, err
	}
	n := min(int64(FrameOverhead)+int64(frameLength(b)), r.s.End-off)
	if b, err = r.window(off, n); err != nil {
		return Record{}, err
	}
	lsn, rec, err := decodeFrame(b)
	if err != nil {
		return Record{}, &DamageError{r.s.Path, off, err.Error()}
	}
	return Record{Segment: r.s.Number, Offset: off, LSN: lsn, Bytes: rec}, nil
}

// window gives n bytes at off.
func (r *Reader) window(off, n int64) ([]byte, error) {
	if off < r.at || off+n > r.at+int64(len(r.win)) {
		size := min(max(n, windowSize), r.s.End-off)
		r.win, r.at = grow(r.win, int(size)), off
		if err := readAt(r.f, r.win, off); err != nil {
			r.win = r.win[:0]
			return nil, r.damage(off, err)
		}
	}
	return r.win[off-r.at:][:n], nil
}

// Head reads the segment's header again and gives the owner's snapshot in it
// and the hash of the last batch before the segment.
func (r *Reader) Head(key []byte, instance [16]byte) (snapshot []byte, lastBatch Hash, err error) {
	h, err := decodeHeaderOf(r.f, key, instance)
	switch {
	case errors.Is(err, errBytes) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, Hash{}, &DamageError{r.s.Path, 0, err.Error()}
	case err != nil:
		return nil, Hash{}, err
	case h.number != r.s.Number || h.firstLSN != r.s.FirstLSN || h.firstBatch != r.s.FirstBatch:
		return nil, Hash{}, &DamageError{r.s.Path, 0, "another segment stands in this place"}
	}
	r.scan.last = h.lastBatch
	return h.snapshot, h.lastBatch, nil
}

// LastBatch is the hash of the last batch, once Head and Each have read all.
func (r *Reader) LastBatch() Hash { return r.scan.last }

// VerifyTail checks that behind the last batch of a segment that was left
// there is nothing but zeros and the tear of which the next segment's header
// speaks.
func (r *Reader) VerifyTail() error {
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	d, _, err := tail(r.f, r.s.End, info.Size(), 0)
	if err != nil {
		return err
	}
	if d.Bytes != r.s.Dropped.Bytes || d.Bytes > 0 && d.SHA256 != r.s.Dropped.SHA256 {
		return &DamageError{r.s.Path, r.s.End, fmt.Sprintf("%d bytes after the last batch that do not belong there", d.Bytes)}
	}
	return nil
}
