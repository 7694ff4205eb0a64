package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/durable"
)

func mustRead(tb testing.TB, path string) string {
	tb.Helper()
	b, err := durable.ReadFile(path, 1<<20)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func names(tb testing.TB, dir string) []string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFileReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, content := range []string{"first", "", "a longer third one"} {
		if err := durable.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := mustRead(t, path); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if diff := cmp.Diff([]string{"f"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestWriteFileReplacesLinkNotTarget(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := errors.Join(durable.WriteFile(target, []byte("t")), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(link, []byte("l")); err != nil {
		t.Fatal(err)
	}
	if mustRead(t, target) != "t" || mustRead(t, link) != "l" {
		t.Error("wrote through the link")
	}
}

func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	if err := durable.WriteFile(filepath.Join(dir, "no", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "d"), []byte("x")); err == nil {
		t.Error("replaced a directory")
	}
	if diff := cmp.Diff([]string{"d"}, names(t, dir)); diff != "" {
		t.Errorf("leftovers: %s", diff)
	}
}

func TestCreateFileNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var made atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			switch err := durable.CreateFile(path, fmt.Append(nil, i)); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("%d callers made the file", made.Load())
	}
	before := mustRead(t, path)
	if err := durable.CreateFile(path, []byte("other")); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if mustRead(t, path) != before {
		t.Error("replaced")
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	if err := durable.CreateFile(filepath.Join(dir, "dangling"), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("dangling link: %v", err)
	}
	if diff := cmp.Diff([]string{"dangling", "f"}, names(t, dir)); diff != "" {
		t.Errorf("leftovers: %s", diff)
	}
}

func TestReadFileRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := durable.WriteFile(file, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink(file, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path  string
		limit int64
		want  error
	}{
		{file, 5, nil},
		{file, 4, durable.ErrTooLarge},
		{file, 0, durable.ErrTooLarge},
		{link, 100, durable.ErrNotRegular},
		{pipe, 100, durable.ErrNotRegular},
		{dir, 100, durable.ErrNotRegular},
		{filepath.Join(dir, "nothing"), 100, fs.ErrNotExist},
	} {
		_, err := durable.ReadFile(c.path, c.limit)
		if !errors.Is(err, c.want) {
			t.Errorf("%s, at most %d: %v, want %v", filepath.Base(c.path), c.limit, err, c.want)
		}
	}
}

func TestDirectories(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(deep); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(root, "a"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	file := filepath.Join(deep, "f")
	if err := durable.WriteFile(file, nil); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(filepath.Join(file, "x")); err == nil {
		t.Error("made a directory below a file")
	}
	if err := durable.MkdirAll(file); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file in the way: %v", err)
	}
	moved := filepath.Join(root, "moved")
	if err := durable.Rename(file, moved); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(file, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := durable.RenameNew(file, moved); !errors.Is(err, fs.ErrExist) {
		t.Errorf("renamed over: %v", err)
	}
	if err := durable.RenameNew(file, moved+"2"); err != nil {
		t.Error(err)
	}
	if err := durable.Remove(moved); err != nil {
		t.Error(err)
	}
	if err := durable.Remove(moved); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	for range 2 {
		if err := durable.RemoveAll(filepath.Join(root, "a")); err != nil {
			t.Error(err)
		}
	}
	if err := durable.RemoveAll(filepath.Join(root, "no", "such")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"moved2"}, names(t, root)); diff != "" {
		t.Error(diff)
	}
}

func TestLinkNew(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(durable.WriteFile(a, []byte("a")), durable.WriteFile(b, []byte("b"))); err != nil {
		t.Fatal(err)
	}
	if err := durable.LinkNew(a, b); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := durable.LinkNew(a, b+"2"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"b", "b2"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestSweepTemp(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"keep", durable.TempPrefix + "f-1", durable.TempPrefix + "f-2"} {
		if err := durable.WriteFile(filepath.Join(dir, name), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, durable.TempPrefix+"dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := durable.SweepTemp(dir); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{durable.TempPrefix + "dir", "keep"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkWriteFile(b *testing.B) {
	path := filepath.Join(b.TempDir(), "f")
	data := make([]byte, 4096)
	for b.Loop() {
		if err := durable.WriteFile(path, data); err != nil {
			b.Fatal(err)
		}
	}
}
