package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Modes of everything that is made here.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// TempPrefix starts the name of every file that is not yet in its place.
const TempPrefix = ".tmp-"

// ErrTooLarge means that a file is larger than its reader accepts: it is not
// what it should be, so stop and look at it.
var ErrTooLarge = errors.New("file is larger than expected")

// ErrNotRegular means that a symbolic link, device, pipe or directory stands
// where a plain file should be: somebody put it there, so look before removing.
var ErrNotRegular = errors.New("not a regular file")

// WriteFile replaces the file at path, or makes it, with mode 0600. When it
// returns nil the data and the name are on stable storage; after a crash at
// any point the file has its old or its new content. The steps are those of
// Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014):
// temporary file, fsync, rename, fsync of the directory.
func WriteFile(path string, data []byte) error {
	err := writeTemp(path, whole(data), func(tmp string) error { return os.Rename(tmp, path) })
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// CreateFile makes the file at path with mode 0600 and never replaces: if
// anything stands there the error matches fs.ErrExist and nothing changed.
// Of several callers at once exactly one succeeds.
func CreateFile(path string, data []byte) error {
	err := writeTemp(path, whole(data), func(tmp string) error { return moveNew(tmp, path) })
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	return nil
}

func whole(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// writeTemp fills a temporary file beside path, syncs it, puts it in place
// and syncs the directory.
func writeTemp(path string, fill func(io.Writer) error, place func(tmp string) error) (err error) {
	dir := filepath.Dir(path)
	tmp := filepath.Join(dir, TempPrefix+filepath.Base(path)+"-"+rand.Text()[:12])
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	step("temp-made")
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	err = fill(f)
	step("temp-written")
	if err == nil {
		err = syncFile(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := place(tmp); err != nil {
		return err
	}
	step("placed")
	return SyncDir(dir)
}

// syncFile is fsync(2) of a file's content.
func syncFile(f *os.File) error {
	err := f.Sync()
	step("file-synced")
	return err
}

// ReadFile reads a whole regular file of at most limit bytes. It does not
// follow a symbolic link in the last part of path and does not wait on a pipe.
// Errors match fs.ErrNotExist, ErrNotRegular or ErrTooLarge where they apply.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("reading %s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
}

// openRegular opens an existing plain file; the check is made on what was
// opened, so that nothing can be exchanged in between.
func openRegular(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("opening %s: %w: a symbolic link", path, ErrNotRegular)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("opening %s: %w: %s", path, ErrNotRegular, info.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// SweepTemp removes what interrupted writes left in dir (not below it). Only
// the holder of the data directory's lock may call it, before others write.
func SweepTemp(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	removed := false
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), TempPrefix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweeping %s: %w", dir, err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return SyncDir(dir)
}
