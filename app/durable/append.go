package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// MaxAppendSize bounds the size of an AppendFile in bytes (1 GiB).
const MaxAppendSize = 1 << 30

// zeroChunk is how much is written at once when a file is filled with zeros.
const zeroChunk = 4 << 20

// ErrRange means a read or write that would leave the file's fixed size; the
// caller must start another file. Nothing was written.
var ErrRange = errors.New("outside the file's fixed size")

// PoisonedError means that a write or sync of the file failed before. What is
// on disk is unknown, and trying again could report success for data that the
// kernel dropped: stop, and start again from what can be read after a restart.
type PoisonedError struct {
	Path string
	Err  error // the first failure
}

// Error names the file and the first failure.
func (e *PoisonedError) Error() string {
	return fmt.Sprintf("%s failed before and takes no more writes: %v", e.Path, e.Err)
}

// Unwrap gives the first failure.
func (e *PoisonedError) Unwrap() error { return e.Err }

// AppendFile is a file of a fixed size whose blocks are written (as zeros)
// before it is used. Writing into it changes neither its size nor its block
// map, so that Sync is one flush of data. Methods may be called concurrently;
// the order of overlapping writes is the caller's business.
type AppendFile struct {
	f    *os.File
	path string
	id   Identity // as opened

	poison atomic.Pointer[PoisonedError]

	closeOnce sync.Once
	closeErr  error
}

var (
	_ io.ReaderAt = (*AppendFile)(nil)
	_ io.WriterAt = (*AppendFile)(nil)
)

// CreateAppend makes a file of size bytes at path, filled with zeros that are
// really written: unwritten extents (fallocate) would make the first write to
// each block a metadata change with a journal commit, and could still run out
// of space on copy-on-write file systems. It appears under its name only when
// complete and durable. An existing file is an error matching fs.ErrExist.
func CreateAppend(path string, size int64) (*AppendFile, error) {
	if size <= 0 || size > MaxAppendSize {
		return nil, fmt.Errorf("creating %s: %d bytes: %w", path, size, ErrRange)
	}
	fill := func(w io.Writer) error { return writeZeros(w, size) }
	err := writeTemp(path, fill, func(tmp string) error { return moveNew(tmp, path) })
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	return OpenAppend(path)
}

func writeZeros(w io.Writer, size int64) error {
	zeros := make([]byte, min(size, zeroChunk))
	for size > 0 {
		n, err := w.Write(zeros[:min(size, zeroChunk)])
		if err != nil {
			return err
		}
		size -= int64(n)
		step("zeros-written")
	}
	return nil
}

// OpenAppend opens a file that CreateAppend made; its size is what it is now.
func OpenAppend(path string) (*AppendFile, error) {
	f, err := openRegular(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	id, err := identify(f)
	if err == nil && (id.Size <= 0 || id.Size > MaxAppendSize) {
		err = fmt.Errorf("opening %s: %d bytes: %w", path, id.Size, ErrRange)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &AppendFile{f: f, path: path, id: id}, nil
}

// Path is the name under which the file was opened.
func (a *AppendFile) Path() string { return a.path }

// Size is the file's fixed size in bytes.
func (a *AppendFile) Size() int64 { return a.id.Size }

// ReadAt reads as io.ReaderAt does. It works on a poisoned file, too.
func (a *AppendFile) ReadAt(b []byte, off int64) (int, error) { return a.f.ReadAt(b, off) }

// WriteAt writes all of b at off. What it wrote is durable after the next
// Sync that returns nil. A range outside the file is ErrRange and writes
// nothing; any other failure poisons the file.
func (a *AppendFile) WriteAt(b []byte, off int64) (int, error) {
	if p := a.poison.Load(); p != nil {
		return 0, p
	}
	if off < 0 || off > a.id.Size || int64(len(b)) > a.id.Size-off {
		return 0, fmt.Errorf("writing %d bytes at %d of %s: %w", len(b), off, a.path, ErrRange)
	}
	n, err := a.f.WriteAt(b, off)
	if err != nil {
		return n, a.fail(err)
	}
	return n, nil
}

// Sync is fdatasync(2). When it returns nil every WriteAt that had returned
// before the call is on stable storage. A failure poisons the file.
func (a *AppendFile) Sync() error {
	if p := a.poison.Load(); p != nil {
		return p
	}
	step("append-sync")
	if err := datasync(a.f); err != nil {
		return a.fail(err)
	}
	if p := a.poison.Load(); p != nil {
		return p
	}
	return nil
}

// fail remembers the first failure and returns it.
func (a *AppendFile) fail(err error) error {
	a.poison.CompareAndSwap(nil, &PoisonedError{Path: a.path, Err: err})
	return a.poison.Load()
}

// Close closes the file without syncing it. Closing again gives the first
// answer; writes afterwards fail.
func (a *AppendFile) Close() error {
	a.closeOnce.Do(func() { a.closeErr = a.f.Close() })
	return a.closeErr
}
