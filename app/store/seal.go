package store

import (
	"encoding/binary"

	"coffer/app/domain"
)

// AEAD seals values; tink.AEAD is one. Ciphertexts carry what is needed to
// open them (nonce, key id), and Decrypt returns memory of its own.
type AEAD interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// sealContext starts the associated data of every value; it changes with the
// format.
const sealContext = "coffer/store/v1"

// associate builds the associated data of an entry. Lengths stand before the
// parts, so that no two entries share it.
func associate(bucket string, key []byte) []byte {
	b := make([]byte, 0, 3*4+len(sealContext)+len(bucket)+len(key))
	b = appendPart(b, []byte(sealContext))
	b = appendPart(b, []byte(bucket))
	return appendPart(b, key)
}

func appendPart(b, part []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
	return append(b, part...)
}

// Limits of what the store takes.
const (
	MaxBucket = 64      // bytes of a bucket's name
	MaxKey    = 1024    // bytes of a key
	MaxValue  = 4 << 20 // bytes of a value, before sealing
)

// checkBucket accepts 1 to MaxBucket of a-z, 0-9, '.', '-' and '/'. Names with
// '_' are the store's own.
func checkBucket(name string) error {
	if name == "" || len(name) > MaxBucket {
		return internal("bucket name of %d bytes: want 1 to %d", len(name), MaxBucket)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '/' {
			return internal("bucket name %q: want a-z, 0-9, '.', '-' and '/'", name)
		}
	}
	return nil
}

func checkEntry(bucket string, key []byte) error {
	if err := checkBucket(bucket); err != nil {
		return err
	}
	if len(key) == 0 || len(key) > MaxKey {
		return &domain.Error{Kind: domain.Internal, Msg: "key length is out of range in bucket " + bucket}
	}
	return nil
}
