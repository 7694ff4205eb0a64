package sqlapi

import (
	"context"
	"time"

	"coffer/app/actions"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// run does what a pipeline asks for and writes the results, one for each request,
// in order. Its error ends the request as a whole.
func (p pipeline) run(ctx context.Context, s *actions.Stream, a *answer) error {
	for i, r := range p.Requests {
		if i > 0 {
			a.raw(`,`)
		}
		start := len(a.buf)
		a.raw(`{"type":"ok","response":{"type":"` + r.Type + `"`) // one of those that check knows
		err := r.run(ctx, s, a)
		if err == nil {
			a.raw(`}}`)
			err = a.fits()
		}
		if err == nil {
			continue
		}
		if whole(err) {
			return err
		}
		a.buf = a.buf[:start]
		a.raw(`{"type":"error","error":`)
		a.failure(err)
		a.raw(`}`)
	}
	return a.fits()
}

func (r streamRequest) run(ctx context.Context, s *actions.Stream, a *answer) error {
	switch r.Type {
	case "execute":
		a.raw(`,"result":`)
		return r.Stmt.run(ctx, s, a)
	case "batch":
		a.raw(`,"result":`)
		return r.Batch.run(ctx, s, a)
	case "sequence":
		sql, err := textOf(s, r.SQL, r.SQLID)
		if err != nil {
			return err
		}
		return s.Sequence(ctx, sql)
	case "describe":
		sql, err := textOf(s, r.SQL, r.SQLID)
		if err != nil {
			return err
		}
		return describe(ctx, s, sql, a)
	case "store_sql":
		return s.Store(*r.SQLID, *r.SQL)
	case "close_sql":
		s.Forget(*r.SQLID)
	case "close":
		return s.Close(ctx)
	case "get_autocommit":
		a.raw(`,"is_autocommit":`)
		a.bool(s.Autocommit())
	}
	return nil
}

// textOf is the SQL that stands in a request or is stored on the stream.
func textOf(s *actions.Stream, sql *string, id *int32) (string, error) {
	if sql != nil {
		return *sql, nil
	}
	return s.Text(*id)
}

// run executes one statement and writes its result.
func (st stmt) run(ctx context.Context, s *actions.Stream, a *answer) error {
	sql, err := textOf(s, st.SQL, st.SQLID)
	if err != nil {
		return err
	}
	begun, rows := time.Now(), 0
	sink := guard.Sink{
		Columns: func(cols []sqlite.Column) error {
			a.raw(`{`)
			a.columns(cols)
			a.raw(`,"rows":[`)
			return nil
		},
		Row: func(row []sqlite.Value) error {
			if st.WantRows != nil && !*st.WantRows {
				return nil
			}
			if rows++; rows > 1 {
				a.raw(`,`)
			}
			return a.row(row)
		},
	}
	out, err := s.Execute(ctx, st.request(sql), sink)
	if err != nil {
		return err
	}
	a.raw(`],`)
	a.counts(out)
	a.raw(`,"replication_index":null,"rows_read":`)
	a.int(out.Report.RowsOut)
	a.raw(`,"rows_written":`)
	a.int(out.Report.RowsIn)
	a.raw(`,"query_duration_ms":`)
	a.buf = appendFloat(a.buf, float64(time.Since(begun).Microseconds())/1000)
	a.raw(`}`)
	return nil
}

// ending is how a step of a batch ended.
type ending struct{ ran, failed bool }

// holds evaluates a condition on the steps before.
func (c *condition) holds(s *actions.Stream, before []ending) bool {
	if c == nil {
		return true
	}
	switch c.Type {
	case "ok":
		e := before[*c.Step]
		return e.ran && !e.failed
	case "error":
		e := before[*c.Step]
		return e.ran && e.failed
	case "not":
		return !c.Cond.holds(s, before)
	case "and":
		for i := range c.Conds {
			if !c.Conds[i].holds(s, before) {
				return false
			}
		}
		return true
	case "or":
		for i := range c.Conds {
			if c.Conds[i].holds(s, before) {
				return true
			}
		}
		return false
	}
	return s.Autocommit()
}

// run executes the steps whose condition holds and writes what each gave: the
// results first, then the errors.
func (b batch) run(ctx context.Context, s *actions.Stream, a *answer) error {
	ends := make([]ending, len(b.Steps))
	failures := make([]error, len(b.Steps))
	a.raw(`{"step_results":[`)
	for i, st := range b.Steps {
		if i > 0 {
			a.raw(`,`)
		}
		start := len(a.buf)
		if ends[i].ran = st.Condition.holds(s, ends[:i]); ends[i].ran {
			failures[i] = st.Stmt.run(ctx, s, a)
		}
		if ends[i].failed = failures[i] != nil; ends[i].failed {
			if whole(failures[i]) {
				return failures[i]
			}
			a.buf = a.buf[:start]
		}
		if !ends[i].ran || ends[i].failed {
			a.raw(`null`)
		}
	}
	a.raw(`],"step_errors":[`)
	for i, err := range failures {
		if i > 0 {
			a.raw(`,`)
		}
		if err == nil {
			a.raw(`null`)
			continue
		}
		a.failure(err)
	}
	a.raw(`]}`)
	return nil
}

func describe(ctx context.Context, s *actions.Stream, sql string, a *answer) error {
	d, err := s.Describe(ctx, sql)
	if err != nil {
		return err
	}
	a.raw(`,"result":{"params":[`)
	for i, name := range d.Params {
		if i > 0 {
			a.raw(`,`)
		}
		a.raw(`{"name":`)
		if name == "" {
			a.raw(`null`)
		} else {
			a.text(name)
		}
		a.raw(`}`)
	}
	a.raw(`],`)
	a.columns(d.Columns)
	a.raw(`,"is_explain":`)
	a.bool(d.Explain)
	a.raw(`,"is_readonly":`)
	a.bool(d.ReadOnly)
	a.raw(`}`)
	return nil
}

func (a *answer) bool(b bool) {
	if b {
		a.raw(`true`)
	} else {
		a.raw(`false`)
	}
}
