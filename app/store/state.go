package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Where the state record lies. Bucket names of callers have no '_'.
const (
	stateBucket = "_state"
	formatKey   = "format" // plain: tells a newer format from a wrong key
	formatValue = "coffer store 1"
	recordKey   = "record" // sealed
)

const (
	stateVersion   = 1
	digestKeySize  = 32
	stateSize      = 2 + 8 + 8 + digestSize + digestKeySize
	witnessMagic   = "CFWITN\x00\x01"
	witnessSize    = len(witnessMagic) + 8 + sha256.Size
	witnessContext = "coffer/store/v1/witness"
)

// state is the sealed record that says what the file must contain. Its text
// form hides the key.
type state struct {
	revision  Revision
	count     uint64 // entries in all buckets of callers
	sum       digest
	digestKey [digestKeySize]byte
}

// String keeps the digest key out of messages and logs.
func (s state) String() string { return fmt.Sprintf("revision %d, %d entries", s.revision, s.count) }

// GoString is String, for %#v.
func (s state) GoString() string { return s.String() }

func (s state) encode() []byte {
	b := make([]byte, 0, stateSize)
	b = append(b, stateVersion, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(s.revision))
	b = binary.BigEndian.AppendUint64(b, s.count)
	b = append(b, s.sum.bytes()...)
	return append(b, s.digestKey[:]...)
}

var errStateRecord = errors.New("not a state record")

// decodeState accepts exactly what encode makes.
func decodeState(b []byte) (state, error) {
	switch {
	case len(b) != stateSize:
		return state{}, fmt.Errorf("%w: %d bytes instead of %d", errStateRecord, len(b), stateSize)
	case b[0] != stateVersion:
		return state{}, fmt.Errorf("%w: unknown version %d", errStateRecord, b[0])
	case b[1] != 0:
		return state{}, fmt.Errorf("%w: unknown flags %#x", errStateRecord, b[1])
	}
	s := state{
		revision: Revision(binary.BigEndian.Uint64(b[2:])),
		count:    binary.BigEndian.Uint64(b[10:]),
		sum:      digestFrom(b[18:]),
	}
	copy(s.digestKey[:], b[18+digestSize:])
	return s, nil
}

func (s state) seal(aead AEAD) ([]byte, error) {
	plain := s.encode()
	defer clear(plain)
	return aead.Encrypt(plain, associate(stateBucket, []byte(recordKey)))
}

func openState(aead AEAD, sealed []byte) (state, error) {
	plain, err := aead.Decrypt(sealed, associate(stateBucket, []byte(recordKey)))
	if err != nil {
		return state{}, err
	}
	defer clear(plain)
	return decodeState(plain)
}

// witness is written into the page of the older meta record after a
// transaction became durable: it proves that the newer one was acknowledged.
func (s state) witness() []byte {
	b := make([]byte, 0, witnessSize)
	b = append(b, witnessMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.revision))
	mac := hmac.New(sha256.New, s.digestKey[:])
	mac.Write([]byte(witnessContext))
	mac.Write(b)
	return mac.Sum(b)
}

// witnessed gives the revision that a witness proves, and whether it is one.
func (s state) witnessed(b []byte) (Revision, bool) {
	if len(b) != witnessSize || string(b[:len(witnessMagic)]) != witnessMagic {
		return 0, false
	}
	rev := Revision(binary.BigEndian.Uint64(b[len(witnessMagic):]))
	want := state{revision: rev, digestKey: s.digestKey}.witness()
	return rev, hmac.Equal(want, b)
}
