package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// Codes of refusals that do not come from SQLite, by the names that sqld gives
// them.
const (
	codeNoStatement    = "SQL_NO_STATEMENT"
	codeManyStatements = "SQL_MANY_STATEMENTS"
	codeArgsInvalid    = "ARGS_INVALID"
	codeBlocked        = "BLOCKED"
	codeTooLarge       = "RESPONSE_TOO_LARGE"
	codeTimeout        = "SQLITE_INTERRUPT"
)

// coded carries a code beside an error, without a word in its text.
type coded struct {
	code string
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

func problem(code string, err error) error { return &coded{code, err} }

// Code is the code of an error of this package for clients of the wire
// protocol: the name of SQLite's primary code, such as "SQLITE_CONSTRAINT", or
// one of sqld's own, such as "SQL_MANY_STATEMENTS". It is "" for other errors.
func Code(err error) string {
	if c, ok := errors.AsType[*coded](err); ok {
		return c.code
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Name()
	}
	return ""
}

// WithCode gives an error a code for clients of the wire protocol.
func WithCode(code string, err *domain.Error) error {
	return &domain.Error{Kind: err.Kind, Msg: err.Msg, Hint: err.Hint, Field: err.Field, Retry: err.Retry, Err: &coded{code, cmp.Or(err.Err, errors.New(err.Msg))}}
}

// errDeadline is the cause of a deadline's end, to tell it from a caller that
// went away.
var errDeadline = errors.New("the statement's deadline has passed")

// sunk marks an error of the caller's sink, which is returned as it is.
type sunk struct{ err error }

func (s *sunk) Error() string { return s.err.Error() }
func (s *sunk) Unwrap() error { return s.err }

func sinkError(err error) error {
	if err == nil {
		return nil
	}
	return &sunk{err}
}

func tooManyRows(n int64) error {
	return problem(codeTooLarge, domain.Errorf(domain.Limit, "the result has more than %d rows", n).
		WithHint("add a LIMIT, or page with WHERE on the last key seen"))
}

func tooManyBytes(n int64) error {
	return problem(codeTooLarge, domain.Errorf(domain.Limit, "the result is larger than %d bytes", n).
		WithHint("select fewer columns or add a LIMIT"))
}

// explain turns an error into one for people. ctx is the caller's, without the
// deadline. What it wraps is for the operator's log and so has no more of the
// tenant's data in it than the message.
func (g *Guard) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if s, ok := errors.AsType[*sunk](err); ok {
		return s.err
	}
	if e, ok := errors.AsType[*domain.Error](err); ok {
		return &domain.Error{Kind: e.Kind, Msg: e.Msg, Hint: e.Hint, Field: e.Field, Err: &coded{Code(err), errors.New(e.Msg)}}
	}
	sqlErr, fromSQLite := errors.AsType[*sqlite.Error](err)
	var cause error
	if fromSQLite {
		cause = &sqlite.Error{Code: sqlErr.Code, Offset: sqlErr.Offset, Message: g.clean(sqlErr, true)}
	}
	switch {
	case errors.Is(err, errDeadline):
		return &domain.Error{
			Kind: domain.Limit, Msg: fmt.Sprintf("the statement was stopped after %v", g.deadline),
			Hint: "narrow it with WHERE or LIMIT, or add an index", Err: &coded{codeTimeout, errDeadline},
		}
	case ctx.Err() != nil:
		return &domain.Error{Kind: domain.Unavailable, Msg: "the statement was stopped because its caller went away", Err: &coded{codeTimeout, ctx.Err()}}
	case g.denied != nil:
		e := refusal(*g.denied)
		e.Err = cause
		return e
	case fromSQLite:
		return g.translate(sqlErr, cause)
	}
	return &domain.Error{Kind: domain.Internal, Msg: "the statement could not be run", Err: err}
}

// readerMay begins every refusal that the reading role has for being that.
const readerMay = "this role may only read"

// RefusedAsReader says whether a statement was refused because its connection may only
// read. It looks at the words, which come through from a worker process as they are.
func RefusedAsReader(err error) bool {
	return domain.KindOf(err) == domain.Denied && strings.HasPrefix(err.Error(), readerMay)
}

// refusal is the error of a denial.
func refusal(d denial) *domain.Error {
	switch d.needs {
	case Reader:
		return domain.Errorf(domain.Denied, "this role may not use %s: it needs analyst, admin or owner", d.what).
			WithHint("ask an owner for it; who has which role: coffer member list")
	case Writer:
		return domain.Errorf(domain.Denied, readerMay+": %s needs admin or owner", d.what).
			WithHint("ask an owner for it; who has which role: coffer member list")
	}
	return domain.Errorf(domain.Denied, "%s is not available in a tenant's database", d.what)
}

// translate makes an error for people of one of SQLite's.
func (g *Guard) translate(e *sqlite.Error, cause error) error {
	d := &domain.Error{Kind: domain.Invalid, Field: "sql", Msg: "sql: " + g.clean(e, false), Err: cause}
	switch e.Primary() {
	case sqlite.CodeError:
		if forbidden(e.Message) {
			d.Kind, d.Field, d.Msg = domain.Denied, "", g.clean(e, false)
		}
	case sqlite.CodeConstraint:
		d.Kind, d.Field, d.Msg = domain.Conflict, "", g.clean(e, false)
	case sqlite.CodeBusy, sqlite.CodeLocked:
		d.Kind, d.Field, d.Msg = domain.Unavailable, "", "another statement holds the database"
		d.Hint = "try again"
	case sqlite.CodeReadOnly:
		if g.role == Reader {
			return &domain.Error{
				Kind: domain.Denied, Msg: readerMay + ": a change needs admin or owner", Err: cause,
				Hint: "ask an owner for it; who has which role: coffer member list",
			}
		}
		d.Kind, d.Field, d.Msg = domain.Denied, "", "this transaction or database may only be read"
	case sqlite.CodeAuth:
		d.Kind, d.Field, d.Msg = domain.Denied, "", "this is not available in a tenant's database"
	case sqlite.CodeTooBig:
		d.Kind, d.Field = domain.Limit, ""
		d.Msg = fmt.Sprintf("a value or row is larger than %d bytes, or the statement than %d", g.limits.Length, g.limits.SQL)
	case sqlite.CodeNoMemory:
		d.Kind, d.Field, d.Msg = domain.Limit, "", fmt.Sprintf("the statement needs more than %d bytes of memory, or is too complicated", g.limits.Memory)
		d.Hint = "let it work on fewer or smaller rows at a time"
	case sqlite.CodeFull:
		d.Kind, d.Field, d.Msg = domain.Limit, "", "the database has reached its quota, or the disk is full"
		d.Hint = "delete what is not needed, or ask the operator for a larger quota"
	case sqlite.CodeInterrupt:
		d.Kind, d.Field, d.Msg = domain.Unavailable, "", "the statement was interrupted"
	case sqlite.CodeCorrupt, sqlite.CodeNotADB:
		d.Kind, d.Field, d.Msg = domain.Tampered, "", "the database file is damaged or was changed"
		d.Hint = "stop writing to it and run: coffer doctor"
	case sqlite.CodeIOErr, sqlite.CodeCantOpen:
		d.Kind, d.Field, d.Msg = domain.Unavailable, "", "the database file cannot be read or written"
		d.Hint = "look at the operator's log and run: coffer doctor"
		const ioErrData = sqlite.CodeIOErr | 32<<8 // SQLITE_IOERR_DATA: the VFS could not authenticate a page
		if e.Code == ioErrData {
			d.Kind, d.Msg = domain.Tampered, "the database file is damaged or was changed"
		}
	}
	return d
}

// forbidden recognizes what SQLite refuses by itself on a defensive connection
// with an untrusted schema, before or without asking the authorizer.
func forbidden(msg string) bool {
	return strings.HasPrefix(msg, "unsafe use of ") ||
		(strings.HasPrefix(msg, "table ") && (strings.HasSuffix(msg, " may not be modified") ||
			strings.HasSuffix(msg, " may not be dropped") || strings.HasSuffix(msg, " may not be altered")))
}

// maxMessage bounds in bytes what is shown of SQLite's text: a RAISE() or a
// long name can fill any length.
const maxMessage = 200

// withValue are beginnings of texts that go on with a value, which may come
// from a row or an argument. What follows is left out.
var withValue = []string{
	"bad JSON path", "JSON path error", "fts5: syntax error", "fts5: ", "unknown special query", "no such cursor",
	"unrecognized token", "malformed MATCH expression", "unable to use function",
}

// duringRun are the same of texts that name what stands in the SQL when it is
// compiled, but a part of a full-text query, a value, when it runs.
var duringRun = []string{"no such column", "unknown column"}

// clean is SQLite's text without values, without names of Coffer's own, and
// bounded. For the log it also leaves out what a trigger says, which is of the
// tenant's making.
func (g *Guard) clean(e *sqlite.Error, forLog bool) string {
	const raised = sqlite.CodeConstraint | 7<<8 // SQLITE_CONSTRAINT_TRIGGER
	s := e.Message
	switch {
	case mentionsInternal(s):
		s = "the statement cannot be run"
	case forLog && e.Code == raised:
		s = "a trigger raised an error"
	default:
		s = cut(s, withValue)
		if g.stepping {
			s = cut(s, duringRun)
		}
	}
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	if forLog {
		return s
	}
	return s + " (" + e.Name() + ")"
}

// cut leaves of a text that begins like one of those only that beginning.
func cut(s string, beginnings []string) string {
	for _, p := range beginnings {
		if strings.HasPrefix(s, p) {
			return strings.TrimSuffix(p, ": ")
		}
	}
	return s
}
