package durable

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync(2): the data and what is needed to read it back, not
// the times of the inode, which would cost a second journal write.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// moveNew renames without replacing, in one step where the file system can,
// else by a second link and the removal of the first.
func moveNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return linkNew(from, to)
	}
	return os.NewSyscallError("renameat2", err)
}

// bootTime counts through suspend as well, unlike Go's monotonic clock: time
// in which the machine slept has passed for a lease, too.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(processStart)
	}
	return time.Duration(ts.Nano())
}
