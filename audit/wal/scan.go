package wal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// DamageError says that the journal is not as it was written. Nothing was
// changed on disk; the journal does not open.
type DamageError struct {
	File   string
	Offset int64
	Reason string
}

// Error names the file, the place and the reason.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s at offset %d: %s", e.File, e.Offset, e.Reason)
}

// Record is one record where it stands.
type Record struct {
	Segment uint64
	Offset  int64 // of its frame
	LSN     uint64
	Bytes   []byte // valid until the scanner goes on
}

// errBatch is a batch that is not good; torn says whether a crash can have
// made it so, as far as the batch alone tells.
type errBatch struct {
	reason string
	torn   bool
}

// Error is the reason alone.
func (e *errBatch) Error() string { return e.reason }

func tear(format string, args ...any) error {
	return &errBatch{reason: fmt.Sprintf(format, args...), torn: true}
}

func tampered(format string, args ...any) error {
	return &errBatch{reason: fmt.Sprintf(format, args...)}
}

// scanner reads the batches of one segment.
type scanner struct {
	r      io.ReaderAt
	limit  int64  // reads stop here
	off    int64  // of the next batch
	number uint64 // of the next batch
	lsn    uint64 // of the next record
	last   Hash   // of the last batch that was read
	buf    []byte
}

// next reads one batch and gives its bytes with the header. io.EOF means that
// no batch begins here: zeros, or the limit. Any other error of reading a
// malformed batch is an *errBatch.
func (s *scanner) next() ([]byte, error) {
	if s.limit-s.off < batchHeaderSize {
		return nil, io.EOF
	}
	s.buf = grow(s.buf, batchHeaderSize)
	if err := readAt(s.r, s.buf, s.off); err != nil {
		return nil, err
	}
	h, ok := decodeBatchHeader(s.buf)
	if !ok {
		if allZero(s.buf) {
			return nil, io.EOF
		}
		return nil, tear("no batch header where batch %d should be", s.number)
	}
	if h.number != s.number || h.firstLSN != s.lsn {
		return nil, tampered("batch %d with record %d stands where batch %d with record %d should be",
			h.number, h.firstLSN, s.number, s.lsn)
	}
	end := s.off + batchHeaderSize + int64(h.bytes)
	if end > s.limit {
		return nil, tampered("batch %d is longer than its segment", h.number)
	}
	padded := min(align(end), s.limit)
	s.buf = grow(s.buf, int(padded-s.off))
	if err := readAt(s.r, s.buf, s.off); err != nil {
		return nil, err
	}
	batch, padding := s.buf[:end-s.off], s.buf[end-s.off:]
	if err := checkFrames(batch[batchHeaderSize:], h); err != nil {
		return nil, err
	}
	if !allZero(padding) {
		return nil, tampered("batch %d is not padded with zeros", h.number)
	}
	s.off, s.number, s.lsn = padded, h.number+1, h.firstLSN+uint64(h.count)
	return batch, nil
}

// checkFrames checks that the frames are those that the header announces.
func checkFrames(b []byte, h batchHeader) error {
	for i := range h.count {
		lsn, rec, err := decodeFrame(b)
		if err != nil {
			return tear("batch %d: record %d of %d: %v", h.number, i+1, h.count, err)
		}
		if lsn != h.firstLSN+uint64(i) {
			return tampered("batch %d: record %d stands where %d should be", h.number, lsn, h.firstLSN+uint64(i))
		}
		b = b[FrameOverhead+len(rec):]
	}
	if len(b) > 0 {
		return tampered("batch %d: bytes after its last record", h.number)
	}
	return nil
}

// each calls fn for the records of a batch that next gave; at is its offset.
func each(segment uint64, at int64, batch []byte, fn func(Record) error) error {
	b, off := batch[batchHeaderSize:], at+batchHeaderSize
	for len(b) > 0 {
		lsn, rec, err := decodeFrame(b)
		if err != nil {
			return err
		}
		if err := fn(Record{Segment: segment, Offset: off, LSN: lsn, Bytes: rec}); err != nil {
			return err
		}
		n := FrameOverhead + len(rec)
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// tail looks at what follows the last good batch: how many bytes up to the
// last that is not zero (0 for none), their hash, and the offset of the first
// valid header of a later batch (-1 for none).
func tail(r io.ReaderAt, off, size int64, number uint64) (d Drop, later int64, err error) {
	const chunk = 1 << 20
	later = -1
	d.Offset = off
	buf := make([]byte, min(chunk+batchHeaderSize, max(0, size-off)))
	for at := off; at < size; at += chunk {
		n := int(min(int64(len(buf)), size-at))
		if err := readAt(r, buf[:n], at); err != nil {
			return d, -1, err
		}
		if allZero(buf[:n]) {
			continue
		}
		if i := lastNonZero(buf[:min(n, chunk)]); i >= 0 {
			d.Bytes = at + int64(i) + 1 - off
		}
		for i := 0; later < 0; i++ {
			j := bytes.Index(buf[i:n], batchMagic[:])
			if j < 0 {
				break
			}
			i += j
			if h, ok := decodeBatchHeader(buf[i:n]); ok && (h.number != number || at+int64(i) != off) {
				later = at + int64(i)
			}
		}
	}
	if d.Bytes > 0 && d.Bytes <= maxBatchOnDisk {
		b := make([]byte, d.Bytes)
		if err := readAt(r, b, off); err != nil {
			return d, -1, err
		}
		d.SHA256 = sha256.Sum256(b)
	}
	return d, later, nil
}

func lastNonZero(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}

func grow(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:n]
	}
	return make([]byte, n, max(n, 2*cap(b)))
}

// readAt fills b; a file that ends before is an unexpected end.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
