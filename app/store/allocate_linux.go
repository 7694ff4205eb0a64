package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate reserves blocks for the first size bytes of a file, extending it if
// it is shorter, and makes the new size durable. What is in it stays.
func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		return f.Sync()
	}
}
