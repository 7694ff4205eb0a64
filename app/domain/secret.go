package domain

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret holds bytes that must not be seen. Every way of turning a value into
// text that the language and its usual libraries know gives "[redacted]"; the
// bytes come out through Reveal alone, which can be searched for.
//
// The zero Secret is empty. A Secret does not copy: who makes it from a slice
// gives the slice away.
//
// The bytes are behind a function, because package fmt cannot call the methods
// below on an unexported field of another struct and would print what it finds;
// of a function it finds an address.
type Secret struct{ bytes func() []byte }

var (
	_ fmt.Formatter  = Secret{}
	_ json.Marshaler = Secret{}
	_ slog.LogValuer = Secret{}
)

// NewSecret takes ownership of b.
func NewSecret(b []byte) Secret { return Secret{func() []byte { return b }} }

// SecretString copies s into a Secret.
func SecretString(s string) Secret { return NewSecret([]byte(s)) }

// Reveal gives the bytes themselves. Callers must not keep or print them.
func (s Secret) Reveal() []byte {
	if s.bytes == nil {
		return nil
	}
	return s.bytes()
}

// Len is the number of bytes.
func (s Secret) Len() int { return len(s.Reveal()) }

// Equal compares in time that depends on the lengths only.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare(s.Reveal(), o.Reveal()) == 1
}

// Zero overwrites the bytes. Copies that the runtime made are beyond reach.
func (s Secret) Zero() { clear(s.Reveal()) }

func (s Secret) String() string   { return redacted }
func (s Secret) GoString() string { return redacted }

// Format covers every verb, %x and %d included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// MarshalBinary refuses, so that gob and friends cannot carry a Secret.
func (s Secret) MarshalBinary() ([]byte, error) {
	return nil, Errorf(Internal, "a secret cannot be marshalled")
}
