package ui

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// maxShownRows is how many rows of a result the console shows.
const maxShownRows = 500

// maxShownCell is how many characters of one value it shows.
const maxShownCell = 2_000

// sqlView is the console.
type sqlView struct {
	base
	form
	SQL      string
	Writing  bool // the switch is on
	MayWrite bool
	Ran      bool
	Columns  []string
	Rows     [][]cell
	Total    int
	Affected int64
	Took     string
	Read     bool // the statement only read
}

// cell is one value as it is shown; null tells nothing from an empty text.
type cell struct {
	Text       string
	Null, Num  bool
	Blob, More bool
}

// Hidden is how many rows are not shown.
func (v sqlView) Hidden() int { return v.Total - len(v.Rows) }

func (u *UI) sql(r *request) error {
	if err := r.offer(authz.SQLQuery); err != nil {
		return err
	}
	return r.sqlPage(sqlView{SQL: ""})
}

func (r *request) sqlPage(v sqlView) error {
	v.base = r.base("SQL console")
	v.Tabs, v.Wide = markTab(v.Tabs, "SQL console"), true
	v.MayWrite = r.me.May(authz.SQLWrite)
	return r.render(v.status(), "sql", v)
}

// sqlRun runs one statement. What changes something runs only if the switch is
// on and the client's id was typed: that is looked at here, whatever the page did.
func (u *UI) sqlRun(r *request) error {
	v := sqlView{SQL: r.form.Get("sql"), Writing: r.form.Has("write"), Ran: true}
	v.Read = actions.OnlyReads(v.SQL)
	err := r.mayRun(v)
	var out actions.SQLOut
	if err == nil {
		start := time.Now()
		out, err = do(r, actions.SQL, actions.SQLIn{Tenant: string(r.tenant), SQL: v.SQL})
		v.Took = time.Since(start).Round(100 * time.Microsecond).String()
	}
	if err != nil {
		if v.form, err = r.refused("sql", err); err != nil {
			return err
		}
		v.Ran = false
		return r.sqlPage(v)
	}
	v.Columns, v.Total, v.Affected = out.Columns, len(out.Rows), out.Affected
	for _, row := range out.Rows[:min(len(out.Rows), maxShownRows)] {
		cells := make([]cell, len(row))
		for i, value := range row {
			cells[i] = cellOf(value.Value())
		}
		v.Rows = append(v.Rows, cells)
	}
	return r.sqlPage(v)
}

// mayRun asks for the switch and the confirmation before something is changed.
func (r *request) mayRun(v sqlView) error {
	switch {
	case v.SQL == "" || v.Read:
		return nil
	case !v.Writing:
		return domain.Fieldf("write", "this statement would change something, and the console only reads").
			WithHint("switch writing on and type the client's id, if that is what you want")
	case r.text("confirm") != string(r.tenant):
		return domain.Fieldf("confirm", "type the client's id, %s, to run a statement that changes something", r.tenant)
	}
	return nil
}

func cellOf(v sqlite.Value) cell {
	switch v.Type() {
	case sqlite.TypeNull:
		return cell{Text: "NULL", Null: true}
	case sqlite.TypeInteger:
		return cell{Text: strconv.FormatInt(v.Int64(), 10), Num: true}
	case sqlite.TypeFloat:
		return cell{Text: strconv.FormatFloat(v.Float64(), 'g', -1, 64), Num: true}
	case sqlite.TypeText:
		if s := v.Raw(); utf8.ValidString(s) {
			cut := short(s, maxShownCell)
			return cell{Text: cut, More: cut != s}
		}
	}
	b := v.Bytes()
	return cell{Text: "x'" + hex.EncodeToString(b[:min(len(b), 32)]) + "'", Blob: true, More: len(b) > 32}
}
