package cryptvfs

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"coffer/app/domain"
)

// Verify authenticates every page of the main file at path and every frame of
// the write-ahead log beside it that belongs to the present generation, and
// says which is the first that is wrong. It reads the whole file and changes
// nothing. Best done while the database is closed; of an open one it sees each
// page either before or after a checkpoint.
//
// The error is Tampered for a file that is not what was sealed, NotFound,
// Unavailable (busy, unreadable) or the context's own. Failures also count in
// reg.AuthFailures. What Verify cannot see is a whole file put back to an
// earlier state, log included.
func Verify(ctx context.Context, path string, reg *Registration) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return domain.Errorf(domain.NotFound, "%s does not exist", path)
	}
	v := &verifier{ctx: ctx, path: path, reg: reg, tls: libc.NewTLS()}
	defer v.tls.Close()
	logged, err := v.log()
	if err != nil {
		return err
	}
	return v.pages(logged)
}

type verifier struct {
	ctx  context.Context
	path string
	reg  *Registration
	tls  *libc.TLS
}

func (v *verifier) tampered(format string, args ...any) error {
	return domain.Errorf(domain.Tampered, format, args...).
		WithHint("keep a copy of the file for investigation, then restore a copy of the whole data directory")
}

// hold calls do with the keys held, for one unit at a time: who closes them
// waits for no more than that.
func (v *verifier) hold(do func()) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	if !v.reg.enter() {
		return domain.Errorf(domain.Sealed, "verifying %s: %w", v.path, errClosed).
			WithHint("unseal first: coffer unseal")
	}
	defer v.reg.leave()
	do()
	return nil
}

func (v *verifier) unreadable(path string) error {
	return domain.Errorf(domain.Unavailable, "%s cannot be read now", path).
		WithHint("check its owner and mode, and whether another process has it open, then try again: coffer doctor")
}

// open opens a file by the operating system's VFS and not by package os:
// closing a descriptor of package os would drop the locks that SQLite has on
// the same file in this process (fcntl(2), "record locks").
func (v *verifier) open(path string, flags int32) (n *nativeFile, closeAll func(), err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, v.unreadable(path)
	}
	// SQLite looks for parameters behind a file name and for zeros before it.
	const margin = 8
	name := libc.Xcalloc(v.tls, 1, libc.Tsize_t(len(abs)+2*margin))
	file := libc.Xcalloc(v.tls, 1, libc.Tsize_t(installed.nativeSize))
	free := func() { libc.Xfree(v.tls, name); libc.Xfree(v.tls, file) }
	if name == 0 || file == 0 {
		free()
		return nil, nil, v.unreadable(path)
	}
	copy(view(name+margin, len(abs)), abs)
	if installed.open(v.tls, installed.nativeVFS, name+margin, file, flags, 0) != sqlite3.SQLITE_OK {
		free()
		return nil, nil, v.unreadable(path)
	}
	if n = newNative(v.tls, file, path); n == nil {
		free()
		return nil, nil, v.unreadable(path)
	}
	return n, func() { n.close(v.tls); free() }, nil
}

// pages authenticates the main file. logged says that a log may hold the pages
// that the file's end lacks.
func (v *verifier) pages(logged bool) error {
	n, closeAll, err := v.open(v.path, sqlite3.SQLITE_OPEN_MAIN_DB|sqlite3.SQLITE_OPEN_READONLY)
	if err != nil {
		return err
	}
	defer closeAll()
	m := at[sqlite3.Tsqlite3_io_methods](at[sqlite3.Tsqlite3_file](n.file).FpMethods)
	const sharedLock, noLock = 1, 0
	if function[lockFunc](m.FxLock)(v.tls, n.file, sharedLock) != sqlite3.SQLITE_OK {
		return v.unreadable(v.path)
	}
	defer function[lockFunc](m.FxUnlock)(v.tls, n.file, noLock)
	size, rc := n.size(v.tls)
	switch {
	case rc != sqlite3.SQLITE_OK:
		return v.unreadable(v.path)
	case size == 0:
		return v.tampered("%s is empty", v.path)
	}
	f := &mainFile{nativeFile: n, reg: v.reg, s: newSealer(v.reg.ring, v.reg.fileID, kindPage)}
	var pages int64
	for off := int64(0); off < size; off += PageSize {
		page := off/PageSize + 1
		var sound bool
		if err := v.hold(func() { sound = v.page(f, off) }); err != nil {
			return err
		}
		if !sound {
			return v.tampered("page %d of %s does not authenticate", page, v.path)
		}
		if page == 1 {
			pages = promised(f.scratchBuf)
		}
	}
	if have := size / PageSize; have < pages && !logged {
		return v.tampered("%s ends after page %d of %d", v.path, have, pages)
	}
	return nil
}

// page authenticates one page. A checkpoint may be writing it: so twice.
func (v *verifier) page(f *mainFile, off int64) bool {
	for range 2 {
		switch f.readPage(v.tls, f.scratch, off) {
		case sqlite3.SQLITE_OK:
			return true
		case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_DATA:
		default:
			return false
		}
	}
	return false
}

// promised is the size of the database in pages that page 1 gives, 0 if it
// gives none (sqlite.org/fileformat2.html §1.3.7).
func promised(page []byte) int64 {
	if [4]byte(page[24:28]) != [4]byte(page[92:96]) {
		return 0
	}
	return int64(binary.BigEndian.Uint32(page[28:]))
}

// log reads the write-ahead log as a recovery would and says whether there is
// one with anything in it.
func (v *verifier) log() (bool, error) {
	path := v.path + walSuffix
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	n, closeAll, err := v.open(path, sqlite3.SQLITE_OPEN_WAL|sqlite3.SQLITE_OPEN_READONLY)
	if err != nil {
		return false, err
	}
	defer closeAll()
	buf := libc.Xcalloc(v.tls, 1, frameSize)
	if buf == 0 {
		return false, v.unreadable(path)
	}
	defer libc.Xfree(v.tls, buf)
	f := &walFile{nativeFile: n, reg: v.reg, s: newSealer(v.reg.ring, v.reg.fileID, kindFrame), mask: v.reg.ring.mask}
	before := v.reg.AuthFailures()
	var rc int32
	if err := v.hold(func() { rc = f.read(v.tls, buf, walHeaderSize, 0) }); err != nil {
		return false, err
	}
	if rc != sqlite3.SQLITE_OK {
		return false, nil // shorter than its header: no log yet
	}
	frame := uint32(1)
	for ; rc == sqlite3.SQLITE_OK && f.recovery.sound && f.recovery.next == frame; frame++ {
		if err := v.hold(func() { rc = f.read(v.tls, buf, frameSize, frameOffset(frame)) }); err != nil {
			return false, err
		}
	}
	switch {
	case v.reg.AuthFailures() == before:
		return true, nil
	case !f.recovery.sound:
		return false, v.tampered("the header of %s does not belong to its frames", path)
	default:
		return false, v.tampered("frame %d of %s does not authenticate", frame-1, path)
	}
}
