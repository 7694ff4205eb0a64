package plain_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coffer/tenants/plain"
	"coffer/tenants/sqlite"
)

func mustMake(tb testing.TB, sql string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "a b?.db") // what a URI would read otherwise
	c, err := sqlite.Open("file:"+strings.NewReplacer("?", "%3f", " ", "%20").Replace(path), sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Exec(tb.Context(), sql); err != nil {
		tb.Fatal(err)
	}
	if err := c.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

func read(ctx context.Context, path string) (s plain.Schema, err error) {
	f, err := plain.Open(ctx, path)
	if err != nil {
		return s, err
	}
	defer func() { _ = f.Close() }()
	if s, err = f.Read(ctx); err != nil {
		return s, err
	}
	for _, t := range s.Tables {
		if err := f.Each(ctx, `SELECT * FROM "`+strings.ReplaceAll(t.Name, `"`, `""`)+`"`, nil, func([]sqlite.Value) error { return nil }); err != nil {
			return s, err
		}
	}
	return s, nil
}

func TestSchema(t *testing.T) {
	path := mustMake(t, `CREATE TABLE a (x TEXT, rowid TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY, x AS (id * 2), y REFERENCES c);
		CREATE TABLE c (k TEXT PRIMARY KEY) WITHOUT ROWID; CREATE VIRTUAL TABLE f USING fts5 (t); CREATE VIRTUAL TABLE g USING fts5 (t, content='');
		INSERT INTO b (id) VALUES (1); CREATE INDEX i ON a (x)`)
	s, err := read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, table := range s.Tables {
		got = append(got, fmt.Sprint(table.Name, table.Columns, table.Key, table.Rows, table.Derived))
	}
	want := []string{"a[_rowid_ x rowid] [] 0 false", "b[id y] [id] 1 false", "c[k] [k] 0 false", "f[rowid t] [] 0 false", "g[rowid t] [] 0 true"}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("%q", got)
	}
	if len(s.Refused) != 1 || !strings.Contains(s.Refused[0], `table "g"`) || len(s.Later) != 1 {
		t.Errorf("%q %v", s.Refused, s.Later)
	}
}

// TestHostile: what a tenant's database would not take is named.
func TestHostile(t *testing.T) {
	columns := "c"
	for i := range 600 {
		columns += fmt.Sprintf(", c%d", i)
	}
	for name, sql := range map[string]string{
		"internal name": `CREATE TABLE __coffer_meta (a)`,
		"function":      `CREATE TABLE t (a); CREATE VIEW v AS SELECT load_extension(a) FROM t`,
		"module":        `CREATE VIRTUAL TABLE r USING rtree (id, a, b)`,
		"many columns":  `CREATE TABLE wide (` + columns + `)`,
		"pragma table":  `CREATE TABLE t (a); CREATE VIEW v AS SELECT * FROM pragma_database_list`,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := read(t.Context(), mustMake(t, sql))
			if err == nil && len(s.Refused) == 0 {
				t.Errorf("nothing is refused of %.60s", sql)
			}
		})
	}
	if _, err := read(t.Context(), mustMake(t, `CREATE TABLE t (a); INSERT INTO t VALUES (CAST(x'ff' AS TEXT))`)); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("broken text: %v", err)
	}
	if _, err := read(t.Context(), mustMake(t, `CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(700000))`)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a large row: %v", err)
	}
}

// TestDamaged: whatever byte is changed or missing, reading ends with rows or an
// error.
func TestDamaged(t *testing.T) {
	path := mustMake(t, `CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX i ON t (b); CREATE VIRTUAL TABLE f USING fts5 (x); INSERT INTO f VALUES ('hello');
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO t SELECT i, 'text ' || i FROM n`)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	try := func(b []byte) {
		bad := filepath.Join(t.TempDir(), "bad.db")
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t.Context(), bad); err != nil {
			failed++
		}
	}
	for i := 0; i < len(whole); i += 397 {
		b := slices.Clone(whole)
		b[i] ^= 0x55
		try(b)
	}
	for _, n := range []int{0, 15, 16, 100, 4096, len(whole) / 2, len(whole) - 1} {
		try(whole[:n])
	}
	if failed < 10 {
		t.Errorf("only %d of the damaged files were refused", failed)
	}
}
