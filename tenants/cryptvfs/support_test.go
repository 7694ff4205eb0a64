package cryptvfs_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"coffer/tenants/cryptvfs"
)

// hkdfKeys is a real PRF: HKDF-SHA256 over a master key.
type hkdfKeys struct{ master []byte }

func (k hkdfKeys) Derive(info []byte, n int) ([]byte, error) {
	return hkdf.Key(sha256.New, k.master, nil, string(info), n)
}

func randomKeys() hkdfKeys {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return hkdfKeys{b}
}

func fixedKeys(seed byte) hkdfKeys { return hkdfKeys{bytes.Repeat([]byte{seed}, 32)} }

func fixedID(seed byte) (id [16]byte) {
	copy(id[:], bytes.Repeat([]byte{seed}, 16))
	return id
}

func register(tb testing.TB, id [16]byte, keys cryptvfs.Keys) *cryptvfs.Registration {
	tb.Helper()
	r, err := cryptvfs.Register(id, keys)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.Close)
	return r
}

func pragmas(list ...string) url.Values { return url.Values{"_pragma": list} }

// openDSN opens one connection.
func openDSN(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// openNew opens, and makes if missing, an encrypted database.
func openNew(tb testing.TB, r *cryptvfs.Registration, path string, pragma ...string) *sql.DB {
	tb.Helper()
	return openDSN(tb, r.URI(path, cryptvfs.Options{Mode: cryptvfs.Create, Params: pragmas(pragma...)}))
}

func openOld(tb testing.TB, r *cryptvfs.Registration, path string, pragma ...string) *sql.DB {
	tb.Helper()
	return openDSN(tb, r.URI(path, cryptvfs.Options{Params: pragmas(pragma...)}))
}

type execer interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

func mustExec(tb testing.TB, db execer, query string, args ...any) {
	tb.Helper()
	if _, err := db.ExecContext(context.Background(), query, args...); err != nil {
		tb.Fatalf("%.80s: %v", query, err)
	}
}

type queryer interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

func one[T any](tb testing.TB, db queryer, query string, args ...any) (v T) {
	tb.Helper()
	if err := db.QueryRowContext(context.Background(), query, args...).Scan(&v); err != nil {
		tb.Fatalf("%.80s: %v", query, err)
	}
	return v
}

func checkIntegrity(tb testing.TB, db queryer) {
	tb.Helper()
	if got := one[string](tb, db, "PRAGMA integrity_check"); got != "ok" {
		tb.Fatalf("integrity_check: %s", got)
	}
}

// closeDB closes now, not at the end of the test.
func closeDB(tb testing.TB, db *sql.DB) {
	tb.Helper()
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func writeFile(tb testing.TB, path string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// copyDB copies a database and the files beside it into a new directory.
func copyDB(tb testing.TB, path string) string {
	tb.Helper()
	dir := tb.TempDir()
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if b, err := os.ReadFile(path + suffix); err == nil {
			writeFile(tb, filepath.Join(dir, filepath.Base(path)+suffix), b)
		}
	}
	return filepath.Join(dir, filepath.Base(path))
}

// memoryDir is a temporary directory in memory where the system has one: for
// tests in which no sync needs to be real.
func memoryDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cryptvfs")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
