package actions

import (
	"strconv"

	"coffer/app/domain"
)

// Bounds of a page of a list.
const (
	DefaultPage = 100
	MaxPage     = 1000
	maxCursor   = 1024
)

// Page asks for a part of a list: at most Limit entries after the cursor.
type Page struct {
	After string `query:"after" json:"-"`
	Limit int    `query:"limit" json:"-"`
}

func (p Page) check() error {
	switch {
	case p.Limit < 0 || p.Limit > MaxPage:
		return domain.Fieldf("limit", "%d is not between 1 and %d", p.Limit, MaxPage)
	case len(p.After) > maxCursor:
		return domain.Fieldf("after", "not a cursor: use the \"next\" of the page before")
	}
	return nil
}

func (p Page) size() int {
	if p.Limit == 0 {
		return DefaultPage
	}
	return p.Limit
}

// cursor and parseCursor are the text form of a place in a log.
func cursor(seq uint64) string { return strconv.FormatUint(seq, 10) }

func parseCursor(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	seq, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, domain.Fieldf("after", "not a cursor: use the \"next\" of the page before")
	}
	return seq, nil
}
