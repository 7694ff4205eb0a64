package inout

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"coffer/tenants/sqlite"
)

// Column is one column of a table that rows go into.
type Column struct {
	Name string
	Type string // as declared
}

// kind says which values fit into a column.
type kind int

const (
	anything kind = iota // as it stands
	integer
	real
	number   // whole or not
	text     //
	blob     // base64 in a file
	moment   // a date or a time: numeric for SQLite, text for everybody else
	truth    // true or false
	unnamed  = anything
	maxValue = 1_000_000 // bytes; the bound of a tenant's database
)

// kindOf follows SQLite's rules for the affinity of a declared type, and sets
// apart the numeric ones that hold no numbers in practice.
func kindOf(declared string) kind {
	t := strings.ToUpper(declared)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(t, w) {
				return true
			}
		}
		return false
	}
	switch {
	case t == "" || t == "ANY":
		return unnamed
	case has("INT"):
		return integer
	case has("CHAR", "CLOB", "TEXT"):
		return text
	case has("BLOB"):
		return blob
	case has("REAL", "FLOA", "DOUB"):
		return real
	case has("DATE", "TIME"):
		return moment
	case has("BOOL"):
		return truth
	case has("JSON", "UUID"):
		return text
	}
	return number
}

// wants is what a column holds, for messages.
func (k kind) wants() string {
	switch k {
	case integer:
		return "a whole number of 64 bits"
	case real, number:
		return "a number"
	case blob:
		return "bytes in base64"
	case truth:
		return "true, false, 1 or 0"
	}
	return "text"
}

// fromText gives the value that a column has for a text in a file.
func (k kind) fromText(s string) (sqlite.Value, bool) {
	switch k {
	case integer:
		n, err := strconv.ParseInt(s, 10, 64)
		return sqlite.Int(n), err == nil
	case real:
		f, ok := parseFloat(s)
		return sqlite.Float(f), ok
	case number:
		return parseNumber(s)
	case moment:
		if v, ok := parseNumber(s); ok {
			return v, true
		}
	case truth:
		switch strings.ToLower(s) {
		case "1", "true", "t", "yes":
			return sqlite.Int(1), true
		case "0", "false", "f", "no":
			return sqlite.Int(0), true
		}
		return sqlite.Value{}, false
	case blob:
		b, err := base64.StdEncoding.DecodeString(s)
		return sqlite.Blob(b), err == nil
	}
	return sqlite.Text(s), true
}

// parseNumber reads a whole number of 64 bits exactly; one that has more digits
// than a float keeps is none.
func parseNumber(s string) (sqlite.Value, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return sqlite.Int(n), true
	}
	f, ok := parseFloat(s)
	if ok && !strings.ContainsAny(s, ".eE") {
		return sqlite.Value{}, false
	}
	return sqlite.Float(f), ok
}

// parseFloat reads a decimal number: Go's other forms are none in a file.
func parseFloat(s string) (float64, bool) {
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// guess is what a column seems to hold, from the texts of a first look: a number
// with a leading zero or plus is an article number or a phone, and so text.
func guess(seen kind, s string) kind {
	if seen == text {
		return text
	}
	digits := strings.TrimPrefix(s, "-")
	lead := strings.HasPrefix(s, "+") || (len(digits) > 1 && digits[0] == '0' && digits[1] != '.')
	if _, err := strconv.ParseInt(s, 10, 64); err == nil && !lead {
		if seen == real {
			return real
		}
		return integer
	}
	if _, ok := parseFloat(s); ok && !lead && strings.ContainsAny(s, ".eE") {
		return real
	}
	return text
}

// declared is the type under which a guessed column is made.
func (k kind) declared() string {
	switch k {
	case integer:
		return "INTEGER"
	case real:
		return "REAL"
	case blob:
		return "BLOB"
	}
	return "TEXT"
}
