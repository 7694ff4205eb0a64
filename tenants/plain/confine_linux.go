package plain

import (
	"fmt"
	"runtime/debug"
	"syscall"
)

// Limits of the process that reads a file.
const (
	maxMemory = 512 << 20 // bytes that it may have allocated
	maxFiles  = 64
	maxCPU    = 3600 // seconds
)

// Confine takes from the process what reading a file does not need: it can write
// to no file, open few, and use bounded memory and time.
func Confine() error {
	debug.SetMemoryLimit(maxMemory / 2)
	for limit, n := range map[int]uint64{
		syscall.RLIMIT_CORE: 0, syscall.RLIMIT_FSIZE: 0, syscall.RLIMIT_NOFILE: maxFiles, syscall.RLIMIT_CPU: maxCPU, syscall.RLIMIT_DATA: maxMemory,
	} {
		if err := syscall.Setrlimit(limit, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("limiting the process: %w", err)
		}
	}
	return nil
}
