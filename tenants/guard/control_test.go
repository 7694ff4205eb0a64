package guard_test

import (
	"slices"
	"strings"
	"testing"

	"coffer/tenants/guard"
)

func TestControlOf(t *testing.T) {
	for sql, want := range map[string]guard.Control{
		`BEGIN`: guard.Begin, `begin;`: guard.Begin, ` /* x */ BEGIN DEFERRED TRANSACTION -- y`: guard.Begin, `BEGIN TRANSACTION name`: guard.Begin,
		`BEGIN IMMEDIATE`: guard.BeginWrite, `BEGIN EXCLUSIVE TRANSACTION;;`: guard.BeginWrite,
		`BEGIN TRANSACTION READONLY`: guard.BeginReadOnly, `begin transaction readonly;`: guard.BeginReadOnly,
		`COMMIT`: guard.Commit, `END TRANSACTION`: guard.Commit, `COMMIT TRANSACTION x`: guard.Commit,
		`ROLLBACK`: guard.Rollback, `ROLLBACK TRANSACTION;`: guard.Rollback,
		`ROLLBACK TO s`: guard.NoControl, `ROLLBACK TRANSACTION TO SAVEPOINT s`: guard.NoControl, `SAVEPOINT s`: guard.NoControl,
		`RELEASE s`: guard.NoControl, `SELECT 1`: guard.NoControl, ``: guard.NoControl, `;`: guard.NoControl, `'begin'`: guard.NoControl,
		`EXPLAIN BEGIN`: guard.NoControl,
	} {
		if got, err := guard.ControlOf(sql); got != want || err != nil {
			t.Errorf("%q: %q %v", sql, got, err)
		}
	}
	for _, sql := range []string{`BEGIN; DROP TABLE t`, `BEGIN READONLY`, `BEGIN IMMEDIATE IMMEDIATE`, `COMMIT x y`, `BEGIN TRANSACTION a b c d`, `ROLLBACK x`, `COMMIT; SELECT 1`, `BEGIN (`} {
		if got, err := guard.ControlOf(sql); err == nil || got != guard.NoControl {
			t.Errorf("%q: %q", sql, got)
		}
	}
}

func TestForeignKeys(t *testing.T) {
	type answer struct{ on, asks, ok bool }
	for sql, want := range map[string]answer{
		`PRAGMA foreign_keys`: {false, true, true}, `pragma main.foreign_keys;`: {false, true, true},
		`PRAGMA foreign_keys=OFF`: {false, false, true}, `PRAGMA foreign_keys = on;`: {true, false, true}, `PRAGMA foreign_keys(1)`: {true, false, true},
		`PRAGMA "foreign_keys" = 'no'`: {false, false, true},
		`PRAGMA foreign_key_list(t)`:   {}, `PRAGMA foreign_keys=off; SELECT 1`: {}, `PRAGMA foreign_keys=maybe`: {}, `PRAGMA`: {}, `SELECT 1`: {},
	} {
		on, asks, ok := guard.ForeignKeys(sql)
		if got := (answer{on, asks, ok}); got != want {
			t.Errorf("%q: %v", sql, got)
		}
	}
}

func TestSplit(t *testing.T) {
	const trigger = `CREATE TEMP TRIGGER t AFTER INSERT ON x BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM y; END`
	for sql, want := range map[string][]string{
		``: nil, ` ; ;; -- nothing`: nil,
		`SELECT 1`: {`SELECT 1`}, `SELECT 1; SELECT ';' ; /* ; */ SELECT "a;b"`: {`SELECT 1`, `SELECT ';' `, `SELECT "a;b"`},
		trigger + `; SELECT 2;`: {trigger, `SELECT 2`}, `EXPLAIN ` + trigger + `;SELECT 1`: {`EXPLAIN ` + trigger, `SELECT 1`},
		`CREATE TABLE "trigger"(a); SELECT 1`: {`CREATE TABLE "trigger"(a)`, `SELECT 1`},
		`SELECT 'open; SELECT 2`:              {`SELECT 'open; SELECT 2`},
	} {
		if got := guard.Split(sql); !slices.Equal(got, want) {
			t.Errorf("%q: %q", sql, got)
		}
	}
	for sql, want := range map[string]bool{``: false, `SELECT 1`: false, `SELECT 1; -- x`: true, trigger: false, trigger + `;`: true, `CREATE TRIGGER t BEGIN SELECT 1;`: false} {
		if got := guard.Complete(sql); got != want {
			t.Errorf("Complete(%q): %v", sql, got)
		}
	}
}

// FuzzSplit: whatever the text, nothing of it but blanks, comments and
// semicolons is lost, and each piece is one statement.
func FuzzSplit(f *testing.F) {
	f.Add(`CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; END; SELECT 'a;b' -- c`)
	f.Add("BEGIN;;COMMIT /* ; */ ; \"x;")
	f.Fuzz(func(t *testing.T, sql string) {
		at := 0
		for _, s := range guard.Split(sql) {
			i := strings.Index(sql[at:], s)
			if s == "" || i < 0 {
				t.Fatalf("%q: %q does not follow", sql, s)
			}
			at += i + len(s)
			if again := guard.Split(s); len(again) != 1 {
				t.Fatalf("%q: %q is %d statements", sql, s, len(again))
			}
		}
		_, _ = guard.ControlOf(sql)
		_, _, _ = guard.ForeignKeys(sql)
	})
}
