package directory

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	"coffer/app/domain"
)

// Sealed is a Secret that a record of this package holds: it marshals as itself,
// in base64, for the control store alone, which seals every record. Printing and
// logging give "[redacted]", as of any Secret.
type Sealed struct{ domain.Secret }

// Seal takes a secret into a record.
func Seal(s domain.Secret) Sealed { return Sealed{s} }

// IsZero says whether there is none.
func (s Sealed) IsZero() bool { return s.Len() == 0 }

// MarshalJSON writes the bytes themselves.
func (s Sealed) MarshalJSON() ([]byte, error) { return json.Marshal(s.Reveal()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Sealed) UnmarshalJSON(b []byte) error {
	var raw []byte
	if err := json.Unmarshal(b, &raw); err != nil {
		return base64.CorruptInputError(0) // says nothing of what stood there
	}
	s.Secret = domain.NewSecret(raw)
	return nil
}

// textLen is how many characters follow the prefix of a text that proves
// something: 260 random bits.
const textLen = 2 * 26

// newText makes the text of a session, link or device, and what is kept of it.
//
// What is kept is a plain SHA-256: a slow or salted hash protects what people
// choose and others guess, and of 2^260 texts none can be guessed and no table
// can be made.
func newText(prefix string) (text domain.Secret, hash []byte) {
	text = domain.SecretString(prefix + strings.ToLower(rand.Text()+rand.Text()))
	return text, hashOf(text)
}

func hashOf(text domain.Secret) []byte {
	sum := sha256.Sum256(text.Reveal())
	return sum[:]
}

// wellFormed says whether a text can be one with this prefix at all.
func wellFormed(text domain.Secret, prefix string) bool {
	return text.Len() == len(prefix)+textLen && strings.HasPrefix(string(text.Reveal()), prefix)
}
