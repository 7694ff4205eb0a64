package seal

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HardenProcess keeps keys in memory from other processes of the same user and
// from core dumps: PR_SET_DUMPABLE 0 (prctl(2)), which also closes
// /proc/PID/mem and ptrace(2), and RLIMIT_CORE 0. Call it once, before the
// first key. It does not hold off root, nor keep pages from swap.
func HardenProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	return nil
}
