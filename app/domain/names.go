package domain

import (
	"crypto/rand"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits on names and values that come from outside.
const (
	MaxSecretPath   = 512     // bytes of a secret's path
	MaxPathSegments = 32      // segments of a secret's path
	MaxSecretKeys   = 128     // entries of one secret
	MaxSecretKey    = 128     // bytes of an entry's name
	MaxSecretValue  = 512_000 // bytes of one secret version, all keys and values together
	MaxDisplayName  = 128     // bytes of a name for people
	MaxReason       = 500     // bytes of a reason that a person gives
)

// SecretPath is a relative path of segments, e.g. "stripe/live".
type SecretPath string

// ParseSecretPath checks a path that came from outside. The form is canonical:
// no empty segment, no ".", "..", control character, "*", "+" or backslash, so
// that one secret has one name and no name is a pattern.
func ParseSecretPath(s string) (SecretPath, error) {
	switch {
	case s == "":
		return "", Fieldf("path", "a secret needs a path").WithHint("for example stripe/live")
	case len(s) > MaxSecretPath:
		return "", Fieldf("path", "%d bytes are more than the %d that a path may have", len(s), MaxSecretPath)
	case !utf8.ValidString(s):
		return "", Fieldf("path", "not valid UTF-8")
	}
	segments := strings.Split(s, "/")
	if len(segments) > MaxPathSegments {
		return "", Fieldf("path", "%d segments are more than the %d that a path may have", len(segments), MaxPathSegments)
	}
	for _, seg := range segments {
		if seg == "" || seg == "." || seg == ".." {
			return "", Fieldf("path", "%s has an empty, '.' or '..' segment", quote(s)).
				WithHint("write it without a slash at the start, the end or doubled")
		}
		if i := strings.IndexFunc(seg, func(r rune) bool {
			return unicode.IsControl(r) || strings.ContainsRune(`*+\?#%`, r) || (unicode.IsSpace(r) && r != ' ')
		}); i >= 0 {
			return "", Fieldf("path", "%s has a character that a path may not have", quote(s)).
				WithHint(`leave out control characters and * + \ ? # %%`)
		}
	}
	return SecretPath(s), nil
}

// ParseSecretPrefix checks a prefix of paths: "" for all, or a path, with or
// without one slash at its end.
func ParseSecretPrefix(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	p, err := ParseSecretPath(strings.TrimSuffix(s, "/"))
	if err != nil {
		return "", err
	}
	return string(p) + "/", nil
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`)

// ParseName checks the short name of a workload, member, slot or the like.
func ParseName(field, s string) (string, error) {
	if !namePattern.MatchString(s) {
		return "", Fieldf(field, "%s is not a name", quote(s)).
			WithHint("use 1 to 64 characters: a-z, 0-9 and . _ - between them")
	}
	return s, nil
}

// ParseText checks a line of text for people: a display name or a reason.
func ParseText(field, s string, most int) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", Fieldf(field, "missing")
	case len(s) > most:
		return "", Fieldf(field, "%d bytes are more than the %d allowed", len(s), most)
	case !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0:
		return "", Fieldf(field, "control characters and broken UTF-8 are not allowed")
	}
	return s, nil
}

// Lifetimes of tokens. Nothing that Coffer issues lives longer than MaxTTL.
const (
	DefaultTTL = time.Hour
	MaxTTL     = 24 * time.Hour
	MinTTL     = time.Second
)

// ParseTTL checks a lifetime; zero means the default.
func ParseTTL(d time.Duration) (time.Duration, error) {
	switch {
	case d == 0:
		return DefaultTTL, nil
	case d < MinTTL:
		return 0, Fieldf("ttl", "%v is shorter than %v", d, MinTTL)
	case d > MaxTTL:
		return 0, Fieldf("ttl", "%v is longer than the %v that a token may live", d, MaxTTL).
			WithHint("ask for at most 24h and renew or log in again")
	}
	return d, nil
}

// NewID makes a random identifier with 130 bits: prefix, then 26 lower-case
// letters and digits.
func NewID(prefix string) string {
	return prefix + strings.ToLower(rand.Text())
}
