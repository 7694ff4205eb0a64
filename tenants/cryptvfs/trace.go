package cryptvfs

import "sync/atomic"

// tracer sees every change of a file as it goes to the operating system, in
// order. Tests use it to play power cuts; it is nil otherwise.
type tracer interface {
	Write(path string, data []byte, off int64)
	Truncate(path string, size int64)
	Sync(path string)
	Remove(path string, synced bool)
}

type tracing struct{ tracer }

var trace atomic.Pointer[tracing]
