package seal

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"strings"

	"coffer/app/domain"
)

// The printed form: 32 random bytes and a checksum of 3 bytes make exactly 56
// characters of Crockford's base 32, printed as 14 groups of 4.
const (
	recoveryRaw    = 32 // bytes
	recoverySum    = 3  // bytes
	recoveryChars  = (recoveryRaw + recoverySum) * 8 / 5
	recoveryGroup  = 4 // characters
	recoveryGroups = recoveryChars / recoveryGroup
)

// crockford is the alphabet of https://www.crockford.com/base32.html: no I, L,
// O or U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// RecoveryKey is the one key that opens everything by itself. It is shown once,
// as Text; fmt and its like do not print it. The zero value is no key.
type RecoveryKey struct{ raw veiled }

// NewRecoveryKey makes a key of 256 random bits.
func NewRecoveryKey() RecoveryKey {
	return RecoveryKey{veil(domain.NewSecret(randomBytes(recoveryRaw)))}
}

// ParseRecoveryKey reads what a person typed: in upper or lower case, with any
// blanks, line ends, dashes, dots or underlines, O for 0 and I or L for 1. A
// typing error is found with a chance of 1 - 2^-24. The error is of Kind
// Invalid and says nothing of what was typed but its length.
func ParseRecoveryKey(typed domain.Secret) (RecoveryKey, error) {
	digits, ok := crockfordDigits(typed.Reveal())
	defer clear(digits)
	switch {
	case !ok:
		return RecoveryKey{}, badRecovery("it has a character that no recovery key has")
	case len(digits) != recoveryChars:
		return RecoveryKey{}, domain.Fieldf("recovery key", "%d characters instead of %d, not counting blanks and dashes", len(digits), recoveryChars).
			WithHint("type all %d groups of %d characters", recoveryGroups, recoveryGroup)
	}
	b := fromDigits(digits)
	defer clear(b)
	sum := recoveryChecksum(b[:recoveryRaw])
	if subtle.ConstantTimeCompare(sum, b[recoveryRaw:]) != 1 {
		return RecoveryKey{}, badRecovery("at least one character is wrong")
	}
	return RecoveryKey{veil(domain.NewSecret(append([]byte(nil), b[:recoveryRaw]...)))}, nil
}

func badRecovery(why string) error {
	return domain.Fieldf("recovery key", "%s", why).
		WithHint("compare it group by group with the printed page; the letter U does not occur")
}

// Text is the printed form, 14 groups of 4 characters joined by dashes.
func (k RecoveryKey) Text() domain.Secret {
	return domain.NewSecret([]byte(strings.Join(k.groups(), "-")))
}

func (k RecoveryKey) groups() []string {
	raw := k.raw.secret().Reveal()
	all := append(append(make([]byte, 0, recoveryRaw+recoverySum), raw...), recoveryChecksum(raw)...)
	defer clear(all)
	chars := toDigits(all)
	defer clear(chars)
	for i, d := range chars {
		chars[i] = crockford[d]
	}
	out := make([]string, 0, recoveryGroups)
	for i := 0; i < recoveryChars; i += recoveryGroup {
		out = append(out, string(chars[i:i+recoveryGroup]))
	}
	return out
}

// CheckGroups are the two groups, counted from 1, that a person types back to
// prove that the key is on paper. They are fixed for a key and follow from a
// hash of it, so that nobody learns them by heart; knowing them says nothing
// about the characters. The zero key has none (0, 0).
func (k RecoveryKey) CheckGroups() (first, second int) {
	if k.raw.secret().Len() != recoveryRaw {
		return 0, 0
	}
	h := sha256.New()
	h.Write([]byte("coffer recovery check groups v1\x00"))
	h.Write(k.raw.secret().Reveal())
	n := binary.BigEndian.Uint64(h.Sum(nil))
	a := int(n % recoveryGroups)
	b := int(n / recoveryGroups % (recoveryGroups - 1))
	if b >= a {
		b++
	}
	return min(a, b) + 1, max(a, b) + 1
}

// Confirm checks the characters of the two CheckGroups, typed back in this
// order and as freely as for ParseRecoveryKey.
func (k RecoveryKey) Confirm(typed domain.Secret) error {
	first, second := k.CheckGroups()
	if first == 0 {
		return domain.Errorf(domain.Conflict, "there is no recovery key to confirm").
			WithHint("make one: coffer seal recovery")
	}
	groups := k.groups()
	want, _ := crockfordDigits([]byte(groups[first-1] + groups[second-1]))
	got, ok := crockfordDigits(typed.Reveal())
	if !ok || subtle.ConstantTimeCompare(want, got) != 1 {
		return domain.Fieldf("check characters", "they are not those of groups %d and %d", first, second).
			WithHint("look at the printed key and type these two groups of %d characters", recoveryGroup)
	}
	return nil
}

// Zero overwrites the key.
func (k RecoveryKey) Zero() { k.raw.secret().Zero() }

func recoveryChecksum(raw []byte) []byte {
	h := sha256.New()
	h.Write([]byte("coffer recovery key v1\x00"))
	h.Write(raw)
	return h.Sum(nil)[:recoverySum]
}

// crockfordDigits gives the values, 0 to 31, of the characters that count.
func crockfordDigits(typed []byte) ([]byte, bool) {
	out := make([]byte, 0, recoveryChars)
	for _, c := range typed {
		switch {
		case strings.IndexByte(" \t\r\n-._", c) >= 0:
			continue
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		}
		switch c {
		case 'O':
			c = '0'
		case 'I', 'L':
			c = '1'
		}
		i := strings.IndexByte(crockford, c)
		if i < 0 || len(out) > recoveryChars {
			return out, false
		}
		out = append(out, byte(i))
	}
	return out, true
}

// toDigits and fromDigits cut 5 bytes into 8 digits and back, the most
// significant bits first.
func toDigits(b []byte) []byte {
	out := make([]byte, 0, len(b)*8/5)
	for i := 0; i < len(b); i += 5 {
		n := uint64(b[i])<<32 | uint64(b[i+1])<<24 | uint64(b[i+2])<<16 | uint64(b[i+3])<<8 | uint64(b[i+4])
		for shift := 35; shift >= 0; shift -= 5 {
			out = append(out, byte(n>>shift&31))
		}
	}
	return out
}

func fromDigits(d []byte) []byte {
	out := make([]byte, 0, len(d)*5/8)
	for i := 0; i < len(d); i += 8 {
		var n uint64
		for _, v := range d[i : i+8] {
			n = n<<5 | uint64(v)
		}
		out = append(out, byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return out
}
