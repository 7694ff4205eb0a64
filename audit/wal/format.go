package wal

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Sizes and limits of the format, in bytes unless said otherwise.
const (
	// MaxRecord is the size of the largest record.
	MaxRecord = 65_535
	// BatchBytes and BatchRecords end a batch once it has reached them.
	BatchBytes   = 1 << 20
	BatchRecords = 4_096
	// MaxBatchBytes and MaxBatchRecords are what a decoder accepts: a batch
	// that had not reached its end, and then one more group of records that
	// belong together.
	MaxBatchBytes   = BatchBytes + 512<<10
	MaxBatchRecords = BatchRecords + 64
	// FrameOverhead is what a record takes besides its own bytes.
	FrameOverhead = 16
	// MaxSnapshot bounds the owner's state in a segment's header.
	MaxSnapshot = 64 << 20

	batchHeaderSize   = 40
	segmentFixedSize  = 148
	macSize           = sha256.Size
	headerAlign       = 4_096
	batchAlign        = 8
	maxSegmentHeader  = (segmentFixedSize + MaxSnapshot + macSize + headerAlign - 1) / headerAlign * headerAlign
	maxBatchOnDisk    = batchHeaderSize + MaxBatchBytes + batchAlign
	segmentMACLabel   = "coffer.audit.v1/segment\n"
	segmentNameDigits = 16
)

// The magics start with bytes that never occur in UTF-8, so that no text which
// somebody chose and which stands in a clear record can look like a batch.
var (
	segmentMagic = [8]byte{0xC0, 0xFF, 'W', 'a', 'l', 0x00, 0x00, 0x01}
	batchMagic   = [8]byte{0xC0, 0xFF, 'B', 'a', 't', 0x00, 0x00, 0x01}
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errBytes is wrapped by decoding errors inside the package.
var errBytes = errors.New("malformed bytes")

// Hash is a SHA-256 value.
type Hash [sha256.Size]byte

// Drop is a tear at the end of a segment: bytes of a batch that was never
// acknowledged.
type Drop struct {
	Segment uint64
	Offset  int64
	Bytes   int64 // up to the last byte that is not zero
	SHA256  Hash  // of those bytes
}

// segmentHeader is what stands at the start of a segment, authenticated.
type segmentHeader struct {
	instance   [16]byte
	number     uint64
	firstLSN   uint64
	firstBatch uint64
	created    int64 // wall clock, ns since 1970 UTC
	prevEnd    int64 // where the last good batch of the segment before ends, 0 in the first
	lastBatch  Hash  // SHA-256 of the last batch before this segment, zero if none
	dropped    int64 // bytes of the tear at prevEnd, 0 for none
	dropHash   Hash
	snapshot   []byte
}

// size is the header's length on disk.
func (h segmentHeader) size() int64 { return headerSize(len(h.snapshot)) }

func headerSize(snapshot int) int64 {
	n := int64(segmentFixedSize) + int64(snapshot) + macSize
	return (n + headerAlign - 1) / headerAlign * headerAlign
}

func (h segmentHeader) encode(key []byte) []byte {
	b := make([]byte, 0, h.size())
	b = append(b, segmentMagic[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.size()))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = append(b, h.instance[:]...)
	b = binary.BigEndian.AppendUint64(b, h.number)
	b = binary.BigEndian.AppendUint64(b, h.firstLSN)
	b = binary.BigEndian.AppendUint64(b, h.firstBatch)
	b = binary.BigEndian.AppendUint64(b, uint64(h.created))
	b = binary.BigEndian.AppendUint64(b, uint64(h.prevEnd))
	b = append(b, h.lastBatch[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.dropped))
	b = append(b, h.dropHash[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.snapshot)))
	b = append(b, h.snapshot...)
	b = b[:h.size()-macSize]
	mac := segmentMAC(key, h.instance, b)
	return append(b, mac...)
}

func segmentMAC(key []byte, instance [16]byte, b []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(segmentMACLabel))
	m.Write(instance[:])
	m.Write(b)
	return m.Sum(nil)
}

// segmentHeaderSize reads from the first bytes of a segment how long its
// header is. It is checked before anything is authenticated, so it is bounded.
func segmentHeaderSize(b []byte) (int64, error) {
	if len(b) < segmentFixedSize || [8]byte(b) != segmentMagic {
		return 0, fmt.Errorf("%w: no segment header of a known version", errBytes)
	}
	n := int64(binary.BigEndian.Uint32(b[8:]))
	if n < headerAlign || n%headerAlign != 0 || n > maxSegmentHeader {
		return 0, fmt.Errorf("%w: segment header of %d bytes", errBytes, n)
	}
	return n, nil
}

// decodeSegmentHeader authenticates and decodes exactly what encode makes.
func decodeSegmentHeader(b, key []byte, instance [16]byte) (segmentHeader, error) {
	var h segmentHeader
	size, err := segmentHeaderSize(b)
	if err != nil {
		return h, err
	}
	if int64(len(b)) != size {
		return h, fmt.Errorf("%w: segment header of %d bytes in %d", errBytes, size, len(b))
	}
	body, mac := b[:size-macSize], b[size-macSize:]
	if subtle.ConstantTimeCompare(segmentMAC(key, instance, body), mac) != 1 {
		return h, fmt.Errorf("%w: the segment header does not authenticate", errBytes)
	}
	if binary.BigEndian.Uint32(b[12:]) != 0 {
		return h, fmt.Errorf("%w: unknown flags in a segment header", errBytes)
	}
	copy(h.instance[:], b[16:])
	h.number = binary.BigEndian.Uint64(b[32:])
	h.firstLSN = binary.BigEndian.Uint64(b[40:])
	h.firstBatch = binary.BigEndian.Uint64(b[48:])
	h.created = int64(binary.BigEndian.Uint64(b[56:]))
	h.prevEnd = int64(binary.BigEndian.Uint64(b[64:]))
	copy(h.lastBatch[:], b[72:])
	h.dropped = int64(binary.BigEndian.Uint64(b[104:]))
	copy(h.dropHash[:], b[112:])
	n := int64(binary.BigEndian.Uint32(b[144:]))
	if h.instance != instance || h.prevEnd < 0 || h.dropped < 0 || headerSize(int(n)) != size {
		return h, fmt.Errorf("%w: segment header out of range", errBytes)
	}
	h.snapshot = body[segmentFixedSize : segmentFixedSize+n]
	if !allZero(body[segmentFixedSize+n:]) {
		return h, fmt.Errorf("%w: segment header is not padded with zeros", errBytes)
	}
	return h, nil
}

// batchHeader is what stands in front of each batch.
type batchHeader struct {
	number   uint64
	firstLSN uint64
	count    uint32
	bytes    uint32 // of all frames together
}

func (h batchHeader) encode(b []byte) {
	copy(b, batchMagic[:])
	binary.BigEndian.PutUint64(b[8:], h.number)
	binary.BigEndian.PutUint64(b[16:], h.firstLSN)
	binary.BigEndian.PutUint32(b[24:], h.count)
	binary.BigEndian.PutUint32(b[28:], h.bytes)
	binary.BigEndian.PutUint32(b[32:], 0)
	binary.BigEndian.PutUint32(b[36:], crc32.Checksum(b[:36], castagnoli))
}

// decodeBatchHeader says whether b starts with a valid batch header.
func decodeBatchHeader(b []byte) (batchHeader, bool) {
	if len(b) < batchHeaderSize || [8]byte(b) != batchMagic ||
		binary.BigEndian.Uint32(b[36:]) != crc32.Checksum(b[:36], castagnoli) {
		return batchHeader{}, false
	}
	h := batchHeader{
		number: binary.BigEndian.Uint64(b[8:]), firstLSN: binary.BigEndian.Uint64(b[16:]),
		count: binary.BigEndian.Uint32(b[24:]), bytes: binary.BigEndian.Uint32(b[28:]),
	}
	ok := binary.BigEndian.Uint32(b[32:]) == 0 && h.count > 0 && h.count <= MaxBatchRecords &&
		h.bytes >= h.count*(FrameOverhead+1) && h.bytes <= MaxBatchBytes
	return h, ok
}

// appendFrame appends u32 length, u32 CRC32C over length, LSN and record,
// u64 LSN, record.
func appendFrame(b []byte, lsn uint64, rec []byte) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(rec)))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint64(b, lsn)
	b = append(b, rec...)
	binary.BigEndian.PutUint32(b[at+4:], frameSum(b[at:]))
	return b
}

func frameSum(frame []byte) uint32 {
	sum := crc32.Update(0, castagnoli, frame[:4])
	return crc32.Update(sum, castagnoli, frame[8:])
}

// decodeFrame reads the frame at the start of b. The record is part of b.
func decodeFrame(b []byte) (lsn uint64, rec []byte, err error) {
	if len(b) < FrameOverhead {
		return 0, nil, fmt.Errorf("%w: a frame is cut", errBytes)
	}
	n := binary.BigEndian.Uint32(b)
	if n == 0 || n > MaxRecord || int64(n) > int64(len(b)-FrameOverhead) {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", errBytes, n)
	}
	frame := b[:FrameOverhead+n]
	if binary.BigEndian.Uint32(frame[4:]) != frameSum(frame) {
		return 0, nil, fmt.Errorf("%w: a frame with a wrong checksum", errBytes)
	}
	return binary.BigEndian.Uint64(frame[8:]), frame[FrameOverhead:], nil
}

func align(n int64) int64 { return (n + batchAlign - 1) / batchAlign * batchAlign }

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// frameLength is the length that a frame announces.
func frameLength(b []byte) uint32 { return min(binary.BigEndian.Uint32(b), MaxRecord) }
