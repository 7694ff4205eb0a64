package wal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/audit/wal"
)

// disk is a real disk that fails when a test says so.
type disk struct {
	mu     sync.Mutex
	create error
	write  error
	short  bool
	sync   error
}

func (d *disk) set(fn func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn(d)
}

func (d *disk) Create(path string, size int64) (wal.File, error) {
	d.mu.Lock()
	err := d.create
	d.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	f, err := wal.Disk{}.Create(path, size)
	return &file{f, d}, err
}

func (d *disk) Open(path string) (wal.File, error) {
	f, err := wal.Disk{}.Open(path)
	if err != nil {
		return nil, err
	}
	return &file{f, d}, nil
}

type file struct {
	wal.File
	d *disk
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	err, short := f.d.write, f.d.short
	f.d.mu.Unlock()
	if short {
		n, werr := f.File.WriteAt(b[:len(b)/2], off)
		return n, errors.Join(err, werr)
	}
	if err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	err := f.d.sync
	f.d.mu.Unlock()
	if err != nil {
		return err
	}
	return f.File.Sync()
}

func TestFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		fault func(*disk)
		want  error
	}{
		"write EIO":    {func(d *disk) { d.write = syscall.EIO }, syscall.EIO},
		"write ENOSPC": {func(d *disk) { d.write = syscall.ENOSPC }, syscall.ENOSPC},
		"short write":  {func(d *disk) { d.short = true }, nil},
		"flush EIO":    {func(d *disk) { d.sync = syscall.EIO }, syscall.EIO},
	} {
		d := &disk{}
		o := options(t.TempDir())
		o.Files = d
		j, _, _ := mustOpen(t, o, wal.Mark{})
		batch(t, j, "acknowledged")
		m := j.Mark()
		d.set(tt.fault)
		_, err := j.Add([]byte(strings.Repeat("x", 2_000)))
		must(t, err)
		if err := j.Commit(); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if j.Mark() != m {
			t.Errorf("%s: the mark moved", name)
		}
		must(t, j.Close())
		o.Files = nil
		j, _, r := mustOpen(t, o, m)
		if got := texts(r); got[0] != "acknowledged" || len(got) > 2 {
			t.Errorf("%s: %q", name, got)
		}
		batch(t, j, "next")
	}
}

// On a full disk the journal goes on in the reserve, once.
func TestReserve(t *testing.T) {
	d := &disk{}
	o := options(t.TempDir())
	o.Files = d
	j, _, _ := mustOpen(t, o, wal.Mark{})
	must(t, j.Prepare())
	batch(t, j, strings.Repeat("x", 10_000))
	d.set(func(d *disk) { d.create = syscall.ENOSPC })
	if err := j.Prepare(); !wal.IsDiskFull(err) {
		t.Fatalf("preparing on a full disk: %v", err)
	}
	if !j.NeedsNext() {
		t.Error("no next segment is asked for")
	}
	must(t, j.Rotate(nil, 1_000))
	batch(t, j, "from the reserve")
	if _, err := os.Stat(filepath.Join(o.Dir, "reserve")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve is still there: %v", err)
	}
	if err := j.Rotate(nil, 1_000); !wal.IsDiskFull(err) {
		t.Errorf("a second time: %v", err)
	}
	d.set(func(d *disk) { d.create = nil })
	must(t, j.Prepare())
	if _, err := os.Stat(filepath.Join(o.Dir, "reserve")); err != nil {
		t.Error(err)
	}
	must(t, j.Rotate(nil, 1_000))
	batch(t, j, "after")
	want := []string{strings.Repeat("x", 10_000), "from the reserve", "after"}
	if d := cmp.Diff(want, all(t, j)); d != "" {
		t.Error(d)
	}
}

func TestIdentity(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed":  os.Remove,
		"renamed":  func(p string) error { return os.Rename(p, p+".old") },
		"replaced": func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, make([]byte, 32<<10), 0o600)) },
		"cut":      func(p string) error { return os.Truncate(p, 100) },
	} {
		o := options(t.TempDir())
		j, _, _ := mustOpen(t, o, wal.Mark{})
		must(t, j.Check())
		must(t, change(j.Segments()[0].Path))
		if err := j.Check(); err == nil {
			t.Errorf("%s: not seen", name)
		}
	}
}

// A crash at any step of a rotation leaves the old journal or the new one.
func TestLeftoversOfARotation(t *testing.T) {
	o := options(t.TempDir())
	j, _, _ := mustOpen(t, o, wal.Mark{})
	batch(t, j, "a")
	must(t, j.Close())
	for _, name := range []string{"next", "inline", ".tmp-next-x"} {
		must(t, os.WriteFile(filepath.Join(o.Dir, name), []byte("half a header"), 0o600))
	}
	j, _, r := mustOpen(t, o, j.Mark())
	if d := cmp.Diff([]string{"a"}, texts(r)); d != "" {
		t.Error(d)
	}
	must(t, j.Prepare())
	must(t, j.Rotate(nil, 0))
	batch(t, j, "b")
	if d := cmp.Diff([]string{"a", "b"}, all(t, j)); d != "" {
		t.Error(d)
	}
}
