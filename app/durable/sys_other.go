//go:build unix && !linux

package durable

import (
	"os"
	"time"
)

func datasync(f *os.File) error { return f.Sync() }

func moveNew(from, to string) error { return linkNew(from, to) }

func bootTime() time.Duration { return time.Since(processStart) }
