package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"coffer/app/domain"
)

// Sizes in bytes. They are part of the format.
const (
	RootSize    = 32                 // the root key
	slotKeySize = 32                 // what a protector gives
	saltSize    = 32                 // of one slot
	macSize     = sha256.Size        // of the document
	wrappedSize = 12 + RootSize + 16 // nonce, root key, GCM tag
)

// Labels of HKDF's info and of associated data. A new format gets new labels.
const (
	labelMAC  = "coffer/seal/v1/document-mac"
	labelSlot = "coffer/seal/v1/slot/"
	labelAAD  = "coffer/seal/v1"
)

// errUnwrap means that a slot's key is wrong; AES-GCM cannot say more.
var errUnwrap = errors.New("the slot does not open with this key")

// randomBytes gives n bytes of crypto/rand, which does not fail.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// slotAEAD is AES-256-GCM (NIST SP 800-38D) with random nonces under a key
// that HKDF-SHA256 (RFC 5869) derives from the slot's key, salt and kind. Each
// such key encrypts once.
func slotAEAD(slotKey domain.Secret, salt []byte, kind Kind) (cipher.AEAD, error) {
	if slotKey.Len() != slotKeySize {
		return nil, fmt.Errorf("a slot key of %d bytes instead of %d", slotKey.Len(), slotKeySize)
	}
	kek, err := hkdf.Key(sha256.New, slotKey.Reveal(), salt, labelSlot+string(kind), 32)
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// slotAAD binds a wrapped root key to its place: format version, instance,
// slot and kind, none of which can contain the separator.
func slotAAD(instance, id string, kind Kind) []byte {
	return []byte(labelAAD + "\x00" + instance + "\x00" + id + "\x00" + string(kind))
}

func wrapRoot(root, slotKey domain.Secret, instance string, s *slot) ([]byte, error) {
	aead, err := slotAEAD(slotKey, s.Salt, s.Kind)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, root.Reveal(), slotAAD(instance, s.ID, s.Kind)), nil
}

func unwrapRoot(slotKey domain.Secret, instance string, s *slot) (domain.Secret, error) {
	aead, err := slotAEAD(slotKey, s.Salt, s.Kind)
	if err != nil {
		return domain.Secret{}, err
	}
	root, err := aead.Open(nil, nil, s.Wrapped, slotAAD(instance, s.ID, s.Kind))
	if err != nil {
		return domain.Secret{}, errUnwrap
	}
	return domain.NewSecret(root), nil
}

// documentMAC is HMAC-SHA256 (RFC 2104) over the document under a key derived
// from the root key and the instance.
func documentMAC(root domain.Secret, instance string, doc []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, root.Reveal(), []byte(instance), labelMAC, macSize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	m := hmac.New(sha256.New, key)
	m.Write(doc)
	return m.Sum(nil), nil
}
