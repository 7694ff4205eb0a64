package cryptvfs

import (
	"reflect"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// This file is the border to SQLite's C world: addresses in, Go views out. No
// other file of the package imports unsafe. Every address that crosses it is C
// memory, allocated by libc or by SQLite, never a Go object.

type (
	closeFunc     = func(*libc.TLS, uintptr) int32
	transferFunc  = func(tls *libc.TLS, file, buf uintptr, amt int32, off int64) int32
	truncateFunc  = func(tls *libc.TLS, file uintptr, size int64) int32
	syncFunc      = func(tls *libc.TLS, file uintptr, flags int32) int32
	fileSizeFunc  = func(tls *libc.TLS, file, size uintptr) int32
	controlFunc   = func(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32
	characterFunc = func(tls *libc.TLS, file uintptr) int32
	openFunc      = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	deleteFunc    = func(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32
	lockFunc      = func(tls *libc.TLS, file uintptr, level int32) int32
)

// at reads a C address as a pointer. Written so that the address of the
// variable is converted and not the integer, which vet would (rightly, for Go
// memory) refuse.
func at[T any](addr uintptr) *T { return *(**T)(unsafe.Pointer(&addr)) }

// view is the n bytes of C memory at addr.
func view(addr uintptr, n int) []byte { return unsafe.Slice(at[byte](addr), n) }

// pointerTo makes the C function pointer of a top-level Go function.
func pointerTo[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) }

// function is the inverse of pointerTo.
func function[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ p uintptr }{p})) }

const sizeofMethods = int(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{}))

const (
	sizeofVFS     = int(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{}))
	sizeofPointer = int(unsafe.Sizeof(uintptr(0)))
)

// wipeCipher overwrites the key schedule of one of the standard library's
// ciphers. They offer no way to do so; all of them are pointers to a flat
// structure that holds the schedule by value.
func wipeCipher(c any) {
	v := reflect.ValueOf(c)
	if v.Kind() == reflect.Pointer && !v.IsNil() && v.Type().Elem().Kind() == reflect.Struct {
		clear(unsafe.Slice((*byte)(v.UnsafePointer()), v.Type().Elem().Size()))
	}
}

// nativeFile is one file opened by the operating system's VFS, with that VFS's
// methods resolved to Go functions.
type nativeFile struct {
	file      uintptr // sqlite3_file*, C memory of SQLite
	path      string  // as SQLite gave it; empty for temporary files
	closeFn   closeFunc
	readFn    transferFunc
	writeFn   transferFunc
	truncFn   truncateFunc
	syncFn    syncFunc
	sizeFn    fileSizeFunc
	controlFn controlFunc
	charFn    characterFunc
	sectorFn  characterFunc

	scratch    uintptr // C memory for transfers, scratchSize bytes
	scratchBuf []byte  // the same as a slice
}

// scratchSize holds the largest unit on disk and 8 bytes for small arguments.
const scratchSize = blockOnDisk + 8

// newNative resolves the methods that the operating system's VFS set in file.
func newNative(tls *libc.TLS, file uintptr, path string) *nativeFile {
	m := at[sqlite3.Tsqlite3_io_methods](at[sqlite3.Tsqlite3_file](file).FpMethods)
	scratch := libc.Xcalloc(tls, 1, scratchSize)
	if scratch == 0 {
		return nil
	}
	return &nativeFile{
		file: file, path: path,
		closeFn:    function[closeFunc](m.FxClose),
		readFn:     function[transferFunc](m.FxRead),
		writeFn:    function[transferFunc](m.FxWrite),
		truncFn:    function[truncateFunc](m.FxTruncate),
		syncFn:     function[syncFunc](m.FxSync),
		sizeFn:     function[fileSizeFunc](m.FxFileSize),
		controlFn:  function[controlFunc](m.FxFileControl),
		charFn:     function[characterFunc](m.FxDeviceCharacteristics),
		sectorFn:   function[characterFunc](m.FxSectorSize),
		scratch:    scratch,
		scratchBuf: view(scratch, scratchSize),
	}
}

func (n *nativeFile) close(tls *libc.TLS) int32 {
	clear(n.scratchBuf)
	libc.Xfree(tls, n.scratch)
	n.scratch, n.scratchBuf = 0, nil
	return n.closeFn(tls, n.file)
}

// readRaw reads into C memory at buf.
func (n *nativeFile) readRaw(tls *libc.TLS, buf uintptr, amt int, off int64) int32 {
	return n.readFn(tls, n.file, buf, int32(amt), off)
}

// writeScratch writes the first amt bytes of the scratch memory.
func (n *nativeFile) writeScratch(tls *libc.TLS, amt int, off int64) int32 {
	if t := trace.Load(); t != nil {
		t.Write(n.path, n.scratchBuf[:amt], off)
	}
	return n.writeFn(tls, n.file, n.scratch, int32(amt), off)
}

func (n *nativeFile) truncate(tls *libc.TLS, size int64) int32 {
	if t := trace.Load(); t != nil {
		t.Truncate(n.path, size)
	}
	return n.truncFn(tls, n.file, size)
}

func (n *nativeFile) sync(tls *libc.TLS, flags int32) int32 {
	rc := n.syncFn(tls, n.file, flags)
	if t := trace.Load(); t != nil && rc == sqlite3.SQLITE_OK {
		t.Sync(n.path)
	}
	return rc
}

// size is the number of bytes on disk.
func (n *nativeFile) size(tls *libc.TLS) (int64, int32) {
	out := n.scratch + blockOnDisk
	rc := n.sizeFn(tls, n.file, out)
	return *at[int64](out), rc
}

// writing says whether this handle holds at least a RESERVED lock, that is,
// whether it is inside a write transaction of a rollback mode.
func (n *nativeFile) writing(tls *libc.TLS) bool {
	out := n.scratch + blockOnDisk
	*at[int32](out) = 0
	if n.controlFn(tls, n.file, sqlite3.SQLITE_FCNTL_LOCKSTATE, out) != sqlite3.SQLITE_OK {
		return false
	}
	const reservedLock = 2
	return *at[int32](out) >= reservedLock
}
