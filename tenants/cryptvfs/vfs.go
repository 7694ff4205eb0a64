package cryptvfs

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// installed is the VFS inside SQLite: a copy of the operating system's VFS
// with another name, a larger sqlite3_file and our xOpen. It is made once and
// stays until the process ends.
var installed struct {
	once       sync.Once
	err        error
	nativeSize int32 // bytes of the operating system's sqlite3_file
	open       openFunc
	delete     deleteFunc
	nativeVFS  uintptr
	kidName    uintptr // C string "kid"

	mu      sync.Mutex
	methods map[uintptr]uintptr // operating system's method table → ours, C memory both
}

func install() error {
	installed.once.Do(func() { installed.err = installOnce() })
	return installed.err
}

func installOnce() error {
	tls := libc.NewTLS()
	defer tls.Close()
	native := sqlite3.Xsqlite3_vfs_find(tls, 0)
	if native == 0 {
		return errors.New("installing the encrypting VFS: SQLite has no default VFS")
	}
	own := libc.Xcalloc(tls, 1, libc.Tsize_t(sizeofVFS))
	name, err := libc.CString(Name)
	kid, err2 := libc.CString("kid")
	if own == 0 || err != nil || err2 != nil {
		return errors.New("installing the encrypting VFS: out of memory")
	}
	n, o := at[sqlite3.Tsqlite3_vfs](native), at[sqlite3.Tsqlite3_vfs](own)
	*o = *n
	o.FpNext = 0
	o.FzName = name
	o.FszOsFile = n.FszOsFile + int32(sizeofPointer)
	o.FxOpen = pointerTo[openFunc](vfsOpen)
	o.FxDelete = pointerTo[deleteFunc](vfsDelete)

	installed.nativeSize = n.FszOsFile
	installed.nativeVFS = native
	installed.open = function[openFunc](n.FxOpen)
	installed.delete = function[deleteFunc](n.FxDelete)
	installed.kidName = kid
	installed.methods = map[uintptr]uintptr{}
	if rc := sqlite3.Xsqlite3_vfs_register(tls, own, 0); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("installing the encrypting VFS: SQLite result %d", rc)
	}
	return nil
}

// methodsFor gives our method table over one of the operating system's: locks
// and shared memory stay as they are. Version 2 of the interface has no
// memory-mapped reads.
func methodsFor(tls *libc.TLS, native uintptr) uintptr {
	installed.mu.Lock()
	defer installed.mu.Unlock()
	if own := installed.methods[native]; own != 0 {
		return own
	}
	own := libc.Xcalloc(tls, 1, libc.Tsize_t(sizeofMethods))
	if own == 0 {
		return 0
	}
	m := at[sqlite3.Tsqlite3_io_methods](own)
	*m = *at[sqlite3.Tsqlite3_io_methods](native)
	m.FiVersion = min(m.FiVersion, 2)
	m.FxFetch, m.FxUnfetch = 0, 0
	m.FxClose = pointerTo[closeFunc](fileClose)
	m.FxRead = pointerTo[transferFunc](fileRead)
	m.FxWrite = pointerTo[transferFunc](fileWrite)
	m.FxTruncate = pointerTo[truncateFunc](fileTruncate)
	m.FxSync = pointerTo[syncFunc](fileSync)
	m.FxFileSize = pointerTo[fileSizeFunc](fileSize)
	m.FxFileControl = pointerTo[controlFunc](fileControl)
	m.FxSectorSize = pointerTo[characterFunc](fileSectorSize)
	m.FxDeviceCharacteristics = pointerTo[characterFunc](fileCharacteristics)
	installed.methods[native] = own
	return own
}

// The names that SQLite gives to the files beside a database.
const (
	journalSuffix = "-journal"
	walSuffix     = "-wal"
)

// isSuperName says whether path is the name of a super-journal, and of which
// database: SQLite makes it from "-mj", six random hexadecimal digits, "9" and
// two more.
func isSuperName(path string) (string, bool) {
	const digits = 9
	i := len(path) - len("-mj") - digits
	if i <= 0 || path[i:i+3] != "-mj" || strings.Trim(path[i+3:], "0123456789ABCDEF") != "" {
		return "", false
	}
	return path[:i], true
}

// keysFor decides what kind of file SQLite opens and under whose keys.
func keysFor(tls *libc.TLS, name uintptr, path string, flags int32) (kind, *Registration) {
	switch {
	case flags&sqlite3.SQLITE_OPEN_MAIN_DB != 0:
		return kindPage, kidOf(tls, name)
	case flags&sqlite3.SQLITE_OPEN_WAL != 0:
		return kindFrame, kidOf(tls, name)
	case flags&sqlite3.SQLITE_OPEN_MAIN_JOURNAL != 0:
		return kindJournal, kidOf(tls, name)
	case flags&sqlite3.SQLITE_OPEN_SUPER_JOURNAL != 0:
		// SQLite opens the child journals of a super-journal with this flag too.
		if db, ok := isSuperName(path); ok {
			return kindSuper, lookupPath(db)
		}
		return kindJournal, lookupPath(strings.TrimSuffix(path, journalSuffix))
	}
	return kindTemp, nil
}

// kidOf reads the kid parameter, which SQLite keeps behind the names of a main
// file, its WAL and its journal.
func kidOf(tls *libc.TLS, name uintptr) *Registration {
	if name == 0 {
		return nil
	}
	kid := sqlite3.Xsqlite3_uri_parameter(tls, name, installed.kidName)
	if kid == 0 {
		return nil
	}
	return lookup(libc.GoString(kid))
}

// vfsOpen is the VFS's xOpen.
func vfsOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	at[sqlite3.Tsqlite3_file](file).FpMethods = 0 // SQLite then does not call xClose
	var path string
	if name != 0 {
		path = libc.GoString(name)
	}
	k, reg := keysFor(tls, name, path, flags)
	if k != kindTemp && reg == nil {
		return sqlite3.SQLITE_CANTOPEN // before the file is made
	}
	if !reg.enter() {
		return sqlite3.SQLITE_CANTOPEN
	}
	defer reg.leave()
	if rc := installed.open(tls, vfs, name, file, flags, outFlags); rc != sqlite3.SQLITE_OK {
		return rc
	}
	h, rc := newHandle(tls, k, reg, file, path, flags)
	methods := methodsFor(tls, at[sqlite3.Tsqlite3_file](file).FpMethods)
	if rc == sqlite3.SQLITE_OK && methods == 0 {
		rc = sqlite3.SQLITE_NOMEM
	}
	if rc != sqlite3.SQLITE_OK {
		if h != nil {
			h.f.close(tls)
		} else {
			function[closeFunc](at[sqlite3.Tsqlite3_io_methods](at[sqlite3.Tsqlite3_file](file).FpMethods).FxClose)(tls, file)
		}
		at[sqlite3.Tsqlite3_file](file).FpMethods = 0
		return rc
	}
	switch k {
	case kindPage:
		h.tls = tls
		mains.add(path, h)
	case kindFrame:
		h.peers = mains.walOpened(strings.TrimSuffix(path, walSuffix), tls)
	}
	*slotOf(file) = handles.add(h)
	at[sqlite3.Tsqlite3_file](file).FpMethods = methods
	return sqlite3.SQLITE_OK
}

// newHandle makes the handle of a file that is open. On failure the handle, if
// there is one, is still to be closed.
func newHandle(tls *libc.TLS, k kind, reg *Registration, file uintptr, path string, flags int32) (*handle, int32) {
	n := newNative(tls, file, path)
	if n == nil {
		return nil, sqlite3.SQLITE_NOMEM
	}
	h := &handle{native: n, reg: reg}
	switch k {
	case kindPage:
		f := &mainFile{nativeFile: n, reg: reg, s: newSealer(reg.ring, reg.fileID, k)}
		h.f = f
		if flags&sqlite3.SQLITE_OPEN_CREATE == 0 {
			size, rc := n.size(tls)
			if rc == sqlite3.SQLITE_OK && size == 0 {
				return h, sqlite3.SQLITE_CANTOPEN // emptied, or never written: see Mode
			}
			return h, rc
		}
	case kindFrame:
		h.f = &walFile{nativeFile: n, reg: reg, s: newSealer(reg.ring, reg.fileID, k), mask: reg.ring.mask}
	case kindJournal, kindSuper:
		h.f = &journalFile{blockFile: blockFile{nativeFile: n, s: newSealer(reg.ring, reg.fileID, k)}, reg: reg, pad: k == kindJournal}
	case kindTemp:
		f, err := newTempFile(n)
		if err != nil {
			libc.Xfree(tls, n.scratch)
			return nil, sqlite3.SQLITE_NOMEM
		}
		h.f = f
	}
	return h, sqlite3.SQLITE_OK
}

func vfsDelete(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32 {
	rc := installed.delete(tls, vfs, name, syncDir)
	if t := trace.Load(); t != nil && rc == sqlite3.SQLITE_OK {
		t.Remove(libc.GoString(name), syncDir != 0)
	}
	return rc
}
