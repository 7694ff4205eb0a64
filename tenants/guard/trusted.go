package guard

import (
	"context"
	"fmt"

	"coffer/tenants/sqlite"
)

// maxOwn is the number of Coffer's own statements that stay prepared.
const maxOwn = 32

// Trusted runs one statement of Coffer's own on the guarded connection, with
// nothing denied and outside the deadline of requests: the record of an intent
// in the transaction of the change, the BEGIN and COMMIT around it. The text is
// a constant of the program, never from outside. What last_insert_rowid() says
// stays as the role's own statements left it. Its errors are not for people.
func (g *Guard) Trusted(ctx context.Context, sql string, args ...sqlite.Value) ([][]sqlite.Value, error) {
	was := g.trusted
	g.trusted = true
	defer func() { g.trusted = was }()

	rowID := g.conn.LastInsertRowID()
	defer g.conn.SetLastInsertRowID(rowID)

	stmt := g.own[sql]
	if stmt == nil {
		var tail string
		var err error
		// Not from the cache and not into it: what was compiled unguarded
		// must never run for a role.
		if stmt, tail, err = g.conn.PrepareUncached(ctx, sql); err != nil {
			return nil, fmt.Errorf("preparing a statement of coffer's own: %w", err)
		}
		if stmt == nil || !blankSQL(tail) {
			return nil, fmt.Errorf("preparing a statement of coffer's own: not exactly one")
		}
		if len(g.own) >= maxOwn {
			for text, old := range g.own {
				delete(g.own, text)
				if err := old.Discard(); err != nil {
					return nil, err
				}
				break
			}
		}
		g.own[sql] = stmt
	}
	rows, err := runOwn(ctx, stmt, args)
	if rerr := stmt.Reset(); err == nil {
		err = rerr
	}
	if err != nil {
		return nil, fmt.Errorf("running a statement of coffer's own: %w", err)
	}
	return rows, nil
}

func runOwn(ctx context.Context, stmt *sqlite.Stmt, args []sqlite.Value) ([][]sqlite.Value, error) {
	if len(args) != stmt.ParamCount() {
		return nil, fmt.Errorf("%d arguments for %d parameters", len(args), stmt.ParamCount())
	}
	for i, v := range args {
		if err := stmt.Bind(i+1, v); err != nil {
			return nil, err
		}
	}
	var rows [][]sqlite.Value
	for {
		more, err := stmt.Step(ctx)
		if err != nil || !more {
			return rows, err
		}
		rows = append(rows, stmt.Row(nil))
	}
}

// Rollback ends a transaction that is open, if any. A pool calls it before it lends the connection to somebody else.
func (g *Guard) Rollback(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if !g.conn.InTransaction() {
		return nil
	}
	_, err := g.Trusted(ctx, "ROLLBACK")
	return err
}
