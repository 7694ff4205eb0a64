package once

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"coffer/app/domain"
)

// Header carries the key (draft-ietf-httpapi-idempotency-key-header). It is the
// field that errors name, too.
const Header = "Idempotency-Key"

// Bounds of a key, in characters.
const (
	MinKey = 16
	MaxKey = 128
)

// Key is an idempotency key together with a digest of the request that it came
// with. The zero Key says that none was given.
type Key struct {
	text  domain.Secret
	asked [sha256.Size]byte
}

// ParseKey checks a key. It comes bare or as the quoted string of the draft,
// which is the same key. The parts are what makes the request the same one.
func ParseKey(text string, request ...[]byte) (Key, error) {
	if len(text) > 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	if len(text) < MinKey || len(text) > MaxKey || strings.IndexFunc(text, unusable) >= 0 {
		return Key{}, domain.Fieldf(Header, "not %d to %d visible ASCII characters without quotes and backslashes", MinKey, MaxKey).
			WithHint("use a fresh random UUID (version 4) for each thing to create: who can guess the key can ask for the answer")
	}
	h := sha256.New()
	for _, part := range request {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return Key{domain.SecretString(text), [sha256.Size]byte(h.Sum(nil))}, nil
}

func unusable(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }

// Given says whether there is a key.
func (k Key) Given() bool { return k.text.Len() > 0 }

// Claim is a key in the hands of a principal.
type Claim struct {
	key       Key
	principal string
	standing  [sha256.Size]byte
	name      []byte // key of the record
	request   []byte // the digest, such that only who knows the key can try requests against it
}

// For makes a claim. standing says all that the principal holds where the
// request is about; it has to be the same for a replay.
func (k Key) For(p domain.Principal, standing []byte) (Claim, error) {
	c := Claim{key: k, principal: p.String(), standing: sha256.Sum256(standing)}
	id, err := c.derive(nil, "id", nil)
	if err != nil {
		return Claim{}, err
	}
	c.name = append(append([]byte(c.principal), 0), id...)
	c.request, err = c.derive(nil, "request", k.asked[:])
	return c, err
}

// Name names the claim in memory, and its record.
func (c Claim) Name() string { return string(c.name) }

// derive gives 32 bytes for one purpose. Principal and purpose hold no NUL.
func (c Claim) derive(salt []byte, purpose string, more []byte) ([]byte, error) {
	info := "coffer once v1\x00" + purpose + "\x00" + c.principal + "\x00" + string(more)
	return hkdf.Key(sha256.New, c.key.text.Reveal(), salt, info, sha256.Size)
}
