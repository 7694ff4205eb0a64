package worker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// fault is an error on its way over the socket: what callers of a guard look at,
// and no more. The zero fault is no error.
type fault struct {
	Failed  bool
	Kind    string // of a domain.Error; "" for another error
	Msg     string
	Hint    string
	Field   string
	Retry   time.Duration
	Code    string // for clients of the wire protocol
	SQLite  sqliteFault
	Context uint8 // 1 its context was cancelled, 2 its deadline passed
}

// sqliteFault is the *sqlite.Error under it.
type sqliteFault struct {
	There   bool
	Code    int
	Message string
	Offset  int
}

func (f *fault) code(c *coder) {
	c.boolean(&f.Failed)
	for _, s := range []*string{&f.Kind, &f.Msg, &f.Hint, &f.Field} {
		c.text(s, maxText)
	}
	number(c, &f.Retry)
	c.text(&f.Code, maxText)
	c.boolean(&f.SQLite.There)
	number(c, &f.SQLite.Code)
	c.text(&f.SQLite.Message, maxText)
	number(c, &f.SQLite.Offset)
	if c.u8(&f.Context); f.Context > 2 {
		c.fail("an end of a context of the unknown kind %d", f.Context)
	}
}

// faultOf takes an error apart.
func faultOf(err error) fault {
	if err == nil {
		return fault{}
	}
	f := fault{Failed: true, Msg: short(err.Error()), Code: short(guard.Code(err))}
	if e, ok := errors.AsType[*domain.Error](err); ok {
		f.Kind, f.Msg, f.Hint, f.Field, f.Retry = e.Kind.String(), short(e.Msg), short(domain.HintOf(err)), short(e.Field), e.Retry
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		f.SQLite = sqliteFault{true, e.Code, short(e.Message), e.Offset}
	}
	switch {
	case errors.Is(err, context.Canceled):
		f.Context = 1
	case errors.Is(err, context.DeadlineExceeded):
		f.Context = 2
	}
	return f
}

// short cuts a text to what a message holds.
func short(s string) string { return s[:min(len(s), maxText)] }

// remade is an error of a worker that was no domain.Error.
type remade struct {
	msg   string
	cause error
}

func (r *remade) Error() string { return r.msg }
func (r *remade) Unwrap() error { return r.cause }

// err puts the error together again.
func (f fault) err() error {
	if !f.Failed {
		return nil
	}
	var cause error
	if f.SQLite.There {
		cause = &sqlite.Error{Code: f.SQLite.Code, Message: f.SQLite.Message, Offset: f.SQLite.Offset}
	}
	switch f.Context {
	case 1:
		cause = errors.Join(cause, context.Canceled)
	case 2:
		cause = errors.Join(cause, context.DeadlineExceeded)
	}
	if f.Kind == "" {
		return &remade{f.Msg, cause}
	}
	e := &domain.Error{Kind: domain.ParseKind(f.Kind), Msg: f.Msg, Hint: f.Hint, Field: f.Field, Retry: f.Retry, Err: cmp.Or(cause, error(&remade{msg: f.Msg}))}
	if f.Code != "" && guard.Code(e) != f.Code {
		return guard.WithCode(f.Code, e)
	}
	return e
}
