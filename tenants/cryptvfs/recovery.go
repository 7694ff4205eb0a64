package cryptvfs

import (
	"encoding/binary"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// recovery follows SQLite as it reads a log from its start, frame by frame, to
// find out what was committed. SQLite stops at the first frame that does not
// continue the running checksum, silently, because that is how a log ends
// after a crash. We compute the same checksum to know where it stops and to
// judge whether a crash explains it.
type recovery struct {
	next  uint32    // the frame that SQLite reads next, 0 once it has stopped
	sum   [2]uint32 // running checksum before that frame
	order binary.ByteOrder
	sound bool // the header of the log is
}

const (
	walMagic   = 0x377f0682 // with bit 0: big-endian checksums
	walVersion = 3007000
)

// checksum continues SQLite's running checksum of a log over b, whose length
// is a multiple of 8 (sqlite.org/fileformat2.html §4.2).
func checksum(order binary.ByteOrder, s [2]uint32, b []byte) [2]uint32 {
	s1, s2 := s[0], s[1]
	if order == binary.ByteOrder(binary.LittleEndian) {
		for ; len(b) >= 8; b = b[8:] {
			s1 += binary.LittleEndian.Uint32(b) + s2
			s2 += binary.LittleEndian.Uint32(b[4:]) + s1
		}
	} else {
		for ; len(b) >= 8; b = b[8:] {
			s1 += binary.BigEndian.Uint32(b) + s2
			s2 += binary.BigEndian.Uint32(b[4:]) + s1
		}
	}
	return [2]uint32{s1, s2}
}

// beginRecovery takes the salts from the log's header and checks it as SQLite
// is about to. A header that SQLite will not take drops the whole log.
func (f *walFile) beginRecovery(tls *libc.TLS, header []byte) {
	r := &recovery{next: 1}
	magic := binary.BigEndian.Uint32(header)
	r.order = binary.LittleEndian
	if magic&1 != 0 {
		r.order = binary.BigEndian
	}
	r.sum = checksum(r.order, [2]uint32{}, header[:24])
	r.sound = magic&^1 == walMagic &&
		binary.BigEndian.Uint32(header[4:]) == walVersion &&
		binary.BigEndian.Uint32(header[8:]) == PageSize &&
		r.sum == [2]uint32{binary.BigEndian.Uint32(header[24:]), binary.BigEndian.Uint32(header[28:])}
	f.recovery = r
	if r.sound {
		copy(f.salts[:], header[16:24])
		f.salted = true
		return
	}
	// SQLite writes and syncs the header before any frame. If a frame is
	// authentic under its own salts, the header was right once.
	for frame := uint32(1); ; frame++ {
		h, rc := f.loadFrame(tls, frame)
		if rc != sqlite3.SQLITE_OK {
			return
		}
		l := label{number: h.page, frame: frame, commit: h.commit, salts: h.salts}
		if f.opens(&l) {
			f.reg.failures.Add(1)
			return
		}
	}
}

// loadFrame reads a frame into scratch memory and unmasks its header.
func (f *walFile) loadFrame(tls *libc.TLS, frame uint32) (frameHeader, int32) {
	rc := f.readRaw(tls, f.scratch, frameSize, frameOffset(frame))
	if rc != sqlite3.SQLITE_OK {
		return frameHeader{}, rc
	}
	return f.parseHeader(f.scratchBuf, frame), rc
}

// opens says whether the frame in scratch memory is authentic; it is
// decrypted there if so.
func (f *walFile) opens(l *label) bool {
	page := f.scratchBuf[frameHeaderSize:frameSize]
	if !f.s.open(page, page, l) {
		return false
	}
	clear(page[usableSize:])
	return true
}

// recoverFrame reads a whole frame into C memory at buf during a recovery. A
// frame that does not authenticate becomes random bytes: an error would make
// the database unopenable after a power cut.
func (f *walFile) recoverFrame(tls *libc.TLS, buf uintptr, frame uint32) int32 {
	rc := f.readRaw(tls, buf, frameSize, frameOffset(frame))
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	b := view(buf, frameSize)
	h := f.parseHeader(b, frame)
	l := f.label(&h)
	page := b[frameHeaderSize:]
	authentic := f.s.open(page, page, &l)
	if authentic {
		clear(page[usableSize:])
	} else {
		scramble(page)
	}
	if r := f.recovery; r.sound && r.next == frame {
		if authentic && r.continues(f, &h, b) {
			r.next++
		} else {
			r.next = 0
			f.judge(tls, h, authentic)
		}
	}
	return sqlite3.SQLITE_OK
}

// continues says whether SQLite takes the frame in b, whose checksum it
// advances to.
func (r *recovery) continues(f *walFile, h *frameHeader, b []byte) bool {
	if h.salts != f.salts || h.page == 0 {
		return false
	}
	r.sum = r.after(r.sum, b)
	return r.sum == sums(h)
}

// after is the running checksum after the decrypted frame in b.
func (r *recovery) after(sum [2]uint32, b []byte) [2]uint32 {
	return checksum(r.order, checksum(r.order, sum, b[:8]), b[frameHeaderSize:frameSize])
}

// sums is the running checksum that a frame's header gives.
func sums(h *frameHeader) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(h.sum[:]), binary.BigEndian.Uint32(h.sum[4:])}
}

// judge decides what it means that SQLite stops reading the log at frame h,
// and counts it. The rest of the log is what a crash leaves there, or not:
//
//   - nothing authentic follows, and h has other salts: an older generation,
//     already in the database. Nothing is counted.
//   - only pages of an unfinished transaction follow (authentic, no commit):
//     SQLite was killed, or rolled back. Nothing is counted.
//   - an authentic commit follows, or is h, and the frame after it continues
//     its checksum: with synchronous FULL the next transaction begins after
//     the one before is on stable storage, so h was sound once. A failure.
//   - anything else is a torn end: a failure that a power cut can explain.
func (f *walFile) judge(tls *libc.TLS, h frameHeader, authentic bool) {
	var (
		own     = h.salts == f.salts
		zero    = h.salts == [8]byte{}
		follows = false                      // an authentic frame after h
		ends    = authentic && h.commit != 0 // an authentic commit, from h on
		proof   = false
		before  = h // the frame before the one looked at
		commit  = ends && own
	)
	for frame := h.frame + 1; ; frame++ {
		g, rc := f.loadFrame(tls, frame)
		if rc != sqlite3.SQLITE_OK {
			break
		}
		l := f.label(&g)
		sound := f.opens(&l)
		// A frame can be authentic and left over from a transaction that was
		// rolled back; then it does not continue the one before.
		proof = proof || commit && sound && g.salts == f.salts &&
			f.recovery.after(sums(&before), f.scratchBuf) == sums(&g)
		follows = follows || sound
		ends = ends || sound && g.commit != 0
		before, commit = g, sound && g.commit != 0 && g.salts == f.salts
	}
	switch {
	case proof:
		f.reg.failures.Add(1)
	case authentic && !ends && (own || zero):
	case !authentic && !own && !follows:
	default:
		f.reg.failures.Add(1)
		f.reg.torn.Add(1)
	}
}
