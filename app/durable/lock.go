package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxLockText bounds what is read from a lock file, in bytes.
const maxLockText = 4096

// lockTries bounds how often a lock file that was exchanged while it was
// being locked is opened again.
const lockTries = 5

// HeldError means that another process has the lock: stop it, or use it.
type HeldError struct {
	Path    string
	PID     int       // 0 if the holder has not written it yet
	Since   time.Time // by the holder's clock; zero if not known
	Command string    // base name of the holder's program, "" if not known
}

// Error says who holds the lock and since when.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is held by another process", e.Path)
	}
	return fmt.Sprintf("%s is held by process %d (%s) since %s",
		e.Path, e.PID, e.Command, e.Since.UTC().Format(time.RFC3339))
}

// Lock is an exclusive lock on a file, held until Close or until the process
// ends in whatever way.
type Lock struct {
	f         *os.File
	closeOnce sync.Once
	closeErr  error
}

// LockFile takes the lock at path, making the file if need be, without
// waiting. If another process, or this one, holds it the error is a
// *HeldError. The lock is flock(2) on the open file; the text in it only says
// who holds it, so that what a dead process left there locks nothing. The file
// is never removed: removing it would let two processes lock two files.
// A nil now means time.Now.
func LockFile(path string, now func() time.Time) (*Lock, error) {
	if now == nil {
		now = time.Now
	}
	for range lockTries {
		f, err := openLock(path)
		if err != nil {
			return nil, err
		}
		if same, err := sameAsNamed(f, path); err != nil || !same {
			f.Close()
			if err != nil {
				return nil, err
			}
			continue
		}
		if err := writeHolder(f, now()); err != nil {
			f.Close()
			return nil, fmt.Errorf("writing %s: %w", path, err)
		}
		return &Lock{f: f}, nil
	}
	return nil, fmt.Errorf("locking %s: the file was exchanged %d times meanwhile", path, lockTries)
}

func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, readHolder(f, path)
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}

// sameAsNamed finds out whether somebody removed or exchanged the file
// between opening and locking it.
func sameAsNamed(f *os.File, path string) (bool, error) {
	opened, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(opened, named), nil
}

func writeHolder(f *os.File, now time.Time) error {
	command := strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, filepath.Base(os.Args[0]))
	text := fmt.Sprintf("pid %d\nsince %s\ncommand %s\n", os.Getpid(), now.UTC().Format(time.RFC3339), command)
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// readHolder reads what the holder says about itself; anything that it cannot
// read stays zero, because the lock is held all the same.
func readHolder(f *os.File, path string) *HeldError {
	held := &HeldError{Path: path}
	text, err := io.ReadAll(io.LimitReader(f, maxLockText))
	if err != nil {
		return held
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch name {
		case "pid":
			held.PID, _ = strconv.Atoi(value)
		case "since":
			held.Since, _ = time.Parse(time.RFC3339, value)
		case "command":
			held.Command = value
		}
	}
	return held
}

// Close gives the lock back. Closing again gives the first answer.
func (l *Lock) Close() error {
	l.closeOnce.Do(func() {
		err := l.f.Truncate(0)
		l.closeErr = errors.Join(err, l.f.Close())
	})
	return l.closeErr
}
