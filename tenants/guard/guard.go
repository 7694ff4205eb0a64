package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// Guard is a connection as one role sees it.
type Guard struct {
	conn   *sqlite.Conn
	role   Role
	limits Limits

	plan     *plan         // of the statement that is compiled or runs
	denied   *denial       // the first refusal since the statement began
	stepping bool          // that statement has been compiled
	trusted  bool          // Coffer's own statement is compiled or runs
	busy     bool          // a call is in progress
	deadline time.Duration // of the statement that runs
	own      map[string]*sqlite.Stmt
	pace     func(context.Context) bool // see Pace
}

// New makes conn the guarded connection of a role: limits first, then the
// authorizer. The caller keeps closing conn, and from now on uses it through
// the Guard alone.
func New(ctx context.Context, conn *sqlite.Conn, role Role, limits Limits) (*Guard, error) {
	g := &Guard{
		conn: conn, role: role, limits: limits.withDefaults(role),
		plan: &plan{kind: KindOther}, trusted: role == Trusted, own: map[string]*sqlite.Stmt{},
	}
	if err := g.limits.apply(ctx, conn, role); err != nil {
		return nil, fmt.Errorf("guarding a connection: %w", err)
	}
	if err := conn.SetAuthorizer(g.authorize); err != nil {
		return nil, fmt.Errorf("guarding a connection: %w", err)
	}
	return g, nil
}

// Role is the role that the connection is guarded for.
func (g *Guard) Role() Role { return g.role }

// InTransaction reports whether a transaction is open. An error can have ended
// one: a full disk, an interrupted write, ON CONFLICT ROLLBACK.
func (g *Guard) InTransaction() bool { return g.conn.InTransaction() }

// paceOps is the number of virtual machine instructions between two calls of
// what Pace was given: well below a millisecond of work.
const paceOps = 1000

// Pace has fn called now and then while a role's statement runs. It may wait, and
// stops the statement by returning false. Its context ends with the statement's
// time. Nil takes it away.
func (g *Guard) Pace(fn func(context.Context) bool) { g.pace = fn }

// Named is an argument for a named parameter. The name may have the
// parameter's prefix or leave it out.
type Named struct {
	Name  string
	Value sqlite.Value
}

// Request is one statement with its arguments.
type Request struct {
	SQL   string
	Args  []sqlite.Value // for the parameters in order; for ?NNN by their number
	Named []Named

	// Transaction allows BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE.
	// Without it they are refused, so that nobody ends a transaction that
	// is not his.
	Transaction bool

	// ReadOnly refuses a statement that changes the database file: a change
	// whose request was allowed to read only.
	ReadOnly bool

	// LastRowID is what last_insert_rowid() says to the statement, as long as it
	// inserts nothing itself: connections are shared, what was inserted last is not.
	LastRowID int64

	Rows  int   // narrows Limits.Rows, if not 0
	Bytes int64 // narrows Limits.Bytes, if not 0

	// Deadline takes the place of Limits.Deadline, if not 0: for what an
	// operator started, never by what a request says.
	Deadline time.Duration
}

// Sink takes a result as it comes. Columns is called once before the first
// row, and for a statement that gives no columns too. The slice given to Row
// is used again for the next one, its values may be kept. End is called after
// the last row, while the statement can still be undone. An error ends the
// statement and is returned as it is.
type Sink struct {
	Columns func([]sqlite.Column) error
	Row     func([]sqlite.Value) error
	End     func() error
}

// Outcome is what a statement did.
type Outcome struct {
	Affected        int64 // rows changed by the statement itself, 0 for one that only reads
	LastInsertRowID int64 // by this statement, or Request.LastRowID
	Wrote           bool  // the statement is one that changes the file
	Report          Report
}

// Result is an Outcome with the rows.
type Result struct {
	Outcome
	Columns []sqlite.Column
	Rows    [][]sqlite.Value
}

// Run runs one statement and collects its rows. Its errors are those of
// Stream; the Report is valid beside an error, as far as the statement came.
func (g *Guard) Run(ctx context.Context, r Request) (Result, error) {
	var res Result
	var err error
	res.Outcome, err = g.Stream(ctx, r, Sink{
		Columns: func(c []sqlite.Column) error { res.Columns = c; return nil },
		Row: func(v []sqlite.Value) error {
			res.Rows = append(res.Rows, append([]sqlite.Value(nil), v...))
			return nil
		},
	})
	if err != nil {
		res.Columns, res.Rows = nil, nil
	}
	return res, err
}

// Stream runs one statement and hands its rows to a sink. Its own errors are
// *domain.Error: Invalid for SQL that is wrong, Denied for what the role may
// not do, Limit for what is too much, Conflict for a broken constraint,
// Unavailable for a lock that was not got in time or a context that ended,
// Tampered for a file that does not authenticate. Code gives the name that
// clients of the wire protocol compare with.
//
// A statement that fails leaves nothing changed, even if it had handed out
// rows of its RETURNING clause. Inside a transaction, an interrupted write
// rolls the whole transaction back.
func (g *Guard) Stream(ctx context.Context, r Request, sink Sink) (Outcome, error) {
	if g.busy {
		return Outcome{}, domain.Errorf(domain.Internal, "a statement runs on this connection already")
	}
	g.busy = true
	defer func() { g.busy = false }()

	g.deadline = cmp.Or(r.Deadline, g.limits.Deadline)
	limited, cancel := context.WithTimeoutCause(ctx, g.deadline, errDeadline)
	defer cancel()
	if pace := g.pace; pace != nil {
		g.conn.SetProgress(paceOps, func() bool { return g.trusted || pace(limited) })
		defer g.conn.SetProgress(0, nil)
	}
	out, err := g.stream(limited, r, sink)
	return out, g.explain(ctx, err)
}

func (g *Guard) stream(ctx context.Context, r Request, sink Sink) (out Outcome, err error) {
	stmt, parsed, err := g.prepare(ctx, r.SQL)
	if stmt != nil {
		defer func() { err = errors.Join(err, stmt.Close()) }()
	}
	// The plan is asked at the end: compiling again adds to it.
	defer func() { out.Report = out.Report.with(g.plan) }()
	if err != nil {
		return out, err
	}
	if parsed.kind.transaction() && !r.Transaction && g.role != Trusted {
		return out, problem(codeBlocked, domain.Errorf(domain.Invalid, "%s is not possible here: this statement runs in a transaction of its own", parsed.kind).
			WithHint("send the statements in one batch or stream"))
	}
	if r.ReadOnly && !stmt.ReadOnly() {
		return out, problem("SQLITE_READONLY", domain.Errorf(domain.Denied, "this request may only read, and %s changes the database", parsed.kind))
	}
	if err := g.bind(stmt, r); err != nil {
		return out, err
	}
	out.Wrote = !stmt.ReadOnly()
	g.conn.SetLastInsertRowID(r.LastRowID)
	err = g.atomically(ctx, stmt, func() error { return g.rows(ctx, stmt, r, sink, &out) })
	return out, err
}

// rows steps through the statement.
func (g *Guard) rows(ctx context.Context, stmt *sqlite.Stmt, r Request, sink Sink, out *Outcome) error {
	maxRows, maxBytes := int64(g.limits.Rows), g.limits.Bytes
	if r.Rows > 0 {
		maxRows = min(maxRows, int64(r.Rows))
	}
	if r.Bytes > 0 {
		maxBytes = min(maxBytes, r.Bytes)
	}
	pragma := g.plan.kind == KindPragma && g.role != Trusted
	before := g.conn.TotalChanges()
	var row []sqlite.Value
	more, err := stmt.Step(ctx)
	if err != nil {
		return err
	}
	if err := sink.columns(stmt.Columns()); err != nil {
		return err
	}
	for more {
		row = stmt.Row(row[:0])
		if !pragma || !namesInternal(row) {
			out.Report.RowsOut++
			out.Report.Bytes += size(row)
			if out.Report.RowsOut > maxRows {
				return tooManyRows(maxRows)
			}
			if out.Report.Bytes > maxBytes {
				return tooManyBytes(maxBytes)
			}
			if err := sink.row(row); err != nil {
				return err
			}
		}
		if more, err = stmt.Step(ctx); err != nil {
			return err
		}
	}
	if err := sink.end(); err != nil {
		return err
	}
	if g.plan.kind.changesRows() && g.conn.TotalChanges() != before {
		out.Affected = g.conn.Changes()
		out.Report.RowsIn = out.Affected
	}
	out.LastInsertRowID = g.conn.LastInsertRowID()
	return nil
}

func (s Sink) columns(c []sqlite.Column) error {
	if s.Columns == nil {
		return nil
	}
	return sinkError(s.Columns(c))
}

func (s Sink) row(v []sqlite.Value) error {
	if s.Row == nil {
		return nil
	}
	return sinkError(s.Row(v))
}

func (s Sink) end() error {
	if s.End == nil {
		return nil
	}
	return sinkError(s.End())
}

// namesInternal reports whether a row of a PRAGMA is about a table of
// Coffer's own; such rows are left out.
func namesInternal(row []sqlite.Value) bool {
	for _, v := range row {
		if v.Type() == sqlite.TypeText && mentionsInternal(v.Raw()) {
			return true
		}
	}
	return false
}

func size(row []sqlite.Value) int64 {
	n := int64(0)
	for _, v := range row {
		n += int64(v.Size())
	}
	return n
}

// prepare compiles the one statement of a text, or finds it in the cache, and
// makes its plan the current one.
func (g *Guard) prepare(ctx context.Context, sql string) (*sqlite.Stmt, statement, error) {
	g.denied, g.stepping = nil, false
	g.plan = &plan{kind: KindOther}
	if g.role != Trusted {
		if err := g.admit(sql); err != nil {
			return nil, statement{}, err
		}
	}
	parsed := statement{kind: KindOther, text: sql}
	if g.role != Trusted {
		parsed = classify(sql)
	}
	g.plan.kind = parsed.kind
	if parsed.schema && parsed.kind.definition() {
		return nil, parsed, problem(codeBlocked, domain.Fieldf("sql", "a definition cannot name sqlite_schema").
			WithHint("create the table first, then fill it from a SELECT"))
	}
	if parsed.kind == KindExplain && g.role == Reader {
		return nil, parsed, problem(codeBlocked, refusal(denial{what: "EXPLAIN", needs: Writer}))
	}
	stmt, tail, err := g.conn.Prepare(ctx, parsed.text)
	if err != nil {
		return nil, parsed, err
	}
	switch {
	case stmt != nil && parsed.kind == KindOther && g.role != Trusted:
		return nil, parsed, problem(codeBlocked, errors.Join(refusal(denial{what: "this kind of statement"}), stmt.Discard()))
	case stmt == nil:
		return nil, parsed, problem(codeNoStatement, domain.Fieldf("sql", "there is no statement in it"))
	case !blankSQL(tail):
		return nil, parsed, problem(codeManyStatements, errors.Join(domain.Fieldf("sql", "there is more than one statement in it").
			WithHint("send each statement on its own, or use a batch"), stmt.Discard()))
	}
	if p, ok := stmt.Tag().(*plan); ok {
		g.plan = p
	} else {
		stmt.SetTag(g.plan)
	}
	g.stepping = true
	return stmt, parsed, nil
}

// admit refuses by its text what SQLite must not even look at.
func (g *Guard) admit(sql string) error {
	switch {
	case g.role != Reader && g.role != Writer:
		return problem(codeBlocked, refusal(denial{what: "SQL", needs: Reader}))
	case len(sql) > g.limits.SQL:
		return problem(codeTooLarge, domain.Errorf(domain.Limit, "sql: %d bytes are more than the %d that a statement may have", len(sql), g.limits.SQL).
			WithHint("bind long values as arguments"))
	case mentionsInternal(sql):
		return problem(codeBlocked, domain.Errorf(domain.Denied, "names that begin with %s are reserved", InternalPrefix).
			WithHint("use another name; bind texts that contain it as arguments"))
	}
	return nil
}

// atomically makes a writing statement that hands out rows all or nothing:
// ending it before its last row would keep what it has changed.
func (g *Guard) atomically(ctx context.Context, stmt *sqlite.Stmt, run func() error) error {
	if stmt.ReadOnly() || len(stmt.Columns()) == 0 {
		return run()
	}
	const name = InternalPrefix + "_statement"
	if _, err := g.Trusted(ctx, "SAVEPOINT "+name); err != nil {
		return err
	}
	end := context.WithoutCancel(ctx)
	if err := run(); err != nil {
		err = errors.Join(err, stmt.Reset())
		if !g.conn.InTransaction() {
			return err // the error has rolled back everything
		}
		_, undo := g.Trusted(end, "ROLLBACK TO "+name)
		_, release := g.Trusted(end, "RELEASE "+name)
		return errors.Join(err, undo, release)
	}
	if err := stmt.Reset(); err != nil {
		return err
	}
	_, err := g.Trusted(end, "RELEASE "+name)
	return err
}
