package sqlite

import (
	sqlite3 "modernc.org/sqlite/lib"
)

// Bind sets a parameter, counted from 1, for the next run. A value longer than
// LimitLength fails with SQLITE_TOOBIG, an index that the statement does not
// have with SQLITE_RANGE, and a statement that runs with SQLITE_MISUSE.
func (s *Stmt) Bind(i int, v Value) error {
	c := s.conn
	if s.p == 0 {
		return errClosed()
	}
	if i < 1 || i > s.params {
		return &Error{Code: CodeRange, Message: "column index out of range", Offset: -1}
	}
	if s.started {
		return &Error{Code: CodeMisuse, Message: "the statement is running", Offset: -1}
	}
	var rc int32
	switch v.t {
	case TypeInteger:
		rc = sqlite3.Xsqlite3_bind_int64(c.tls, s.p, int32(i), v.Int64())
	case TypeFloat:
		rc = sqlite3.Xsqlite3_bind_double(c.tls, s.p, int32(i), v.Float64())
	case TypeText, TypeBlob:
		return s.bindBytes(i, v)
	default:
		rc = sqlite3.Xsqlite3_bind_null(c.tls, s.p, int32(i))
	}
	if rc != sqlite3.SQLITE_OK {
		return fault(c.tls, c.db, rc)
	}
	s.bound[i-1] = true
	return nil
}

// bindBytes copies the bytes into a buffer of the parameter's own and lets
// SQLite point to it: they stay there until the parameter is bound again, the
// buffer grown or the statement finalized, and none of that happens while the
// statement runs.
func (s *Stmt) bindBytes(i int, v Value) error {
	c, b := s.conn, &s.buffers[i-1]
	if limit := c.SetLimit(LimitLength, -1); len(v.s) > limit {
		return &Error{Code: CodeTooBig, Message: "string or blob too big", Offset: -1}
	}
	if err := b.set(c.tls, v.s); err != nil {
		return err
	}
	const static = 0 // SQLITE_STATIC: SQLite makes no copy and frees nothing
	var rc int32
	if v.t == TypeText {
		rc = sqlite3.Xsqlite3_bind_text64(c.tls, s.p, int32(i), b.p, uint64(len(v.s)), static, sqlite3.SQLITE_UTF8)
	} else {
		rc = sqlite3.Xsqlite3_bind_blob64(c.tls, s.p, int32(i), b.p, uint64(len(v.s)), static)
	}
	if rc != sqlite3.SQLITE_OK {
		return fault(c.tls, c.db, rc)
	}
	s.bound[i-1] = true
	return nil
}

// Value is a column of the current row, counted from 0: a copy that may be
// kept. It is NULL for a column that the row does not have.
func (s *Stmt) Value(i int) Value {
	tls, n := s.conn.tls, int32(i)
	switch sqlite3.Xsqlite3_column_type(tls, s.p, n) {
	case sqlite3.SQLITE_INTEGER:
		return Int(sqlite3.Xsqlite3_column_int64(tls, s.p, n))
	case sqlite3.SQLITE_FLOAT:
		return Float(sqlite3.Xsqlite3_column_double(tls, s.p, n))
	case sqlite3.SQLITE_TEXT:
		p := sqlite3.Xsqlite3_column_text(tls, s.p, n)
		return Value{t: TypeText, s: copyString(p, int(sqlite3.Xsqlite3_column_bytes(tls, s.p, n)))}
	case sqlite3.SQLITE_BLOB:
		p := sqlite3.Xsqlite3_column_blob(tls, s.p, n)
		return Value{t: TypeBlob, s: copyString(p, int(sqlite3.Xsqlite3_column_bytes(tls, s.p, n)))}
	}
	return Value{}
}

// Row appends the values of the current row to dst and returns it.
func (s *Stmt) Row(dst []Value) []Value {
	for i := range int(sqlite3.Xsqlite3_data_count(s.conn.tls, s.p)) {
		dst = append(dst, s.Value(i))
	}
	return dst
}
