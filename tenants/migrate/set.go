package migrate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"coffer/app/domain"
)

// Bounds of a set.
const (
	MaxFile   = 512 << 10 // bytes of one file
	MaxSet    = 4 << 20   // bytes of all files together
	MaxNumber = 9999
	maxName   = 80 // bytes of a file's name
)

// Sum is the SHA-256 of a file's bytes.
type Sum [sha256.Size]byte

// String is the sum in hexadecimal.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText gives the sum in hexadecimal.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads 64 hexadecimal digits in lower case.
func (s *Sum) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(s) || !bytes.Equal(b, bytes.ToLower(b)) {
		return domain.Errorf(domain.Invalid, "not a SHA-256 in hexadecimal")
	}
	if _, err := hex.Decode(s[:], b); err != nil {
		return domain.Errorf(domain.Invalid, "not a SHA-256 in hexadecimal")
	}
	return nil
}

// SumOf is the sum of a file.
func SumOf(sql string) Sum { return sha256.Sum256([]byte(sql)) }

// Migration is one file of a set.
type Migration struct {
	Number int
	Name   string // of the file, with its number: 0001_customers.sql
	SQL    string
	Sum    Sum
}

// Set is a set of migrations by number, the first of which is 1, without gaps.
type Set []Migration

// File is a file as somebody hands it over.
type File struct {
	Name string
	SQL  string
}

var fileName = regexp.MustCompile(`^([0-9]{4})_[A-Za-z0-9][A-Za-z0-9_.-]*\.sql$`)

// Parse makes a set of files in any order. The error names the file.
func Parse(files []File) (Set, error) {
	set, total := make(Set, 0, len(files)), 0
	for _, f := range files {
		m, err := parse(f)
		if err != nil {
			return nil, err
		}
		set, total = append(set, m), total+len(f.SQL)
	}
	if total > MaxSet {
		return nil, domain.Fieldf("files", "the files have %d bytes together, more than %d", total, MaxSet)
	}
	slices.SortStableFunc(set, func(a, b Migration) int { return a.Number - b.Number })
	for i, m := range set {
		switch want := i + 1; {
		case m.Number == want:
		case i > 0 && m.Number == set[i-1].Number:
			return nil, domain.Fieldf("files", "%s and %s have the same number", set[i-1].Name, m.Name).
				WithHint("give one of them the next free number")
		default:
			return nil, domain.Fieldf("files", "there is no file with the number %04d before %s", want, m.Name).
				WithHint("numbers begin at 0001 and leave none out")
		}
	}
	return set, nil
}

func parse(f File) (Migration, error) {
	bad := func(format string, args ...any) *domain.Error {
		return domain.Fieldf("files", "%.100q "+format, append([]any{f.Name}, args...)...)
	}
	match := fileName.FindStringSubmatch(f.Name)
	if match == nil || len(f.Name) > maxName {
		return Migration{}, bad("is no name of a migration").WithHint("four digits, _, a name and .sql, as in 0001_customers.sql")
	}
	number, err := strconv.Atoi(match[1])
	switch {
	case err != nil || number < 1 || number > MaxNumber:
		return Migration{}, bad("has no number between 0001 and %04d", MaxNumber)
	case len(f.SQL) > MaxFile:
		return Migration{}, bad("has %d bytes, more than %d", len(f.SQL), MaxFile)
	case !utf8.ValidString(f.SQL):
		return Migration{}, bad("is not valid UTF-8")
	case strings.IndexByte(f.SQL, 0) >= 0:
		return Migration{}, bad("has a NUL byte")
	case strings.TrimSpace(f.SQL) == "":
		return Migration{}, bad("is empty")
	}
	return Migration{Number: number, Name: f.Name, SQL: f.SQL, Sum: SumOf(f.SQL)}, nil
}

// Top is the number of the last migration, 0 for an empty set.
func (s Set) Top() int { return len(s) }

// To gives the migrations up to a number.
func (s Set) To(number int) Set { return s[:min(number, len(s))] }

// directive turns the enforcement of foreign keys off; it is the first line of a
// file.
var directive = regexp.MustCompile(`^\x{FEFF}?[ \t]*--[ \t]*coffer:[ \t]*(.*?)[ \t\r]*$`)

// Loose reports whether the file asks for foreign keys not to be enforced while
// it runs, as rebuilding a table needs. They are checked before the commit.
func (m Migration) Loose() (bool, error) {
	line, _, _ := strings.Cut(m.SQL, "\n")
	match := directive.FindStringSubmatch(line)
	switch {
	case match == nil:
		return false, nil
	case match[1] == "foreign_keys=off":
		return true, nil
	}
	return false, domain.Fieldf("files", "%s begins with a direction to Coffer that it does not know", m.Name).
		WithHint("the one that there is: -- coffer: foreign_keys=off")
}

// Applied is a migration that a tenant's file has.
type Applied struct {
	Number int
	Name   string
	Sum    Sum
}

// Pending gives the migrations of the set that a file does not have. What it has
// must be what the set begins with.
func (s Set) Pending(has []Applied) (Set, error) {
	for i, a := range has {
		switch {
		case a.Number != i+1:
			return nil, domain.Errorf(domain.Tampered, "the database says that it has migration %04d after %04d", a.Number, i)
		case i >= len(s):
			return nil, domain.Errorf(domain.Conflict, "the database has %s, which the set lacks", a.Name).
				WithHint("bring the file back: coffer migrate apply DIRECTORY")
		case s[i].Sum != a.Sum || s[i].Name != a.Name:
			return nil, changed(s[i], a)
		}
	}
	return s[len(has):], nil
}

// changed is the error about a file that was applied already and is another now.
func changed(now Migration, was Applied) error {
	if now.Sum == was.Sum {
		return domain.Errorf(domain.Conflict, "%s was applied already and is called %s now", was.Name, now.Name).
			WithHint("give it its name back")
	}
	return domain.Errorf(domain.Conflict, "%s was changed after it was applied: its SHA-256 was %s and is %s", was.Name, was.Sum, now.Sum).
		WithHint("put its old text back, and write the change as a new file with the next number")
}

// Replace checks that another set may take the place of this one, of which the
// migrations up to a number were applied somewhere.
func (s Set) Replace(by Set, applied int) error {
	for i, m := range s.To(applied) {
		was := Applied{m.Number, m.Name, m.Sum}
		if i >= len(by) {
			return domain.Errorf(domain.Conflict, "%s is missing, and was applied already", m.Name).
				WithHint("put it back; what it did can be undone by a new file")
		}
		if by[i].Sum != m.Sum || by[i].Name != m.Name {
			return changed(by[i], was)
		}
	}
	return nil
}

// Number is how a number is written: with four digits.
func Number(n int) string { return fmt.Sprintf("%04d", n) }
