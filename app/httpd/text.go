package httpd

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ValidText says whether a body is JSON text whose characters every decoder reads
// as the same ones: valid UTF-8, and no escape that is half a character, in whose
// place encoding/json puts another one.
func ValidText(body []byte) bool { return utf8.Valid(body) && !loneSurrogate(body) }

// loneSurrogate says whether an escape stands for half a character, in whose
// place encoding/json puts another one.
func loneSurrogate(b []byte) bool {
	for i := 0; i+1 < len(b); {
		if b[i] != '\\' {
			i++
			continue
		}
		r, ok := escaped(b[i:])
		switch {
		case !ok:
			i += 2
			continue
		case !utf16.IsSurrogate(r):
			i += 6
			continue
		}
		low, ok := escaped(b[i+6:])
		if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
			return true
		}
		i += 12
	}
	return false
}

// escaped reads an escape of four hexadecimal digits.
func escaped(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}
