package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver that is the measure

	"coffer/tenants/sqlite"
)

const benchSchema = `create table t(id integer primary key, name text, born datetime, score real);
with recursive n(i) as (select 1 union all select i+1 from n where i < 10000)
insert into t select i, 'name ' || i, '2026-01-02 03:04:05', i / 3.0 from n;`

const (
	pointRead = "select id, name, born, score from t where id = ?"
	scan      = "select id, name, born, score from t"
)

func BenchmarkPointRead(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bench.db")
	c := mustOpen(b, path, sqlite.Create)
	mustExec(b, c, benchSchema)

	b.Run("conn", func(b *testing.B) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		var row []sqlite.Value
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s, _, err := c.Prepare(ctx, pointRead)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Bind(1, sqlite.Int(int64(i%10000+1))); err != nil {
				b.Fatal(err)
			}
			if ok, err := s.Step(ctx); err != nil || !ok {
				b.Fatal(ok, err)
			}
			row = s.Row(row[:0])
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("driver", func(b *testing.B) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		db, conn := openDriver(b, path)
		defer db.Close()
		s, err := conn.PrepareContext(ctx, pointRead)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			var id int64
			var name string
			var born any
			var score float64
			if err := s.QueryRowContext(ctx, i%10000+1).Scan(&id, &name, &born, &score); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bench.db")
	c := mustOpen(b, path, sqlite.Create)
	mustExec(b, c, benchSchema)

	b.Run("conn", func(b *testing.B) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		var row []sqlite.Value
		b.ReportAllocs()
		for b.Loop() {
			s, _, err := c.Prepare(ctx, scan)
			if err != nil {
				b.Fatal(err)
			}
			for {
				ok, err := s.Step(ctx)
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
		}
	})
	b.Run("driver", func(b *testing.B) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		db, conn := openDriver(b, path)
		defer db.Close()
		b.ReportAllocs()
		for b.Loop() {
			rows, err := conn.QueryContext(ctx, scan)
			if err != nil {
				b.Fatal(err)
			}
			for rows.Next() {
				var id int64
				var name string
				var born any
				var score float64
				if err := rows.Scan(&id, &name, &born, &score); err != nil {
					b.Fatal(err)
				}
			}
			if err := rows.Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func openDriver(b *testing.B, path string) (*sql.DB, *sql.Conn) {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		b.Fatal(err)
	}
	conn, err := db.Conn(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return db, conn
}
