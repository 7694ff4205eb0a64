package cryptvfs

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// journalFile is a rollback journal or a super-journal. It is written through,
// since SQLite counts on the operating system to have it after a kill, and its
// size is asked for each time, since another process may have changed it.
type journalFile struct {
	blockFile
	reg *Registration

	// See sync.
	pad   bool
	wrote bool // since the last sync
	// named is where the name of a super-journal ends, 0 if there is none.
	named int64

	// The block written last, so that appending to it needs no read.
	block  [blockSize]byte
	number int64 // of that block
	length int   // 0: none
	// high is the end of what this handle has written since it wrote a whole
	// block at the start, which is how SQLite begins a journal. Blocks from
	// there on are left over from older journals; nobody needs their content.
	high int64
}

var _ unitFile = (*journalFile)(nil)

func (f *journalFile) size(tls *libc.TLS) (int64, int32) {
	n, rc := f.nativeFile.size(tls)
	return logicalSize(n), rc
}

func (f *journalFile) read(tls *libc.TLS, buf uintptr, amt int, off int64) int32 {
	f.length = 0
	size, rc := f.size(tls)
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	dst := view(buf, amt)
	clear(dst)
	have := int(min(max(size-off, 0), int64(amt)))
	rc = eachBlock(off, have, func(b int64, from, to, done int) int32 {
		rc := f.readBlock(tls, f.block[:], b, blockLength(size, b))
		if rc == sqlite3.SQLITE_IOERR_DATA {
			f.reg.failures.Add(1)
			if probes(amt, off, size) {
				f.reg.torn.Add(1)
				return sqlite3.SQLITE_OK // zeros: no header, no record, no super-journal
			}
		}
		if rc == sqlite3.SQLITE_OK {
			copy(dst[done:], f.block[from:to])
		}
		return rc
	})
	if rc != sqlite3.SQLITE_OK {
		clear(dst)
		return rc
	}
	if have < amt {
		return sqlite3.SQLITE_IOERR_SHORT_READ
	}
	return sqlite3.SQLITE_OK
}

// probes says whether SQLite looks whether something is there: for a journal
// header, which has a block of its own, or for the name of a super-journal in
// the last 16 bytes. After a power cut the block may be torn, and then nothing
// that depends on it was done yet; an error would make the database
// unopenable. Records, which SQLite reads only after a sound header, must be
// right.
func probes(amt int, off, size int64) bool {
	const magic, trailer = 8, 16
	return off%blockSize == 0 && amt <= magic || off >= size-trailer
}

func (f *journalFile) write(tls *libc.TLS, data []byte, off int64) int32 {
	size, rc := f.size(tls)
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	if off == 0 && len(data) >= blockSize {
		f.high, f.named = 0, 0
	}
	f.wrote = true
	if string(data) == journalMagic {
		f.named = off + int64(len(data))
	}
	if off > size {
		if rc := f.extend(tls, size, off); rc != sqlite3.SQLITE_OK {
			return rc
		}
		size = off
	}
	return f.put(tls, data, off, size)
}

// extend fills the file with zeros from size to off.
func (f *journalFile) extend(tls *libc.TLS, size, off int64) int32 {
	for size < off {
		n := min(blockSize-size%blockSize, off-size)
		if rc := f.put(tls, zeroPage[:n], size, size); rc != sqlite3.SQLITE_OK {
			return rc
		}
		size += n
	}
	return sqlite3.SQLITE_OK
}

// put writes data at off, which is not past the end of a file of that size.
func (f *journalFile) put(tls *libc.TLS, data []byte, off, size int64) int32 {
	rc := eachBlock(off, len(data), func(b int64, from, to, done int) int32 {
		old := blockLength(size, b)
		if from > 0 || to < old {
			if rc := f.load(tls, b, old); rc != sqlite3.SQLITE_OK {
				return rc
			}
		}
		n := copy(f.block[from:to], data[done:])
		f.number, f.length = b, max(old, from+n)
		rc := f.writeBlock(tls, f.block[:f.length], b)
		if rc != sqlite3.SQLITE_OK {
			f.length = 0
		}
		return rc
	})
	if rc == sqlite3.SQLITE_OK {
		f.high = max(f.high, off+int64(len(data)))
	}
	return rc
}

// load brings block b, n bytes long, into memory to change a part of it.
func (f *journalFile) load(tls *libc.TLS, b int64, n int) int32 {
	if f.length == n && f.number == b {
		return sqlite3.SQLITE_OK
	}
	f.length = 0
	if b*blockSize >= f.high {
		clear(f.block[:])
		return sqlite3.SQLITE_OK
	}
	rc := f.readBlock(tls, f.block[:], b, n)
	if rc == sqlite3.SQLITE_IOERR_DATA {
		f.reg.failures.Add(1)
	}
	return rc
}

// journalMagic begins a journal header and, written alone, ends the name of a
// super-journal at the end of a journal.
const journalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

// sync fills the last block of a rollback journal with zeros before it makes
// the journal durable. SQLite's next header starts a sector further on, and
// bringing the block to its full length then would rewrite records that the
// database by then depends on. The name of a super-journal, which SQLite looks
// for at the very end, is not moved: nothing is appended after it. Nor is
// anything in a journal that this handle did not write: SQLite syncs a hot
// journal too, before it rolls back.
func (f *journalFile) sync(tls *libc.TLS, flags int32) int32 {
	if f.pad && f.wrote {
		size, rc := f.size(tls)
		if rc != sqlite3.SQLITE_OK {
			return rc
		}
		if size != f.named {
			if rc := f.extend(tls, size, (size+blockSize-1)/blockSize*blockSize); rc != sqlite3.SQLITE_OK {
				return rc
			}
		}
	}
	f.wrote = false
	return f.blockFile.sync(tls, flags)
}

func (f *journalFile) truncate(tls *libc.TLS, size int64) int32 {
	f.length = 0
	old, rc := f.size(tls)
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	f.high = min(f.high, size)
	b, n := size/blockSize, int(size%blockSize)
	switch {
	case size >= old:
		return f.extend(tls, old, size)
	case n == 0:
		return f.nativeFile.truncate(tls, b*blockOnDisk)
	}
	// The last block becomes shorter. If it is not ours to read, it holds
	// nothing that anybody needs.
	if f.readBlock(tls, f.block[:], b, blockLength(old, b)) != sqlite3.SQLITE_OK {
		clear(f.block[:])
	}
	if rc := f.nativeFile.truncate(tls, b*blockOnDisk); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return f.writeBlock(tls, f.block[:n], b)
}

func (f *journalFile) close(tls *libc.TLS) int32 {
	clear(f.block[:])
	return f.blockFile.close(tls)
}
