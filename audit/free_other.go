//go:build !linux

package audit

// freeSpace cannot tell on this system; a full disk shows when a segment
// cannot be made.
func freeSpace(string) int64 { return -1 }
