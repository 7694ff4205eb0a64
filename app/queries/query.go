package queries

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"coffer/app/domain"
)

// Bounds of a query and a dashboard.
const (
	MaxQueries     = 500 // of a tenant
	MaxDashboards  = 100 // likewise
	MaxEntries     = 24  // queries of a dashboard
	MaxSQL         = 20_000
	MaxTitle       = 128
	MaxDescription = 1000
	MaxParams      = 20
	MaxColumns     = 8 // that a chart draws

	MinRefresh = 5 * time.Second
	MaxRefresh = 24 * time.Hour
)

// Chart is how a result is drawn.
type Chart string

// The charts. A table needs nothing; a number is the first value of the first
// row; of the others X names the column of the labels and Y those of the values.
const (
	Table  Chart = "table"
	Number Chart = "number"
	Line   Chart = "line"
	Bar    Chart = "bar"
	Pie    Chart = "pie"
)

// Charts lists them.
func Charts() []Chart { return []Chart{Table, Number, Line, Bar, Pie} }

// Param is a named parameter of the SQL, without its prefix, and what it is if
// nobody says: null, a number or a text.
type Param struct {
	Name    string          `json:"name" schema:"minLength=1,maxLength=64"`
	Default json.RawMessage `json:"default,omitempty" doc:"null, a number or a string; null if absent"`
}

// Query is a stored query.
type Query struct {
	Name        string    `json:"name"`
	Title       string    `json:"title"`
	Description string    `json:"description,omitempty"`
	SQL         string    `json:"sql"`
	Params      []Param   `json:"params,omitempty"`
	Chart       Chart     `json:"chart"`
	X           string    `json:"x,omitempty"`
	Y           []string  `json:"y,omitempty"`
	Refresh     uint32    `json:"refresh,omitempty"` // seconds; 0 for never by itself
	Shared      bool      `json:"shared"`
	By          string    `json:"by"` // id of the person or workload whose it is
	Created     time.Time `json:"created"`
	Changed     time.Time `json:"changed"`
}

// Check refuses what cannot be stored, by the name of the field. Whether the SQL
// only reads is found out by who can compile it.
func (q Query) Check() error {
	if _, err := domain.ParseName("name", q.Name); err != nil {
		return err
	}
	switch {
	case !text(q.Title, MaxTitle) || strings.TrimSpace(q.Title) == "":
		return domain.Fieldf("title", "not a line of 1 to %d characters", MaxTitle)
	case !text(strings.ReplaceAll(q.Description, "\n", " "), MaxDescription):
		return domain.Fieldf("description", "longer than %d characters, or with control characters", MaxDescription)
	case q.SQL == "" || len(q.SQL) > MaxSQL || !utf8.ValidString(q.SQL):
		return domain.Fieldf("sql", "not a text of 1 to %d bytes", MaxSQL)
	case !slices.Contains(Charts(), q.Chart):
		return domain.Fieldf("chart", "%.20q is none of table, number, line, bar and pie", q.Chart)
	case q.Refresh != 0 && (time.Duration(q.Refresh)*time.Second < MinRefresh || time.Duration(q.Refresh)*time.Second > MaxRefresh):
		return domain.Fieldf("refresh", "not 0 and not between %v and %v", MinRefresh, MaxRefresh)
	case len(q.Y) > MaxColumns:
		return domain.Fieldf("y", "%d columns are more than %d", len(q.Y), MaxColumns)
	case len(q.Params) > MaxParams:
		return domain.Fieldf("params", "%d are more than %d", len(q.Params), MaxParams)
	}
	for _, column := range append([]string{q.X}, q.Y...) {
		if !text(column, MaxTitle) {
			return domain.Fieldf("x", "not the name of a column")
		}
	}
	return checkParams(q.Params)
}

func checkParams(params []Param) error {
	seen := map[string]bool{}
	for _, p := range params {
		if !isIdent(p.Name) || seen[p.Name] {
			return domain.Fieldf("params", "%.40q is no name of a parameter, or stands twice", p.Name).
				WithHint("letters, digits and _, as in the SQL but without its : @ or $")
		}
		seen[p.Name] = true
		if len(p.Default) > MaxDescription {
			return domain.Fieldf("params", "the default of %s is longer than %d bytes", p.Name, MaxDescription)
		}
		if len(p.Default) == 0 {
			continue
		}
		if c := p.Default[0]; !json.Valid(p.Default) || c == '{' || c == '[' || c == 't' || c == 'f' {
			return domain.Fieldf("params", "the default of %s is neither null, a number nor a string", p.Name)
		}
	}
	return nil
}

func isIdent(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// text reports whether s is a line of at most so many characters.
func text(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && strings.IndexFunc(s, unicode.IsControl) < 0
}

// Dashboard is a list of shared queries in the order in which they are shown.
type Dashboard struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Queries []string  `json:"queries"`
	By      string    `json:"by"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// Check refuses what cannot be stored, by the name of the field.
func (d Dashboard) Check() error {
	if _, err := domain.ParseName("name", d.Name); err != nil {
		return err
	}
	if !text(d.Title, MaxTitle) || strings.TrimSpace(d.Title) == "" {
		return domain.Fieldf("title", "not a line of 1 to %d characters", MaxTitle)
	}
	if len(d.Queries) == 0 || len(d.Queries) > MaxEntries {
		return domain.Fieldf("queries", "%d are not between 1 and %d", len(d.Queries), MaxEntries)
	}
	for i, name := range d.Queries {
		if _, err := domain.ParseName("queries", name); err != nil {
			return err
		}
		if slices.Contains(d.Queries[:i], name) {
			return domain.Fieldf("queries", "%s stands twice", name)
		}
	}
	return nil
}
