package seal_test

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/vault/seal"
)

const hardenChild = "COFFER_TEST_HARDEN"

// TestHardenProcess hardens a child, because it cannot be undone.
func TestHardenProcess(t *testing.T) {
	if os.Getenv(hardenChild) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHardenProcess$")
		cmd.Env = append(os.Environ(), hardenChild+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := seal.HardenProcess(); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
		t.Errorf("dumpable %d, %v", n, err)
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &lim); err != nil || lim.Cur != 0 || lim.Max != 0 {
		t.Errorf("core limit %+v, %v", lim, err)
	}
}
