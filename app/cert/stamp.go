package cert

import (
	"os"
	"syscall"
)

// stampOf looks at a file; the zero stamp is one that is not there.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	s := stamp{at: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.id = [2]uint64{uint64(sys.Dev), sys.Ino}
	}
	return s
}
