package record

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Sizes and limits of a record, in bytes.
const (
	HeaderSize = 128
	// MaxSize lets a record fit a u16-prefixed entry of a C2SP tlog-tiles
	// entry bundle.
	MaxSize = 65_535
	// MinSize is a header and the smallest body.
	MinSize = HeaderSize + padUnit
)

const (
	magic = "CofAud01"

	offType     = 8
	offFlags    = 9
	offHeadSize = 10
	offInstance = 12
	offTag      = 28
	offSeq      = 44
	offWall     = 52
	offBoot     = 60
	offMono     = 64
	offPrev     = 72
	offKeyID    = 104
	offReserved = 120
)

// ErrFormat is wrapped by every error about bytes that are not a record as
// this package writes them: they were damaged or made by something else.
var ErrFormat = errors.New("not an audit record")

// Type says what a record is about. Types up to Outcome are encrypted.
type Type uint8

// The types of records.
const (
	Event       Type = 1  // something was done, read or refused
	Intent      Type = 2  // a change is about to be made
	Outcome     Type = 3  // what became of an intent
	KeyOpen     Type = 4  // commits to the key of a period before its first use
	KeyShred    Type = 5  // keys were destroyed because retention ended
	PeriodClose Type = 6  // the last record of a period stands before this one
	Boot        Type = 7  // the appliance started
	Policy      Type = 8  // the retention changed
	TenantOpen  Type = 9  // the first record of every log
	TenantClose Type = 10 // the tenant was destroyed; refusals may still follow
	Clock       Type = 11 // the wall clock jumped
	RollbackAck Type = 12 // people accepted that the log was rolled back
)

var typeNames = [...]string{
	Event: "event", Intent: "intent", Outcome: "outcome", KeyOpen: "key-open", KeyShred: "key-shred",
	PeriodClose: "period-close", Boot: "boot", Policy: "policy", TenantOpen: "tenant-open",
	TenantClose: "tenant-close", Clock: "clock", RollbackAck: "rollback-ack",
}

// String is the type's name for people.
func (t Type) String() string {
	if t.valid() {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Encrypted says whether records of the type have an encrypted body.
func (t Type) Encrypted() bool { return t >= Event && t <= Outcome }

func (t Type) valid() bool { return t >= Event && t <= RollbackAck }

// Hash is a SHA-256 value: a leaf hash, a genesis or a key commitment.
type Hash [sha256.Size]byte

// Header is the first 128 bytes of a record.
type Header struct {
	Type     Type
	Instance [16]byte      // the appliance, random
	Tag      [16]byte      // the tenant's log, random and not derived from a name
	Seq      uint64        // position in the log, from 0
	Wall     int64         // wall clock, ns since 1970 UTC; says when, never in which order
	Boot     uint32        // number of the start of the appliance
	Mono     time.Duration // monotonic time since that start
	Prev     Hash          // leaf hash of the record before, or the genesis
	KeyID    [16]byte      // first half of the key's commitment; zero for clear records
}

// Time is the wall clock of the record, UTC.
func (h Header) Time() time.Time { return time.Unix(0, h.Wall).UTC() }

// Append appends the header's 128 bytes to b.
func (h Header) Append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, byte(h.Type), 0)
	b = binary.BigEndian.AppendUint16(b, HeaderSize)
	b = append(b, h.Instance[:]...)
	b = append(b, h.Tag[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Wall))
	b = binary.BigEndian.AppendUint32(b, h.Boot)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Mono))
	b = append(b, h.Prev[:]...)
	b = append(b, h.KeyID[:]...)
	return append(b, make([]byte, HeaderSize-offReserved)...)
}

// Parse reads the header of a whole record and checks everything that can be
// checked without a key or the record before: magic, type, flags, sizes, and
// that the body has a length which an encoder makes. Errors wrap ErrFormat.
func Parse(raw []byte) (Header, error) {
	var h Header
	if len(raw) < MinSize || len(raw) > MaxSize {
		return h, fmt.Errorf("%w: %d bytes, not %d to %d", ErrFormat, len(raw), MinSize, MaxSize)
	}
	if string(raw[:offType]) != magic {
		return h, fmt.Errorf("%w: unknown magic or version", ErrFormat)
	}
	h.Type = Type(raw[offType])
	if !h.Type.valid() {
		return h, fmt.Errorf("%w: unknown type %d", ErrFormat, raw[offType])
	}
	if raw[offFlags] != 0 {
		return h, fmt.Errorf("%w: unknown flags %#02x", ErrFormat, raw[offFlags])
	}
	if n := binary.BigEndian.Uint16(raw[offHeadSize:]); n != HeaderSize {
		return h, fmt.Errorf("%w: header of %d bytes", ErrFormat, n)
	}
	if binary.BigEndian.Uint64(raw[offReserved:]) != 0 {
		return h, fmt.Errorf("%w: reserved bytes are not zero", ErrFormat)
	}
	copy(h.Instance[:], raw[offInstance:])
	copy(h.Tag[:], raw[offTag:])
	h.Seq = binary.BigEndian.Uint64(raw[offSeq:])
	h.Wall = int64(binary.BigEndian.Uint64(raw[offWall:]))
	h.Boot = binary.BigEndian.Uint32(raw[offBoot:])
	h.Mono = time.Duration(binary.BigEndian.Uint64(raw[offMono:]))
	copy(h.Prev[:], raw[offPrev:])
	copy(h.KeyID[:], raw[offKeyID:])
	if h.Mono < 0 {
		return h, fmt.Errorf("%w: monotonic time out of range", ErrFormat)
	}
	return h, checkBodySize(h, len(raw)-HeaderSize)
}

func checkBodySize(h Header, n int) error {
	clear := h.KeyID == [16]byte{}
	if clear == h.Type.Encrypted() {
		return fmt.Errorf("%w: %s record with a key id that does not fit its type", ErrFormat, h.Type)
	}
	if h.Type.Encrypted() {
		n -= nonceSize + gcmTagSize
	}
	if n < padUnit || n%padUnit != 0 {
		return fmt.Errorf("%w: body is not padded to a multiple of %d bytes", ErrFormat, padUnit)
	}
	return nil
}

// Place fills in the position of a sealed record: its number and the leaf hash
// of the record before it. These two fields are bound by the chain and not by
// the encryption, so that records can be encrypted before their order is known.
func Place(raw []byte, seq uint64, prev Hash) {
	binary.BigEndian.PutUint64(raw[offSeq:], seq)
	copy(raw[offPrev:offKeyID], prev[:])
}

// Domain separation, RFC 6962 section 2.1.
const leafPrefix = 0x00

// LeafHash is the identity of a record: SHA-256(0x00 ‖ record), RFC 6962.
func LeafHash(raw []byte) Hash {
	d := sha256.New()
	d.Write([]byte{leafPrefix})
	d.Write(raw)
	var h Hash
	d.Sum(h[:0])
	return h
}

const (
	genesisLabel = "coffer.audit.v1/genesis\n"
	commitLabel  = "coffer.audit.v1/keycommit\n"
)

// Genesis stands where the first record of a log would have the leaf hash of
// the one before. It binds the log to its appliance, its slot and the first
// retention, in days.
func Genesis(instance, tag [16]byte, slot, retentionDays uint32) Hash {
	b := append([]byte(genesisLabel), instance[:]...)
	b = append(b, tag[:]...)
	b = binary.BigEndian.AppendUint32(b, slot)
	b = binary.BigEndian.AppendUint32(b, retentionDays)
	return sha256.Sum256(b)
}
