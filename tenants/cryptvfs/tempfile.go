package cryptvfs

import (
	"crypto/rand"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// tempFile is a file that nobody opens again: temporary databases and their
// journals, statement journals, and what sorting spills. Its key is in memory
// alone and ends with the handle. Nothing in it outlives a crash, so the block
// in work is written only when another one is needed.
type tempFile struct {
	blockFile
	length int64 // of the file, logical

	block  [blockSize]byte
	number int64 // of the block in memory, -1: none
	dirty  bool
}

var _ unitFile = (*tempFile)(nil)

func newTempFile(n *nativeFile) (*tempFile, error) {
	key, err := newOnceKey()
	if err != nil {
		return nil, err
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	return &tempFile{blockFile: blockFile{nativeFile: n, s: newSealer(key, id, kindTemp)}, number: -1}, nil
}

// need brings block b into memory.
func (f *tempFile) need(tls *libc.TLS, b int64) int32 {
	if f.number == b {
		return sqlite3.SQLITE_OK
	}
	if rc := f.flush(tls); rc != sqlite3.SQLITE_OK {
		return rc
	}
	n := blockLength(f.length, b)
	f.number = -1
	if n > 0 {
		if rc := f.readBlock(tls, f.block[:], b, n); rc != sqlite3.SQLITE_OK {
			return rc
		}
	}
	clear(f.block[n:])
	f.number = b
	return sqlite3.SQLITE_OK
}

func (f *tempFile) flush(tls *libc.TLS) int32 {
	if !f.dirty {
		return sqlite3.SQLITE_OK
	}
	rc := f.writeBlock(tls, f.block[:blockLength(f.length, f.number)], f.number)
	f.dirty = rc != sqlite3.SQLITE_OK
	return rc
}

func (f *tempFile) size(*libc.TLS) (int64, int32) { return f.length, sqlite3.SQLITE_OK }

func (f *tempFile) read(tls *libc.TLS, buf uintptr, amt int, off int64) int32 {
	dst := view(buf, amt)
	have := int(min(max(f.length-off, 0), int64(amt)))
	rc := eachBlock(off, have, func(b int64, from, to, done int) int32 {
		rc := f.need(tls, b)
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
		clear(dst[have:])
		return sqlite3.SQLITE_IOERR_SHORT_READ
	}
	return sqlite3.SQLITE_OK
}

func (f *tempFile) write(tls *libc.TLS, data []byte, off int64) int32 {
	for f.length < off {
		n := min(blockSize-f.length%blockSize, off-f.length)
		if rc := f.put(tls, zeroPage[:n], f.length); rc != sqlite3.SQLITE_OK {
			return rc
		}
	}
	return f.put(tls, data, off)
}

// put writes data at off, which is not past the end.
func (f *tempFile) put(tls *libc.TLS, data []byte, off int64) int32 {
	return eachBlock(off, len(data), func(b int64, from, to, done int) int32 {
		if from == 0 && to >= blockLength(f.length, b) {
			// All of the block is replaced: no need to read it.
			if f.number != b {
				if rc := f.flush(tls); rc != sqlite3.SQLITE_OK {
					return rc
				}
				f.number = b
			}
		} else if rc := f.need(tls, b); rc != sqlite3.SQLITE_OK {
			return rc
		}
		copy(f.block[from:to], data[done:])
		f.dirty = true
		f.length = max(f.length, b*blockSize+int64(to))
		return sqlite3.SQLITE_OK
	})
}

func (f *tempFile) truncate(tls *libc.TLS, size int64) int32 {
	if size >= f.length {
		return f.write(tls, nil, size)
	}
	b, n := size/blockSize, size%blockSize
	if n > 0 {
		if rc := f.need(tls, b); rc != sqlite3.SQLITE_OK {
			return rc
		}
		f.dirty = true
	} else if f.number >= b {
		f.number, f.dirty = -1, false
	} else if rc := f.flush(tls); rc != sqlite3.SQLITE_OK {
		return rc
	}
	f.length = size
	return f.nativeFile.truncate(tls, b*blockOnDisk)
}

// sync does nothing: after a crash nobody reads the file.
func (f *tempFile) sync(*libc.TLS, int32) int32 { return sqlite3.SQLITE_OK }

func (f *tempFile) close(tls *libc.TLS) int32 {
	clear(f.block[:])
	return f.blockFile.close(tls)
}
