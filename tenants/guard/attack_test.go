package guard_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// attacks that every role must fail with. A Writer gets the same answers.
var attacks = []struct {
	sql  string
	kind domain.Kind
}{
	// other files
	{`ATTACH ':memory:' AS x`, domain.Denied},
	{`ATTACH DATABASE '/etc/passwd' AS x`, domain.Denied},
	{`/* hi */ aTTach ':memory:' AS x`, domain.Denied},
	{`EXPLAIN ATTACH ':memory:' AS x`, domain.Denied},
	{`DETACH main`, domain.Denied},
	{`VACUUM`, domain.Denied},
	{`VACUUM INTO '/tmp/coffer-stolen.db'`, domain.Denied},
	{`SELECT load_extension('x')`, domain.Denied},
	{`SELECT readfile('/etc/passwd')`, domain.Invalid}, // not in this build at all
	{`SELECT writefile('/tmp/x', 'x')`, domain.Invalid},
	{`SELECT edit('x')`, domain.Invalid},
	{`SELECT fts3_tokenizer('simple')`, domain.Invalid},
	{`SELECT fts5(?1)`, domain.Denied},
	{`SELECT sqlite_log(1, 'forged')`, domain.Denied},
	{`SELECT sqlite_offset(name) FROM people`, domain.Denied},
	{`SELECT rtreecheck('people')`, domain.Denied},
	{`SELECT json_patch('{}', '{}')`, domain.Denied},
	{`SELECT geopoly_area('[]')`, domain.Denied},

	// the file's insides
	{`SELECT * FROM dbstat`, domain.Denied},
	{`SELECT * FROM "dbstat"`, domain.Denied},
	{`SELECT * FROM sqlite_dbpage`, domain.Denied},
	{`SELECT * FROM main.sqlite_dbpage`, domain.Denied},
	{`UPDATE sqlite_dbpage SET data = zeroblob(4096) WHERE pgno = 1`, domain.Denied},
	{`SELECT * FROM pragma_function_list`, domain.Denied},
	{`SELECT * FROM pragma_table_list`, domain.Denied},
	{`SELECT * FROM pragma_database_list`, domain.Denied},
	{`SELECT * FROM pragma_compile_options()`, domain.Denied},
	{`SELECT * FROM sqlite_temp_master`, domain.Denied},
	{`SELECT * FROM temp.sqlite_master`, domain.Denied},
	{`SELECT * FROM temp.sqlite_schema`, domain.Denied},

	// settings
	{`PRAGMA writable_schema = ON`, domain.Denied},
	{`PRAGMA main.writable_schema = ON`, domain.Denied},
	{`PRAGMA/**/writable_schema(1)`, domain.Denied},
	{"PRAGMA -- x\nwritable_schema = 1", domain.Denied},
	{`PRAGMA "writable_schema" = 1`, domain.Denied},
	{`PRAGMA journal_mode = DELETE`, domain.Denied},
	{`PRAGMA journal_mode(OFF)`, domain.Denied},
	{`PRAGMA trusted_schema = 1`, domain.Denied},
	{`PRAGMA max_page_count = 1000000`, domain.Denied},
	{`PRAGMA query_only = 0`, domain.Denied},
	{`PRAGMA temp_store_directory = '/tmp'`, domain.Denied},
	{`PRAGMA busy_timeout = 100000`, domain.Denied},
	{`PRAGMA locking_mode = EXCLUSIVE`, domain.Denied},
	{`PRAGMA wal_checkpoint(TRUNCATE)`, domain.Denied},
	{`PRAGMA mmap_size = 1000000`, domain.Denied},
	{`PRAGMA cache_size = 1000000`, domain.Denied},
	{`PRAGMA hard_heap_limit = 1`, domain.Denied},
	{`PRAGMA ignore_check_constraints = 1`, domain.Denied},
	{`PRAGMA recursive_triggers = 1`, domain.Denied},
	{`PRAGMA encoding = 'UTF-16'`, domain.Denied},
	{`PRAGMA application_id = 1`, domain.Denied},
	{`PRAGMA database_list`, domain.Denied},
	{`PRAGMA rekey = 'x'`, domain.Denied},

	// what is temporary would outlive the request on its connection
	{`CREATE TEMP TABLE t(a)`, domain.Denied},
	{`CREATE TEMP VIEW people AS SELECT 1 AS name`, domain.Denied},
	{`CREATE TABLE temp.t(a)`, domain.Denied},
	{`CREATE TEMP TRIGGER t AFTER INSERT ON people BEGIN SELECT 1; END`, domain.Denied},

	// Coffer's own tables
	{`SELECT * FROM __coffer_applied`, domain.Denied},
	{`SELECT * FROM "__COFFER_applied"`, domain.Denied},
	{`SELECT * FROM [__Coffer_applied]`, domain.Denied},
	{"SELECT * FROM `__coffer_applied`", domain.Denied},
	{`SELECT * FROM '__coffer_applied'`, domain.Denied},
	{`SELECT * FROM main.__coffer_applied`, domain.Denied},
	{`SELECT 1 /* __coffer */`, domain.Denied},
	{`WITH __coffer_schema AS (SELECT 1) SELECT * FROM __coffer_schema`, domain.Denied},
	{`SELECT * FROM pragma_table_info('__cof' || 'fer_applied')`, domain.Denied},
	{`SELECT * FROM pragma_table_info(char(95, 95) || 'COFFER_applied')`, domain.Denied},
	{`SELECT (SELECT count(*) FROM __coffer_applied)`, domain.Denied},
	{`DELETE FROM __coffer_applied`, domain.Denied},
	{`DROP TABLE __coffer_applied`, domain.Denied},
	{`ALTER TABLE people RENAME TO __coffer_people`, domain.Denied},
	{`ALTER TABLE __coffer_applied RENAME TO mine`, domain.Denied},
	{`CREATE TABLE mine AS SELECT * FROM __coffer_applied`, domain.Denied},
	{`CREATE TABLE __coffer_x(a)`, domain.Denied},
	{`CREATE INDEX x ON __coffer_applied(intent)`, domain.Denied},
	{`CREATE VIEW x AS SELECT * FROM __coffer_applied`, domain.Denied},
	{`CREATE TRIGGER x AFTER INSERT ON __coffer_applied BEGIN SELECT 1; END`, domain.Denied},
	{`CREATE TABLE mine(a REFERENCES __coffer_applied(slot) ON DELETE CASCADE)`, domain.Denied},
	{`CREATE VIRTUAL TABLE mine USING fts5(intent, content = '__coffer_applied', content_rowid = 'slot')`, domain.Denied},
	{`INSERT INTO __coffer_applied VALUES (1, NULL)`, domain.Denied},
	{`INSERT OR IGNORE INTO __coffer_applied VALUES (1, NULL) RETURNING 1`, domain.Denied},

	// one statement, and nothing that hides another
	{`SELECT 1; DELETE FROM people`, domain.Invalid},
	{`SELECT 1;;; -- x
	  ; SELECT 2`, domain.Invalid},
	{"SELECT 1\x00; DELETE FROM people", domain.Invalid},
	{``, domain.Invalid},
	{` ; -- nothing`, domain.Invalid},
	{`/* open`, domain.Invalid},
	{`WITH x AS (SELECT 1)`, domain.Invalid},
	{`SELECT "no such column, no string either"`, domain.Invalid},
	{`EXPLAIN SELECT * FROM sqlite_master`, domain.Denied},
	{`SELECT * FROM notes WHERE notes MATCH 'fox' AND rank MATCH 'load_extension(1)' ORDER BY rank`, domain.Denied},
	{`SELECT * FROM sqlite_master WHERE rowid = 1`, domain.Invalid},
	{`SELECT * FROM (WITH sqlite_master AS (SELECT * FROM sqlite_master) SELECT * FROM sqlite_master)`, domain.Invalid},

	// what costs too much to compile or to compute
	{`SELECT randomblob(1000000000)`, domain.Limit},
	{`SELECT zeroblob(1000000001)`, domain.Limit},
	{`SELECT length(printf('%.*c', 100000000, 'x'))`, domain.Limit},
	{`SELECT printf('%1000000000d', 1)`, domain.Limit},
	{`SELECT replace(hex(zeroblob(400000)), '0', hex(zeroblob(400000)))`, domain.Limit},
	{`SELECT group_concat(hex(zeroblob(400000))) FROM visits, visits AS b, visits AS c`, domain.Limit},
	{`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT json_group_array(hex(zeroblob(400000))) FROM n`, domain.Limit},
	{`SELECT json_array(x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x) FROM (SELECT CAST(zeroblob(999000) AS TEXT) AS x)`, domain.Limit},
	{`SELECT json_pretty('[[[[[[[[[[1]]]]]]]]]]', hex(zeroblob(499000))) || json_pretty('[[[[[[[[[[1]]]]]]]]]]', hex(zeroblob(499000)))`, domain.Limit},
	{`SELECT 'a' LIKE '%` + strings.Repeat("a%", 200) + `'`, domain.Invalid},
	{`SELECT 'a' GLOB '*` + strings.Repeat("[a-z]*", 100) + `'`, domain.Invalid},
	{`SELECT ` + strings.Repeat("1+", 600) + `1`, domain.Invalid},
	{`SELECT ` + strings.Repeat("(", 5000) + `1` + strings.Repeat(")", 5000), domain.Invalid},
	{`SELECT 1` + strings.Repeat(" UNION ALL SELECT 1", 200), domain.Invalid},
	{`SELECT ` + strings.Repeat("1,", 600) + `1`, domain.Invalid},
	{`SELECT max(` + strings.Repeat("1,", 200) + `1)`, domain.Invalid},
	{`SELECT ?40000`, domain.Invalid},
	{`SELECT '` + strings.Repeat("x", 1_000_001) + `'`, domain.Limit},
	{`WITH a AS (SELECT 1 x), b AS (SELECT p.x FROM a p, a q), c AS (SELECT p.x FROM b p, b q), d AS (SELECT p.x FROM c p, c q), ` +
		`e AS (SELECT p.x FROM d p, d q), f AS (SELECT p.x FROM e p, e q), g AS (SELECT p.x FROM f p, f q), h AS (SELECT p.x FROM g p, g q), ` +
		`i AS (SELECT p.x FROM h p, h q), j AS (SELECT p.x FROM i p, i q) SELECT count(*) FROM j, j k`, domain.Invalid},
	{`SELECT * FROM people, visits, sqlite_master, visits AS b, visits AS c, notes, sqlite_master AS d, sqlite_master AS e, sqlite_master AS f`, domain.Limit},
}

// writerAttacks are for the Writer; a Reader fails with them for being one.
var writerAttacks = []struct {
	sql  string
	kind domain.Kind
}{
	{`INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 2, 'CREATE TABLE x(a)')`, domain.Denied},
	{`UPDATE sqlite_master SET sql = 'x'`, domain.Denied},
	{`UPDATE sqlite_schema SET rootpage = 2`, domain.Denied},
	{`DELETE FROM main.sqlite_schema`, domain.Denied},
	{`INSERT INTO people(name) SELECT name FROM sqlite_master`, domain.Denied},
	{`UPDATE people SET name = (SELECT group_concat(sql) FROM sqlite_schema)`, domain.Denied},
	{`DELETE FROM people WHERE name IN (SELECT name FROM sqlite_master)`, domain.Denied},
	{`WITH s AS (SELECT name FROM sqlite_master) INSERT INTO people(name) SELECT name FROM s`, domain.Denied},
	{`INSERT INTO people(name) VALUES ('x') RETURNING (SELECT count(*) FROM sqlite_master)`, domain.Denied},
	{`CREATE TABLE stolen AS SELECT * FROM sqlite_master`, domain.Invalid},
	{`CREATE TABLE stolen AS SELECT * FROM 'sqlite_schema'`, domain.Invalid},
	{`CREATE VIEW stolen AS SELECT * FROM "sqlite_master"`, domain.Invalid},
	{`CREATE TRIGGER t AFTER INSERT ON people BEGIN DELETE FROM sqlite_master; END`, domain.Invalid},
	{`INSERT INTO notes_data VALUES (1, x'00')`, domain.Denied}, // defensive: shadow tables are FTS5's
	{`DELETE FROM notes_content`, domain.Denied},
	{`UPDATE notes_config SET v = 99`, domain.Denied},
	{`DROP TABLE notes_data`, domain.Denied},
	{`INSERT INTO sqlite_stat1 VALUES ('people', NULL, '1')`, domain.Denied},
	{`CREATE VIRTUAL TABLE x USING rtree(id, a, b)`, domain.Denied},
	{`CREATE VIRTUAL TABLE x USING dbstat`, domain.Denied},
	{`CREATE VIRTUAL TABLE x USING geopoly(a)`, domain.Denied},
	{`CREATE VIRTUAL TABLE x USING fts5vocab(notes, row)`, domain.Denied},
	{`CREATE VIRTUAL TABLE x USING sqlite_dbpage`, domain.Denied},
	{`CREATE TABLE sqlite_x(a)`, domain.Invalid},
	{`CREATE TABLE t(a DEFAULT (load_extension('x')))`, domain.Denied},
	{`CREATE TABLE t(a, b AS (load_extension(a)))`, domain.Denied},
	{`CREATE TABLE t(a CHECK (sqlite_log(1, a)))`, domain.Denied},
	{`CREATE INDEX x ON people(sqlite_offset(name))`, domain.Denied},
	{`CREATE TABLE t(a, b AS (random()))`, domain.Invalid},
	{`SELECT sqlite_rename_table('main', 'table', 'people', 'CREATE TABLE people(a)', 'people', 'x', 0)`, domain.Denied},
	{`CREATE TABLE t AS SELECT sqlite_rename_table('main', 'table', 'people', 'CREATE TABLE people(a)', 'people', 'x', 0)`, domain.Denied},
	{`CREATE TABLE t AS SELECT sqlite_rename_quotefix('main', 'CREATE TABLE people(a)')`, domain.Denied},
	{`CREATE TABLE t AS SELECT sqlite_drop_column(1, 'CREATE TABLE people(a, b)', 1)`, domain.Denied},
	{`ALTER TABLE people ADD COLUMN x AS (sqlite_rename_quotefix('main', 'x'))`, domain.Invalid},
	{`ALTER TABLE people ADD COLUMN x DEFAULT (sqlite_drop_column(1, 'x', 1))`, domain.Invalid},
	{`ALTER TABLE people ADD COLUMN x CHECK (x IN (SELECT name FROM sqlite_master))`, domain.Invalid},
	{`ALTER TABLE people ADD COLUMN x CHECK (EXISTS (SELECT 1 FROM pragma_quick_check))`, domain.Invalid},
	{`CREATE TABLE t AS SELECT * FROM pragma_quick_check`, domain.Denied},
	{`CREATE TABLE t AS SELECT * FROM pragma_table_list`, domain.Denied},
	{`CREATE TABLE t AS SELECT * FROM pragma_table_info('__cof' || 'fer_applied')`, domain.Denied},
	{`EXPLAIN CREATE TABLE t(a)`, domain.Denied},
}

func TestAttacks(t *testing.T) {
	for _, role := range []guard.Role{guard.Reader, guard.Writer} {
		t.Run(role.String(), func(t *testing.T) {
			path := newFile(t)
			g := open(t, path, role, guard.Limits{Deadline: 2 * time.Second, Rows: 10_000})
			all := attacks
			if role == guard.Writer {
				mustRun(t, g, `ANALYZE`)
				all = append(all[:len(all):len(all)], writerAttacks...)
			}
			before := contents(t, path)
			for _, a := range all {
				name := a.sql[:min(len(a.sql), 90)]
				t.Run(name, func(t *testing.T) { refused(t, g, a.sql, a.kind) })
			}
			if after := contents(t, path); after != before {
				t.Errorf("an attack changed the database:\n%s\n%s", before, after)
			}
			mustRun(t, g, `SELECT 1`)
		})
	}
}

// refused runs an attack and checks that the error is one for people that
// tells nothing.
func refused(t *testing.T, g *guard.Guard, sql string, kind domain.Kind) {
	t.Helper()
	res, err := run(g, sql)
	if err == nil {
		t.Fatalf("succeeded: %s", text(res))
	}
	e, ok := errors.AsType[*domain.Error](err)
	if !ok {
		t.Fatalf("not an error for people: %v", err)
	}
	if e.Kind != kind {
		t.Errorf("kind %v, want %v: %s (%v)", e.Kind, kind, e.Msg, e.Err)
	}
	if strings.Contains(strings.ToLower(e.Msg), "_applied") || strings.Contains(e.Msg, "_schema AS") {
		t.Errorf("the message tells an internal name: %s", e.Msg)
	}
	if len(e.Msg) > 400 {
		t.Errorf("the message has %d bytes", len(e.Msg))
	}
}

// contents shows every row of every table, read by an unguarded connection.
func contents(tb testing.TB, path string) string {
	tb.Helper()
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.ReadOnly})
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	var b strings.Builder
	for _, table := range dump(tb, c, `SELECT name, sql FROM sqlite_schema ORDER BY rowid`, &b) {
		dump(tb, c, fmt.Sprintf(`SELECT * FROM "%s"`, table), &b)
	}
	return b.String()
}

// dump appends the rows of a query and returns their first column.
func dump(tb testing.TB, c *sqlite.Conn, sql string, b *strings.Builder) []string {
	tb.Helper()
	s, _, err := c.Prepare(context.Background(), sql)
	if err != nil {
		// an index or a trigger is no table to read
		return nil
	}
	defer s.Close()
	var first []string
	for {
		ok, err := s.Step(context.Background())
		if err != nil {
			tb.Fatal(err)
		}
		if !ok {
			return first
		}
		row := s.Row(nil)
		first = append(first, row[0].Raw())
		fmt.Fprintln(b, row)
	}
}

// A Writer leaves something behind for a Reader, or for Coffer, to trip over.
func TestEscalation(t *testing.T) {
	path := newFile(t)
	w := open(t, path, guard.Writer, guard.Limits{})
	for _, sql := range []string{
		`CREATE VIEW ext AS SELECT load_extension('x') AS a`,
		`CREATE VIEW pages AS SELECT * FROM sqlite_dbpage`,
		`CREATE VIEW lists AS SELECT * FROM pragma_database_list`,
		`CREATE VIEW bomb AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n`,
		`CREATE VIEW people_w AS SELECT * FROM people`,
		`CREATE TRIGGER ext_t AFTER UPDATE ON visits BEGIN SELECT load_extension(new.at); END`,
		`CREATE TRIGGER people_w_t INSTEAD OF INSERT ON people_w BEGIN INSERT INTO people(name) VALUES (new.name); END`,
		`CREATE TRIGGER rec AFTER INSERT ON visits BEGIN INSERT INTO visits(person) VALUES (new.person); END`,
	} {
		mustRun(t, w, sql) // SQLite looks at what is inside when it is used
	}
	refused(t, w, `UPDATE visits SET at = 'x'`, domain.Denied)
	mustRun(t, w, `INSERT INTO people_w(name) VALUES ('through a view')`)

	r := open(t, path, guard.Reader, guard.Limits{Deadline: time.Hour})
	refused(t, r, `SELECT * FROM ext`, domain.Denied)
	refused(t, r, `SELECT * FROM pages`, domain.Denied)
	refused(t, r, `SELECT * FROM lists`, domain.Denied)
	refused(t, open(t, path, guard.Reader, guard.Limits{Deadline: 100 * time.Millisecond}), `SELECT * FROM bomb`, domain.Limit)
	refused(t, r, `INSERT INTO people_w(name) VALUES ('x')`, domain.Denied)
	mustRun(t, r, `SELECT * FROM people_w`)

	// FTS5 calls what it is told to rank by, among its own functions only.
	mustRun(t, w, `INSERT INTO notes(notes, rank) VALUES ('rank', 'load_extension(1)')`)
	refused(t, r, `SELECT * FROM notes WHERE notes MATCH 'fox' ORDER BY rank`, domain.Denied)

	// Triggers of the tenant's do not fire on, or see, Coffer's own writes.
	if _, err := w.Trusted(t.Context(), `INSERT INTO __coffer_applied VALUES (2, x'01')`); err != nil {
		t.Fatal(err)
	}
}

// A file that came from elsewhere can have anything in its schema.
func TestForeignFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "foreign.db")
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		internalSchema,
		`CREATE TABLE t(a)`,
		`CREATE VIEW own AS SELECT * FROM __coffer_applied`,
		`CREATE VIEW schema AS SELECT * FROM sqlite_schema`,
		`CREATE TRIGGER own_t AFTER INSERT ON t BEGIN DELETE FROM __coffer_applied; END`,
		`CREATE TRIGGER own_u AFTER UPDATE ON t BEGIN INSERT INTO t SELECT intent FROM __coffer_applied; END`,
		`CREATE TABLE child(a REFERENCES __coffer_applied(slot) ON DELETE CASCADE)`,
		`CREATE VIRTUAL TABLE stolen USING fts5(intent, content = '__coffer_applied', content_rowid = 'slot')`,
		`INSERT INTO stolen(stolen) VALUES ('rebuild')`,
		`INSERT INTO t VALUES (0)`,
		`INSERT INTO __coffer_applied VALUES (1, 'secret')`,
	} {
		if err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	before := contents(t, path)
	for _, role := range []guard.Role{guard.Reader, guard.Writer} {
		g := open(t, path, role, guard.Limits{})
		refused(t, g, `SELECT * FROM own`, domain.Denied)
		refused(t, g, `SELECT * FROM schema`, domain.Denied)
		refused(t, g, `SELECT intent FROM stolen`, domain.Denied)
		refused(t, g, `INSERT INTO t VALUES (1)`, domain.Denied)
		refused(t, g, `UPDATE t SET a = 1`, domain.Denied)
	}
	if after := contents(t, path); after != before {
		t.Errorf("changed:\n%s\n%s", before, after)
	}
}

func TestNoneMayNothing(t *testing.T) {
	g := open(t, newFile(t), guard.None, guard.Limits{})
	refused(t, g, `SELECT 1`, domain.Denied)
	refused(t, g, `SELECT name FROM people`, domain.Denied)
}

// One instruction cannot be interrupted, so none may take time in the product
// of the lengths of its arguments: each of these would then take minutes, and
// the test would be stopped by its own time limit.
func TestSingleInstructions(t *testing.T) {
	const big = `(SELECT replace(hex(zeroblob(499000)), '00', 'aa') AS x)`
	g := open(t, newFile(t), guard.Reader, guard.Limits{Deadline: time.Hour})
	for sql, want := range map[string]string{
		`SELECT instr(x, substr(x, 1, 400000) || 'b') FROM ` + big:                                                 `0`,
		`SELECT length(replace(x, substr(x, 1, 400000) || 'b', '')) FROM ` + big:                                   `998000`,
		`SELECT length(trim(x, replace(hex(zeroblob(99999)), '00', 'bc') || 'a')) FROM ` + big:                     `0`,
		`SELECT length(rtrim(x, replace(hex(zeroblob(99999)), '00', 'bc') || 'a')) FROM ` + big:                    `0`,
		`SELECT length(unhex(replace(x, 'a', 'x'), replace(hex(zeroblob(99999)), '00', 'zy') || 'x')) FROM ` + big: `0`,
	} {
		if got := text(mustRun(t, g, sql)); got != want {
			t.Errorf("%s: %s", sql, got)
		}
	}
}

// What a single instruction does in full-text search is bounded by the number
// of matches and stopped at the deadline.
func TestFullTextBombs(t *testing.T) {
	path := newFile(t)
	w := open(t, path, guard.Writer, guard.Limits{})
	mustRun(t, w, `INSERT INTO notes VALUES ('many', replace(hex(zeroblob(199000)), '00', 'foxy '))`)
	mustRun(t, w, `INSERT INTO notes VALUES ('enough', replace(hex(zeroblob(1000)), '00', 'foxtrot '))`)
	r := open(t, path, guard.Reader, guard.Limits{Deadline: 100 * time.Millisecond})
	slow := open(t, path, guard.Reader, guard.Limits{Deadline: time.Hour})
	refused(t, slow, `SELECT snippet(notes, 1, '<', '>', '', 9) FROM notes WHERE notes MATCH 'foxy'`, domain.Invalid)
	refused(t, slow, `SELECT highlight(notes, 1, '<', '>') FROM notes WHERE notes MATCH 'foxy'`, domain.Invalid)
	refused(t, r, `SELECT count(*) FROM notes WHERE notes MATCH (SELECT 'a' || replace(hex(zeroblob(200000)), '00', ' OR a'))`, domain.Limit)
	res := mustRun(t, slow, `SELECT length(highlight(notes, 1, '<', '>')), length(snippet(notes, 1, '<', '>', '…', 3)) FROM notes WHERE notes MATCH 'foxtrot'`)
	if got := text(res); got != "10000|30" {
		t.Error(got)
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if _, err := os.Stat("/tmp/coffer-stolen.db"); err == nil {
		fmt.Fprintln(os.Stderr, "an attack wrote /tmp/coffer-stolen.db")
		code = 1
	}
	os.Exit(code)
}
