package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
)

func TestRekey(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	want := merged(fill(t, s, "b", 5000), fill(t, s, "c", 3))
	rev := s.Revision()
	held, err := os.Open(path) // the old file's bytes, after its name is gone
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()

	if err := s.Rekey(t.Context(), testAEAD(t, 2)); err != nil {
		t.Fatal(err)
	}
	if s.Revision() <= rev {
		t.Errorf("revision %d after %d", s.Revision(), rev)
	}
	mustPut(t, s, "b", "after", "rekey")
	want["b/after"] = "rekey"
	got, err := contents(s, "b", "c")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err, errors.Unwrap(err))
	}
	info, err := held.Stat()
	if err != nil {
		t.Fatal(err)
	}
	old := make([]byte, info.Size())
	if _, err := held.ReadAt(old, 0); err != nil {
		t.Fatal(err)
	}
	if len(bytes.Trim(old, "\x00")) != 0 {
		t.Error("the old file's bytes are still there")
	}
	if _, err := store.Open(path, testAEAD(t, 2)); !errors.Is(err, kind(domain.Unavailable)) {
		t.Errorf("the new file is not locked: %v", err)
	}
	mustClose(t, s)
	if _, err := store.Open(path, testAEAD(t, 1)); !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("opens under the old key: %v", err)
	}
	s, second, err := store.OpenEither(path, testAEAD(t, 1), testAEAD(t, 2))
	if err != nil || !second {
		t.Fatalf("second %v, %v", second, err)
	}
	mustClose(t, s)
	s, second, err = store.OpenEither(path, testAEAD(t, 2), testAEAD(t, 1))
	if err != nil || second {
		t.Fatalf("second %v, %v", second, err)
	}
	mustClose(t, s)
	onlyFile(t, path)
}

// TestRekeyNewestMeta damages the meta page right after a Rekey, where bbolt
// would fall back to a copy that is not complete.
func TestRekeyNewestMeta(t *testing.T) {
	for _, n := range []int{1, 5000} {
		path := newPath(t)
		s := mustCreate(t, path)
		fill(t, s, "b", n)
		if err := s.Rekey(t.Context(), testAEAD(t, 1)); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		b := readFile(t, path)
		page(b, newestSlot(b))[20] ^= 1
		writeFile(t, path, b)
		if got, err := tryOpen(t, path, "b"); !errors.Is(err, kind(domain.Tampered)) {
			t.Errorf("%d entries: got %d, %v", n, len(got), err)
		}
	}
}

// TestRekeyWithView keeps a view open over it; the view itself updates.
func TestRekeyWithView(t *testing.T) {
	s := mustCreate(t, newPath(t))
	want := fill(t, s, "b", 100)
	viewing, rekeyed := make(chan struct{}), make(chan error)
	go func() {
		<-viewing
		rekeyed <- s.Rekey(t.Context(), testAEAD(t, 2))
	}()
	err := s.View(t.Context(), func(tx *store.Tx) error {
		close(viewing)
		if _, err := s.Watch(t.Context(), s.Revision()); err != nil { // until the exchange
			return err
		}
		mustPut(t, s, "other", "k", "v")
		n := 0
		err := tx.Scan("b", nil, nil, func(_, _ []byte) error { n++; return nil })
		if n != len(want) {
			t.Errorf("the view sees %d entries of %d", n, len(want))
		}
		return err
	})
	if err := errors.Join(err, <-rekeyed); err != nil {
		t.Fatal(err)
	}
	if v, err := get(t, s, "other", "k"); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("leftovers: %v, %v", entries, err)
	}
}

const rekeyCutEnv = "COFFER_TEST_REKEY_CUT"

// TestRekeyCut kills a process at each step of Rekey and opens what it left.
func TestRekeyCut(t *testing.T) {
	if spec := os.Getenv(rekeyCutEnv); spec != "" {
		rekeyAndDie(t, spec)
		return
	}
	for _, step := range []string{"rekey-copied", "rekey-linked", "rekey-replaced", "rekey-overwritten"} {
		t.Run(step, func(t *testing.T) {
			path := newPath(t)
			s := mustCreate(t, path)
			want := fill(t, s, "b", 200)
			mustClose(t, s)

			cmd := exec.Command(os.Args[0], "-test.run=^TestRekeyCut$")
			cmd.Env = append(os.Environ(), rekeyCutEnv+"="+step+"="+path)
			out, err := cmd.CombinedOutput()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
				t.Fatalf("the process was not killed at %s: %v\n%s", step, err, out)
			}
			s, second, err := store.OpenEither(path, testAEAD(t, 1), testAEAD(t, 2))
			if err != nil {
				t.Fatal(err)
			}
			if after := step != "rekey-copied" && step != "rekey-linked"; second != after {
				t.Errorf("cut at %s: under the new key: %v", step, second)
			}
			got, err := contents(s, "b")
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("%d entries, %v", len(got), err)
			}
			if err := s.Rekey(t.Context(), testAEAD(t, 2)); err != nil { // finish it
				t.Error(err)
			}
			mustClose(t, s)
			if err := durable.SweepTemp(filepath.Dir(path)); err != nil {
				t.Error(err)
			}
			onlyFile(t, path)
		})
	}
}

func rekeyAndDie(t *testing.T, spec string) {
	at, path, _ := strings.Cut(spec, "=")
	store.SetCrash(func(step string) {
		if step == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	s, err := store.Open(path, testAEAD(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal("survived: ", s.Rekey(t.Context(), testAEAD(t, 2)))
}

const fullDiskEnv = "COFFER_TEST_FULL_DISK"

// TestFullDisk runs a process whose files may not grow beyond 3 MiB, which
// refuses like a full disk: an update that does not fit must be refused
// without stopping the store.
func TestFullDisk(t *testing.T) {
	if path := os.Getenv(fullDiskEnv); path != "" {
		fillTheDisk(t, path)
		return
	}
	path := newPath(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskEnv+"="+path)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("refused after")) {
		t.Fatalf("%v\n%s", err, out)
	}
	s := mustOpen(t, path)
	if v, err := get(t, s, "small", "k"); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

func fillTheDisk(t *testing.T, path string) {
	limit := syscall.Rlimit{Cur: 3 << 20, Max: 3 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	s := mustCreate(t, path)
	defer s.Close()
	value := make([]byte, 200<<10)
	for i := range 100 {
		_, err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Put("b", fmt.Append(nil, i), value) })
		if err == nil {
			continue
		}
		if !errors.Is(err, kind(domain.Unavailable)) || !strings.Contains(err.Error(), "no room") {
			t.Fatal(err)
		}
		t.Logf("refused after %d", i)
		for k := range i {
			_, err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Delete("b", fmt.Append(nil, k)) })
			if err != nil {
				t.Fatalf("making room: %v", err)
			}
		}
		mustPut(t, s, "small", "k", "v")
		return
	}
	t.Fatal("20 MB fit into 3")
}

// failing seals a number of values and then nothing more.
type failing struct {
	store.AEAD
	left int
}

func (f *failing) Encrypt(plaintext, ad []byte) ([]byte, error) {
	if f.left--; f.left < 0 {
		return nil, errors.New("no more")
	}
	return f.AEAD.Encrypt(plaintext, ad)
}

// TestRekeyFails: a Rekey that fails on the way leaves the store as it was, in
// use, and no file behind.
func TestRekeyFails(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	want := fill(t, s, "b", 50)
	for _, n := range []int{0, 1, 2, 30, 51} {
		if err := s.Rekey(t.Context(), &failing{testAEAD(t, 2), n}); err == nil {
			t.Fatalf("%d values: no error", n)
		}
		onlyFile(t, path)
	}
	mustPut(t, s, "b", "after", "failure")
	want["b/after"] = "failure"
	mustClose(t, s)
	s = mustOpen(t, path)
	if got, err := contents(s, "b"); err != nil || !maps.Equal(got, want) {
		t.Errorf("%d entries, %v", len(got), err)
	}
}
