package store

import (
	"errors"
	"fmt"
	"runtime/debug"

	"coffer/app/domain"
)

// errDamaged is in the chain of what guard makes, to tell it from a value that
// does not open: the file's structure is broken, so nothing may be written.
var errDamaged = errors.New("bbolt stopped")

// guard turns a panic of bbolt, and a fault on a page that the disk cannot
// give (SIGBUS), into an error of Kind Tampered. It is called as
//
//	defer guard(path, &err)()
//
// and covers the calling goroutine until the function returns. What the caller
// of the store does must not run under it.
func guard(path string, err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = caught(path, r)
		}
	}
}

// guard is the same for an open file, and remembers what it caught, so that
// the store stops whatever the caller does with the error.
func (h *handle) guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil { // recover works only in the deferred function itself
			damage := caught(h.path, r)
			h.damage.CompareAndSwap(nil, damage)
			*err = damage
		}
	}
}

func caught(path string, r any) *domain.Error {
	cause, ok := r.(error)
	if !ok {
		cause = errors.New(fmt.Sprint(r))
	}
	return tampered(path, "%w: %w", errDamaged, cause)
}

// noticeDamage stops the store, and wakes who watches it, if a guard caught
// something.
func (s *Store) noticeDamage(h *handle) {
	if d := h.damage.Load(); d != nil {
		_ = s.fail(d)
	}
}
