package cryptvfs

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// blockFile is a file that SQLite reads and writes at any offset. It is kept
// in blocks of 4,096 bytes, each 32 bytes longer on disk; the last one is as
// short as the file needs.
type blockFile struct {
	*nativeFile
	s *sealer
}

// logicalSize is the plaintext length of a file of n bytes on disk. A last
// block too short to hold its tag was torn and counts for nothing.
func logicalSize(n int64) int64 {
	whole, rest := n/blockOnDisk, n%blockOnDisk
	return whole*blockSize + max(0, rest-ReservedBytes)
}

// blockLength is the plaintext length of block b in a file of a logical size.
func blockLength(size, b int64) int {
	return int(min(max(size-b*blockSize, 0), blockSize))
}

// readBlock decrypts n bytes of block b into dst. It gives IOERR_DATA if the
// block does not authenticate at that length.
func (f *blockFile) readBlock(tls *libc.TLS, dst []byte, b int64, n int) int32 {
	rc := f.readRaw(tls, f.scratch, n+ReservedBytes, b*blockOnDisk)
	if rc == sqlite3.SQLITE_IOERR_SHORT_READ {
		return sqlite3.SQLITE_IOERR_DATA
	}
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	unit := f.scratchBuf[:n+ReservedBytes]
	l := label{number: uint32(b)}
	if !f.s.open(unit, unit, &l) {
		return sqlite3.SQLITE_IOERR_DATA
	}
	copy(dst, unit[:n])
	return sqlite3.SQLITE_OK
}

// writeBlock encrypts plain as all of block b.
func (f *blockFile) writeBlock(tls *libc.TLS, plain []byte, b int64) int32 {
	l := label{number: uint32(b)}
	if err := f.s.seal(f.scratchBuf[:len(plain)+ReservedBytes], plain, &l); err != nil {
		return sqlite3.SQLITE_IOERR_WRITE
	}
	return f.writeScratch(tls, len(plain)+ReservedBytes, b*blockOnDisk)
}

// eachBlock calls do for each block that the n bytes from off touch, with the
// part of the block, from its start, and the part of the n bytes.
func eachBlock(off int64, n int, do func(b int64, from, to, done int) int32) int32 {
	for done := 0; done < n; {
		b, from := (off+int64(done))/blockSize, int((off+int64(done))%blockSize)
		to := min(blockSize, from+n-done)
		if rc := do(b, from, to, done); rc != sqlite3.SQLITE_OK {
			return rc
		}
		done += to - from
	}
	return sqlite3.SQLITE_OK
}

func (f *blockFile) sectorSize(tls *libc.TLS) int32 { return f.sectorFn(tls, f.file) }
