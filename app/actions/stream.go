package actions

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// SQLStreamIn is one request on a stream of statements. The surface drives it:
// Run is called with the stream once the request is authorized.
type SQLStreamIn struct {
	Tenant string
	Baton  string   // of the last answer; "" opens a stream
	Texts  []string // every SQL text in the request; they decide whether it writes
	Stored []int32  // ids of stored texts that it refers to

	Run func(ctx context.Context, s *Stream) error

	// Started is set for an answer that is streamed. It is called with the baton
	// of the next request and the receipt of the intent, which is durable, before
	// Run. The operation then returns only when the outcome is durable too.
	Started func(baton string, r audit.Receipt)

	baton  baton   // parsed
	stream *stream // that it names, nil for a new one
}

// SQLStreamOut is how the request left the stream.
type SQLStreamOut struct {
	Baton string // of the next request; "" once the stream is closed
}

// SQLStream is one request on a stream: as sql.query if all of it means to read,
// else as sql.write.
var SQLStream = Operation[SQLStreamIn, SQLStreamOut]{
	action: authz.SQLQuery,
	also:   authz.SQLWrite,
	prove: func(_ context.Context, s *Service, who *Caller, in *SQLStreamIn) error {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return err
		}
		if in.Baton == "" {
			return nil
		}
		var ok bool
		if in.baton, ok = parseBaton(in.Baton, tenant, who.Subject); !ok {
			return errExpired()
		}
		in.stream, err = s.streams.find(in.baton, who.Subject)
		return err
	},
	ask: func(ctx context.Context, _ *Service, in SQLStreamIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		r := authz.Request{Tenant: tenant, Action: authz.SQLQuery}
		writes, err := in.writes(ctx)
		if writes {
			r.Action = authz.SQLWrite
		}
		return r, err
	},
	act: runStream,
}

// writes says whether the request means to change something. Nothing rests on
// it being right: with a permit to read, the connection refuses to write.
func (in SQLStreamIn) writes(ctx context.Context) (bool, error) {
	texts := in.Texts
	wrote := false
	if st := in.stream; st != nil {
		if err := st.wait(ctx); err != nil { // a request that is under way may store texts yet
			return false, err
		}
		for _, id := range in.Stored {
			texts = append(slices.Clone(texts), st.stored[id])
		}
		wrote = st.wrote
		<-st.turn
	}
	for _, text := range texts {
		for _, sql := range guard.Split(text) {
			switch control, err := guard.ControlOf(sql); {
			case err != nil, control == guard.Begin, control == guard.BeginReadOnly, control == guard.Rollback:
			case control == guard.BeginWrite, control == guard.Commit && wrote:
				return true, nil
			case control == guard.NoControl && !guard.OnlyReads(sql) && !guard.Savepoint(sql):
				return true, nil
			}
		}
	}
	return false, nil
}

func runStream(ctx context.Context, c *call, in SQLStreamIn) (out SQLStreamOut, err error) {
	st := in.stream
	if st == nil {
		if st, err = c.streams.add(c.permit.Tenant(), c.who.Subject); err != nil {
			return out, err
		}
	} else if err := st.enter(ctx, in.baton); err != nil {
		return out, err
	}
	defer c.leave(st)
	s := &Stream{call: c, st: st}
	defer s.describe()
	if st.tx != nil && time.Since(st.begun) > c.streams.limits.Held {
		c.abandonTx(ctx, st, "it was open for "+c.streams.limits.Held.String())
		s.close()
		return out, errExpired()
	}
	if c.permit.Grant().Changes() || in.Started != nil {
		if err := c.begin(ctx); err != nil {
			return out, err
		}
	}
	if in.Started != nil {
		c.streamed = true
		receipt, _ := c.permit.Receipt()
		in.Started(st.pass(s.promise(in.Texts)), receipt)
	}
	if err = in.Run(ctx, s); err != nil {
		err = errors.Join(err, s.Close(ctx)) // the caller's side of the stream ends with such an answer
	}
	s.settle()
	switch {
	case st.ended:
	case in.Started != nil: // the baton was handed out at the beginning
	case st.holds():
		out.Baton = st.pass(batonHolds)
	default:
		out.Baton = st.pass(batonIdle)
	}
	return out, err
}

// promise is the kind of a baton that is handed out before the statements ran.
func (s *Stream) promise(texts []string) byte {
	if s.st.holds() {
		return batonHolds
	}
	for _, text := range texts {
		switch control, _ := guard.ControlOf(text); control {
		case guard.Begin, guard.BeginReadOnly, guard.BeginWrite:
			return batonHolds
		}
	}
	return batonIdle
}

// Stream is a stream of statements as the request that has its turn sees it.
type Stream struct {
	*call
	st     *stream
	report streamReport
}

// Execute runs one statement: BEGIN, COMMIT and ROLLBACK too.
func (s *Stream) Execute(ctx context.Context, r guard.Request, sink guard.Sink) (guard.Outcome, error) {
	out, err := s.execute(ctx, r, sink)
	if out.Report.Kind == "" {
		out.Report.Kind = guard.KindOther
	}
	s.report.add(out.Report)
	s.settle()
	return out, err
}

func (s *Stream) execute(ctx context.Context, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	if s.st.ended {
		return out, errExpired()
	}
	control, err := guard.ControlOf(r.SQL)
	if err != nil {
		return out, err
	}
	if control != guard.NoControl {
		out.LastInsertRowID = s.st.lastRowID
		out.Report.Kind = kindOf[control]
		if err := s.control(ctx, control, r); err != nil {
			return out, err
		}
		return out, noColumns(sink)
	}
	if on, asks, ok := guard.ForeignKeys(r.SQL); ok && (s.st.loose || !asks) {
		out.Report.Kind = guard.KindPragma
		return out, s.foreignKeys(on, asks, sink)
	}
	r.LastRowID = s.st.lastRowID
	switch {
	case s.st.tx != nil:
		out, err = s.st.tx.Stream(ctx, s.permit, r, sink)
		s.st.wrote = s.st.tx.Wrote()
	case s.permit.Action() == authz.SQLQuery || guard.OnlyReads(r.SQL):
		out, err = s.files.Query(ctx, s.permit, r, sink)
	case s.st.loose:
		out, err = s.execLoose(ctx, r, sink)
	default:
		out, err = s.files.Exec(ctx, s.permit, r, sink)
	}
	if err == nil {
		s.st.lastRowID = out.LastInsertRowID
	}
	return out, err
}

var kindOf = map[guard.Control]guard.Kind{
	guard.Begin: guard.KindBegin, guard.BeginReadOnly: guard.KindBegin, guard.BeginWrite: guard.KindBegin,
	guard.Commit: guard.KindCommit, guard.Rollback: guard.KindRollback,
}

func noColumns(sink guard.Sink) error {
	if sink.Columns == nil {
		return nil
	}
	return sink.Columns(nil)
}

// execLoose is Exec with foreign keys off.
func (s *Stream) execLoose(ctx context.Context, r guard.Request, sink guard.Sink) (out guard.Outcome, err error) {
	tx, err := s.files.Begin(ctx, s.permit, tenants.TxLoose)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, tx.Rollback(context.WithoutCancel(ctx))) }()
	if out, err = tx.Stream(ctx, s.permit, r, sink); err != nil {
		return out, err
	}
	return out, tx.Commit(ctx, s.permit)
}

// control begins and ends transactions, with SQLite's own words for what cannot
// be.
func (s *Stream) control(ctx context.Context, control guard.Control, r guard.Request) error {
	if len(r.Args)+len(r.Named) > 0 {
		return guard.WithCode("ARGS_INVALID", domain.Fieldf("args", "%s takes none", kindOf[control]))
	}
	st := s.st
	switch {
	case control == guard.Commit && st.tx == nil:
		return wrongState("cannot commit - no transaction is active")
	case control == guard.Rollback && st.tx == nil:
		return wrongState("cannot rollback - no transaction is active")
	case control == guard.Commit:
		s.report.transaction = "committed"
		err := st.tx.Commit(ctx, s.permit)
		if err != nil {
			s.report.transaction = "not committed"
		}
		return err
	case control == guard.Rollback:
		s.report.transaction = "rolled back"
		return st.tx.Rollback(ctx)
	case st.tx != nil:
		return wrongState("cannot start a transaction within a transaction")
	}
	mode := tenants.TxWrite
	switch {
	case control == guard.BeginReadOnly, control == guard.Begin && !s.mayWrite():
		mode = tenants.TxRead
	case st.loose:
		mode = tenants.TxLoose
	}
	tx, err := s.files.Begin(ctx, s.permit, mode)
	if err == nil {
		st.tx, st.begun, st.wrote = tx, time.Now(), false
	}
	return err
}

func wrongState(text string) error {
	return guard.WithCode("SQLITE_ERROR", domain.Errorf(domain.Conflict, "%s (SQLITE_ERROR)", text))
}

// mayWrite says whether the caller could write, in a later request of the stream.
func (s *Stream) mayWrite() bool {
	_, err := authz.Authorize(s.who.Subject, authz.Request{Action: authz.SQLWrite, Tenant: s.permit.Tenant()})
	return err == nil
}

// foreignKeys keeps PRAGMA foreign_keys for the stream: the connections are
// shared. Like SQLite it takes no effect within a transaction.
func (s *Stream) foreignKeys(on, asks bool, sink guard.Sink) error {
	switch {
	case asks:
		if sink.Columns != nil {
			if err := sink.Columns([]sqlite.Column{{Name: "foreign_keys"}}); err != nil {
				return err
			}
		}
		if sink.Row != nil {
			return sink.Row([]sqlite.Value{sqlite.Int(0)})
		}
		return nil
	case s.permit.Action() != authz.SQLWrite:
		return guard.WithCode("SQLITE_READONLY", domain.Errorf(domain.Denied, "this request may only read"))
	case s.st.tx == nil:
		s.st.loose = !on
	}
	return noColumns(sink)
}

// Describe says what a statement would take and give, without running it.
func (s *Stream) Describe(ctx context.Context, sql string) (guard.Description, error) {
	if s.st.ended {
		return guard.Description{}, errExpired()
	}
	if control, err := guard.ControlOf(sql); err != nil || control != guard.NoControl {
		return guard.Description{ReadOnly: true, Report: guard.Report{Kind: kindOf[control]}}, err
	}
	var d guard.Description
	var err error
	if s.st.tx != nil {
		d, err = s.st.tx.Describe(ctx, s.permit, sql)
	} else {
		d, err = s.files.Describe(ctx, s.permit, sql)
	}
	d.Report.Kind = "DESCRIBE " + d.Report.Kind
	s.report.add(d.Report)
	s.settle()
	return d, err
}

// Sequence runs statements one after the other until one fails, and drops what
// they give.
func (s *Stream) Sequence(ctx context.Context, sql string) error {
	for _, one := range guard.Split(sql) {
		if _, err := s.Execute(ctx, guard.Request{SQL: one}, guard.Sink{}); err != nil {
			return err
		}
	}
	return nil
}

// Autocommit says whether no transaction is open.
func (s *Stream) Autocommit() bool { return s.st.tx == nil }

// Store keeps a text for later requests of the stream.
func (s *Stream) Store(id int32, sql string) error {
	if len(sql) > MaxStoredText {
		return guard.WithCode("SQL_STORE_TOO_LARGE", domain.Fieldf("sql", "%d bytes are more than the %d of a stored text", len(sql), MaxStoredText))
	}
	if _, there := s.st.stored[id]; there {
		return guard.WithCode("SQL_INPUT_ERROR", domain.Fieldf("sql_id", "%d is in use", id))
	}
	if len(s.st.stored) >= MaxStoredTexts {
		return guard.WithCode("SQL_STORE_TOO_MANY", domain.Errorf(domain.Limit, "a stream stores %d texts at most", MaxStoredTexts).
			WithHint("close those that are not needed"))
	}
	s.st.stored[id] = sql
	return nil
}

// Forget drops a stored text; one that is not there is no error.
func (s *Stream) Forget(id int32) { delete(s.st.stored, id) }

// Text is a stored text.
func (s *Stream) Text(id int32) (string, error) {
	sql, ok := s.st.stored[id]
	if !ok {
		return "", guard.WithCode("SQL_INPUT_ERROR", domain.Fieldf("sql_id", "no text is stored as %d", id))
	}
	return sql, nil
}

// Close ends the stream; a transaction that is open is rolled back.
func (s *Stream) Close(ctx context.Context) error {
	if s.st.ended {
		return nil
	}
	var err error
	if s.st.tx != nil {
		s.report.transaction = "rolled back"
		err = s.st.tx.Rollback(ctx)
	}
	s.close()
	return err
}

func (s *Stream) close() {
	s.st.tx, s.st.ended = nil, true
	s.streams.drop(s.st, false)
}

// settle notices a transaction that has ended.
func (s *Stream) settle() {
	if s.st.tx == nil {
		return
	}
	select {
	case <-s.st.tx.Done():
		s.st.tx, s.st.wrote = nil, false
		if s.report.transaction == "" {
			s.report.transaction = "rolled back"
		}
	default:
	}
}

// describe puts into the event what the statements touched, never a value.
func (s *Stream) describe() {
	if s.st.tx != nil && s.report.transaction == "" {
		s.report.transaction = "open"
	}
	s.detail["stream"] = s.st.name()
	if s.report.transaction != "" {
		s.detail["transaction"] = s.report.transaction
	}
	if len(s.report.kinds) > 0 {
		s.call.describe(s.report.sum())
	}
}

// streamReport adds up the reports of a request's statements.
type streamReport struct {
	kinds           []string // in order, repetitions counted
	last            guard.Kind
	times           int
	tables, columns map[string]bool
	total           guard.Report
	transaction     string
}

// maxKinds bounds the kinds that an event names.
const maxKinds = 32

func (r *streamReport) add(one guard.Report) {
	switch {
	case len(r.kinds) > 0 && r.last == one.Kind:
		r.times++
		r.kinds[len(r.kinds)-1] = string(one.Kind) + " ×" + strconv.Itoa(r.times)
	case len(r.kinds) < maxKinds:
		r.kinds, r.last, r.times = append(r.kinds, string(one.Kind)), one.Kind, 1
	default:
		r.total.Truncated = true
	}
	if r.tables == nil {
		r.tables, r.columns = map[string]bool{}, map[string]bool{}
	}
	for _, name := range one.Tables {
		r.tables[name] = true
	}
	for _, name := range one.Columns {
		r.columns[name] = true
	}
	r.total.RowsIn += one.RowsIn
	r.total.RowsOut += one.RowsOut
	r.total.Bytes += one.Bytes
	r.total.Truncated = r.total.Truncated || one.Truncated
}

// sum is the report of all of them.
func (r *streamReport) sum() guard.Report {
	r.total.Kind = guard.Kind(strings.Join(r.kinds, ", "))
	r.total.Tables, r.total.Columns = slices.Sorted(maps.Keys(r.tables)), slices.Sorted(maps.Keys(r.columns))
	return r.total
}
