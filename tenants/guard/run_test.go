package guard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

func TestArguments(t *testing.T) {
	g := open(t, newFile(t), guard.Reader, guard.Limits{})
	i := sqlite.Int
	for _, tt := range []struct {
		name string
		req  guard.Request
		want string // the row, or a part of the error
	}{
		{"positional", guard.Request{SQL: `SELECT ?, ?`, Args: []sqlite.Value{i(1), i(2)}}, `1|2`},
		{"numbered with a hole", guard.Request{SQL: `SELECT ?3, ?1`, Args: []sqlite.Value{i(1), i(2), i(3)}}, `3|1`},
		{"named without prefix", guard.Request{SQL: `SELECT :a, @b, $c`, Named: []guard.Named{{"b", i(2)}, {"a", i(1)}, {"c", i(3)}}}, `1|2|3`},
		{"named with prefix", guard.Request{SQL: `SELECT :a, @a`, Named: []guard.Named{{":a", i(1)}, {"@a", i(2)}}}, `1|2`},
		{"positional for named", guard.Request{SQL: `SELECT :a, :b`, Args: []sqlite.Value{i(1), i(2)}}, `1|2`},
		{"mixed", guard.Request{SQL: `SELECT ?, :b`, Args: []sqlite.Value{i(1)}, Named: []guard.Named{{"b", i(2)}}}, `1|2`},
		{"too few", guard.Request{SQL: `SELECT ?, ?`, Args: []sqlite.Value{i(1)}}, `args: parameter 2 has no argument`},
		{"too many", guard.Request{SQL: `SELECT ?`, Args: []sqlite.Value{i(1), i(2)}}, `args: 2 positional arguments are more than the 1 parameters`},
		{"missing name", guard.Request{SQL: `SELECT :a`}, `args: parameter ":a" has no argument`},
		{"unknown name", guard.Request{SQL: `SELECT :a`, Named: []guard.Named{{"a", i(1)}, {"b", i(2)}}}, `args: no parameter has the name "b"`},
		{"twice", guard.Request{SQL: `SELECT :a`, Named: []guard.Named{{"a", i(1)}, {"a", i(2)}}}, `args: the argument "a" is given twice`},
		{"too large", guard.Request{SQL: `SELECT ?`, Args: []sqlite.Value{sqlite.Text(strings.Repeat("x", 1_000_001))}}, `args: parameter 1 has 1000001 bytes, more than the 1000000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, err := g.Run(t.Context(), tt.req)
			got := text(res)
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if e, ok := errors.AsType[*domain.Error](err); ok && e.Kind == domain.Invalid && e.Field != "args" {
				t.Errorf("field %q", e.Field)
			}
		})
	}
}

func TestResultLimits(t *testing.T) {
	g := open(t, newFile(t), guard.Reader, guard.Limits{Rows: 3, Bytes: 100})
	if res := mustRun(t, g, `SELECT id FROM visits`); len(res.Rows) != 3 || res.Report.RowsOut != 3 || res.Report.Bytes != 24 {
		t.Errorf("%+v", res)
	}
	refused(t, g, `SELECT id FROM visits UNION ALL SELECT 1`, domain.Limit)
	refused(t, g, `SELECT hex(zeroblob(51))`, domain.Limit)
	_, err := g.Run(t.Context(), guard.Request{SQL: `SELECT id FROM visits`, Rows: 2})
	if domain.KindOf(err) != domain.Limit || guard.Code(err) != "RESPONSE_TOO_LARGE" {
		t.Errorf("narrowed: %v", err)
	}
	if _, err := g.Run(t.Context(), guard.Request{SQL: `SELECT id FROM visits`, Rows: 1000}); err != nil {
		t.Errorf("a request cannot widen, but may ask: %v", err)
	}
}

// endless never ends by itself.
const endless = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`

func TestDeadline(t *testing.T) {
	path := newFile(t)
	g := open(t, path, guard.Writer, guard.Limits{Deadline: 50 * time.Millisecond})
	_, err := run(g, endless)
	if domain.KindOf(err) != domain.Limit || guard.Code(err) != "SQLITE_INTERRUPT" || domain.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	_, err = run(g, `INSERT INTO people(name) SELECT i FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)`)
	if domain.KindOf(err) != domain.Limit {
		t.Errorf("%v", err)
	}
	if g.InTransaction() {
		t.Error("an interrupted write left a transaction open")
	}
	patient := open(t, path, guard.Writer, guard.Limits{Deadline: time.Hour})
	if got := text(mustRun(t, patient, `SELECT count(*) FROM people`)); got != "2" {
		t.Errorf("an interrupted write left %s rows", got)
	}
	mustRun(t, patient, `DELETE FROM visits WHERE id = 1`) // it left no lock either
}

func TestCallerGoesAway(t *testing.T) {
	g := open(t, newFile(t), guard.Reader, guard.Limits{Deadline: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	rows := 0
	_, err := g.Stream(ctx, guard.Request{SQL: `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n`}, guard.Sink{
		Row: func([]sqlite.Value) error {
			if rows++; rows == 5 {
				cancel()
			}
			return nil
		},
	})
	if domain.KindOf(err) != domain.Unavailable || rows > 5 {
		t.Errorf("%d rows, %v", rows, err)
	}
	mustRun(t, g, `SELECT 1`)
}

func TestSinkStops(t *testing.T) {
	g := open(t, newFile(t), guard.Writer, guard.Limits{})
	stop := errors.New("the client hung up")
	for _, sql := range []string{`SELECT id FROM visits`, `DELETE FROM visits RETURNING id`} {
		_, err := g.Stream(t.Context(), guard.Request{SQL: sql}, guard.Sink{Row: func([]sqlite.Value) error { return stop }})
		if err != stop {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if got := text(mustRun(t, g, `SELECT count(*) FROM visits`)); got != "3" {
		t.Errorf("a statement whose rows were refused changed the table: %s rows", got)
	}
	if g.InTransaction() {
		t.Error("a transaction is left open")
	}
}

// A write that hands out rows is all or nothing, alone and in a transaction.
func TestReturningIsAtomic(t *testing.T) {
	g := open(t, newFile(t), guard.Writer, guard.Limits{Rows: 2})
	refused(t, g, `UPDATE visits SET cost = 0 RETURNING id`, domain.Limit)
	mustRun(t, g, `BEGIN`)
	mustRun(t, g, `INSERT INTO people(name) VALUES ('kept') RETURNING id`)
	refused(t, g, `DELETE FROM visits RETURNING id`, domain.Limit)
	if !g.InTransaction() {
		t.Fatal("the transaction is gone")
	}
	mustRun(t, g, `COMMIT`)
	if got := text(mustRun(t, g, `SELECT (SELECT sum(cost) FROM visits), (SELECT count(*) FROM people)`)); got != "8|3" {
		t.Error(got)
	}
}

func TestTransactionsMustBeAllowed(t *testing.T) {
	g := open(t, newFile(t), guard.Writer, guard.Limits{})
	for _, sql := range []string{`BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT s`, `RELEASE s`, `END`, `BEGIN EXCLUSIVE`} {
		_, err := g.Run(t.Context(), guard.Request{SQL: sql})
		if domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: %v", sql, err)
		}
	}
	mustRun(t, g, `BEGIN`) // from the cache now
	if _, err := g.Run(t.Context(), guard.Request{SQL: `COMMIT`}); domain.KindOf(err) != domain.Invalid || !g.InTransaction() {
		t.Errorf("%v", err)
	}
	if err := g.Rollback(t.Context()); err != nil || g.InTransaction() {
		t.Error(err)
	}
}

// TestReadOnlyRequest: what a request that may only read runs changes nothing,
// also on a connection that may write.
func TestReadOnlyRequest(t *testing.T) {
	g := open(t, newFile(t), guard.Writer, guard.Limits{})
	for _, sql := range []string{
		`INSERT INTO people(name) VALUES ('x')`, `CREATE TABLE t(a)`, `DELETE FROM people RETURNING name`, `PRAGMA user_version = 3`,
		`WITH x AS (SELECT 1) UPDATE people SET name = 'x'`, `REINDEX`, `ANALYZE`,
	} {
		_, err := g.Run(t.Context(), guard.Request{SQL: sql, ReadOnly: true})
		if domain.KindOf(err) != domain.Denied || guard.Code(err) != "SQLITE_READONLY" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := g.Run(t.Context(), guard.Request{SQL: `SELECT name FROM people`, ReadOnly: true}); err != nil {
		t.Error(err)
	}
}

// The record of an intent goes into the transaction of the change.
func TestTrusted(t *testing.T) {
	path := newFile(t)
	g := open(t, path, guard.Writer, guard.Limits{})
	trusted := func(sql string, args ...sqlite.Value) [][]sqlite.Value {
		t.Helper()
		rows, err := g.Trusted(t.Context(), sql, args...)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	for slot, end := range []string{"COMMIT", "ROLLBACK"} {
		trusted(`BEGIN IMMEDIATE`)
		res := mustRun(t, g, `INSERT INTO people(name) VALUES ('`+end+`')`)
		trusted(`INSERT OR REPLACE INTO __coffer_applied(slot, intent) VALUES (?, ?)`, sqlite.Int(int64(100+slot)), sqlite.Blob([]byte{1, 2}))
		if id := rowID(t, g, res.LastInsertRowID); id != res.LastInsertRowID || id > 10 {
			t.Errorf("last_insert_rowid() is %d, want %d", id, res.LastInsertRowID)
		}
		trusted(end)
	}
	if got := trusted(`SELECT slot, intent FROM __coffer_applied WHERE slot >= 100`); len(got) != 1 || got[0][0].Int64() != 100 {
		t.Errorf("%v", got)
	}
	if got := text(mustRun(t, g, `SELECT name FROM people WHERE id > 2`)); got != `"COMMIT"` {
		t.Error(got)
	}
	refused(t, g, `SELECT slot, intent FROM __coffer_applied WHERE slot >= 100`, domain.Denied)

	// What was compiled for Coffer is not in the cache for a role.
	trusted(`PRAGMA database_list`)
	refused(t, g, `PRAGMA database_list`, domain.Denied)
	for i := range 100 {
		trusted(`SELECT ` + strings.Repeat(" ", i) + `1`)
	}
	if _, err := g.Trusted(t.Context(), `SELECT ?`); err == nil {
		t.Error("a missing argument went unseen")
	}
	if _, err := g.Trusted(t.Context(), `SELECT 1; SELECT 2`); err == nil {
		t.Error("two statements went unseen")
	}
}

// The trusted role is for imports and maintenance.
func TestTrustedRole(t *testing.T) {
	path := newFile(t)
	g := open(t, path, guard.Trusted, guard.Limits{})
	other := newFile(t)
	for _, sql := range []string{
		`VACUUM`, `PRAGMA wal_checkpoint(TRUNCATE)`, `ATTACH '` + other + `' AS other`,
		`INSERT INTO people(name) SELECT 'copy of ' || name FROM other.people`, `DETACH other`,
		`UPDATE __coffer_applied SET intent = NULL`, `CREATE TEMP TABLE t AS SELECT json_patch('{}', '{}')`,
	} {
		mustRun(t, g, sql)
	}
	if got := text(mustRun(t, g, `SELECT count(*) FROM people, __coffer_applied WHERE intent IS NULL`)); got != "4" {
		t.Error(got)
	}
	if _, err := run(g, `SELECT 1; SELECT 2`); domain.KindOf(err) != domain.Invalid {
		t.Errorf("%v", err)
	}
}

func TestReport(t *testing.T) {
	g := open(t, newFile(t), guard.Writer, guard.Limits{})
	for _, tt := range []struct {
		sql  string
		want guard.Report
	}{
		{`SELECT name FROM people WHERE id = 1`, guard.Report{Kind: guard.KindSelect, Tables: []string{"people"}, Columns: []string{"people.id", "people.name"}, RowsOut: 1, Bytes: 3}},
		{`SELECT total FROM spent`, guard.Report{
			Kind: guard.KindSelect, Tables: []string{"people", "spent", "visits"},
			Columns: []string{"people.id", "people.name", "spent.total", "visits.cost", "visits.person"}, RowsOut: 2, Bytes: 16,
		}},
		{`UPDATE people SET born = '1815' WHERE name = 'Ada'`, guard.Report{Kind: guard.KindUpdate, Tables: []string{"people"}, Columns: []string{"people.born", "people.name"}, RowsIn: 1}},
		{`DELETE FROM visits WHERE person = 9`, guard.Report{Kind: guard.KindDelete, Tables: []string{"visits"}, Columns: []string{"visits.person"}}},
		{`CREATE TABLE t(a)`, guard.Report{Kind: guard.KindCreate, Tables: []string{"t"}}},
		{`CREATE INDEX i ON t(a)`, guard.Report{Kind: guard.KindCreate, Tables: []string{"t"}, Columns: []string{"t.a"}}},
		{`ALTER TABLE t ADD COLUMN b`, guard.Report{Kind: guard.KindAlter, Tables: []string{"t"}}},
		{`INSERT INTO t VALUES (1, 2), (3, 4)`, guard.Report{Kind: guard.KindInsert, Tables: []string{"t"}, RowsIn: 2}},
		{`DROP TABLE t`, guard.Report{Kind: guard.KindDrop, Tables: []string{"t"}}},
		{`SELECT count(*) FROM visits`, guard.Report{Kind: guard.KindSelect, Tables: []string{"visits"}, RowsOut: 1, Bytes: 8}},
		{`SELECT name FROM sqlite_master WHERE name = 'people'`, guard.Report{
			Kind: guard.KindSelect, Tables: []string{"sqlite_master"},
			Columns: []string{"sqlite_master.name", "sqlite_master.rootpage", "sqlite_master.sql", "sqlite_master.tbl_name", "sqlite_master.type"}, RowsOut: 1, Bytes: 6,
		}},
	} {
		// Twice: the second time from the cache, where nothing is judged.
		for range 2 {
			res, err := run(g, tt.sql)
			if err != nil {
				if tt.want.Kind == guard.KindCreate || tt.want.Kind == guard.KindAlter || tt.want.Kind == guard.KindDrop {
					continue // done already
				}
				t.Fatal(tt.sql, err)
			}
			if diff := cmp.Diff(tt.want, res.Report); diff != "" {
				t.Errorf("%s\n%s", tt.sql, diff)
			}
		}
	}
	// A refused statement is reported as far as it was understood.
	res, err := run(g, `DELETE FROM sqlite_stat1`)
	if err == nil || res.Report.Kind != guard.KindDelete {
		t.Errorf("%+v %v", res.Report, err)
	}
}

func TestSchemaChangesUnderTheCache(t *testing.T) {
	path := newFile(t)
	r, w := open(t, path, guard.Reader, guard.Limits{}), open(t, path, guard.Writer, guard.Limits{})
	const sql = `SELECT * FROM people WHERE id = 1`
	if n := len(mustRun(t, r, sql).Columns); n != 3 {
		t.Fatal(n)
	}
	mustRun(t, w, `ALTER TABLE people ADD COLUMN salary`)
	res := mustRun(t, r, sql)
	if len(res.Columns) != 4 || len(res.Rows[0]) != 4 || !strings.Contains(strings.Join(res.Report.Columns, " "), "people.salary") {
		t.Errorf("%+v", res)
	}
	// A table becomes a view on what is not allowed: the cached statement is
	// judged again.
	mustRun(t, w, `DROP VIEW spent`)
	mustRun(t, w, `CREATE VIEW spent AS SELECT * FROM dbstat`)
	refused(t, r, `SELECT * FROM spent`, domain.Denied)
}

func TestDescribe(t *testing.T) {
	g := open(t, newFile(t), guard.Reader, guard.Limits{})
	d, err := g.Describe(t.Context(), `SELECT name, born, 1 + ? AS n FROM people WHERE id = :id`)
	if err != nil {
		t.Fatal(err)
	}
	want := guard.Description{
		Params: []string{"", ":id"}, ReadOnly: true,
		Columns: []sqlite.Column{
			{Name: "name", DeclType: "TEXT", Database: "main", Table: "people", Origin: "name"},
			{Name: "born", DeclType: "DATE", Database: "main", Table: "people", Origin: "born"},
			{Name: "n"},
		},
		Report: guard.Report{Kind: guard.KindSelect, Tables: []string{"people"}, Columns: []string{"people.born", "people.id", "people.name"}},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	for sql, kind := range map[string]domain.Kind{`DELETE FROM people`: domain.Denied, `SELEC`: domain.Invalid, ``: domain.Invalid} {
		if _, err := g.Describe(t.Context(), sql); domain.KindOf(err) != kind {
			t.Errorf("%q: %v", sql, err)
		}
	}
}

func TestQuota(t *testing.T) {
	g := open(t, newFile(t), guard.Writer, guard.Limits{Pages: 64})
	const grow = `INSERT INTO people(name) SELECT hex(randomblob(500)) FROM visits, visits AS b, visits AS c, visits AS d`
	var err error
	for i := 0; i < 20 && err == nil; i++ {
		_, err = run(g, grow)
	}
	if domain.KindOf(err) != domain.Limit || guard.Code(err) != "SQLITE_FULL" {
		t.Errorf("%v", err)
	}
	mustRun(t, g, `DELETE FROM people WHERE id > 2`)
}

// Messages say what is wrong and never whose value it was.
func TestErrorTexts(t *testing.T) {
	path := newFile(t)
	g := open(t, path, guard.Writer, guard.Limits{})
	const secret = "hunter2"
	for _, tt := range []struct {
		sql  string
		args []sqlite.Value
		kind domain.Kind
		code string
		want string
	}{
		{`SELEC 1`, nil, domain.Invalid, "SQLITE_ERROR", `sql: near "SELEC": syntax error (SQLITE_ERROR)`},
		{`SELECT x FROM people`, nil, domain.Invalid, "SQLITE_ERROR", `sql: no such column: x (SQLITE_ERROR)`},
		{`INSERT INTO people(name) VALUES ('Ada')`, nil, domain.Conflict, "SQLITE_CONSTRAINT", `UNIQUE constraint failed: people.name (SQLITE_CONSTRAINT)`},
		{`INSERT INTO people(name) VALUES (?)`, []sqlite.Value{{}}, domain.Conflict, "SQLITE_CONSTRAINT", `NOT NULL constraint failed: people.name (SQLITE_CONSTRAINT)`},
		{`INSERT INTO visits(cost) VALUES (-1)`, nil, domain.Conflict, "SQLITE_CONSTRAINT", `CHECK constraint failed: cost >= 0 (SQLITE_CONSTRAINT)`},
		{`INSERT INTO people(id) VALUES ('x')`, nil, domain.Invalid, "SQLITE_MISMATCH", `sql: datatype mismatch (SQLITE_MISMATCH)`},
		{`SELECT json_extract('{}', ?)`, []sqlite.Value{sqlite.Text(secret)}, domain.Invalid, "SQLITE_ERROR", `sql: bad JSON path (SQLITE_ERROR)`},
		{`SELECT * FROM notes WHERE notes MATCH ?`, []sqlite.Value{sqlite.Text(`"` + secret)}, domain.Invalid, "SQLITE_ERROR", `sql: unterminated string (SQLITE_ERROR)`},
		{`SELECT * FROM notes WHERE notes MATCH ?`, []sqlite.Value{sqlite.Text(secret + ` AND (`)}, domain.Invalid, "SQLITE_ERROR", `sql: fts5: syntax error (SQLITE_ERROR)`},
		{`SELECT * FROM notes WHERE notes MATCH ?`, []sqlite.Value{sqlite.Text(secret + `:x`)}, domain.Invalid, "SQLITE_ERROR", `sql: no such column (SQLITE_ERROR)`},
		{`SELECT abs(?)`, []sqlite.Value{sqlite.Int(-1 << 63)}, domain.Invalid, "SQLITE_ERROR", `sql: integer overflow (SQLITE_ERROR)`},
		{`SELECT 1; SELECT 2`, nil, domain.Invalid, "SQL_MANY_STATEMENTS", `sql: there is more than one statement in it`},
		{`-- nothing`, nil, domain.Invalid, "SQL_NO_STATEMENT", `sql: there is no statement in it`},
		{`SELECT ?`, nil, domain.Invalid, "ARGS_INVALID", `args: parameter 1 has no argument`},
		{`VACUUM`, nil, domain.Denied, "BLOCKED", ``},
		{`COMMIT`, nil, domain.Invalid, "SQLITE_ERROR", `sql: cannot commit - no transaction is active (SQLITE_ERROR)`},
		{`SELECT * FROM __coffer_applied`, nil, domain.Denied, "BLOCKED", `names that begin with __coffer are reserved`},
		{`ATTACH 'x' AS y`, nil, domain.Denied, "SQLITE_AUTH", `ATTACH or VACUUM is not available in a tenant's database`},
	} {
		_, err := run(g, tt.sql, tt.args...)
		if err == nil {
			t.Errorf("%s: no error", tt.sql)
			continue
		}
		if domain.KindOf(err) != tt.kind || guard.Code(err) != tt.code || (tt.want != "" && err.Error() != tt.want) {
			t.Errorf("%s:\n got %v %s %s\nwant %v %s %s", tt.sql, domain.KindOf(err), guard.Code(err), err, tt.kind, tt.code, tt.want)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the message has the argument: %v", tt.sql, err)
		}
	}

	r := open(t, path, guard.Reader, guard.Limits{})
	_, err := run(r, `INSERT INTO people(name) VALUES ('x')`)
	if want := "this role may only read: INSERT needs admin or owner"; err == nil || err.Error() != want || domain.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

func TestLockedOut(t *testing.T) {
	path := newFile(t)
	w1 := open(t, path, guard.Writer, guard.Limits{})
	w2 := open(t, path, guard.Writer, guard.Limits{Deadline: 30 * time.Millisecond})
	mustRun(t, w1, `BEGIN IMMEDIATE`)
	// The lock is waited for no longer than the deadline.
	_, err := run(w2, `DELETE FROM visits`)
	if k := domain.KindOf(err); k != domain.Limit && k != domain.Unavailable {
		t.Errorf("%v", err)
	}
	mustRun(t, w1, `COMMIT`)
	mustRun(t, open(t, path, guard.Writer, guard.Limits{Deadline: time.Hour}), `DELETE FROM visits WHERE id = 1`)
}

func TestReentry(t *testing.T) {
	g := open(t, newFile(t), guard.Reader, guard.Limits{})
	var inner error
	_, err := g.Stream(t.Context(), guard.Request{SQL: `SELECT 1`}, guard.Sink{Row: func([]sqlite.Value) error {
		_, inner = run(g, `SELECT 2`)
		return nil
	}})
	if err != nil || domain.KindOf(inner) != domain.Internal || inner == nil {
		t.Errorf("%v, %v", err, inner)
	}
}

// rowID is what last_insert_rowid() says to who inserted that row last.
func rowID(t *testing.T, g *guard.Guard, last int64) int64 {
	t.Helper()
	res, err := g.Run(t.Context(), guard.Request{SQL: `SELECT last_insert_rowid()`, LastRowID: last})
	if err != nil {
		t.Fatal(err)
	}
	return res.Rows[0][0].Int64()
}
