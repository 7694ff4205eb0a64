package tenants

import (
	"context"

	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// session is a guarded connection to a tenant's file, wherever it lives. It is
// for one caller at a time.
type session interface {
	// Stream, Describe, Trusted and Rollback are those of guard.Guard.
	Stream(ctx context.Context, r guard.Request, sink guard.Sink) (guard.Outcome, error)
	Describe(ctx context.Context, sql string) (guard.Description, error)
	Trusted(ctx context.Context, sql string, args ...sqlite.Value) ([][]sqlite.Value, error)
	Rollback(ctx context.Context) error

	// InTransaction reports whether a transaction is open; an error can have
	// ended one.
	InTransaction() bool

	// Close gives the connection back. A transaction that is open is rolled back.
	Close() error
}
