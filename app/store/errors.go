package store

import (
	"errors"
	"fmt"

	"coffer/app/domain"
)

// ErrNotFound means that the bucket has no such key. Its Kind is NotFound; a
// caller that answers people says itself what was not found.
var ErrNotFound error = &domain.Error{Kind: domain.NotFound, Msg: "no such entry in the control store"}

// ErrClosed means that the store was closed: do not use it any more.
var ErrClosed error = &domain.Error{
	Kind: domain.Unavailable, Msg: "the control store is closed",
	Hint: "the appliance is stopping; try again when it is up",
}

// UncertainError means that writing the commit failed: whether the change is on
// disk is known when the store has been opened again. It ended with that.
type UncertainError struct{ Err error }

// Error is the error that ended the store.
func (e *UncertainError) Error() string { return e.Err.Error() }

// Unwrap gives that error.
func (e *UncertainError) Unwrap() error { return e.Err }

// ErrStop, returned from the function given to Scan, ends the scan without an
// error.
var ErrStop = errors.New("stop scanning")

const restoreHint = "the file was left as it is: keep a copy of it, then restore a copy of the whole data directory"

// tampered is the error for bytes that are not what this package wrote.
func tampered(path, format string, args ...any) *domain.Error {
	cause := fmt.Errorf(format, args...)
	return &domain.Error{
		Kind: domain.Tampered, Msg: fmt.Sprintf("control store %s is damaged or was altered", path),
		Hint: restoreHint, Err: cause,
	}
}

// unavailable is the error for what is not the file's fault.
func unavailable(cause error, hint, format string, args ...any) *domain.Error {
	return &domain.Error{
		Kind: domain.Unavailable, Msg: fmt.Sprintf(format, args...), Hint: hint, Err: cause,
	}
}

// internal is the error for a caller's mistake.
func internal(format string, args ...any) *domain.Error {
	return domain.Errorf(domain.Internal, format, args...)
}
