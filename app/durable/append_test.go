package durable_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"coffer/app/durable"
)

func mustAppend(tb testing.TB, size int64) (*durable.AppendFile, string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "segment")
	a, err := durable.CreateAppend(path, size)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { a.Close() })
	return a, path
}

func TestAppendFile(t *testing.T) {
	const size = 9<<20 + 17 // more than two chunks, and no multiple of one
	a, path := mustAppend(t, size)
	info, err := os.Stat(path)
	if err != nil || info.Size() != size || a.Size() != size {
		t.Fatalf("%d bytes, Size %d, %v", info.Size(), a.Size(), err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Blocks*512 < size {
		t.Errorf("only %d bytes have blocks", st.Blocks*512)
	}
	b := make([]byte, size)
	if _, err := a.ReadAt(b, 0); err != nil || len(bytes.Trim(b, "\x00")) != 0 {
		t.Errorf("not all zeros: %v", err)
	}
	for _, at := range []int64{0, 5, size - 3} {
		if n, err := a.WriteAt([]byte("abc"), at); n != 3 || err != nil {
			t.Errorf("at %d: %d, %v", at, n, err)
		}
	}
	if err := a.Sync(); err != nil {
		t.Error(err)
	}
	for _, at := range []int64{-1, size - 2, size + 1, 1 << 62} {
		if n, err := a.WriteAt([]byte("abc"), at); n != 0 || !errors.Is(err, durable.ErrRange) {
			t.Errorf("at %d: %d, %v", at, n, err)
		}
	}
	if err := a.Sync(); err != nil {
		t.Errorf("a write outside poisoned the file: %v", err)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if _, err := a.WriteAt([]byte("x"), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	again, err := durable.OpenAppend(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	got := make([]byte, 3)
	if _, err := again.ReadAt(got, size-3); err != nil || string(got) != "abc" || again.Size() != size {
		t.Errorf("%q, %d bytes, %v", got, again.Size(), err)
	}
}

func TestCreateAppendRefuses(t *testing.T) {
	_, path := mustAppend(t, 100)
	if _, err := durable.CreateAppend(path, 200); !errors.Is(err, fs.ErrExist) {
		t.Errorf("existing: %v", err)
	}
	for _, size := range []int64{0, -1, durable.MaxAppendSize + 1} {
		if _, err := durable.CreateAppend(path+"2", size); !errors.Is(err, durable.ErrRange) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := durable.OpenAppend(path + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path+"3", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.OpenAppend(path + "3"); !errors.Is(err, durable.ErrRange) {
		t.Errorf("empty: %v", err)
	}
	if err := os.Symlink(path, path+"4"); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.OpenAppend(path + "4"); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("link: %v", err)
	}
}

func TestPoison(t *testing.T) {
	for name, fail := range map[string]func(a *durable.AppendFile) error{
		"write": func(a *durable.AppendFile) error { _, err := a.WriteAt([]byte("x"), 0); return err },
		"sync":  func(a *durable.AppendFile) error { return a.Sync() },
	} {
		t.Run(name, func(t *testing.T) {
			a, path := mustAppend(t, 100)
			a.BreakFile()
			first := fail(a)
			p, ok := errors.AsType[*durable.PoisonedError](first)
			if !ok || p.Path != path {
				t.Fatalf("got %v", first)
			}
			if _, err := a.WriteAt([]byte("x"), 0); !errors.Is(err, first) {
				t.Errorf("write: %v", err)
			}
			if err := a.Sync(); !errors.Is(err, first) {
				t.Errorf("sync: %v", err)
			}
		})
	}
}

func TestCheckIdentity(t *testing.T) {
	for _, c := range []struct {
		name   string
		meddle func(path string) error
		want   error
	}{
		{"nothing", func(string) error { return nil }, nil},
		{"another link", func(p string) error { return os.Link(p, p+"2") }, nil},
		{"removed", os.Remove, durable.ErrUnlinked},
		{"renamed", func(p string) error { return os.Rename(p, p+"2") }, durable.ErrUnlinked},
		{"replaced", func(p string) error {
			return errors.Join(os.Rename(p, p+"2"), os.WriteFile(p, make([]byte, 100), 0o600))
		}, durable.ErrReplaced},
		{"replaced by a link to itself", func(p string) error {
			return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p))
		}, durable.ErrReplaced},
		{"overwritten by rename", func(p string) error {
			return errors.Join(os.WriteFile(p+"2", make([]byte, 100), 0o600), os.Rename(p+"2", p))
		}, durable.ErrUnlinked},
		{"shrunk", func(p string) error { return os.Truncate(p, 99) }, durable.ErrResized},
		{"grown", func(p string) error { return os.Truncate(p, 101) }, durable.ErrResized},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, path := mustAppend(t, 100)
			before, err := a.Identity()
			if err != nil || before.Nlink != 1 || before.Size != 100 || before.Ino == 0 {
				t.Fatalf("%+v, %v", before, err)
			}
			if err := c.meddle(path); err != nil {
				t.Fatal(err)
			}
			if err := a.CheckIdentity(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func BenchmarkAppendSync(b *testing.B) {
	a, _ := mustAppend(b, 64<<20)
	record := make([]byte, 512)
	off := int64(0)
	for b.Loop() {
		if _, err := a.WriteAt(record, off); err != nil {
			b.Fatal(err)
		}
		if err := a.Sync(); err != nil {
			b.Fatal(err)
		}
		off = (off + 512) % (64 << 20)
	}
}

func BenchmarkCreateAppend64MiB(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		path := filepath.Join(dir, "s")
		a, err := durable.CreateAppend(path, 64<<20)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(a.Close(), durable.Remove(path)); err != nil {
			b.Fatal(err)
		}
	}
}
