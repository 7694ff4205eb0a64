package domain

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what a caller can do about an error. Surfaces translate kinds to
// status and exit codes, each in one table; nothing else looks at them.
type Kind int

// The kinds. A kind is about the caller's next step, not about the place
// where the error arose.
const (
	Internal    Kind = iota // a fault of ours; the text is for the operator's log only
	Invalid                 // the request is malformed: correct it
	Denied                  // not allowed, or there is nothing there that you may know of
	NotFound                // the thing named does not exist, and the caller may know that
	Conflict                // the state changed or forbids it: look again, then decide
	Sealed                  // the appliance is sealed: unseal it first
	Unavailable             // cannot serve now: try again or repair what the hint names
	Limit                   // a quota or bound is reached
	Tampered                // bytes on disk do not authenticate: stop and investigate
	Unauthentic             // no valid credential was presented
	StepUp                  // prove the second factor again, then ask again
)

var kindNames = map[Kind]string{
	Internal: "internal", Invalid: "invalid", Denied: "denied", NotFound: "not_found",
	Conflict: "conflict", Sealed: "sealed", Unavailable: "unavailable", Limit: "limit",
	Tampered: "tampered", Unauthentic: "unauthenticated", StepUp: "step_up",
}

// ErrCredential is under every error that says that a credential which was
// presented does not hold: the one kind of failure that is counted against the
// source it came from.
var ErrCredential = errors.New("a credential does not hold")

// BadCredential makes the error that says so.
func BadCredential(format string, args ...any) *Error {
	e := Errorf(Unauthentic, format, args...)
	e.Err = ErrCredential
	return e
}

// Kinds lists every kind, for tables that must be complete.
func Kinds() []Kind {
	out := make([]Kind, 0, len(kindNames))
	for k := Internal; k <= StepUp; k++ {
		out = append(out, k)
	}
	return out
}

// String is the kind's stable name on the wire.
func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// ParseKind is the inverse of String. An unknown name is Internal.
func ParseKind(s string) Kind {
	for k, name := range kindNames {
		if name == s {
			return k
		}
	}
	return Internal
}

// Error is the one error type that crosses package borders on its way to a
// person.
type Error struct {
	Kind  Kind
	Msg   string // what happened, for a person; never a secret
	Hint  string // what to do about it, if anything can be done
	Field string // the input field that is wrong, for Invalid
	Err   error  // the cause, for the operator's log only

	Retry time.Duration // after this long the same request may work; 0 if that is not known
}

// Errorf makes an error of a kind. A %w operand becomes the cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// Fieldf makes an Invalid error that names the field.
func Fieldf(field, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: field, Msg: field + ": " + fmt.Sprintf(format, args...)}
}

// WithHint returns a copy of e with a hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// WithRetry returns a copy of e that says after how long to try again.
func (e *Error) WithRetry(after time.Duration) *Error {
	c := *e
	c.Retry = after
	return &c
}

// Error is the message alone; the hint is printed apart from it.
func (e *Error) Error() string { return e.Msg }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, &Error{Kind: K}) true for any error of that kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Msg == "" && t.Kind == e.Kind
}

// KindOf finds the kind of the first *Error in err's chain, Internal if none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// HintOf finds the outermost non-empty hint in err's chain.
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// quote shows untrusted input inside a message: bounded, and on one line.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
