package cryptvfs

import (
	"sync"
	"sync/atomic"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// unitFile is one open file of a kind: it turns what SQLite reads and writes
// into units on disk. Results are SQLite result codes.
type unitFile interface {
	read(tls *libc.TLS, buf uintptr, amt int, off int64) int32
	write(tls *libc.TLS, data []byte, off int64) int32
	truncate(tls *libc.TLS, size int64) int32
	size(tls *libc.TLS) (int64, int32)
	sync(tls *libc.TLS, flags int32) int32
	// sectorSize is what SQLite aligns its own units to.
	sectorSize(tls *libc.TLS) int32
	close(tls *libc.TLS) int32
}

// handle is what the slot behind a sqlite3_file refers to.
type handle struct {
	f      unitFile
	native *nativeFile
	reg    *Registration // nil for a temporary file

	// Of a main file: the thread state that opened it, which is its
	// connection's own, and how many logs that connection has open.
	tls  *libc.TLS
	wals atomic.Int32
	// Of a log: the main files whose wals it counts in.
	peers []*handle
}

// handleTable gives numbers to handles: C memory cannot hold a Go pointer.
// Looking up takes no lock.
type handleTable struct {
	mu    sync.Mutex
	slots atomic.Pointer[[]*atomic.Pointer[handle]]
	free  []int
}

var handles handleTable

// add stores h and gives its number, never 0.
func (t *handleTable) add(h *handle) uintptr {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free) == 0 {
		var old []*atomic.Pointer[handle]
		if p := t.slots.Load(); p != nil {
			old = *p
		}
		grown := make([]*atomic.Pointer[handle], max(64, 2*len(old)))
		copy(grown, old)
		for i := len(grown) - 1; i >= len(old); i-- {
			grown[i] = new(atomic.Pointer[handle])
			t.free = append(t.free, i)
		}
		t.slots.Store(&grown)
	}
	i := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	(*t.slots.Load())[i].Store(h)
	return uintptr(i + 1)
}

func (t *handleTable) remove(n uintptr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	(*t.slots.Load())[n-1].Store(nil)
	t.free = append(t.free, int(n-1))
}

// at gives the handle of an open sqlite3_file.
func (t *handleTable) at(file uintptr) *handle {
	return (*t.slots.Load())[*slotOf(file)-1].Load()
}

// slotOf is where a sqlite3_file of ours keeps its handle's number.
func slotOf(file uintptr) *uintptr { return at[uintptr](file + uintptr(installed.nativeSize)) }

// enter begins an operation that needs the keys.
func (h *handle) enter() bool { return h.reg.enter() }
func (h *handle) leave()      { h.reg.leave() }

func fileClose(tls *libc.TLS, file uintptr) int32 {
	h := handles.at(file)
	handles.remove(*slotOf(file))
	*slotOf(file) = 0
	if h.tls != nil {
		mains.remove(h.native.path, h)
	}
	for _, m := range h.peers {
		m.wals.Add(-1)
	}
	return h.f.close(tls)
}

func fileRead(tls *libc.TLS, file, buf uintptr, amt int32, off int64) int32 {
	h := handles.at(file)
	if !h.enter() {
		return sqlite3.SQLITE_IOERR_AUTH
	}
	defer h.leave()
	return h.f.read(tls, buf, int(amt), off)
}

func fileWrite(tls *libc.TLS, file, buf uintptr, amt int32, off int64) int32 {
	h := handles.at(file)
	if !h.enter() {
		return sqlite3.SQLITE_IOERR_AUTH
	}
	defer h.leave()
	return h.f.write(tls, view(buf, int(amt)), off)
}

func fileTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	h := handles.at(file)
	if !h.enter() {
		return sqlite3.SQLITE_IOERR_AUTH
	}
	defer h.leave()
	return h.f.truncate(tls, size)
}

func fileSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	h := handles.at(file)
	if !h.enter() {
		return sqlite3.SQLITE_IOERR_AUTH
	}
	defer h.leave()
	return h.f.sync(tls, flags)
}

func fileSize(tls *libc.TLS, file, out uintptr) int32 {
	h := handles.at(file)
	if !h.enter() {
		return sqlite3.SQLITE_IOERR_AUTH
	}
	defer h.leave()
	n, rc := h.f.size(tls)
	*at[int64](out) = n
	return rc
}

// fileControl keeps from the operating system's VFS what would change the file
// behind our back, and answers these as done.
func fileControl(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32 {
	h := handles.at(file)
	switch op {
	case sqlite3.SQLITE_FCNTL_CHUNK_SIZE, sqlite3.SQLITE_FCNTL_SIZE_HINT:
		return sqlite3.SQLITE_OK // both would grow the file by plain zeros
	case sqlite3.SQLITE_FCNTL_MMAP_SIZE:
		*at[int64](arg) = 0 // a mapped page would be ciphertext
		return sqlite3.SQLITE_OK
	case sqlite3.SQLITE_FCNTL_POWERSAFE_OVERWRITE:
		*at[int32](arg) = 0
		return sqlite3.SQLITE_OK
	case sqlite3.SQLITE_FCNTL_BEGIN_ATOMIC_WRITE, sqlite3.SQLITE_FCNTL_COMMIT_ATOMIC_WRITE,
		sqlite3.SQLITE_FCNTL_ROLLBACK_ATOMIC_WRITE, sqlite3.SQLITE_FCNTL_NULL_IO:
		return sqlite3.SQLITE_NOTFOUND
	}
	if f, ok := h.f.(*mainFile); ok && (op == sqlite3.SQLITE_FCNTL_CKPT_START || op == sqlite3.SQLITE_FCNTL_CKPT_DONE) {
		f.checkpoint(op == sqlite3.SQLITE_FCNTL_CKPT_START)
	}
	return h.native.controlFn(tls, file, op, arg)
}

func fileSectorSize(tls *libc.TLS, file uintptr) int32 {
	return handles.at(file).f.sectorSize(tls)
}

// untrueOfUnits are the promises of a plain file that do not hold for ours: a
// byte cannot be read or written alone, since a torn unit loses all its bytes,
// and a unit is not written atomically nor appended safely.
const untrueOfUnits = sqlite3.SQLITE_IOCAP_SUBPAGE_READ | sqlite3.SQLITE_IOCAP_POWERSAFE_OVERWRITE |
	sqlite3.SQLITE_IOCAP_SAFE_APPEND | sqlite3.SQLITE_IOCAP_BATCH_ATOMIC |
	sqlite3.SQLITE_IOCAP_ATOMIC | sqlite3.SQLITE_IOCAP_ATOMIC512 | sqlite3.SQLITE_IOCAP_ATOMIC1K |
	sqlite3.SQLITE_IOCAP_ATOMIC2K | sqlite3.SQLITE_IOCAP_ATOMIC4K | sqlite3.SQLITE_IOCAP_ATOMIC8K |
	sqlite3.SQLITE_IOCAP_ATOMIC16K | sqlite3.SQLITE_IOCAP_ATOMIC32K | sqlite3.SQLITE_IOCAP_ATOMIC64K

// fileCharacteristics is what SQLite may count on.
//
// Without POWERSAFE_OVERWRITE SQLite aligns rollback journal headers to the
// sector, which is our block, and so never rewrites a block with records that
// it has synced: a power cut cannot tear them. With a log, though, it would pad
// each commit and split the write of a frame at a sector's border. So we
// promise it exactly while the connection has its log open, when there is no
// rollback journal; a log needs no such promise, since frames are only
// appended or, before their commit, replaced whole.
func fileCharacteristics(tls *libc.TLS, file uintptr) int32 {
	h := handles.at(file)
	c := h.native.charFn(tls, file) &^ untrueOfUnits
	if h.wals.Load() > 0 {
		c |= sqlite3.SQLITE_IOCAP_POWERSAFE_OVERWRITE
	}
	return c
}
