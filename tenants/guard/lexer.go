package guard

import "strings"

// tokenKind is as coarse as classifying a statement allows.
type tokenKind int

const (
	word   tokenKind = iota // keyword or bare identifier
	quoted                  // "x", `x`, [x] or 'x'; SQLite takes the last as a name where only a name fits
	other                   // anything else, one operator character at a time
)

// token is a piece of the SQL text: text[start:end].
type token struct {
	kind       tokenKind
	start, end int
}

// lexer cuts a text into tokens by the rules of SQLite's tokenize.c, leaving
// blanks and comments out.
type lexer struct {
	text string
	pos  int
}

// next gives the next token, or false at the end.
func (l *lexer) next() (token, bool) {
	l.skip()
	if l.pos >= len(l.text) {
		return token{}, false
	}
	t := token{kind: other, start: l.pos}
	switch c := l.text[l.pos]; {
	case c == '\'' || c == '"' || c == '`':
		t.kind = quoted
		l.pos = l.endOfQuoted(c)
	case c == '[':
		t.kind = quoted
		if i := strings.IndexByte(l.text[l.pos:], ']'); i >= 0 {
			l.pos += i + 1
		} else {
			l.pos = len(l.text)
		}
	case isIdent(c) && (c < '0' || c > '9') && c != '$':
		t.kind = word
		l.word()
	case isIdent(c): // a number, or a variable $x
		l.word()
	default:
		l.pos++
	}
	t.end = l.pos
	return t, true
}

func (l *lexer) word() {
	for l.pos < len(l.text) && isIdent(l.text[l.pos]) {
		l.pos++
	}
}

func (l *lexer) skip() {
	for l.pos < len(l.text) {
		rest := l.text[l.pos:]
		switch {
		case strings.IndexByte(" \t\n\f\r", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "\xef\xbb\xbf"): // SQLite takes a byte order mark for a blank
			l.pos += 3
		case strings.HasPrefix(rest, "--"):
			l.past(rest, "\n")
		case strings.HasPrefix(rest, "/*") && len(rest) > 2:
			l.pos += 2
			l.past(rest[2:], "*/")
		default:
			return
		}
	}
}

// past moves behind the first end in rest, which begins at pos, or to the end
// of the text: SQLite takes an open comment as ended there.
func (l *lexer) past(rest, end string) {
	if i := strings.Index(rest, end); i >= 0 {
		l.pos += i + len(end)
	} else {
		l.pos = len(l.text)
	}
}

// endOfQuoted is the position behind a quoted piece whose quotes are doubled
// inside.
func (l *lexer) endOfQuoted(q byte) int {
	for i := l.pos + 1; i < len(l.text); i++ {
		if l.text[i] != q {
			continue
		}
		if i+1 < len(l.text) && l.text[i+1] == q {
			i++
			continue
		}
		return i + 1
	}
	return len(l.text)
}

// isIdent reports whether c can stand in an identifier.
func isIdent(c byte) bool {
	return c >= 0x80 || c == '_' || c == '$' ||
		(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
}

// is reports whether the token is the given bare word.
func (t token) is(text, keyword string) bool {
	return t.kind == word && strings.EqualFold(text[t.start:t.end], keyword)
}

// name is what a token names if it stands for an identifier, in lower case.
func (t token) name(text string) string {
	s := text[t.start:t.end]
	switch t.kind {
	case word:
	case quoted:
		if len(s) < 2 {
			return ""
		}
		q := s[:1]
		s = s[1 : len(s)-1]
		if q != "[" {
			s = strings.ReplaceAll(s, q+q, q)
		}
	default:
		return ""
	}
	return lower(s)
}

// lower folds the case of ASCII letters alone, as SQLite does with names.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for j := range b {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// blankSQL reports whether a text has nothing but blanks, comments and
// semicolons.
func blankSQL(s string) bool {
	l := lexer{text: s}
	for {
		t, ok := l.next()
		if !ok {
			return true
		}
		if s[t.start:t.end] != ";" {
			return false
		}
	}
}
