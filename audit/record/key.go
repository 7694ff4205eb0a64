package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// KeySize is the size of a period key in bytes (AES-256).
const KeySize = 32

const (
	nonceSize  = 12
	gcmTagSize = 16
)

// ErrKey means that a record does not authenticate under the key: the record
// was changed, or the key is another one.
var ErrKey = errors.New("the record does not authenticate under its key")

// Commit is the commitment to a period key that KEY_OPEN holds. AES-GCM alone
// does not commit to its key: a ciphertext can be made that opens to two
// different texts under two keys, so the log says first which key it means.
// The label is followed by the instance id.
func Commit(instance [16]byte, key []byte) Hash {
	b := append([]byte(commitLabel), instance[:]...)
	b = append(b, key...)
	h := Hash(sha256.Sum256(b))
	clear(b)
	return h
}

// Key encrypts and decrypts the records of one log and one period. It may be
// used concurrently.
type Key struct {
	gcm        cipher.AEAD
	commitment Hash
}

// NewKey makes a Key from 32 bytes, of which it keeps no copy besides the
// cipher's own schedule. A key of zeros is refused: it is one that somebody
// wiped.
func NewKey(instance [16]byte, raw []byte) (*Key, error) {
	if len(raw) != KeySize {
		return nil, fmt.Errorf("a period key has %d bytes, not %d", KeySize, len(raw))
	}
	if [KeySize]byte(raw) == ([KeySize]byte{}) {
		return nil, errors.New("the period key is zero: it was wiped or never made")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("making the cipher: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("making the cipher: %w", err)
	}
	return &Key{gcm: gcm, commitment: Commit(instance, raw)}, nil
}

// Commitment is what KEY_OPEN says of the key.
func (k *Key) Commitment() Hash { return k.commitment }

// ID is how records name the key: the first 16 bytes of the commitment.
func (k *Key) ID() [16]byte { return k.commitment.keyID() }

func (h Hash) keyID() [16]byte { return [16]byte(h[:16]) }

// Seal makes a record of type Event, Intent or Outcome that lacks only its
// place (see Place). It sets the header's key id. The nonce is random, never
// derived from the place: a place can be written twice after a crash, and a
// repeated nonce ends GCM's secrecy. NIST SP 800-38D allows 2^32 random nonces
// a key, far more than a period has records.
func (k *Key) Seal(h Header, p Payload) ([]byte, error) {
	if !h.Type.Encrypted() {
		return nil, fmt.Errorf("a %s record is not encrypted", h.Type)
	}
	text, err := p.encode(h.Type)
	if err != nil {
		return nil, err
	}
	padded, err := pad(text, MaxSize-HeaderSize-nonceSize-gcmTagSize)
	if err != nil {
		return nil, err
	}
	h.KeyID, h.Seq, h.Prev = k.ID(), 0, Hash{}
	raw := make([]byte, 0, HeaderSize+nonceSize+len(padded)+gcmTagSize)
	raw = h.Append(raw)
	raw = raw[:HeaderSize+nonceSize]
	nonce := raw[HeaderSize:]
	_, _ = rand.Read(nonce) // never fails: it would end the process first
	return k.gcm.Seal(raw, nonce, padded, associated(raw)), nil
}

// Open decrypts a record and decodes its payload strictly. The error wraps
// ErrKey if the record does not authenticate and ErrFormat if it is malformed.
func (k *Key) Open(raw []byte) (Payload, error) {
	h, err := Parse(raw)
	if err != nil {
		return Payload{}, err
	}
	if h.KeyID != k.ID() {
		return Payload{}, fmt.Errorf("%w: it names another key", ErrKey)
	}
	nonce, sealed := raw[HeaderSize:HeaderSize+nonceSize], raw[HeaderSize+nonceSize:]
	padded, err := k.gcm.Open(nil, nonce, sealed, associated(raw))
	if err != nil {
		return Payload{}, ErrKey
	}
	text, err := unpad(padded)
	if err != nil {
		return Payload{}, err
	}
	return decodePayload(h.Type, text)
}

// associated is the header without seq and prev.
func associated(raw []byte) []byte {
	ad := make([]byte, 0, HeaderSize-8-len(Hash{}))
	ad = append(ad, raw[:offSeq]...)
	ad = append(ad, raw[offWall:offPrev]...)
	return append(ad, raw[offKeyID:HeaderSize]...)
}
