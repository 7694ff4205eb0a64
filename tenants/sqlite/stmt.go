package sqlite

import (
	"context"
	"fmt"
	"strings"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Stmt is a prepared statement of one connection. After Close it must not be
// used: it may be handed to the next caller that prepares the same text.
type Stmt struct {
	conn  *Conn
	p     uintptr // sqlite3_stmt*
	sql   string
	tail  string
	watch *watch          // of the run, nil if its context cannot end
	done  <-chan struct{} // of that context

	params   int
	names    []string // of the parameters, made when first asked for
	buffers  []buffer // what text and blob parameters point to
	bound    []bool   // parameters bound since the last Reset
	columns  []Column
	compiled int32 // how often SQLite had compiled it again when columns was made
	started  bool  // stepped since the last Reset
	tag      any

	cacheable bool // goes to the cache at its Close

	newer, older *Stmt // in the cache
}

// Column describes a column of a result.
type Column struct {
	Name     string // as the statement names it
	DeclType string // declared type of the table's column, "" for an expression
	Database string // "main"; with Table and Origin "" for an expression
	Table    string
	Origin   string // name of the table's column
}

// Prepare compiles the first statement of a text, or takes it from the cache,
// and returns the rest of the text. A text of blanks and comments gives a nil
// Stmt and no error.
func (c *Conn) Prepare(ctx context.Context, sql string) (*Stmt, string, error) {
	if ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	}
	if c.closed { // written by Close alone, which runs on the goroutine that uses c
		return nil, "", errClosed()
	}
	if s := c.cache.take(sql); s != nil {
		c.live[s] = struct{}{}
		return s, s.tail, nil
	}
	s, tail, err := c.PrepareUncached(ctx, sql)
	if s != nil {
		s.cacheable = true
	}
	return s, tail, err
}

// PrepareUncached is Prepare without the cache: the statement is compiled now,
// under the Authorizer as it is now, and dropped at its Close.
func (c *Conn) PrepareUncached(ctx context.Context, sql string) (*Stmt, string, error) {
	if ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	}
	if c.closed {
		return nil, "", errClosed()
	}
	if i := strings.IndexByte(sql, 0); i >= 0 {
		// SQLite would take it for the end and the rest would go unseen.
		return nil, "", &Error{Code: CodeError, Message: "the SQL text has a NUL byte", Offset: i}
	}
	p, used, err := c.compile(ctx, sql)
	if err != nil || p == 0 {
		return nil, sql[used:], err
	}
	s := &Stmt{conn: c, p: p, sql: strings.Clone(sql), tail: sql[used:]}
	s.params = int(sqlite3.Xsqlite3_bind_parameter_count(c.tls, p))
	s.buffers = make([]buffer, s.params)
	s.bound = make([]bool, s.params)
	c.live[s] = struct{}{}
	return s, s.tail, nil
}

// compile calls sqlite3_prepare_v3 and returns the statement and the number of
// bytes that it took up.
func (c *Conn) compile(ctx context.Context, sql string) (p uintptr, used int, err error) {
	if err := c.text.set(c.tls, sql); err != nil {
		return 0, 0, err
	}
	defer c.text.trim(c.tls)
	w := c.newWatch(ctx)
	defer w.end()
	before := c.enter(w)
	stmt, tail := c.out, c.out+pointerSize
	rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, c.text.p, int32(len(sql)+1), sqlite3.SQLITE_PREPARE_PERSISTENT, stmt, tail)
	c.leave(before)
	if rc != sqlite3.SQLITE_OK {
		return 0, 0, c.failure(w, rc)
	}
	return loadPointer(stmt), int(loadPointer(tail) - c.text.p), nil
}

// failure is the error of a result code. What stopped because its context
// ended is an error of the context, with SQLite's beside it.
func (c *Conn) failure(w *watch, rc int32) error {
	e := fault(c.tls, c.db, rc)
	if w != nil && w.ctx.Err() != nil {
		switch e.Primary() {
		case CodeInterrupt, CodeBusy, CodeAbort, CodeNoMemory:
			return fmt.Errorf("%w: %w", context.Cause(w.ctx), e)
		}
	}
	return e
}

// SQL is the text that was prepared, its tail included.
func (s *Stmt) SQL() string { return s.sql }

// Tag is what SetTag left with the statement, nil at first. It stays while the
// statement goes through the cache.
func (s *Stmt) Tag() any { return s.tag }

// SetTag leaves something with the statement, such as what an Authorizer
// learned while it was compiled.
func (s *Stmt) SetTag(v any) { s.tag = v }

// ReadOnly reports whether the statement changes nothing in the file by
// itself. BEGIN and a few PRAGMAs count as reading.
func (s *Stmt) ReadOnly() bool { return sqlite3.Xsqlite3_stmt_readonly(s.conn.tls, s.p) != 0 }

// IsExplain reports whether the statement is an EXPLAIN of either kind.
func (s *Stmt) IsExplain() bool { return sqlite3.Xsqlite3_stmt_isexplain(s.conn.tls, s.p) != 0 }

// ParamCount is the largest index of a parameter. Indexes start with 1.
func (s *Stmt) ParamCount() int { return s.params }

// ParamName is the name of a parameter with its prefix (":a", "@a", "$a",
// "?7"), "" for a plain "?" or a number that a ?NNN skips.
func (s *Stmt) ParamName(i int) string {
	if i < 1 || i > s.params {
		return ""
	}
	if s.names == nil {
		s.names = make([]string, s.params)
		for j := range s.names {
			s.names[j] = libc.GoString(sqlite3.Xsqlite3_bind_parameter_name(s.conn.tls, s.p, int32(j+1)))
		}
	}
	return s.names[i-1]
}

// Columns describes the result; it is empty for a statement that gives none.
// A change of the schema between Prepare and the first Step can change it: ask
// after that Step.
func (s *Stmt) Columns() []Column {
	tls := s.conn.tls
	n := sqlite3.Xsqlite3_column_count(tls, s.p)
	compiled := sqlite3.Xsqlite3_stmt_status(tls, s.p, sqlite3.SQLITE_STMTSTATUS_REPREPARE, 0)
	if s.columns != nil && compiled == s.compiled {
		return s.columns
	}
	s.columns, s.compiled = make([]Column, n), compiled
	for i := range n {
		s.columns[i] = Column{
			Name:     libc.GoString(sqlite3.Xsqlite3_column_name(tls, s.p, i)),
			DeclType: libc.GoString(sqlite3.Xsqlite3_column_decltype(tls, s.p, i)),
			Database: libc.GoString(sqlite3.Xsqlite3_column_database_name(tls, s.p, i)),
			Table:    libc.GoString(sqlite3.Xsqlite3_column_table_name(tls, s.p, i)),
			Origin:   libc.GoString(sqlite3.Xsqlite3_column_origin_name(tls, s.p, i)),
		}
	}
	return s.columns
}

// Step runs the statement to its next row. It returns false when there is none
// left; values can then be bound again, and the next Step starts over. When ctx ends the statement stops
// and the error wraps the context's cause.
func (s *Stmt) Step(ctx context.Context) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if s.p == 0 {
		return false, errClosed()
	}
	if !s.started {
		if err := s.start(); err != nil {
			return false, err
		}
	}
	// The channel stands for the context: contexts need not be comparable.
	if done := ctx.Done(); done != s.done {
		s.unwatch()
		s.watch, s.done = s.conn.newWatch(ctx), done
	}
	c := s.conn
	before := c.enter(s.watch)
	rc := sqlite3.Xsqlite3_step(c.tls, s.p)
	c.leave(before)
	switch rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		s.rewind()
		return false, nil
	}
	err := c.failure(s.watch, rc)
	s.rewind()
	return false, err
}

// start binds NULL to the parameters that nothing was bound to, so that no
// value of an earlier run is used again.
func (s *Stmt) start() error {
	for i, bound := range s.bound {
		if !bound {
			if err := s.Bind(i+1, Value{}); err != nil {
				return err
			}
		}
	}
	s.started = true
	return nil
}

func (s *Stmt) unwatch() {
	s.watch.end()
	s.watch, s.done = nil, nil
}

// rewind ends a run that came to its end or failed; what is bound stays. The
// code that sqlite3_reset returns then repeats that of the last Step.
func (s *Stmt) rewind() {
	sqlite3.Xsqlite3_reset(s.conn.tls, s.p)
	s.started = false
	s.unwatch()
}

// Reset ends the run, so that values can be bound again. What was bound is
// forgotten. Ending a run that has not come to its end can commit it and so
// fail.
func (s *Stmt) Reset() error {
	rc := sqlite3.Xsqlite3_reset(s.conn.tls, s.p)
	s.started = false
	s.unwatch()
	s.forget()
	if rc != sqlite3.SQLITE_OK {
		return fault(s.conn.tls, s.conn.db, rc)
	}
	return nil
}

// forget drops what is bound. Small values stay where they are until the next
// run binds others: unbinding a parameter makes SQLite 3.54 plan some
// statements anew.
func (s *Stmt) forget() {
	clear(s.bound)
	for i := range s.buffers {
		if s.buffers[i].n > keepBuffer {
			sqlite3.Xsqlite3_bind_null(s.conn.tls, s.p, int32(i+1))
			s.buffers[i].free(s.conn.tls)
		}
	}
}

// Close ends the run and gives the statement back to its connection, which
// keeps it for the next Prepare of its text or drops it. It is safe to call
// after the connection was closed, and twice in a row.
func (s *Stmt) Close() error {
	c := s.conn
	if _, ok := c.live[s]; !ok {
		return nil
	}
	delete(c.live, s)
	err := s.Reset()
	if !s.cacheable || !c.cache.put(s) {
		s.finalize()
	}
	return err
}

// Discard is Close without keeping the statement.
func (s *Stmt) Discard() error {
	s.cacheable = false
	return s.Close()
}

// finalize frees the statement. Its code repeats that of the last Step.
func (s *Stmt) finalize() {
	sqlite3.Xsqlite3_finalize(s.conn.tls, s.p)
	s.p = 0
	for i := range s.buffers {
		s.buffers[i].free(s.conn.tls)
	}
}
