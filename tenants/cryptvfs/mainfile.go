package cryptvfs

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// mainFile is a main database file. Page n stands at (n-1)·4096 on disk as it
// does for SQLite; SQLite leaves the last 32 bytes of each page to us.
type mainFile struct {
	*nativeFile
	reg *Registration
	s   *sealer

	// While this connection checkpoints nobody else changes the file, and
	// whole says how many bytes of it are pages for certain. Otherwise 0.
	checkpoints bool
	whole       int64
}

var _ unitFile = (*mainFile)(nil)

// headerSize is what SQLite reads of a file when it opens it, before any lock
// and before a hot journal is rolled back, to learn the page size.
const headerSize = 100

// geometry fills buf with a database header that says no more than the page
// size and the reserved bytes. Every file of this VFS has the same, and page 1
// may be torn at that moment, so it is not read. An empty database takes its
// geometry from this answer.
func geometry(buf []byte) {
	clear(buf)
	copy(buf, "SQLite format 3\x00")
	buf[16], buf[17] = PageSize>>8, PageSize&0xff
	buf[18], buf[19] = 1, 1
	buf[20] = ReservedBytes
	buf[21], buf[22], buf[23] = 64, 32, 32
}

func (f *mainFile) read(tls *libc.TLS, buf uintptr, amt int, off int64) int32 {
	if off == 0 && amt == headerSize {
		geometry(view(buf, amt))
		return sqlite3.SQLITE_OK
	}
	in := int(off % PageSize)
	if amt == PageSize && in == 0 {
		return f.readPage(tls, buf, off)
	}
	if in+amt > PageSize {
		return sqlite3.SQLITE_IOERR_READ // SQLite does not; refuse rather than guess
	}
	// Part of a page: SQLite's look at the change counter.
	rc := f.readPage(tls, f.scratch, off-int64(in))
	if rc == sqlite3.SQLITE_OK || rc == sqlite3.SQLITE_IOERR_SHORT_READ {
		copy(view(buf, amt), f.scratchBuf[in:])
	}
	return rc
}

// readPage reads the page at off into C memory at buf.
func (f *mainFile) readPage(tls *libc.TLS, buf uintptr, off int64) int32 {
	rc := f.readRaw(tls, buf, PageSize, off)
	page := view(buf, PageSize)
	if rc == sqlite3.SQLITE_IOERR_SHORT_READ {
		return f.pastEnd(tls, page, off)
	}
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	l := label{number: uint32(off/PageSize) + 1}
	if !f.s.open(page, page, &l) {
		return f.refuse(page, off)
	}
	clear(page[usableSize:])
	return sqlite3.SQLITE_OK
}

// pastEnd answers a read of a page that the file does not have. An empty file
// is a new database. Inside a write transaction of a rollback mode SQLite may
// read back a page that it allocated and never wrote. Everywhere else, the WAL
// or the header promised that page and the file has been cut.
func (f *mainFile) pastEnd(tls *libc.TLS, page []byte, off int64) int32 {
	size, rc := f.size(tls)
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	if size == 0 || size <= off && f.writing(tls) {
		clear(page)
		return sqlite3.SQLITE_IOERR_SHORT_READ
	}
	return f.refuse(page, off)
}

// refuse counts a page that does not authenticate.
func (f *mainFile) refuse(page []byte, off int64) int32 {
	clear(page)
	f.reg.failures.Add(1)
	if off == 0 {
		return sqlite3.SQLITE_NOTADB
	}
	return sqlite3.SQLITE_IOERR_DATA
}

func (f *mainFile) write(tls *libc.TLS, data []byte, off int64) int32 {
	if len(data) != PageSize || off%PageSize != 0 || !sealable(data) || off == 0 && !rightGeometry(data) {
		return sqlite3.SQLITE_IOERR_WRITE
	}
	if rc := f.fillTo(tls, off); rc != sqlite3.SQLITE_OK {
		return rc
	}
	rc := f.writePage(tls, data, off)
	if rc == sqlite3.SQLITE_OK && f.checkpoints {
		f.whole = max(f.whole, off+PageSize)
	}
	return rc
}

// checkpoint notes that a checkpoint begins or ends. Asking for the size of
// the file before each of its writes would cost a system call a page.
func (f *mainFile) checkpoint(begins bool) { f.checkpoints, f.whole = begins, 0 }

func (f *mainFile) writePage(tls *libc.TLS, data []byte, off int64) int32 {
	l := label{number: uint32(off/PageSize) + 1}
	if err := f.s.seal(f.scratchBuf[:PageSize], data[:usableSize], &l); err != nil {
		return sqlite3.SQLITE_IOERR_WRITE
	}
	return f.writeScratch(tls, PageSize, off)
}

// fillTo extends the file to off by encrypted zero pages, so that no page that
// the file has is all zeros on disk: zeros are never accepted when reading.
func (f *mainFile) fillTo(tls *libc.TLS, off int64) int32 {
	if off <= f.whole {
		return sqlite3.SQLITE_OK
	}
	size, rc := f.size(tls)
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	for gap := size - size%PageSize; gap < off; gap += PageSize {
		if rc := f.writePage(tls, zeroPage[:], gap); rc != sqlite3.SQLITE_OK {
			return rc
		}
	}
	return sqlite3.SQLITE_OK
}

func (f *mainFile) truncate(tls *libc.TLS, size int64) int32 {
	if size%PageSize != 0 {
		return sqlite3.SQLITE_IOERR_TRUNCATE
	}
	if rc := f.fillTo(tls, size); rc != sqlite3.SQLITE_OK {
		return rc
	}
	f.whole = 0
	return f.nativeFile.truncate(tls, size)
}

// sectorSize is a page: SQLite then gives each journal header a block of its own.
func (f *mainFile) sectorSize(*libc.TLS) int32 { return PageSize }

var zeroPage [PageSize]byte

// sealable says whether SQLite left the reserved bytes of a page alone.
func sealable(page []byte) bool {
	var or byte
	for _, b := range page[usableSize:] {
		or |= b
	}
	return or == 0
}

// rightGeometry says whether page 1 describes our page size and reserve. It
// does not after PRAGMA page_size and VACUUM, or when a backup from another
// kind of file is written here; that must not reach the disk.
func rightGeometry(page []byte) bool {
	return page[16] == PageSize>>8 && page[17] == PageSize&0xff && page[20] == ReservedBytes
}
