package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SyncDir makes the entries of a directory durable: names that were made,
// renamed or removed in it.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil // some network and FUSE file systems cannot, and have nothing to sync
	}
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	step("dir-synced")
	return nil
}

// MkdirAll makes path and its missing parents with mode 0700 and makes each
// new name durable. A path that is a directory already is fine and keeps its
// mode; anything else there is an error.
func MkdirAll(path string) error {
	info, err := os.Stat(path)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("making directory %s: %w", path, unix.ENOTDIR)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	step("dir-made")
	return SyncDir(parent)
}

// Rename moves a file or directory, replacing what stands at to as rename(2)
// does, and makes both directories durable.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	step("renamed")
	return syncBoth(from, to)
}

// RenameNew is Rename for a file, but never replaces: if anything stands at
// to, the error matches fs.ErrExist and nothing changed.
func RenameNew(from, to string) error {
	if err := moveNew(from, to); err != nil {
		return fmt.Errorf("renaming %s to %s: %w", from, to, err)
	}
	step("renamed")
	return syncBoth(from, to)
}

// syncBoth syncs the directory of the new name first: after a crash between
// the two a file can have both names, but cannot have lost both.
func syncBoth(from, to string) error {
	if err := SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncDir(filepath.Dir(from))
}

// Remove removes a file or an empty directory for good. A missing file is an
// error that matches fs.ErrNotExist.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	step("removed")
	return SyncDir(filepath.Dir(path))
}

// RemoveAll removes path and all below it for good; a missing path is fine.
// After a crash in the middle some of the content may be left: call it again.
func RemoveAll(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	step("removed")
	err := SyncDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
