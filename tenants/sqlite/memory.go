package sqlite

import (
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// keepBuffer is the size in bytes up to which a buffer is kept for the next
// call. Larger ones are given back, so that one large value does not stay in
// memory as long as its connection.
const keepBuffer = 64 << 10

const pointerSize = unsafe.Sizeof(uintptr(0))

// pointer turns an address of libc memory into a pointer. The indirection
// tells vet that this is not arithmetic on an address of Go's heap.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// view shows n bytes of libc memory as a slice. It is valid until the memory
// is freed or SQLite changes it: copy at once.
func view(p uintptr, n int) []byte { return unsafe.Slice((*byte)(pointer(p)), n) }

// copyString copies n bytes of libc memory into a string. The buffer is built
// here and written to nowhere else, so looking at it as a string is sound and
// saves the second copy that a conversion makes.
func copyString(p uintptr, n int) string {
	if p == 0 || n <= 0 {
		return ""
	}
	b := make([]byte, n)
	copy(b, view(p, n))
	return unsafe.String(unsafe.SliceData(b), n)
}

// loadPointer reads the pointer-sized word at p.
func loadPointer(p uintptr) uintptr { return *(*uintptr)(pointer(p)) }

// callback gives the address that translated C code calls f through. Only
// top-level functions may be given: the value outlives every caller.
func callback[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) }

// function is the inverse of callback: what translated C code has at p.
func function[F any](p uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ p uintptr }{p}))
}

// buffer is a growing piece of libc memory.
type buffer struct {
	p uintptr
	n int // capacity in bytes
}

// set copies s and a NUL behind it into the buffer.
func (b *buffer) set(tls *libc.TLS, s string) error {
	if need := len(s) + 1; need > b.n {
		b.free(tls)
		p := libc.Xmalloc(tls, types.Size_t(need))
		if p == 0 {
			return errNoMemory()
		}
		b.p, b.n = p, need
	}
	dst := view(b.p, len(s)+1)
	copy(dst, s)
	dst[len(s)] = 0
	return nil
}

// trim frees the buffer if it is too large to keep, and says so.
func (b *buffer) trim(tls *libc.TLS) bool {
	if b.n <= keepBuffer {
		return false
	}
	b.free(tls)
	return true
}

func (b *buffer) free(tls *libc.TLS) {
	if b.p != 0 {
		libc.Xfree(tls, b.p)
		b.p, b.n = 0, 0
	}
}

func errNoMemory() *Error {
	return &Error{Code: sqlite3.SQLITE_NOMEM, Message: "out of memory", Offset: -1}
}
