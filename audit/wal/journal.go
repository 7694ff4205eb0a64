package wal

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"coffer/app/durable"
)

// Default sizes, in bytes. A journal starts small and each segment that fills
// up is followed by one of twice its size, so that an appliance with little
// traffic takes little disk and starts at once.
const (
	DefaultFirstSize   = 4 << 20
	DefaultMaxSize     = 64 << 20
	DefaultReserveSize = 4 << 20
	// MinSegmentSize is the least that any of the sizes may be.
	MinSegmentSize = 16 << 10
)

// Options say where a journal is and how large its files are.
type Options struct {
	Dir        string // of the segments
	Quarantine string // directory for tears
	Instance   [16]byte
	MACKey     []byte // 32 bytes; authenticates segment headers
	FirstSize  int64  // of the first segment; 0 means DefaultFirstSize
	MaxSize    int64  // of any segment; 0 means DefaultMaxSize
	Reserve    int64  // of the reserve; 0 means DefaultReserveSize
	Now        func() time.Time
	Files      Files // nil means Disk
}

func (o *Options) setDefaults() error {
	set := func(v *int64, def int64) {
		if *v == 0 {
			*v = def
		}
	}
	set(&o.FirstSize, DefaultFirstSize)
	set(&o.MaxSize, max(DefaultMaxSize, o.FirstSize))
	set(&o.Reserve, min(DefaultReserveSize, o.FirstSize))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Files == nil {
		o.Files = Disk{}
	}
	switch {
	case o.FirstSize < MinSegmentSize || o.Reserve < MinSegmentSize || o.MaxSize < o.FirstSize:
		return fmt.Errorf("segment sizes %d to %d, reserve %d: too small or out of order", o.FirstSize, o.MaxSize, o.Reserve)
	case o.MaxSize > durable.MaxAppendSize:
		return fmt.Errorf("segments of %d bytes are more than %d", o.MaxSize, durable.MaxAppendSize)
	case len(o.MACKey) != sha256.Size:
		return fmt.Errorf("a MAC key of %d bytes, not %d", len(o.MACKey), sha256.Size)
	}
	return nil
}

// Segment is one file of the journal.
type Segment struct {
	Number     uint64
	Path       string
	Start      int64 // of the first batch
	End        int64 // after the last durable batch
	FirstLSN   uint64
	FirstBatch uint64
	Created    time.Time
	Dropped    Drop // the tear after End, if Bytes is not 0; known once the next segment stands
}

// Journal appends batches. Add, Commit and Rotate belong to one goroutine, the
// committer; the other methods may be called from any.
//
// After an error of Commit or Rotate the journal must not be used again:
// whether the batch is on disk is unknown until the next start has read it.
type Journal struct {
	o Options

	// Of the committer alone.
	active  File
	batch   []byte // the batch being built, header first
	count   uint32
	flushed []byte // the last durable batch, for its hash
	last    Hash   // of the last batch before flushed
	number  uint64 // of the next batch
	lsn     uint64 // of the next record
	torn    Drop   // the tear behind the active segment's end, until it is left

	making sync.Mutex // held while a file is being made ahead

	mu       sync.Mutex
	segments []Segment // the last is the active one
	size     int64     // of the active file
	next     int64     // size of the file made ahead, 0 for none
	reserve  bool
	closed   bool
}

// Mark is how far a journal is known to reach, kept by the owner outside the
// journal.
type Mark struct {
	Clean   bool   // written at an orderly end: the journal must be exactly so
	First   uint64 // number of the first segment; 0 if there was none yet
	Segment uint64 // the active segment
	End     int64  // where its last batch ends
	LSN     uint64 // number of records
}

// Mark tells how far the journal reaches durably.
func (j *Journal) Mark() Mark {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) == 0 {
		return Mark{}
	}
	s := j.segments[len(j.segments)-1]
	return Mark{First: j.segments[0].Number, Segment: s.Number, End: s.End, LSN: j.lsn}
}

// Segments lists the files, oldest first.
func (j *Journal) Segments() []Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Segment(nil), j.segments...)
}

// Active is the segment that is written.
func (j *Journal) Active() Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) == 0 {
		return Segment{}
	}
	return j.segments[len(j.segments)-1]
}

// Used is how many bytes of disk hold records, and how many more fit the
// active segment.
func (j *Journal) Used() (used, room int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		used += s.End
	}
	return used, j.size - j.end()
}

// LSN is the number of the next record.
func (j *Journal) LSN() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lsn
}

// Pending is the number of records in the batch being built.
func (j *Journal) Pending() int { return int(j.count) }

// Full says that the batch has reached its size and should be committed.
func (j *Journal) Full() bool {
	return len(j.batch) >= BatchBytes || j.count >= BatchRecords
}

// Fits says whether records of n bytes in total can still be added to the
// batch. If not, commit what is pending; if nothing is, rotate.
func (j *Journal) Fits(records int, n int64) bool {
	n += int64(records) * FrameOverhead
	if j.torn.Bytes > 0 || int(j.count)+records > MaxBatchRecords {
		return false
	}
	have := int64(max(len(j.batch), batchHeaderSize))
	return have+n <= MaxBatchBytes && align(j.end()+have+n) <= j.size
}

// end is where the next batch goes. Only the committer moves it, so that it
// may read without the lock.
func (j *Journal) end() int64 {
	if len(j.segments) == 0 {
		return 0
	}
	return j.segments[len(j.segments)-1].End
}

// Add puts a record into the batch and tells where it will stand. Fits has
// said that it does.
func (j *Journal) Add(rec []byte) (Record, error) {
	if len(rec) == 0 || len(rec) > MaxRecord || !j.Fits(1, int64(len(rec))) {
		return Record{}, fmt.Errorf("adding a record of %d bytes: it does not fit", len(rec))
	}
	if len(j.batch) == 0 {
		j.batch = append(j.batch, make([]byte, batchHeaderSize)...)
	}
	r := Record{
		Segment: j.segments[len(j.segments)-1].Number, Offset: j.end() + int64(len(j.batch)),
		LSN: j.lsn + uint64(j.count), Bytes: rec,
	}
	j.batch = appendFrame(j.batch, r.LSN, rec)
	j.count++
	return r, nil
}

// Commit writes the batch and flushes it. When it returns nil the records are
// on stable storage.
func (j *Journal) Commit() error {
	if j.count == 0 {
		return nil
	}
	h := batchHeader{number: j.number, firstLSN: j.lsn, count: j.count, bytes: uint32(len(j.batch) - batchHeaderSize)}
	h.encode(j.batch)
	end := j.end()
	padded := int(align(int64(len(j.batch))))
	n := len(j.batch)
	for len(j.batch) < padded {
		j.batch = append(j.batch, 0)
	}
	if w, err := j.active.WriteAt(j.batch, end); err != nil {
		return fmt.Errorf("writing batch %d: %w", j.number, err)
	} else if w != padded {
		return fmt.Errorf("writing batch %d: %d of %d bytes written", j.number, w, padded)
	}
	if err := j.active.Sync(); err != nil {
		return fmt.Errorf("flushing batch %d: %w", j.number, err)
	}
	j.flushed, j.batch = j.batch[:n], j.flushed[:0]
	j.mu.Lock()
	j.segments[len(j.segments)-1].End = end + int64(padded)
	j.lsn += uint64(j.count)
	j.number++
	j.mu.Unlock()
	j.count = 0
	return nil
}

// lastBatch is the hash of the last batch before the next one.
func (j *Journal) lastBatch() Hash {
	if len(j.flushed) > 0 {
		j.last, j.flushed = sha256.Sum256(j.flushed), j.flushed[:0]
	}
	return j.last
}

// Check looks whether somebody removed, replaced or cut the active segment.
func (j *Journal) Check() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || j.active == nil {
		return nil
	}
	return j.active.CheckIdentity()
}

// Close closes the files. What Commit reported durable is durable; nothing
// else is written. Closing again does nothing.
func (j *Journal) Close() error {
	j.making.Lock()
	defer j.making.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	if j.active == nil {
		return nil
	}
	return j.active.Close()
}

// Batches is the number of the next batch: how many flushes there were, and one.
func (j *Journal) Batches() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.number
}
