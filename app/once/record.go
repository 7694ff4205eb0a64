package once

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// bucket holds the records: principal NUL derived id → record.
const bucket = "once"

// recordVersion is the version of a record. See FORMAT.md.
const recordVersion = 1

// IntentID is the id of an intent in the audit log.
type IntentID = [24]byte

const saltSize = 32

type record struct {
	Version  int       `json:"version"`
	Begun    time.Time `json:"begun"`
	Intent   []byte    `json:"intent"`
	Request  []byte    `json:"request"`
	Standing []byte    `json:"standing"`
	Salt     []byte    `json:"salt"`
	Answer   []byte    `json:"answer,omitempty"`
}

func encode(r record) ([]byte, error) { return json.Marshal(r) }

var errLength = errors.New("a member has another length than it must")

// decode reads a record strictly.
func decode(b []byte) (r record, err error) {
	const what = "the record of an idempotency key"
	if err := store.DecodeRecord(recordVersion, what, b, &r); err != nil {
		return record{}, err
	}
	if len(r.Intent) != len(IntentID{}) || len(r.Request) != sha256.Size || len(r.Standing) != sha256.Size || len(r.Salt) != saltSize {
		return record{}, store.MalformedRecord(what, errLength)
	}
	return r, nil
}

func newSalt() []byte {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails: it would end the process first
	return salt
}

// box is the cipher of one record's answer: AES-256-GCM with a random nonce
// before the ciphertext, under a key that no other record has.
func (c Claim) box(r record) (cipher.AEAD, error) {
	key, err := c.derive(r.Salt, "answer", nil)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bound is the associated data: a record's answer opens in its own place only.
func (c Claim) bound(r record) []byte {
	return append(append(append([]byte(nil), r.Intent...), r.Request...), c.name...)
}

func (c Claim) seal(r *record, answer any) error {
	plain, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	defer clear(plain)
	box, err := c.box(*r)
	if err == nil {
		r.Answer = box.Seal(nil, nil, plain, c.bound(*r))
	}
	return err
}

func (c Claim) open(r record, answer any) error {
	box, err := c.box(r)
	if err != nil {
		return err
	}
	plain, err := box.Open(nil, nil, r.Answer, c.bound(r))
	if err == nil {
		err = json.Unmarshal(plain, answer)
		clear(plain)
	}
	if err != nil {
		return domain.Errorf(domain.Tampered, "the answer kept for an idempotency key cannot be read: %w", err).
			WithHint("run: coffer doctor")
	}
	return nil
}
