package guard

import (
	"context"
	"fmt"
	"math"
	"time"

	"coffer/tenants/sqlite"
)

// Limits bound one statement. The zero value of a field means its default, and
// for Trusted no limit.
type Limits struct {
	Deadline time.Duration // from the first look at the SQL to the last row
	Rows     int           // rows of a result
	Bytes    int64         // bytes of a result: texts and blobs, 8 for a number
	Memory   int64         // bytes of memory of SQLite for the connection, without its page cache
	Length   int           // bytes of a value, and of a row
	SQL      int           // bytes of the SQL text
	Pages    int64         // pages of the file, the quota; 0 leaves it as it is
}

// Defaults of Limits.
const (
	DefaultDeadline = 5 * time.Second
	DefaultRows     = 100_000
	DefaultBytes    = 10 << 20
	DefaultMemory   = 64 << 20
	DefaultLength   = 1_000_000
	DefaultSQL      = 1_000_000
)

func (l Limits) withDefaults(r Role) Limits {
	if r == Trusted {
		const year = 365 * 24 * time.Hour // far enough, and no overflow when added to a time
		l.Deadline = orDefault(l.Deadline, year)
		l.Rows = orDefault(l.Rows, math.MaxInt)
		l.Bytes = orDefault(l.Bytes, math.MaxInt64)
		return l
	}
	l.Deadline = orDefault(l.Deadline, DefaultDeadline)
	l.Rows = orDefault(l.Rows, DefaultRows)
	l.Bytes = orDefault(l.Bytes, DefaultBytes)
	l.Memory = orDefault(l.Memory, DefaultMemory)
	l.Length = orDefault(l.Length, DefaultLength)
	l.SQL = orDefault(l.SQL, DefaultSQL)
	return l
}

func orDefault[T int | int64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// shape bounds how complicated a statement may be. The values leave room for
// what ORMs write and keep compilation within milliseconds; the reason stands
// where it is another.
var shape = []struct {
	limit sqlite.Limit
	n     int
}{
	{sqlite.LimitColumn, 500},
	{sqlite.LimitExprDepth, 500},
	{sqlite.LimitCompoundSelect, 100},
	{sqlite.LimitVDBEOp, 200_000},
	{sqlite.LimitFunctionArg, 127},
	{sqlite.LimitVariableNumber, 32_766}, // multi-row INSERTs have thousands
	{sqlite.LimitTriggerDepth, 50},
	{sqlite.LimitLikePatternLength, 100}, // in one instruction, LIKE takes 3 ms for a byte of pattern over 1 MB, GLOB 10
	{sqlite.LimitAttached, 0},
	{sqlite.LimitWorkerThreads, 0},
}

// apply sets the limits on a connection that has no authorizer yet.
func (l Limits) apply(ctx context.Context, conn *sqlite.Conn, r Role) error {
	if r != Trusted {
		for _, s := range shape {
			conn.SetLimit(s.limit, s.n)
		}
		conn.SetLimit(sqlite.LimitSQLLength, l.SQL+len(schemaCTE)+len("WITH  "))
	}
	if l.Length > 0 {
		conn.SetLimit(sqlite.LimitLength, l.Length)
	}
	if err := conn.SetMemoryLimit(l.Memory); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	if l.Pages > 0 {
		if err := conn.Exec(ctx, fmt.Sprintf("PRAGMA main.max_page_count=%d", l.Pages)); err != nil {
			return fmt.Errorf("setting the quota: %w", err)
		}
	}
	return nil
}
