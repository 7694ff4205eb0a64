package inout

import (
	"fmt"

	"coffer/app/domain"
)

// Place is where in a file something stands.
type Place struct {
	File   string
	Line   int    // from 1
	Column int    // the character within the line from 1, 0 if it is about the whole line
	Name   string // of the column of the table, if one is meant
}

// String is the place as people write it.
func (p Place) String() string {
	s := fmt.Sprintf("%s, line %d", p.File, p.Line)
	if p.Column > 0 {
		s += fmt.Sprintf(", character %d", p.Column)
	}
	if p.Name != "" {
		s += fmt.Sprintf(", column %.80q", p.Name)
	}
	return s
}

// bad is an error about a place. It never has the value.
func (p Place) bad(format string, args ...any) *domain.Error {
	return domain.Errorf(domain.Invalid, "%s: %s", p, fmt.Sprintf(format, args...))
}
