package sqlite

import (
	"fmt"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// FTS5's snippet() takes time in the square of the number of matches in a row,
// and highlight() in their number times the length of the text, within one
// instruction: 200,000 matches in 1 MB took minutes. Rows with more matches
// than maxMatches are refused before the function begins.
const maxMatches = 5000

// boundFullText puts a check before both functions. FTS5 has no way to wrap a
// function of its own, so this goes to the list where they stand.
func (c *Conn) boundFullText() error {
	global, err := c.fullText()
	if err != nil {
		return fmt.Errorf("bounding full-text functions: %w", err)
	}
	bounded := 0
	aux := (*sqlite3.TFts5Global)(pointer(global)).FpAux
	for ; aux != 0; aux = (*sqlite3.TFts5Auxiliary)(pointer(aux)).FpNext {
		f := (*sqlite3.TFts5Auxiliary)(pointer(aux))
		switch libc.GoString(f.FzFunc) {
		case "snippet", "highlight":
			// Neither uses its user data: there the check finds what it
			// stands before.
			f.FpUserData, f.FxFunc = f.FxFunc, callback(boundedFunction)
			bounded++
		}
	}
	if bounded != 2 {
		return fmt.Errorf("bounding full-text functions: %d found, not snippet() and highlight()", bounded)
	}
	return nil
}

// fullText finds FTS5's own record of a connection in the documented way
// (https://www.sqlite.org/fts5.html#extending_fts5): fts5() writes it to where
// a bound pointer of that type points.
func (c *Conn) fullText() (uintptr, error) {
	out := libc.Xcalloc(c.tls, 1, 8)
	if out == 0 {
		return 0, errNoMemory()
	}
	defer libc.Xfree(c.tls, out)
	if err := c.text.set(c.tls, "SELECT fts5(?1)\x00fts5_api_ptr"); err != nil {
		return 0, err
	}
	kind := c.text.p + uintptr(len("SELECT fts5(?1)\x00"))
	if rc := sqlite3.Xsqlite3_prepare_v2(c.tls, c.db, c.text.p, -1, c.out, 0); rc != sqlite3.SQLITE_OK {
		return 0, fault(c.tls, c.db, rc)
	}
	stmt := loadPointer(c.out)
	defer sqlite3.Xsqlite3_finalize(c.tls, stmt)
	if rc := sqlite3.Xsqlite3_bind_pointer(c.tls, stmt, 1, out, kind, 0); rc != sqlite3.SQLITE_OK {
		return 0, fault(c.tls, c.db, rc)
	}
	if rc := sqlite3.Xsqlite3_step(c.tls, stmt); rc != sqlite3.SQLITE_ROW {
		return 0, fault(c.tls, c.db, rc)
	}
	global := loadPointer(out) // its first field is the fts5_api asked for
	if global == 0 {
		return 0, &Error{Code: CodeError, Message: "this build has no FTS5", Offset: -1}
	}
	return global, nil
}

// boundedFunction counts the matches of the row, then calls what it stands
// before.
func boundedFunction(tls *libc.TLS, api, cursor, ctx uintptr, argc int32, argv uintptr) {
	a := (*sqlite3.TFts5ExtensionApi)(pointer(api))
	n := tls.Alloc(8)
	defer tls.Free(8)
	*(*int32)(pointer(n)) = 0
	count := function[func(*libc.TLS, uintptr, uintptr) int32](a.FxInstCount)
	if rc := count(tls, cursor, n); rc != sqlite3.SQLITE_OK {
		sqlite3.Xsqlite3_result_error_code(tls, ctx, rc)
		return
	}
	if *(*int32)(pointer(n)) > maxMatches {
		call{tls: tls, ctx: ctx}.fail(fmt.Sprintf("snippet() and highlight() take at most %d matches in a row", maxMatches))
		return
	}
	original := function[func(*libc.TLS, uintptr) uintptr](a.FxUserData)(tls, cursor)
	function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr)](original)(tls, api, cursor, ctx, argc, argv)
}
