package guard

import (
	"maps"
	"slices"
	"strings"

	"coffer/tenants/sqlite"
)

// Limits of a Report, so that an audit event stays small.
const (
	MaxReportTables  = 64
	MaxReportColumns = 256
	MaxReportName    = 128 // bytes of a table's and of a column's name
)

// Report says what a statement touched, for the audit event. It never has a
// value: no argument, no row, no SQL text.
type Report struct {
	Kind    Kind
	Tables  []string // sorted, not to be changed; tables, views, and for a definition what it defines
	Columns []string // sorted "table.column" that were read or updated

	// Truncated says that there were more tables or columns than a Report
	// holds.
	Truncated bool

	RowsIn  int64 // rows inserted, updated or deleted, triggers not counted
	RowsOut int64 // rows of the result
	Bytes   int64 // bytes of the result
}

// plan is what is known of a compiled statement; it stays with it in the
// cache.
type plan struct {
	kind      Kind
	tables    map[string]bool
	columns   map[string]bool
	truncated bool
	sorted    *Report // the names in order, made when they are first asked for
}

// note takes down what an allowed action touches. SQLite compiles a statement
// again when the schema changed: then this adds to what was known.
func (p *plan) note(a sqlite.Action, arg1, arg2 string) {
	switch a {
	case sqlite.ActionRead, sqlite.ActionUpdate:
		p.table(arg1)
		if arg2 != "" {
			p.column(arg1, arg2)
		}
	case sqlite.ActionInsert, sqlite.ActionDelete, sqlite.ActionCreateTable, sqlite.ActionDropTable,
		sqlite.ActionCreateView, sqlite.ActionDropView, sqlite.ActionCreateVTable, sqlite.ActionDropVTable, sqlite.ActionAnalyze:
		p.table(arg1)
	case sqlite.ActionAlterTable, sqlite.ActionCreateIndex, sqlite.ActionDropIndex,
		sqlite.ActionCreateTrigger, sqlite.ActionDropTrigger:
		p.table(arg2)
	}
}

// own reports whether SQLite touches a table on its own account.
func (p *plan) own(table string) bool {
	return p.kind.definition() && strings.HasPrefix(lower(table), "sqlite_")
}

func (p *plan) table(name string) {
	name = bounded(name)
	if name == "" || p.own(name) || p.tables[name] {
		return
	}
	if len(p.tables) >= MaxReportTables {
		p.truncated = true
		return
	}
	if p.tables == nil {
		p.tables = map[string]bool{}
	}
	p.tables[name] = true
}

func bounded(name string) string {
	if len(name) <= MaxReportName {
		return name
	}
	return strings.ToValidUTF8(name[:MaxReportName], "") + "…"
}

func (p *plan) column(table, name string) {
	full := bounded(table) + "." + bounded(name)
	if p.own(table) || p.columns[full] {
		return
	}
	if len(p.columns) >= MaxReportColumns {
		p.truncated = true
		return
	}
	if p.columns == nil {
		p.columns = map[string]bool{}
	}
	p.columns[full] = true
}

// with fills in what the plan knows and leaves the counts.
func (r Report) with(p *plan) Report {
	if p.sorted == nil || len(p.sorted.Tables) != len(p.tables) || len(p.sorted.Columns) != len(p.columns) {
		p.sorted = &Report{
			Tables:  slices.Sorted(maps.Keys(p.tables)),
			Columns: slices.Sorted(maps.Keys(p.columns)),
		}
	}
	r.Kind, r.Truncated = p.kind, p.truncated
	r.Tables, r.Columns = slices.Clip(p.sorted.Tables), slices.Clip(p.sorted.Columns)
	return r
}
