package sqlapi

import (
	"encoding/base64"
	"math"
	"strconv"
	"sync/atomic"
	"unicode/utf8"

	"coffer/app/domain"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// Bounds of answers, in bytes.
const (
	maxAnswer  = 10 << 20 // one answer
	maxAnswers = 96 << 20 // all of them that are being made
	budgetStep = 64 << 10 // in which an answer takes its part of that
)

// budget is what all answers together may take.
type budget struct{ used atomic.Int64 }

// answer is an answer under construction.
type answer struct {
	buf    []byte
	budget *budget
	taken  int64
}

func (a *answer) release() {
	a.budget.used.Add(-a.taken)
	a.taken = 0
}

var errTooLarge = guard.WithCode("RESPONSE_TOO_LARGE", domain.Errorf(domain.Limit, "the answer is larger than %d bytes", maxAnswer).
	WithHint("add a LIMIT, select fewer columns, or ask for less in one request"))

var errNoRoom = guard.WithCode("RESPONSE_TOO_LARGE", domain.Errorf(domain.Limit, "too many large answers are under way").
	WithHint("try again in a moment, with a LIMIT"))

// fits checks the bounds after something was added.
func (a *answer) fits() error { return a.account(len(a.buf)) }

// account takes the answer's part of the budget for a length in bytes.
func (a *answer) account(n int) error {
	if n > maxAnswer {
		return errTooLarge
	}
	for int64(n) > a.taken {
		if a.budget.used.Add(budgetStep) > maxAnswers {
			a.budget.used.Add(-budgetStep)
			return errNoRoom
		}
		a.taken += budgetStep
	}
	return nil
}

func (a *answer) raw(s string)  { a.buf = append(a.buf, s...) }
func (a *answer) int(n int64)   { a.buf = strconv.AppendInt(a.buf, n, 10) }
func (a *answer) text(s string) { a.buf = appendText(a.buf, s) }

// columns writes the description of a result's columns.
func (a *answer) columns(cols []sqlite.Column) {
	a.raw(`"cols":[`)
	for i, c := range cols {
		if i > 0 {
			a.raw(`,`)
		}
		a.raw(`{"name":`)
		a.text(c.Name)
		a.raw(`,"decltype":`)
		if c.DeclType == "" {
			a.raw(`null}`)
			continue
		}
		a.text(c.DeclType)
		a.raw(`}`)
	}
	a.raw(`]`)
}

// row writes the values of a row.
func (a *answer) row(row []sqlite.Value) error {
	a.buf = append(a.buf, '[')
	for i, v := range row {
		if i > 0 {
			a.buf = append(a.buf, ',')
		}
		a.buf = appendValue(a.buf, v)
	}
	a.buf = append(a.buf, ']')
	return a.fits()
}

// counts writes what a statement did.
func (a *answer) counts(out guard.Outcome) {
	a.raw(`"affected_row_count":`)
	a.int(min(out.Affected, math.MaxInt32)) // one client reads no more
	a.raw(`,"last_insert_rowid":"`)
	a.int(out.LastInsertRowID)
	a.raw(`"`)
}

// failure writes an error as part of an answer.
func (a *answer) failure(err error) {
	message, code := words(err)
	a.raw(`{"message":`)
	a.text(message)
	a.raw(`,"code":`)
	a.text(code)
	a.raw(`}`)
}

// appendValue writes a value as the protocol has it.
func appendValue(b []byte, v sqlite.Value) []byte {
	switch v.Type() {
	case sqlite.TypeInteger:
		b = append(b, `{"type":"integer","value":"`...)
		b = strconv.AppendInt(b, v.Int64(), 10)
		return append(b, `"}`...)
	case sqlite.TypeFloat:
		f := v.Float64()
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return append(b, `{"type":"null"}`...)
		}
		b = append(b, `{"type":"float","value":`...)
		b = appendFloat(b, f)
		return append(b, '}')
	case sqlite.TypeText:
		if utf8.ValidString(v.Raw()) {
			b = append(b, `{"type":"text","value":`...)
			b = appendText(b, v.Raw())
			return append(b, '}')
		}
		fallthrough
	case sqlite.TypeBlob:
		b = append(b, `{"type":"blob","base64":"`...)
		b = base64.RawStdEncoding.AppendEncode(b, []byte(v.Raw()))
		return append(b, `"}`...)
	}
	return append(b, `{"type":"null"}`...)
}

// appendFloat writes the shortest decimal number that is read as the same float.
func appendFloat(b []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}

// appendText writes a JSON string. What is not UTF-8, in the name of a column
// perhaps, becomes U+FFFD.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\uFFFD"...)
				i++
				start = i
				continue
			}
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
