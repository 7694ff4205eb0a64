package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"coffer/app/durable"
)

const (
	cutEnv  = "COFFER_TEST_CUT" // operation=number of the step=directory
	oldText = "the old content"
	newText = "the new content, which is longer"
)

// operations are what is cut. Each works on the file f in dir and must leave
// it with one of the contents allowed ("" means that there is no file).
var operations = map[string]struct {
	existing bool
	run      func(path string) error
	allowed  []string
}{
	"write over": {true, func(p string) error { return durable.WriteFile(p, []byte(newText)) }, []string{oldText, newText}},
	"write new":  {false, func(p string) error { return durable.WriteFile(p, []byte(newText)) }, []string{"", newText}},
	"create":     {false, func(p string) error { return durable.CreateFile(p, []byte(newText)) }, []string{"", newText}},
	"create append": {false, func(p string) error {
		a, err := durable.CreateAppend(p, int64(len(newText)))
		if err != nil {
			return err
		}
		if _, err := a.WriteAt([]byte(newText), 0); err != nil {
			return err
		}
		return errors.Join(a.Sync(), a.Close())
	}, []string{"", strings.Repeat("\x00", len(newText)), newText}},
	"rename": {true, func(p string) error {
		return errors.Join(durable.WriteFile(p+"2", []byte(newText)), durable.Rename(p+"2", p))
	}, []string{oldText, newText}},
	"remove": {true, durable.Remove, []string{oldText, ""}},
	"make directories": {false, func(p string) error {
		dir := filepath.Join(filepath.Dir(p), "x", "y")
		if err := durable.MkdirAll(dir); err != nil {
			return err
		}
		return durable.WriteFile(p, []byte(newText))
	}, []string{"", newText}},
}

// TestCuts kills a process at every step of every write and looks at the file
// it left. A killed process leaves what the kernel has, which is more than a
// power cut leaves; the order of the syncs is what TestSyncOrder checks.
func TestCuts(t *testing.T) {
	if spec := os.Getenv(cutEnv); spec != "" {
		cutHere(t, spec)
		return
	}
	for name, op := range operations {
		t.Run(name, func(t *testing.T) {
			cuts := 0
			for n := 1; ; n++ {
				path := filepath.Join(t.TempDir(), "f")
				if op.existing {
					if err := durable.WriteFile(path, []byte(oldText)); err != nil {
						t.Fatal(err)
					}
				}
				killed := runCut(t, name, n, path)
				checkContent(t, n, path, op.allowed, killed)
				if !killed {
					break
				}
				cuts++
				if err := durable.SweepTemp(filepath.Dir(path)); err != nil {
					t.Fatal(err)
				}
				if err := op.run(path); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("again after the cut at step %d: %v", n, err)
				}
				checkContent(t, n, path, op.allowed, false)
			}
			if cuts == 0 {
				t.Error("nothing was cut")
			}
		})
	}
}

// checkContent wants one of the allowed contents, after an operation that
// ended the last of them or an equivalent of it.
func checkContent(t *testing.T, n int, path string, allowed []string, killed bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for i, want := range allowed {
		if string(b) == want && (err == nil || want == "") && (killed || i > 0) {
			return
		}
	}
	t.Errorf("step %d (killed: %v): content %q, %v", n, killed, b, err)
}

func runCut(t *testing.T, name string, n int, path string) (killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCuts$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s=%d=%s", cutEnv, name, n, path))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("%v\n%s", err, out)
	}
	return true
}

func cutHere(t *testing.T, spec string) {
	parts := strings.SplitN(spec, "=", 3)
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	durable.SetCrash(func(string) {
		if n--; n == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	if err := operations[parts[0]].run(parts[2]); err != nil {
		t.Fatal(err)
	}
}

// TestSyncOrder holds the order of the steps: a rename before the fsync of the
// content would leave an empty file after a power cut.
func TestSyncOrder(t *testing.T) {
	var steps []string
	durable.SetCrash(func(step string) { steps = append(steps, step) })
	defer durable.SetCrash(nil)
	if err := durable.WriteFile(filepath.Join(t.TempDir(), "f"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	want := "temp-made temp-written file-synced placed dir-synced"
	if got := strings.Join(steps, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
