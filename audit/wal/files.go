package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"coffer/app/durable"
)

// File is one zero-filled file of fixed size; *durable.AppendFile is one.
type File interface {
	ReadAt(b []byte, off int64) (int, error)
	WriteAt(b []byte, off int64) (int, error)
	Sync() error // fdatasync
	Size() int64
	CheckIdentity() error
	Close() error
}

// Files makes and opens the journal's files. Tests put failing disks here.
type Files interface {
	Create(path string, size int64) (File, error)
	Open(path string) (File, error)
}

// Disk is the real file system.
type Disk struct{}

var (
	_ Files = Disk{}
	_ File  = (*durable.AppendFile)(nil)
)

// Create makes a file of size bytes, really written as zeros and durable.
func (Disk) Create(path string, size int64) (File, error) { return durable.CreateAppend(path, size) }

// Open opens a file that Create made.
func (Disk) Open(path string) (File, error) { return durable.OpenAppend(path) }

// Names in the journal's directory besides the segments. None of the three is
// part of the journal; each is a file of zeros that may become a segment.
const (
	nextName    = "next"    // made ahead
	inlineName  = "inline"  // made at the moment it is needed
	reserveName = "reserve" // for the time when the disk is full
	segmentExt  = ".wal"
)

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%0*x%s", segmentNameDigits, number, segmentExt))
}

// listSegments gives the numbers of the segments in dir, ascending.
func listSegments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), segmentExt)
		if !ok || len(digits) != segmentNameDigits {
			continue
		}
		n, err := strconv.ParseUint(digits, 16, 64)
		if err != nil || segmentPath(dir, n) != filepath.Join(dir, e.Name()) {
			continue
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// sweep removes what an interrupted run prepared. The reserve stays.
func sweep(dir string) error {
	if err := durable.SweepTemp(dir); err != nil {
		return err
	}
	for _, name := range []string{nextName, inlineName} {
		if err := durable.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// diskFull says whether an error means that there is no more room.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// exists says whether something stands at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
