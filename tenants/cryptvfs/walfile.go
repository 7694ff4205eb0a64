package cryptvfs

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Geometry of a write-ahead log, the same as SQLite's.
const (
	walHeaderSize   = 32
	frameHeaderSize = 24
	frameSize       = frameHeaderSize + PageSize
)

// walFile is a write-ahead log. The pages in it are sealed under their place:
// page number, frame number, commit size and the log's salts. Of a frame's
// header the page number and commit size stand in clear; its salts and running
// checksum, which depends on the plaintext, are one block of AES.
type walFile struct {
	*nativeFile
	reg  *Registration
	s    *sealer
	mask cipher.Block

	salts    [8]byte // of the log's header, as last seen
	salted   bool
	header   frameHeader // the last frame header written through this handle
	recovery *recovery   // while SQLite reads the log from its start
}

var _ unitFile = (*walFile)(nil)

// frameHeader is what the header of a frame says, in clear.
type frameHeader struct {
	frame  uint32 // number of the frame from 1
	page   uint32
	commit uint32
	salts  [8]byte
	sum    [8]byte // running checksum, SQLite's
}

// parseHeader unmasks the 24 header bytes in b, in place, and reads them.
func (f *walFile) parseHeader(b []byte, frame uint32) (h frameHeader) {
	f.mask.Decrypt(b[8:24], b[8:24])
	h.frame = frame
	h.page = binary.BigEndian.Uint32(b)
	h.commit = binary.BigEndian.Uint32(b[4:])
	copy(h.salts[:], b[8:])
	copy(h.sum[:], b[16:])
	return h
}

// label is where the page of a frame stands. SQLite writes zero salts into
// some frame headers and corrects them at commit, so the label has the log's.
func (f *walFile) label(h *frameHeader) label {
	return label{number: h.page, frame: h.frame, commit: h.commit, salts: f.salts}
}

// frameAt splits an offset into the number of a frame and a place in it.
func frameAt(off int64) (frame uint32, in int) {
	off -= walHeaderSize
	return uint32(off/frameSize) + 1, int(off % frameSize)
}

// frameOffset is where a frame starts.
func frameOffset(frame uint32) int64 { return walHeaderSize + int64(frame-1)*frameSize }

func (f *walFile) read(tls *libc.TLS, buf uintptr, amt int, off int64) int32 {
	if off < walHeaderSize {
		return f.readLogHeader(tls, buf, amt, off)
	}
	frame, in := frameAt(off)
	switch {
	case in == frameHeaderSize && amt == PageSize:
		return f.readPage(tls, buf, frame)
	case in == 0 && amt == frameSize:
		if f.recovery != nil {
			return f.recoverFrame(tls, buf, frame)
		}
		return f.readFrame(tls, buf, frame)
	case in+amt <= frameHeaderSize:
		f.recovery = nil
		rc := f.readRaw(tls, f.scratch, frameHeaderSize, frameOffset(frame))
		if rc == sqlite3.SQLITE_OK {
			f.parseHeader(f.scratchBuf, frame)
			copy(view(buf, amt), f.scratchBuf[in:frameHeaderSize])
		}
		return rc
	}
	return sqlite3.SQLITE_IOERR_READ // SQLite does not; refuse rather than guess
}

// readLogHeader reads of the log's own header, which stands in clear. Reading
// all of it is how SQLite begins a recovery.
func (f *walFile) readLogHeader(tls *libc.TLS, buf uintptr, amt int, off int64) int32 {
	f.recovery = nil
	if off+int64(amt) > walHeaderSize {
		return sqlite3.SQLITE_IOERR_READ
	}
	rc := f.readRaw(tls, buf, amt, off)
	if rc == sqlite3.SQLITE_OK && off == 0 && amt == walHeaderSize {
		f.beginRecovery(tls, view(buf, amt))
	}
	return rc
}

// readPage reads the page of a frame into C memory at buf. It reads the frame
// with its header, which has half of what the page is authenticated with.
func (f *walFile) readPage(tls *libc.TLS, buf uintptr, frame uint32) int32 {
	f.recovery = nil
	page := view(buf, PageSize)
	rc := f.readRaw(tls, f.scratch, frameSize, frameOffset(frame))
	if rc == sqlite3.SQLITE_IOERR_SHORT_READ {
		return f.refuse(page) // the index promised this frame
	}
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	h := f.parseHeader(f.scratchBuf, frame)
	if !f.current(tls, &h) {
		return f.refuse(page)
	}
	l := f.label(&h)
	if !f.s.open(page, f.scratchBuf[frameHeaderSize:frameSize], &l) {
		return f.refuse(page)
	}
	clear(page[usableSize:])
	return sqlite3.SQLITE_OK
}

// readFrame reads a whole frame into C memory at buf, as SQLite does to
// compute running checksums again at a commit.
func (f *walFile) readFrame(tls *libc.TLS, buf uintptr, frame uint32) int32 {
	rc := f.readRaw(tls, buf, frameSize, frameOffset(frame))
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	b := view(buf, frameSize)
	h := f.parseHeader(b, frame)
	l := f.label(&h)
	page := b[frameHeaderSize:]
	if !f.current(tls, &h) || !f.s.open(page, page, &l) {
		return f.refuse(b)
	}
	clear(page[usableSize:])
	return sqlite3.SQLITE_OK
}

// current says whether a frame belongs to the log's present generation. If its
// salts are not those last seen, another connection may have begun the log
// anew: only the header on disk can tell.
func (f *walFile) current(tls *libc.TLS, h *frameHeader) bool {
	if f.salted && (h.salts == f.salts || h.salts == [8]byte{}) {
		return true
	}
	var l label
	off := f.scratch + blockOnDisk // eight bytes apart from the frame in scratch
	if f.readRaw(tls, off, len(l.salts), 16) != sqlite3.SQLITE_OK {
		return false
	}
	copy(f.salts[:], view(off, len(f.salts)))
	f.salted = true
	return h.salts == f.salts || h.salts == [8]byte{}
}

// refuse counts a frame that does not authenticate.
func (f *walFile) refuse(b []byte) int32 {
	clear(b)
	f.reg.failures.Add(1)
	return sqlite3.SQLITE_IOERR_DATA
}

func (f *walFile) write(tls *libc.TLS, data []byte, off int64) int32 {
	f.recovery = nil
	if off == 0 && len(data) == walHeaderSize {
		copy(f.salts[:], data[16:])
		f.salted = true
		copy(f.scratchBuf, data)
		return f.writeScratch(tls, walHeaderSize, 0)
	}
	if off < walHeaderSize {
		return sqlite3.SQLITE_IOERR_WRITE
	}
	frame, in := frameAt(off)
	switch {
	case in == 0 && len(data) == frameHeaderSize:
		return f.writeHeader(tls, data, frame)
	case in == frameHeaderSize && len(data) == PageSize && sealable(data):
		return f.writePage(tls, data, frame)
	}
	return sqlite3.SQLITE_IOERR_WRITE
}

func (f *walFile) writeHeader(tls *libc.TLS, data []byte, frame uint32) int32 {
	h := frameHeader{frame: frame, page: binary.BigEndian.Uint32(data), commit: binary.BigEndian.Uint32(data[4:])}
	copy(h.salts[:], data[8:])
	if h.salts != [8]byte{} {
		f.salts, f.salted = h.salts, true
	}
	f.header = h
	copy(f.scratchBuf, data)
	f.mask.Encrypt(f.scratchBuf[8:24], f.scratchBuf[8:24])
	return f.writeScratch(tls, frameHeaderSize, frameOffset(frame))
}

// writePage writes the page of a frame whose header is on disk already: SQLite
// writes the header just before, or long ago if it replaces a page that it
// wrote earlier in the same transaction.
func (f *walFile) writePage(tls *libc.TLS, data []byte, frame uint32) int32 {
	if f.header.frame != frame {
		rc := f.readFrame(tls, f.scratch, frame) // authenticates the header
		if rc != sqlite3.SQLITE_OK {
			return rc
		}
		f.header = frameHeader{
			frame:  frame,
			page:   binary.BigEndian.Uint32(f.scratchBuf),
			commit: binary.BigEndian.Uint32(f.scratchBuf[4:]),
		}
	}
	l := f.label(&f.header)
	if err := f.s.seal(f.scratchBuf[:PageSize], data[:usableSize], &l); err != nil {
		return sqlite3.SQLITE_IOERR_WRITE
	}
	return f.writeScratch(tls, PageSize, frameOffset(frame)+frameHeaderSize)
}

func (f *walFile) truncate(tls *libc.TLS, size int64) int32 {
	f.recovery, f.header = nil, frameHeader{}
	return f.nativeFile.truncate(tls, size)
}

func (f *walFile) sectorSize(tls *libc.TLS) int32 { return f.sectorFn(tls, f.file) }

// scramble makes a frame one that SQLite does not take.
func scramble(b []byte) { _, _ = rand.Read(b) }
