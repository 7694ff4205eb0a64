package sqlite

import (
	"errors"
	"sync"
	"sync/atomic"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite's own heap limit is one for the process, and the build of modernc
// keeps no count for it. So SQLite gets its memory from here instead: every
// block carries the account of the connection that asked for it, and a
// connection over its limit gets no more. SQLite then ends the statement with
// SQLITE_NOMEM, a path that it tests more than any other.
//
// It is also a second way to stop a statement whose context has ended: some
// single instructions, which the progress handler cannot interrupt, build ever
// larger buffers (a full-text query of 100,000 words ran for 30 s). Such a
// statement gets no block of stopLeast bytes or more. Smaller ones it does get,
// for its way back.
//
// A block is preceded by a header of 16 bytes, which also keeps what follows
// aligned: the address of the account (0 for none), then the size in bytes.
const blockHeader = 16

const stopLeast = 16 << 10

// A page of the page cache is not charged: SQLite recycles pages between
// connections, so that its cost would stay with whoever asked first. The cache
// is bounded by PRAGMA cache_size. Pages are 4096 bytes and some hundreds for
// SQLite's own notes; nothing else comes in such sizes in number.
const (
	pageLeast = 4096
	pageMost  = 4096 + 1024
)

// account counts the bytes that a connection holds. It lies in libc memory, at
// the address that the headers carry.
type account struct {
	used  int64 // changed atomically: another connection may free a block
	limit int64 // 0 for none; written between calls by the connection's goroutine
	stop  int32 // 1 while a statement runs whose context has ended; atomic
	_     int32
}

const accountSize = 24

var (
	accounts  sync.Map // *libc.TLS → address of its account
	idle      []uintptr
	idleMutex sync.Mutex
	heapReady error // why the heap could not be installed, nil if it was
)

// The heap must be installed before SQLite initializes itself, which it does
// at the first call of nearly anything, such as a VFS that registers itself.
// Hence init and not the first Open.
func init() {
	tls := libc.NewTLS()
	defer tls.Close()
	const words = 8
	methods := libc.Xcalloc(tls, words, 8)
	args := libc.Xcalloc(tls, 1, 8)
	if methods == 0 || args == 0 {
		heapReady = errNoMemory()
		return
	}
	*(*sqlite3.Tsqlite3_mem_methods)(pointer(methods)) = sqlite3.Tsqlite3_mem_methods{
		FxMalloc:   callback(heapMalloc),
		FxFree:     callback(heapFree),
		FxRealloc:  callback(heapRealloc),
		FxSize:     callback(heapSize),
		FxRoundup:  callback(heapRoundup),
		FxInit:     callback(heapInit),
		FxShutdown: callback(heapShutdown),
	}
	if rc := sqlite3.Xsqlite3_config(tls, sqlite3.SQLITE_CONFIG_MALLOC, libc.VaList(args, methods)); rc != sqlite3.SQLITE_OK {
		heapReady = errors.New("sqlite was initialized before its heap could be installed")
	}
	libc.Xfree(tls, args)
	libc.Xfree(tls, methods) // sqlite3_config copied it
}

// newAccount makes the account of a connection, whose calls all carry tls.
func newAccount(tls *libc.TLS) (uintptr, error) {
	idleMutex.Lock()
	defer idleMutex.Unlock()
	var p uintptr
	if n := len(idle); n > 0 {
		p, idle = idle[n-1], idle[:n-1]
	} else if p = libc.Xcalloc(tls, 1, accountSize); p == 0 {
		return 0, errNoMemory()
	}
	accounts.Store(tls, p)
	return p, nil
}

// closeAccount ends it. Blocks that outlive the connection, such as what the
// whole library shares, still point to the account, so that it is used again
// only when there are none.
func closeAccount(tls *libc.TLS, p uintptr) {
	accounts.Delete(tls)
	a := (*account)(pointer(p))
	a.limit = 0
	atomic.StoreInt32(&a.stop, 0)
	if atomic.LoadInt64(&a.used) == 0 {
		idleMutex.Lock()
		idle = append(idle, p)
		idleMutex.Unlock()
	}
}

// charge adds n bytes to the account of tls and returns its address, or false
// if that is more than it may hold.
func charge(tls *libc.TLS, n int64) (uintptr, bool) {
	if n >= pageLeast && n < pageMost {
		return 0, true
	}
	v, ok := accounts.Load(tls)
	if !ok {
		return 0, true
	}
	p, _ := v.(uintptr)
	a := (*account)(pointer(p))
	if n >= stopLeast && atomic.LoadInt32(&a.stop) != 0 {
		return 0, false
	}
	if used := atomic.AddInt64(&a.used, n); a.limit > 0 && used > a.limit {
		atomic.AddInt64(&a.used, -n)
		return 0, false
	}
	return p, true
}

func heapMalloc(tls *libc.TLS, n int32) uintptr {
	owner, ok := charge(tls, int64(n))
	if !ok {
		return 0
	}
	p := libc.Xmalloc(tls, types.Size_t(n)+blockHeader)
	if p == 0 {
		discharge(owner, int64(n))
		return 0
	}
	h := (*[2]int64)(pointer(p))
	h[0], h[1] = int64(owner), int64(n)
	return p + blockHeader
}

func discharge(owner uintptr, n int64) {
	if owner != 0 {
		atomic.AddInt64(&(*account)(pointer(owner)).used, -n)
	}
}

func heapFree(tls *libc.TLS, p uintptr) {
	if p == 0 {
		return
	}
	h := (*[2]int64)(pointer(p - blockHeader))
	discharge(uintptr(h[0]), h[1])
	libc.Xfree(tls, p-blockHeader)
}

// heapRealloc leaves the old block as it was when it cannot have the new one.
func heapRealloc(tls *libc.TLS, p uintptr, n int32) uintptr {
	h := (*[2]int64)(pointer(p - blockHeader))
	owner, size := uintptr(h[0]), h[1]
	next, ok := charge(tls, int64(n))
	if !ok {
		return 0
	}
	q := libc.Xrealloc(tls, p-blockHeader, types.Size_t(n)+blockHeader)
	if q == 0 {
		discharge(next, int64(n))
		return 0
	}
	discharge(owner, size)
	h = (*[2]int64)(pointer(q))
	h[0], h[1] = int64(next), int64(n)
	return q + blockHeader
}

func heapSize(_ *libc.TLS, p uintptr) int32 {
	if p == 0 {
		return 0
	}
	return int32((*[2]int64)(pointer(p - blockHeader))[1])
}

func heapRoundup(_ *libc.TLS, n int32) int32 { return (n + 7) &^ 7 }

func heapInit(*libc.TLS, uintptr) int32 { return sqlite3.SQLITE_OK }

func heapShutdown(*libc.TLS, uintptr) {}

// refuseBlocks switches the refusal of large blocks for the connection.
func (c *Conn) refuseBlocks(on bool) {
	var v int32
	if on {
		v = 1
	}
	atomic.StoreInt32(&(*account)(pointer(c.account)).stop, v)
}

// SetMemoryLimit bounds the bytes of memory that SQLite may hold for this
// connection, its page cache apart; 0 takes the bound away. A statement that
// wants more fails with SQLITE_NOMEM and the connection stays usable.
func (c *Conn) SetMemoryLimit(bytes int64) error {
	if heapReady != nil {
		return heapReady
	}
	(*account)(pointer(c.account)).limit = max(0, bytes)
	return nil
}

// MemoryUsed is the number of bytes that SQLite holds for this connection, its
// page cache apart.
func (c *Conn) MemoryUsed() int64 {
	return atomic.LoadInt64(&(*account)(pointer(c.account)).used)
}
