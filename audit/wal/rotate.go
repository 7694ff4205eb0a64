package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"coffer/app/durable"
)

// NeedsNext says whether a file should be made ahead or for the reserve.
func (j *Journal) NeedsNext() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.closed && (!j.reserve || (j.next == 0 && j.nextDue()))
}

// nextDue: a segment that is a quarter full will be followed by another.
func (j *Journal) nextDue() bool { return j.end() >= j.size/4 }

// Prepare makes the reserve if it is missing, and the next segment ahead if
// the active one is a quarter full. It takes as long as writing the zeros
// takes and is meant for a goroutine of its own. On a full disk the error
// matches ENOSPC or EDQUOT and IsDiskFull.
func (j *Journal) Prepare() error {
	j.making.Lock()
	defer j.making.Unlock()
	j.mu.Lock()
	closed, reserve, due, size := j.closed, j.reserve, j.next == 0 && j.nextDue(), min(2*j.size, j.o.MaxSize)
	j.mu.Unlock()
	if closed {
		return nil
	}
	if !reserve {
		if err := j.make(reserveName, j.o.Reserve); err != nil {
			return err
		}
		j.mu.Lock()
		j.reserve = true
		j.mu.Unlock()
	}
	if !due {
		return nil
	}
	if err := j.make(nextName, size); err != nil {
		return err
	}
	j.mu.Lock()
	j.next = size
	j.mu.Unlock()
	return nil
}

func (j *Journal) make(name string, size int64) error {
	f, err := j.o.Files.Create(filepath.Join(j.o.Dir, name), size)
	if err != nil {
		return fmt.Errorf("preparing a segment of %d bytes: %w", size, err)
	}
	return f.Close()
}

// IsDiskFull says whether an error of this package means that the disk has no
// more room.
func IsDiskFull(err error) bool { return diskFull(err) }

// Rotate leaves the active segment and goes on in a new one whose header
// holds the snapshot, which is of the state after the last commit. room is how
// many bytes of records must fit. The new segment is the one made ahead, or one
// made now, or, on a full disk, the reserve.
func (j *Journal) Rotate(snapshot []byte, room int64) error {
	if j.count > 0 || len(snapshot) > MaxSnapshot {
		return fmt.Errorf("rotating with %d records pending and a snapshot of %d bytes", j.count, len(snapshot))
	}
	var h segmentHeader
	h.instance, h.firstLSN, h.firstBatch, h.snapshot = j.o.Instance, j.lsn, j.number, snapshot
	h.created, h.number = j.o.Now().UnixNano(), 1
	if n := len(j.segments); n > 0 {
		h.number, h.prevEnd, h.lastBatch = j.segments[n-1].Number+1, j.segments[n-1].End, j.lastBatch()
		h.dropped, h.dropHash = j.torn.Bytes, j.torn.SHA256
	}
	least := h.size() + batchHeaderSize + room + batchAlign
	from, err := j.takeFile(least)
	if err != nil {
		return fmt.Errorf("starting segment %d: %w", h.number, err)
	}
	if err := j.start(from, h); err != nil {
		return fmt.Errorf("starting segment %d: %w", h.number, err)
	}
	return nil
}

// takeFile gives the path of a file of zeros of at least that size.
func (j *Journal) takeFile(least int64) (string, error) {
	j.mu.Lock()
	next, reserve := j.next, j.reserve
	if j.next != 0 {
		j.next = 0
	}
	j.mu.Unlock()
	if next >= least {
		return filepath.Join(j.o.Dir, nextName), nil
	}
	if next > 0 {
		if err := durable.Remove(filepath.Join(j.o.Dir, nextName)); err != nil {
			return "", err
		}
	}
	size := j.o.FirstSize
	for size < least {
		size *= 2
	}
	err := j.make(inlineName, size)
	if err == nil {
		return filepath.Join(j.o.Dir, inlineName), nil
	}
	if !diskFull(err) || !reserve || j.o.Reserve < least {
		return "", err
	}
	j.mu.Lock()
	j.reserve = false
	j.mu.Unlock()
	return filepath.Join(j.o.Dir, reserveName), nil
}

// start makes the file at from the active segment. Its header is durable
// before it gets its name.
func (j *Journal) start(from string, h segmentHeader) error {
	f, err := j.o.Files.Open(from)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(h.encode(j.o.MACKey), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	path := segmentPath(j.o.Dir, h.number)
	if err := durable.RenameNew(from, path); err != nil {
		return err
	}
	f, err = j.o.Files.Open(path)
	if err != nil {
		return err
	}
	j.mu.Lock()
	old := j.active
	if n := len(j.segments); n > 0 {
		j.segments[n-1].Dropped = j.torn
	}
	j.active, j.size, j.torn = f, f.Size(), Drop{}
	j.segments = append(j.segments, segmentOf(j.o.Dir, h))
	j.mu.Unlock()
	if old == nil {
		return nil
	}
	return errors.Join(old.Close(), j.trim(j.segments[len(j.segments)-2]))
}

// trim gives the zeros behind a segment's last batch back to the disk. It
// needs no flush: with or without them the segment means the same. A tear
// stays as it is.
func (j *Journal) trim(s Segment) error {
	if s.Dropped.Bytes > 0 {
		return nil
	}
	return os.Truncate(s.Path, s.End)
}

func segmentOf(dir string, h segmentHeader) Segment {
	return Segment{
		Number: h.number, Path: segmentPath(dir, h.number), Start: h.size(), End: h.size(),
		FirstLSN: h.firstLSN, FirstBatch: h.firstBatch, Created: time.Unix(0, h.created).UTC(),
	}
}
