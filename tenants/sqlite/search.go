package sqlite

import "bytes"

// shortNeedle is the length in bytes up to which bytes.Index is used: its worst
// case is the product of both lengths, which is then small.
const shortNeedle = 64

// finder finds a needle in time linear in the haystack, whatever both are
// (Knuth, Morris and Pratt, "Fast pattern matching in strings", 1977).
type finder struct {
	needle []byte
	border []int32 // border[i] is the longest proper border of needle[:i+1]
}

func newFinder(needle []byte) *finder {
	f := &finder{needle: needle}
	if len(needle) <= shortNeedle {
		return f
	}
	f.border = make([]int32, len(needle))
	for i, k := 1, int32(0); i < len(needle); i++ {
		for k > 0 && needle[i] != needle[k] {
			k = f.border[k-1]
		}
		if needle[i] == needle[k] {
			k++
		}
		f.border[i] = k
	}
	return f
}

// index is the first place of the needle in h, -1 if there is none.
func (f *finder) index(h []byte) int {
	if f.border == nil {
		return bytes.Index(h, f.needle)
	}
	k := int32(0)
	for i, b := range h {
		for k > 0 && b != f.needle[k] {
			k = f.border[k-1]
		}
		if b == f.needle[k] {
			k++
		}
		if int(k) == len(f.needle) {
			return i + 1 - len(f.needle)
		}
	}
	return -1
}

// instr is SQLite's instr() on bytes: the number, from 1, of the character
// (of the byte, unless text) at which the needle begins, 0 if nowhere.
func instr(haystack, needle []byte, text bool) int64 {
	if len(needle) == 0 {
		return 1
	}
	if text && continues(needle[0]) {
		// The needle begins inside a character, and SQLite looks at the
		// beginnings of characters only, the first byte counted as one.
		if bytes.HasPrefix(haystack, needle) {
			return 1
		}
		return 0
	}
	i := newFinder(needle).index(haystack)
	if i < 0 {
		return 0
	}
	if !text {
		return int64(i) + 1
	}
	n := int64(1)
	for _, b := range haystack[:i+1][1:] {
		if !continues(b) {
			n++
		}
	}
	return n
}

// continues reports whether b is a byte within a UTF-8 character.
func continues(b byte) bool { return b&0xc0 == 0x80 }

// characters is a set of UTF-8 characters that knows, like SQLite's trim(),
// which of those that match stands first. Characters are at most four bytes.
type characters map[uint64]int

const maxCharacter = 4

// key packs the bytes of a character and their number.
func key(c []byte) uint64 {
	k := uint64(len(c))
	for _, b := range c {
		k = k<<8 | uint64(b)
	}
	return k
}

// parseCharacters reads a set up to its end or first NUL. It reports false
// for a character longer than UTF-8 has.
func parseCharacters(s []byte) (characters, bool) {
	set := characters{}
	for i := 0; i < len(s) && s[i] != 0; {
		n := 1
		if s[i] >= 0xc0 {
			for i+n < len(s) && continues(s[i+n]) {
				n++
			}
		}
		if n > maxCharacter {
			return nil, false
		}
		k := key(s[i : i+n])
		if _, ok := set[k]; !ok {
			set[k] = i
		}
		i += n
	}
	return set, true
}

// match is the length of the first character of the set that s begins with,
// or ends with, and 0 if there is none.
func (set characters) match(s []byte, atEnd bool) int {
	length, place := 0, 0
	for n := 1; n <= maxCharacter && n <= len(s); n++ {
		c := s[:n]
		if atEnd {
			c = s[len(s)-n:]
		}
		if at, ok := set[key(c)]; ok && (length == 0 || at < place) {
			length, place = n, at
		}
	}
	return length
}

// trim cuts characters of the set off.
func trim(s []byte, set characters, left, right bool) []byte {
	for left {
		n := set.match(s, false)
		if n == 0 {
			break
		}
		s = s[n:]
	}
	for right {
		n := set.match(s, true)
		if n == 0 {
			break
		}
		s = s[:len(s)-n]
	}
	return s
}

// unhex decodes pairs of hexadecimal digits up to a NUL. Characters of ignore
// may stand before, between and after the pairs; any other makes it fail.
func unhex(s []byte, ignore map[uint32]bool) ([]byte, bool) {
	out := make([]byte, 0, len(s)/2)
	for len(s) > 0 && s[0] != 0 {
		high, ok := digit(s[0])
		if !ok {
			var c uint32
			if c, s = decode(s); !ignore[c] {
				return nil, false
			}
			continue
		}
		if len(s) < 2 {
			return nil, false
		}
		low, ok := digit(s[1])
		if !ok {
			return nil, false
		}
		out, s = append(out, high<<4|low), s[2:]
	}
	return out, true
}

func digit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// decode reads a character as SQLite does (utf.c, sqlite3Utf8Read): any number
// of continuation bytes after a leading one belong to it, and what is no
// character is U+FFFD.
func decode(s []byte) (c uint32, rest []byte) {
	c, s = uint32(s[0]), s[1:]
	if c < 0xc0 {
		return c, s
	}
	switch {
	case c < 0xe0:
		c &= 0x1f
	case c < 0xf0:
		c &= 0x0f
	case c < 0xf8:
		c &= 0x07
	case c < 0xfc:
		c &= 0x03
	case c == 0xfd:
		c = 1
	default:
		c = 0
	}
	for len(s) > 0 && continues(s[0]) {
		c, s = c<<6+uint32(s[0]&0x3f), s[1:]
	}
	if c < 0x80 || c&0xfffff800 == 0xd800 || c&0xfffffffe == 0xfffe {
		c = 0xfffd
	}
	return c, s
}
