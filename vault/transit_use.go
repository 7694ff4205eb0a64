package vault

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"

	"coffer/app/authz"
	"coffer/app/domain"
)

// transitPrefix begins what a key made: vault:vN: and base64. Callers keep it and
// look at it, so it is the one that Vault writes.
const transitPrefix = "vault:v"

// transitText makes the text of what a version made.
func transitText(version int, encoding *base64.Encoding, b []byte) string {
	return transitPrefix + strconv.Itoa(version) + ":" + encoding.EncodeToString(b)
}

// ParseTransitText takes apart what a version made: which one, and the rest as it
// stands. what names it in errors: ciphertext, signature, hmac. There is one way to
// write each version.
func ParseTransitText(what, s string) (version int, rest string, err error) {
	s, ok := strings.CutPrefix(s, transitPrefix)
	if !ok {
		return 0, "", badInput(what, "invalid %s: no prefix", what)
	}
	number, rest, ok := strings.Cut(s, ":")
	if !ok {
		return 0, "", badInput(what, "invalid %s: wrong number of fields", what)
	}
	n, parseErr := strconv.Atoi(number)
	if parseErr != nil || n < 1 || n > math.MaxInt32 || strconv.Itoa(n) != number {
		return 0, "", badInput(what, "invalid %s: version number could not be decoded", what)
	}
	return n, rest, nil
}

// decodeBase64 is strict: one text for each sequence of bytes, no line ends.
func decodeBase64(what, s string, encoding *base64.Encoding) ([]byte, error) {
	b, err := encoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, badInput(what, "invalid %s: could not decode base64", what)
	}
	return b, nil
}

// DecodeTransit reads base64 from outside, which what names.
func DecodeTransit(what string, s domain.Secret) ([]byte, error) {
	b := make([]byte, base64.StdEncoding.DecodedLen(s.Len()))
	for _, c := range s.Reveal() {
		if c == '\r' || c == '\n' {
			return nil, badInput(what, "failed to base64-decode %s", what)
		}
	}
	n, err := base64.StdEncoding.Strict().Decode(b, s.Reveal())
	if err != nil {
		return nil, badInput(what, "failed to base64-decode %s", what)
	}
	return b[:n], nil
}

// EncodeTransit is the inverse of DecodeTransit.
func EncodeTransit(s domain.Secret) domain.Secret {
	return domain.NewSecret(base64.StdEncoding.AppendEncode(nil, s.Reveal()))
}

// may refuses what the permit was not for.
func (t *Transit) may(actions ...domain.Action) error {
	for _, a := range actions {
		if t.action == a {
			return nil
		}
	}
	return domain.Errorf(domain.Internal, "a permit for %s was used for something else", t.action)
}

// forward finds the version to encrypt or sign with; 0 is the latest.
func (t *Transit) forward(n int, what string) (int, *openedVersion, error) {
	if n == 0 {
		n = t.Key.Latest
	}
	const field = "key_version"
	switch {
	case n < 0:
		return 0, nil, badInput(field, "requested version for %s is negative", what)
	case n > t.Key.Latest:
		return 0, nil, badInput(field, "requested version for %s is higher than the latest key version", what)
	case n < t.Key.MinEncryption || n < t.Key.MinAvailable:
		return 0, nil, badInput(field, "requested version for %s is less than the minimum encryption key version", what)
	case t.opened[n] == nil:
		return 0, nil, domain.Errorf(domain.Internal, "version %d of a transit key was not opened", n)
	}
	return n, t.opened[n], nil
}

// back finds the version that made something.
func (t *Transit) back(n int, what string) (*openedVersion, error) {
	switch {
	case n > t.Key.Latest:
		return nil, badInput(what, "invalid %s: version is too new", what)
	case n < t.Key.MinDecryption || n < t.Key.MinAvailable:
		return nil, badInput(what, "ciphertext or signature version is disallowed by policy (too old)")
	case t.opened[n] == nil:
		return nil, domain.Errorf(domain.Internal, "version %d of a transit key was not opened", n)
	}
	return t.opened[n], nil
}

// encrypts refuses a key of another kind.
func (t *Transit) encrypts() error {
	if !t.Key.Type.Encrypts() {
		return badInput("name", "key type %s does not support encryption", t.Key.Type)
	}
	return nil
}

// Encrypt encrypts with a version, 0 being the latest, and gives the one that it was.
func (t *Transit) Encrypt(version int, plain, associated []byte) (text string, used int, err error) {
	if err := errors.Join(t.may(authz.TransitEncrypt), t.encrypts()); err != nil {
		return "", 0, err
	}
	return t.seal(version, plain, associated)
}

func (t *Transit) seal(version int, plain, associated []byte) (text string, used int, err error) {
	n, o, err := t.forward(version, "encryption")
	if err != nil {
		return "", 0, err
	}
	b, err := o.aead.Encrypt(plain, associated)
	if err != nil {
		return "", 0, err
	}
	return transitText(n, base64.StdEncoding, b), n, nil
}

// Decrypt is the inverse of Encrypt. What is not exactly what a version of this key
// made, with the same associated data, is refused.
func (t *Transit) Decrypt(text string, associated []byte) (domain.Secret, error) {
	if err := errors.Join(t.may(authz.TransitDecrypt), t.encrypts()); err != nil {
		return domain.Secret{}, err
	}
	return t.unseal(text, associated)
}

func (t *Transit) unseal(text string, associated []byte) (domain.Secret, error) {
	const what = "ciphertext"
	n, rest, err := ParseTransitText(what, text)
	if err != nil {
		return domain.Secret{}, err
	}
	o, err := t.back(n, what)
	if err != nil {
		return domain.Secret{}, err
	}
	b, err := decodeBase64(what, rest, base64.StdEncoding)
	if err != nil {
		return domain.Secret{}, err
	}
	plain, err := o.aead.Decrypt(b, associated)
	if err != nil {
		return domain.Secret{}, badInput(what, "cipher: message authentication failed")
	}
	return domain.NewSecret(plain), nil
}

// Rewrap decrypts and encrypts again, with the latest version or the one that is
// named. Nobody sees the plaintext.
func (t *Transit) Rewrap(version int, text string, associated []byte) (again string, used int, err error) {
	if err := errors.Join(t.may(authz.TransitRewrap), t.encrypts()); err != nil {
		return "", 0, err
	}
	plain, err := t.unseal(text, associated)
	if err != nil {
		return "", 0, err
	}
	defer plain.Zero()
	return t.seal(version, plain.Reveal(), associated)
}

// DataKey makes a random key of so many bits, and the same encrypted.
func (t *Transit) DataKey(bits int, associated []byte) (plain domain.Secret, text string, used int, err error) {
	if err := errors.Join(t.may(authz.TransitDatakey), t.encrypts()); err != nil {
		return domain.Secret{}, "", 0, err
	}
	if bits != 128 && bits != 256 && bits != 512 {
		return domain.Secret{}, "", 0, badInput("bits", "invalid bit length: 128, 256 or 512")
	}
	b := make([]byte, bits/8)
	_, _ = rand.Read(b) // never fails: it would end the process first
	text, used, err = t.seal(0, b, associated)
	return domain.NewSecret(b), text, used, err
}

// Sign signs with a version, 0 being the latest.
func (t *Transit) Sign(version int, input []byte, s SignOptions) (text string, used int, err error) {
	if err := t.may(authz.TransitSign); err != nil {
		return "", 0, err
	}
	if s, err = t.signs(s); err != nil {
		return "", 0, err
	}
	n, o, err := t.forward(version, "signing")
	if err != nil {
		return "", 0, err
	}
	signer, err := o.signer(t.Key.Type, s)
	if err != nil {
		return "", 0, err
	}
	b, err := signer.Sign(input)
	if err != nil {
		return "", 0, err
	}
	return transitText(n, s.encoding(), b), n, nil
}

// Verify says whether a signature is one of this key's for the input. A text that
// can be none of any key's is an error.
func (t *Transit) Verify(text string, input []byte, s SignOptions) (bool, error) {
	if err := t.may(authz.TransitVerify); err != nil {
		return false, err
	}
	s, err := t.signs(s)
	if err != nil {
		return false, err
	}
	const what = "signature"
	n, rest, err := ParseTransitText(what, text)
	if err != nil {
		return false, err
	}
	o, err := t.back(n, what)
	if err != nil {
		return false, err
	}
	b, err := decodeBase64(what, rest, s.encoding())
	if err != nil {
		return false, err
	}
	v, err := o.verifier(t.Key.Type, s)
	if err != nil {
		return false, err
	}
	return v.Verify(b, input) == nil, nil
}

// HMAC authenticates with a version, 0 being the latest.
func (t *Transit) HMAC(version int, input []byte, hash string) (text string, used int, err error) {
	if err := t.may(authz.TransitHMAC); err != nil {
		return "", 0, err
	}
	n, o, err := t.forward(version, "generating an HMAC")
	if err != nil {
		return "", 0, err
	}
	m, err := o.hmac(hash)
	if err != nil {
		return "", 0, err
	}
	b, err := m.ComputeMAC(input)
	if err != nil {
		return "", 0, err
	}
	return transitText(n, base64.StdEncoding, b), n, nil
}

// VerifyHMAC says whether a text is what HMAC made of the input.
func (t *Transit) VerifyHMAC(text string, input []byte, hash string) (bool, error) {
	if err := t.may(authz.TransitVerify); err != nil {
		return false, err
	}
	const what = "hmac"
	n, rest, err := ParseTransitText(what, text)
	if err != nil {
		return false, err
	}
	o, err := t.back(n, what)
	if err != nil {
		return false, err
	}
	b, err := decodeBase64(what, rest, base64.StdEncoding)
	if err != nil {
		return false, err
	}
	m, err := o.hmac(hash)
	if err != nil {
		return false, err
	}
	return m.VerifyMAC(b, input) == nil, nil // in constant time
}
