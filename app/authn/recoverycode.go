package authn

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"

	"coffer/app/domain"
)

// RecoveryCodes is how many codes a person gets, each of which works once.
const RecoveryCodes = 10

// recoveryLen is how many characters a code has: 130 random bits, so that nobody
// can guess one and a plain hash of it is safe to keep.
const recoveryLen = 26

// NewRecoveryCodes makes a set of codes, and what is kept of them.
func NewRecoveryCodes() (codes []domain.Secret, hashes [][]byte) {
	for range RecoveryCodes {
		text := strings.ToLower(rand.Text())
		codes = append(codes, domain.SecretString(grouped(text)))
		hashes = append(hashes, recoveryHash(text))
	}
	return codes, hashes
}

// grouped puts dashes where people look up from typing.
func grouped(s string) string {
	var parts []string
	for chunk := range slices.Chunk([]byte(s), 5) {
		parts = append(parts, string(chunk))
	}
	return strings.Join(parts, "-")
}

func recoveryHash(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// findRecovery finds the code among those that are left. All of them are
// compared, in constant time each; case, blanks and dashes do not matter.
func findRecovery(left [][]byte, code domain.Secret) (hash []byte, found bool) {
	b := code.Reveal()
	text := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(string(b[:min(len(b), 4*recoveryLen)])))
	typed := recoveryHash(text)
	for i := range RecoveryCodes {
		candidate := decoy.key
		if i < len(left) {
			candidate = left[i]
		}
		if subtle.ConstantTimeCompare(candidate, typed) == 1 {
			hash, found = candidate, len(text) == recoveryLen
		}
	}
	return hash, found
}

func without(hashes [][]byte, one []byte) [][]byte {
	return slices.DeleteFunc(slices.Clone(hashes), func(h []byte) bool { return bytes.Equal(h, one) })
}
