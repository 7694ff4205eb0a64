package durable_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"coffer/app/durable"
)

func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, size := range []int{0, 1, 4096, 16<<20 + 5} {
		data := bytes.Repeat([]byte{'x'}, size)
		if err := durable.WriteFile(from, data); err != nil {
			t.Fatal(err)
		}
		if err := durable.CopyFile(t.Context(), to, from); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(to)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes became %d: %v", size, len(got), err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := durable.WriteFile(from, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := durable.CopyFile(ended, to, from); !errors.Is(err, context.Canceled) {
		t.Errorf("a copy that nobody wants: %v", err)
	}
	if err := os.Symlink(from, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := durable.CopyFile(t.Context(), to, filepath.Join(dir, "link")); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("a link was followed: %v", err)
	}
	entries, _ := os.ReadDir(dir)
	if got, err := os.ReadFile(to); err != nil || len(got) < 5 || len(entries) != 3 {
		t.Errorf("a failed copy replaced the one before or left something: %d bytes, %v, %v", len(got), entries, err)
	}
}
