package guard_test

import (
	"path/filepath"
	"testing"

	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

func benchFile(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bench.db")
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(b.Context(), `PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
		CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, born DATETIME, score REAL);
		CREATE TABLE log(id INTEGER PRIMARY KEY, at INTEGER, what TEXT);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
		INSERT INTO t SELECT i, 'name ' || i, '2026-01-02 03:04:05', i / 3.0 FROM n`); err != nil {
		b.Fatal(err)
	}
	return path
}

func bare(b *testing.B, path string) *sqlite.Conn {
	b.Helper()
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.ReadWrite})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// step runs a statement on the bare connection.
func step(b *testing.B, c *sqlite.Conn, sql string, args ...sqlite.Value) []sqlite.Value {
	s, _, err := c.Prepare(b.Context(), sql)
	if err != nil {
		b.Fatal(err)
	}
	for i, v := range args {
		if err := s.Bind(i+1, v); err != nil {
			b.Fatal(err)
		}
	}
	var row []sqlite.Value
	for {
		ok, err := s.Step(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			break
		}
		row = s.Row(row[:0])
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return row
}

const benchRead = `SELECT id, name, born, score FROM t WHERE id = ?`

func BenchmarkPointRead(b *testing.B) {
	path := benchFile(b)
	b.Run("conn", func(b *testing.B) {
		c := bare(b, path)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			step(b, c, benchRead, sqlite.Int(int64(i%10000+1)))
		}
	})
	b.Run("guard", func(b *testing.B) {
		g := open(b, path, guard.Reader, guard.Limits{})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if res := mustRun(b, g, benchRead, sqlite.Int(int64(i%10000+1))); len(res.Rows) != 1 {
				b.Fatal(res)
			}
		}
	})
}

const benchInsert = `INSERT INTO log(at, what) VALUES (?, ?)`

func BenchmarkInsert(b *testing.B) {
	path := benchFile(b)
	what := sqlite.Text("something happened")
	b.Run("conn", func(b *testing.B) {
		c := bare(b, path)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			step(b, c, benchInsert, sqlite.Int(int64(i)), what)
		}
	})
	b.Run("guard", func(b *testing.B) {
		g := open(b, path, guard.Writer, guard.Limits{})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			mustRun(b, g, benchInsert, sqlite.Int(int64(i)), what)
		}
	})
}

// What it costs to refuse, which anybody may ask for at will.
func BenchmarkRefuse(b *testing.B) {
	g := open(b, benchFile(b), guard.Reader, guard.Limits{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := run(g, `DELETE FROM t`); err == nil {
			b.Fatal("not refused")
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	path := benchFile(b)
	for b.Loop() {
		c, err := sqlite.Open("file:"+path, sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		g, err := guard.New(b.Context(), c, guard.Reader, guard.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		mustRun(b, g, `SELECT 1`)
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
