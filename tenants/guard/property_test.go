package guard_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer/app/domain"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// hash is over the bytes of the database file and its journals.
func hash(tb testing.TB, path string) [32]byte {
	tb.Helper()
	h := sha256.New()
	for _, suffix := range []string{"", "-journal", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil && !os.IsNotExist(err) {
			tb.Fatal(err)
		}
		h.Write(b)
	}
	return [32]byte(h.Sum(nil))
}

// grammar draws SQL that is mostly well-formed and often forbidden.
var grammar = map[string][]string{
	"stmt": {
		"SELECT @cols FROM @from @where", "SELECT @expr, @expr", "VALUES (@expr)",
		"WITH c AS (@stmt) SELECT * FROM c", "WITH RECURSIVE c(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM c WHERE i < 9) @stmt",
		"INSERT INTO @table DEFAULT VALUES", "INSERT INTO @table SELECT @cols FROM @from", "REPLACE INTO people VALUES (@expr, @expr, @expr)",
		"UPDATE @table SET @col = @expr @where", "DELETE FROM @table @where", "DELETE FROM @table @where RETURNING *",
		"CREATE TABLE @new AS @stmt", "CREATE VIEW @new AS @stmt", "CREATE INDEX @new ON @table(@col)",
		"CREATE TRIGGER @new AFTER INSERT ON people BEGIN @stmt; END", "CREATE VIRTUAL TABLE @new USING @module(x)",
		"ALTER TABLE @table RENAME TO @new", "ALTER TABLE @table ADD COLUMN @new", "DROP TABLE @table", "DROP VIEW spent",
		"PRAGMA @pragma", "PRAGMA @pragma = @expr", "PRAGMA @pragma(@table)", "EXPLAIN @stmt", "EXPLAIN QUERY PLAN @stmt",
		"BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "SAVEPOINT s", "RELEASE s", "VACUUM", "VACUUM INTO '@new'",
		"ATTACH '@new' AS a", "DETACH a", "REINDEX", "ANALYZE", "@stmt; @stmt", "@stmt -- @expr", "/* @stmt */ @stmt",
		"INSERT INTO notes(notes) VALUES ('@fts')", "SELECT * FROM @stmt", "@expr",
	},
	"cols":  {"*", "@col", "count(*)", "@expr AS x, @col", "DISTINCT @col"},
	"col":   {"id", "name", "born", "person", "cost", "rowid", "body", "sql", "data", "slot"},
	"from":  {"@table", "@table, @table", "@table AS a JOIN @table AS b", "(@stmt)", "@func", "@table NATURAL JOIN @table"},
	"table": {"people", "visits", "spent", "notes", "notes_data", "sqlite_master", "main.sqlite_schema", "sqlite_sequence", "dbstat", "sqlite_dbpage", "__coffer_applied", "temp.t", "'people'", "[visits]"},
	"func":  {"json_each('[1,2]')", "pragma_table_info('people')", "pragma_database_list", "notes('fox')", "fts5vocab"},
	"where": {"", "WHERE @expr", "WHERE @col = @expr LIMIT 3", "GROUP BY @col", "ORDER BY @col"},
	"expr": {
		"1", "'x'", "NULL", "x'00'", "2.5", "@col", "(@stmt)", "@expr + @expr", "upper(@expr)", "load_extension('x')", "randomblob(10)",
		"@expr IN (@stmt)", "EXISTS (@stmt)", "abs(@expr)", "json_object('a', @expr)", "last_insert_rowid()", "CASE WHEN @expr THEN @expr END", "?",
	},
	"new":    {"n1", "n2", "__coffer_x", "sqlite_x", "temp.n", "people"},
	"module": {"fts5", "rtree", "dbstat", "fts5vocab"},
	"pragma": {"table_info", "writable_schema", "journal_mode", "user_version", "foreign_keys", "query_only", "main.max_page_count", "wal_checkpoint", "optimize", "incremental_vacuum"},
	"fts":    {"optimize", "rebuild", "delete-all", "merge"},
}

// draw expands a rule; deep down it takes the first alternative.
func draw(t *rapid.T, rule string, depth int) string {
	alternatives := grammar[rule]
	pick := alternatives[0]
	if depth < 6 {
		pick = rapid.SampledFrom(alternatives).Draw(t, rule)
	} else if rule == "stmt" {
		pick = "SELECT 1"
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(pick, "@")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		n := 0
		for n < len(after) && after[n] >= 'a' && after[n] <= 'z' {
			n++
		}
		b.WriteString(draw(t, after[:n], depth+1))
		pick = after[n:]
	}
}

var quick = guard.Limits{Deadline: 200 * time.Millisecond, Rows: 200}

// Whatever a Reader runs, the file stays as it is, byte for byte; and no
// statement of either role reaches Coffer's own table.
func TestRandomStatements(t *testing.T) {
	path := newFile(t)
	before := hash(t, path)
	r := open(t, path, guard.Reader, quick)
	// The same role without the protection that mode=ro gives: the
	// authorizer must do alone.
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.ReadWrite})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bareReader, err := guard.New(t.Context(), c, guard.Reader, quick)
	if err != nil {
		t.Fatal(err)
	}
	own := newFile(t)
	w := open(t, own, guard.Writer, quick)

	rapid.Check(t, func(rt *rapid.T) {
		sql := draw(rt, "stmt", 0)
		for _, g := range []*guard.Guard{r, bareReader, w} {
			res, err := g.Run(t.Context(), guard.Request{SQL: sql, Args: nil})
			checkAnswer(rt, sql, res, err)
		}
		if hash(t, path) != before {
			rt.Fatalf("a reader changed the file: %s", sql)
		}
		rows, err := w.Trusted(t.Context(), `SELECT slot, intent FROM __coffer_applied`)
		if err != nil || len(rows) != 1 || rows[0][1].Raw() != internalValue {
			rt.Fatalf("a writer reached coffer's own table: %s: %v %v", sql, rows, err)
		}
	})
}

// checkAnswer checks what holds for every answer.
func checkAnswer(tb interface{ Fatalf(string, ...any) }, sql string, res guard.Result, err error) {
	if err != nil {
		if _, ok := err.(*domain.Error); !ok || domain.KindOf(err) == domain.Internal || domain.KindOf(err) == domain.Tampered {
			tb.Fatalf("%q: %v (%v)", sql, err, domain.KindOf(err))
		}
		if strings.Contains(strings.ToLower(err.Error()), "__coffer_applied") {
			tb.Fatalf("%q: %v", sql, err)
		}
	}
	for _, row := range res.Rows {
		for _, v := range row {
			if strings.Contains(v.Raw(), "__coffer_applied") || v.Raw() == internalValue {
				tb.Fatalf("%q shows coffer's own table: %v", sql, row)
			}
		}
	}
}

// FuzzReader runs anything as a Reader, with the file writable under it, so
// that the authorizer alone stands before it.
func FuzzReader(f *testing.F) {
	for _, a := range attacks {
		if len(a.sql) < 1000 {
			f.Add(a.sql)
		}
	}
	for _, a := range writerAttacks {
		f.Add(a.sql)
	}
	path := filepath.Join(f.TempDir(), "data.db")
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	if err := c.Exec(f.Context(), testSchema); err != nil {
		f.Fatal(err)
	}
	g, err := guard.New(f.Context(), c, guard.Reader, quick)
	if err != nil {
		f.Fatal(err)
	}
	before := hash(f, path)
	f.Fuzz(func(t *testing.T, sql string) {
		res, err := g.Run(t.Context(), guard.Request{SQL: sql, Transaction: true})
		checkAnswer(t, sql, res, err)
		if _, err := g.Describe(t.Context(), sql); err != nil {
			checkAnswer(t, sql, guard.Result{}, err)
		}
		if err := g.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		if hash(t, path) != before {
			t.Fatalf("%q changed the file", sql)
		}
	})
}
