package guard

import (
	"context"

	"coffer/tenants/sqlite"
)

// Description is what a statement would take and give.
type Description struct {
	Params   []string // names with their prefix, "" for those without one
	Columns  []sqlite.Column
	Explain  bool
	ReadOnly bool
	Report   Report
}

// Describe compiles one statement without running it. Its errors are those of
// Stream.
func (g *Guard) Describe(ctx context.Context, sql string) (Description, error) {
	g.deadline = g.limits.Deadline
	limited, cancel := context.WithTimeoutCause(ctx, g.deadline, errDeadline)
	defer cancel()
	stmt, _, err := g.prepare(limited, sql)
	d := Description{Report: Report{}.with(g.plan)}
	if err != nil {
		return d, g.explain(ctx, err)
	}
	d.Columns, d.Explain, d.ReadOnly = stmt.Columns(), stmt.IsExplain(), stmt.ReadOnly()
	for i := 1; i <= stmt.ParamCount(); i++ {
		d.Params = append(d.Params, stmt.ParamName(i))
	}
	return d, g.explain(ctx, stmt.Close())
}
