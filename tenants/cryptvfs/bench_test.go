package cryptvfs_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"coffer/tenants/cryptvfs"
)

// Benchmarks come in pairs, plain and encrypted: the ratio is what counts.
// Compare medians: go test -bench . -count 7.

func pair(b *testing.B, bench func(b *testing.B, dsn func(path string, pragma ...string) string)) {
	r := register(b, fixedID(1), randomKeys())
	dsns := map[string]func(path string, pragma ...string) string{
		"plain": func(path string, pragma ...string) string {
			return "file:" + path + "?" + pragmas(pragma...).Encode()
		},
		"encrypted": func(path string, pragma ...string) string {
			return r.URI(path, cryptvfs.Options{Mode: cryptvfs.Create, Params: pragmas(pragma...)})
		},
	}
	for _, name := range []string{"plain", "encrypted"} {
		b.Run(name, func(b *testing.B) { bench(b, dsns[name]) })
	}
}

const benchRows = 100_000

// benchTable makes a table of about 1 KB a row.
func benchTable(b *testing.B, dsn string, rows int) *sql.DB {
	b.Helper()
	db := openDSN(b, dsn)
	mustExec(b, db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, k INTEGER, v TEXT)")
	mustExec(b, db, "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<?) "+
		"INSERT INTO t SELECT i, i*7919%100003, printf('%01000d', i) FROM s", rows)
	return db
}

func pointReads(b *testing.B, rows int, pragma ...string) {
	pair(b, func(b *testing.B, dsn func(string, ...string) string) {
		db := benchTable(b, dsn(filepath.Join(b.TempDir(), "a.db"), append(pragma, "journal_mode(wal)")...), rows)
		mustExec(b, db, "PRAGMA wal_checkpoint(TRUNCATE)")
		stmt, err := db.Prepare("SELECT v FROM t WHERE id=?")
		if err != nil {
			b.Fatal(err)
		}
		defer stmt.Close()
		var v string
		for i := 0; b.Loop(); i++ {
			if err := stmt.QueryRow(1 + i*7919%rows).Scan(&v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPointReadWarm reads rows whose pages SQLite has in its cache.
func BenchmarkPointReadWarm(b *testing.B) { pointReads(b, 2000, "cache_size(4000)") }

// BenchmarkPointReadSmallCache reads a page for each row.
func BenchmarkPointReadSmallCache(b *testing.B) { pointReads(b, 20_000, "cache_size(20)") }

// BenchmarkScan reads 100 MB that the operating system has cached.
func BenchmarkScan(b *testing.B) {
	pair(b, func(b *testing.B, dsn func(string, ...string) string) {
		db := benchTable(b, dsn(filepath.Join(b.TempDir(), "a.db"), "journal_mode(wal)", "cache_size(100)"), benchRows)
		mustExec(b, db, "PRAGMA wal_checkpoint(TRUNCATE)")
		b.SetBytes(benchRows * 1000)
		for b.Loop() {
			if one[int](b, db, "SELECT sum(length(v)) FROM t") == 0 {
				b.Fatal("nothing read")
			}
		}
	})
}

// BenchmarkBulkInsert inserts 20,000 rows in one transaction.
func BenchmarkBulkInsert(b *testing.B) {
	pair(b, func(b *testing.B, dsn func(string, ...string) string) {
		for b.Loop() {
			db := benchTable(b, dsn(filepath.Join(b.TempDir(), "a.db"), "journal_mode(wal)", "synchronous(FULL)"), 20_000)
			closeDB(b, db)
		}
	})
}

// BenchmarkCommitFull makes one small durable transaction.
func BenchmarkCommitFull(b *testing.B) {
	pair(b, func(b *testing.B, dsn func(string, ...string) string) {
		db := benchTable(b, dsn(filepath.Join(b.TempDir(), "a.db"), "journal_mode(wal)", "synchronous(FULL)"), 1000)
		for i := 0; b.Loop(); i++ {
			mustExec(b, db, "UPDATE t SET k=k+1 WHERE id=?", 1+i*7919%1000)
		}
	})
}

// BenchmarkCheckpoint moves 5,000 pages from the log to the database.
func BenchmarkCheckpoint(b *testing.B) {
	pair(b, func(b *testing.B, dsn func(string, ...string) string) {
		db := benchTable(b, dsn(filepath.Join(b.TempDir(), "a.db"), "journal_mode(wal)", "wal_autocheckpoint(0)"), 20_000)
		for b.Loop() {
			b.StopTimer()
			mustExec(b, db, "UPDATE t SET k=k+1")
			b.StartTimer()
			mustExec(b, db, "PRAGMA wal_checkpoint(TRUNCATE)")
		}
	})
}

// BenchmarkOpen opens a database, reads a row and closes it.
func BenchmarkOpen(b *testing.B) {
	pair(b, func(b *testing.B, dsn func(string, ...string) string) {
		path := filepath.Join(b.TempDir(), "a.db")
		closeDB(b, benchTable(b, dsn(path), 1000))
		for b.Loop() {
			db, err := sql.Open("sqlite", dsn(path))
			if err != nil {
				b.Fatal(err)
			}
			one[string](b, db, "SELECT v FROM t WHERE id=500")
			closeDB(b, db)
		}
	})
}
