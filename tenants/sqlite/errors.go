package sqlite

import (
	"errors"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Primary result codes that callers decide on
// (https://www.sqlite.org/rescode.html). Extended codes carry one of them in
// their low byte.
const (
	CodeError      = sqlite3.SQLITE_ERROR
	CodePerm       = sqlite3.SQLITE_PERM
	CodeAbort      = sqlite3.SQLITE_ABORT
	CodeBusy       = sqlite3.SQLITE_BUSY
	CodeLocked     = sqlite3.SQLITE_LOCKED
	CodeNoMemory   = sqlite3.SQLITE_NOMEM
	CodeReadOnly   = sqlite3.SQLITE_READONLY
	CodeInterrupt  = sqlite3.SQLITE_INTERRUPT
	CodeIOErr      = sqlite3.SQLITE_IOERR
	CodeCorrupt    = sqlite3.SQLITE_CORRUPT
	CodeFull       = sqlite3.SQLITE_FULL
	CodeCantOpen   = sqlite3.SQLITE_CANTOPEN
	CodeSchema     = sqlite3.SQLITE_SCHEMA
	CodeTooBig     = sqlite3.SQLITE_TOOBIG
	CodeConstraint = sqlite3.SQLITE_CONSTRAINT
	CodeMismatch   = sqlite3.SQLITE_MISMATCH
	CodeMisuse     = sqlite3.SQLITE_MISUSE
	CodeAuth       = sqlite3.SQLITE_AUTH
	CodeRange      = sqlite3.SQLITE_RANGE
	CodeNotADB     = sqlite3.SQLITE_NOTADB
)

// primaryNames are the names that clients of wire protocols compare with.
var primaryNames = map[int]string{
	sqlite3.SQLITE_ERROR: "SQLITE_ERROR", sqlite3.SQLITE_INTERNAL: "SQLITE_INTERNAL", sqlite3.SQLITE_PERM: "SQLITE_PERM",
	sqlite3.SQLITE_ABORT: "SQLITE_ABORT", sqlite3.SQLITE_BUSY: "SQLITE_BUSY", sqlite3.SQLITE_LOCKED: "SQLITE_LOCKED",
	sqlite3.SQLITE_NOMEM: "SQLITE_NOMEM", sqlite3.SQLITE_READONLY: "SQLITE_READONLY", sqlite3.SQLITE_INTERRUPT: "SQLITE_INTERRUPT",
	sqlite3.SQLITE_IOERR: "SQLITE_IOERR", sqlite3.SQLITE_CORRUPT: "SQLITE_CORRUPT", sqlite3.SQLITE_NOTFOUND: "SQLITE_NOTFOUND",
	sqlite3.SQLITE_FULL: "SQLITE_FULL", sqlite3.SQLITE_CANTOPEN: "SQLITE_CANTOPEN", sqlite3.SQLITE_PROTOCOL: "SQLITE_PROTOCOL",
	sqlite3.SQLITE_EMPTY: "SQLITE_EMPTY", sqlite3.SQLITE_SCHEMA: "SQLITE_SCHEMA", sqlite3.SQLITE_TOOBIG: "SQLITE_TOOBIG",
	sqlite3.SQLITE_CONSTRAINT: "SQLITE_CONSTRAINT", sqlite3.SQLITE_MISMATCH: "SQLITE_MISMATCH", sqlite3.SQLITE_MISUSE: "SQLITE_MISUSE",
	sqlite3.SQLITE_NOLFS: "SQLITE_NOLFS", sqlite3.SQLITE_AUTH: "SQLITE_AUTH", sqlite3.SQLITE_FORMAT: "SQLITE_FORMAT",
	sqlite3.SQLITE_RANGE: "SQLITE_RANGE", sqlite3.SQLITE_NOTADB: "SQLITE_NOTADB", sqlite3.SQLITE_NOTICE: "SQLITE_NOTICE",
	sqlite3.SQLITE_WARNING: "SQLITE_WARNING",
}

// Error is a result code of SQLite with the text that went with it. The text
// can name tables and columns; SQLite puts no values of rows into it, except
// where a trigger's RAISE or a function of the caller's does.
type Error struct {
	Code    int    // extended result code
	Message string // sqlite3_errmsg, or sqlite3_errstr where that is of another call
	Offset  int    // byte in the SQL text that the error is about, -1 if unknown
}

// Error is SQLite's text with the primary code's name.
func (e *Error) Error() string { return e.Message + " (" + e.Name() + ")" }

// Primary is the low byte of the code.
func (e *Error) Primary() int { return e.Code & 0xff }

// Name is the name of the primary code, e.g. "SQLITE_CONSTRAINT".
func (e *Error) Name() string {
	if s, ok := primaryNames[e.Primary()]; ok {
		return s
	}
	return "SQLITE_ERROR"
}

// Is makes errors.Is(err, &Error{Code: CodeBusy}) true for every error with
// that primary code, if the code asked for is a primary one, and for that very
// code otherwise.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	if !ok || t.Message != "" {
		return false
	}
	return t.Code == e.Code || t.Code == e.Primary()
}

// CodeOf is the extended code of the first *Error in err's chain, 0 if none.
func CodeOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}

// fault makes the Error of a result code. The text on the handle is used only
// if it belongs to this code: SQLite says that the returned code, not the
// handle, is authoritative.
func fault(tls *libc.TLS, db uintptr, rc int32) *Error {
	e := &Error{Code: int(rc), Offset: -1, Message: libc.GoString(sqlite3.Xsqlite3_errstr(tls, rc))}
	if db == 0 {
		return e
	}
	if ext := sqlite3.Xsqlite3_extended_errcode(tls, db); ext == rc || ext&0xff == rc&0xff {
		e.Code = int(ext)
		e.Message = libc.GoString(sqlite3.Xsqlite3_errmsg(tls, db))
		e.Offset = int(sqlite3.Xsqlite3_error_offset(tls, db))
	}
	return e
}

func errClosed() *Error {
	return &Error{Code: CodeMisuse, Message: "the connection is closed", Offset: -1}
}
