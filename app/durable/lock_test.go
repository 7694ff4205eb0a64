package durable_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/durable"
)

const lockEnv = "COFFER_TEST_LOCK"

var since = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coffer.lock")
	l, err := durable.LockFile(path, at(since))
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.LockFile(path, at(since.Add(time.Hour)))
	held, ok := errors.AsType[*durable.HeldError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	want := &durable.HeldError{Path: path, PID: os.Getpid(), Since: since, Command: filepath.Base(os.Args[0])}
	if diff := cmp.Diff(want, held); diff != "" {
		t.Error(diff)
	}
	if msg := held.Error(); !strings.Contains(msg, strconv.Itoa(os.Getpid())) || !strings.Contains(msg, "2026-03-01") {
		t.Error(msg)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	l, err = durable.LockFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestLockOfDeadProcess: what a killed process left in the file locks nothing,
// and garbage in it is no error.
func TestLockOfDeadProcess(t *testing.T) {
	for name, text := range map[string]string{
		"dead": "pid 1\nsince 2020-01-01T00:00:00Z\ncommand coffer\n", "garbage": "\x00\xff\n\npid x", "long": strings.Repeat("pid 7\n", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "coffer.lock")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := durable.LockFile(path, at(since))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			b, err := os.ReadFile(path)
			if err != nil || !strings.HasPrefix(string(b), "pid "+strconv.Itoa(os.Getpid())+"\n") || len(b) > 200 {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

func TestLockRefusesLink(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "precious")
	if err := errors.Join(os.WriteFile(target, []byte("data"), 0o600), os.Symlink(target, filepath.Join(dir, "lock"))); err != nil {
		t.Fatal(err)
	}
	if l, err := durable.LockFile(filepath.Join(dir, "lock"), nil); err == nil {
		l.Close()
		t.Error("locked through a symbolic link")
	}
	if mustRead(t, target) != "data" {
		t.Error("the target was written to")
	}
}

// TestLockOfOtherProcess holds the lock in another process, kills that, and
// takes it.
func TestLockOfOtherProcess(t *testing.T) {
	if path := os.Getenv(lockEnv); path != "" {
		holdLock(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "coffer.lock")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockOfOtherProcess$")
	cmd.Env = append(os.Environ(), lockEnv+"="+path)
	stdin, err := cmd.StdinPipe() // held open: the child waits on it
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = durable.LockFile(path, nil)
	if held, ok := errors.AsType[*durable.HeldError](err); !ok || held.PID != cmd.Process.Pid || !held.Since.Equal(since) {
		t.Errorf("got %v, want held by %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	l, err := durable.LockFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func holdLock(t *testing.T, path string) {
	l, err := durable.LockFile(path, at(since))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Stdout.WriteString("locked\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent kills it or ends
}
