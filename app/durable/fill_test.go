package durable_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"coffer/app/durable"
)

func TestFill(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, parts := range [][]string{{}, {"one"}, {"one", "", "two"}} {
		want := ""
		if err := durable.Fill(path, func(w io.Writer) error {
			for _, p := range parts {
				want += p
				if _, err := io.WriteString(w, p); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%q, want %q: %v", got, want, err)
		}
	}
	broken := errors.New("broken")
	err := durable.Fill(path, func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return broken
	})
	got, _ := os.ReadFile(path)
	entries, _ := os.ReadDir(dir)
	if !errors.Is(err, broken) || string(got) != "onetwo" || len(entries) != 1 {
		t.Errorf("%v, %q, %v", err, got, entries)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
