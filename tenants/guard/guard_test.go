package guard_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// internalValue is what stands in it, and would be noticed anywhere else.
const internalValue = "known to coffer alone: 51f0c1d6"

// internalSchema is a table of Coffer's own with something in it to steal.
const internalSchema = `CREATE TABLE __coffer_applied(slot INTEGER PRIMARY KEY, intent BLOB);
INSERT INTO __coffer_applied VALUES (1, CAST('` + internalValue + `' AS BLOB));`

const testSchema = internalSchema + `
CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT NOT NULL, born DATE, UNIQUE(name));
CREATE TABLE visits(id INTEGER PRIMARY KEY, person INTEGER REFERENCES people(id) ON DELETE CASCADE, at DATETIME, cost REAL CHECK (cost >= 0));
CREATE INDEX visits_person ON visits(person);
CREATE VIEW spent AS SELECT name, sum(cost) AS total FROM people JOIN visits ON visits.person = people.id GROUP BY people.id;
CREATE VIRTUAL TABLE notes USING fts5(title, body);
INSERT INTO people VALUES (1, 'Ada', '1815-12-10'), (2, 'Grace', '1906-12-09');
INSERT INTO visits VALUES (1, 1, '2026-01-02 03:04:05', 1.5), (2, 1, '2026-01-03 03:04:05', 2.5), (3, 2, NULL, 4);
INSERT INTO notes VALUES ('first', 'the quick brown fox'), ('second', 'the lazy dog');`

// newFile makes a database file with the test schema.
func newFile(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "data.db")
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Exec(tb.Context(), testSchema); err != nil {
		tb.Fatal(err)
	}
	if err := c.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// open guards a connection to a file as tenants does: read-only for a Reader.
func open(tb testing.TB, path string, role guard.Role, limits guard.Limits) *guard.Guard {
	tb.Helper()
	mode := sqlite.ReadWrite
	if role == guard.Reader {
		mode = sqlite.ReadOnly
	}
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: mode})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	g, err := guard.New(context.Background(), c, role, limits)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func run(g *guard.Guard, sql string, args ...sqlite.Value) (guard.Result, error) {
	return g.Run(context.Background(), guard.Request{SQL: sql, Args: args, Transaction: true})
}

func mustRun(tb testing.TB, g *guard.Guard, sql string, args ...sqlite.Value) guard.Result {
	tb.Helper()
	res, err := run(g, sql, args...)
	if err != nil {
		tb.Fatalf("%s: %v (%s)", sql, err, domain.HintOf(err))
	}
	return res
}

// text shows a result on one line.
func text(res guard.Result) string {
	var rows []string
	for _, r := range res.Rows {
		var vs []string
		for _, v := range r {
			vs = append(vs, v.String())
		}
		rows = append(rows, strings.Join(vs, "|"))
	}
	return strings.Join(rows, " ; ")
}

func TestReaderMay(t *testing.T) {
	g := open(t, newFile(t), guard.Reader, guard.Limits{})
	for _, tt := range []struct{ sql, want string }{
		{`SELECT name, born FROM people ORDER BY id`, `"Ada"|"1815-12-10" ; "Grace"|"1906-12-09"`},
		{`SELECT * FROM spent ORDER BY 1`, `"Ada"|4 ; "Grace"|4`},
		{`VALUES (1, x'00', 2.5, NULL)`, `1|x'00'|2.5|NULL`},
		{`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT group_concat(i) FROM n;`, `"1,2,3"`},
		{`SELECT sum(cost) OVER (ORDER BY id) FROM visits -- done`, `1.5 ; 4 ; 8`},
		{`SELECT highlight(notes, 1, '<', '>') FROM notes WHERE notes MATCH 'fox' ORDER BY bm25(notes)`, `"the quick brown <fox>"`},
		{`SELECT snippet(notes, -1, '', '', '…', 2) FROM notes('lazy') ORDER BY rank`, `"the lazy…"`},
		{`SELECT value FROM json_each('[1,2]')`, `1 ; 2`},
		{`SELECT '{"a":[7]}' ->> '$.a[0]'`, `7`},
		{`SELECT date('2026-01-31', '+1 month'), strftime('%Y', 0)`, `"2026-03-03"|"-4713"`},
		{`SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1 LIMIT 3`, `"notes" ; "notes_config" ; "notes_content"`},
		{`SELECT name FROM sqlite_schema WHERE name LIKE '%coff%' OR tbl_name LIKE '%coff%' OR sql LIKE '%coff%'`, ``},
		{`SELECT count(*) > 5 FROM main.sqlite_master`, `1`},
		{`SELECT "sqlite_master".name FROM "main" . [sqlite_master] WHERE name = 'people'`, `"people"`},
		{`WITH t AS (SELECT name FROM sqlite_schema WHERE type = 'view') SELECT * FROM t`, `"spent"`},
		{`WITH RECURSIVE t(n) AS (SELECT name FROM main.sqlite_schema WHERE type = 'view') SELECT * FROM t`, `"spent"`},
		{`SELECT m.name, p.name FROM sqlite_master AS m JOIN pragma_table_xinfo(m.name) AS p WHERE m.name = 'people' AND p.pk`, `"people"|"id"`},
		{`PRAGMA table_info(people)`, `0|"id"|"INTEGER"|0|NULL|1 ; 1|"name"|"TEXT"|1|NULL|0 ; 2|"born"|"DATE"|0|NULL|0`},
		{`PRAGMA user_version`, `0`},
		{`PRAGMA foreign_keys`, `0`},
		{`BEGIN`, ``},
		{`SELECT 1`, `1`},
		{`COMMIT`, ``},
	} {
		t.Run(tt.sql, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, text(mustRun(t, g, tt.sql))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWriterMay(t *testing.T) {
	g := open(t, newFile(t), guard.Writer, guard.Limits{})
	for _, tt := range []struct {
		sql, want string
		affected  int64
	}{
		{`INSERT INTO people(name) VALUES ('Edsger'), ('Barbara') RETURNING id`, `3 ; 4`, 2},
		{`REPLACE INTO people VALUES (4, 'Barbara', NULL)`, ``, 1},
		{`INSERT INTO people(id, name) VALUES (4, 'B') ON CONFLICT DO UPDATE SET name = excluded.name || '.' RETURNING name`, `"B."`, 1},
		{`UPDATE people SET born = '1930-05-11' WHERE name = 'Edsger'`, ``, 1},
		{`WITH old AS (SELECT id FROM people WHERE born < '1900-01-01') DELETE FROM visits WHERE person IN (SELECT id FROM old)`, ``, 2},
		{`PRAGMA foreign_keys = ON`, ``, 0},
		{`DELETE FROM people WHERE id = 2`, ``, 1},
		{`SELECT count(*) FROM visits`, `0`, 0},
		{`CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT DEFAULT (upper('x')), c AS (length(b)) STORED, CHECK (length(b) < 100))`, ``, 0},
		{`CREATE UNIQUE INDEX t_b ON t(lower(b)) WHERE b IS NOT NULL`, ``, 0},
		{`CREATE TRIGGER t_log AFTER INSERT ON t BEGIN INSERT INTO people(name) VALUES (new.b || new.a); END`, ``, 0},
		{`INSERT INTO t(b) VALUES ('q'), ('r')`, ``, 2},
		{`SELECT name FROM people WHERE name GLOB '[qr]?'`, `"q1" ; "r2"`, 0},
		{`ALTER TABLE t ADD COLUMN d NOT NULL DEFAULT 7`, ``, 0},
		{`ALTER TABLE t ADD COLUMN e CHECK (e > 0)`, ``, 0},
		{`ALTER TABLE t RENAME COLUMN d TO dd`, ``, 0},
		{`ALTER TABLE t DROP COLUMN dd`, ``, 0},
		{`ALTER TABLE t RENAME TO t2`, ``, 0},
		{`CREATE VIEW v AS SELECT b, c FROM t2`, ``, 0},
		{`SELECT * FROM v`, `"q"|1 ; "r"|1`, 0},
		{`CREATE TABLE copy AS SELECT * FROM v`, ``, 0},
		{`SELECT count(*) FROM copy`, `2`, 0},
		{`CREATE VIRTUAL TABLE ft USING fts5(x, tokenize = 'porter unicode61')`, ``, 0},
		{`INSERT INTO ft VALUES ('running dogs'), ('cats')`, ``, 2},
		{`SELECT x FROM ft WHERE ft MATCH 'run'`, `"running dogs"`, 0},
		{`INSERT INTO ft(ft) VALUES ('optimize')`, ``, 1},
		{`UPDATE ft SET x = 'a' WHERE x = 'cats'`, ``, 1},
		{`DELETE FROM ft WHERE x = 'a'`, ``, 1},
		{`ALTER TABLE ft RENAME TO ft2`, ``, 0},
		{`DROP TABLE ft2`, ``, 0},
		{`ANALYZE`, ``, 0},
		{`REINDEX`, ``, 0},
		{`UPDATE sqlite_sequence SET seq = 10 WHERE name = 't2'`, ``, 1},
		{`PRAGMA user_version = 7`, ``, 0},
		{`PRAGMA user_version`, `7`, 0},
		{`PRAGMA integrity_check`, `"ok"`, 0},
		{`PRAGMA foreign_key_check`, ``, 0},
		{`EXPLAIN QUERY PLAN SELECT 1`, `1|0|0|"SCAN CONSTANT ROW"`, 0},
		{`BEGIN IMMEDIATE`, ``, 0},
		{`SAVEPOINT s`, ``, 0},
		{`DELETE FROM copy`, ``, 2},
		{`ROLLBACK TO s`, ``, 0},
		{`RELEASE s`, ``, 0},
		{`END`, ``, 0},
		{`SELECT count(*) FROM copy`, `2`, 0},
		{`DROP VIEW v`, ``, 0},
		{`DROP TRIGGER t_log`, ``, 0},
		{`DROP INDEX t_b`, ``, 0},
		{`DROP TABLE t2`, ``, 0},
		{`SELECT count(*) FROM sqlite_master WHERE name LIKE '%coffer%'`, `0`, 0},
		{`PRAGMA main.table_list(people)`, `"main"|"people"|"table"|3|0|0`, 0},
	} {
		t.Run(tt.sql, func(t *testing.T) {
			res := mustRun(t, g, tt.sql)
			if diff := cmp.Diff(tt.want, text(res)); diff != "" {
				t.Error(diff)
			}
			if res.Affected != tt.affected {
				t.Errorf("affected %d rows, want %d", res.Affected, tt.affected)
			}
		})
	}
	for _, row := range mustRun(t, g, `PRAGMA table_list`).Rows {
		if s := fmt.Sprint(row); strings.Contains(s, "coffer") {
			t.Error("PRAGMA table_list shows", s)
		}
	}
}
