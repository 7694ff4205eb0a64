package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coffer/tenants/sqlite"
)

// calls are the functions that take the place of SQLite's own.
var calls = []struct {
	sql  string
	args int
}{
	{`instr(?, ?)`, 2},
	{`replace(?, ?, ?)`, 3},
	{`trim(?)`, 1},
	{`ltrim(?)`, 1},
	{`rtrim(?)`, 1},
	{`trim(?, ?)`, 2},
	{`ltrim(?, ?)`, 2},
	{`rtrim(?, ?)`, 2},
	{`unhex(?)`, 1},
	{`unhex(?, ?)`, 2},
}

// original is a connection of modernc's own driver, which has SQLite's
// functions as they are.
func original(tb testing.TB) *sql.Conn {
	tb.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = errors.Join(conn.Close(), db.Close()) })
	return conn
}

// asDriver is a value as the driver takes it.
func asDriver(v sqlite.Value) any {
	switch v.Type() {
	case sqlite.TypeInteger:
		return v.Int64()
	case sqlite.TypeFloat:
		return v.Float64()
	case sqlite.TypeText:
		return v.Raw()
	case sqlite.TypeBlob:
		return v.Bytes()
	}
	return nil
}

// sameAsOriginal checks that a call gives what SQLite's own function gives.
func sameAsOriginal(tb interface{ Fatalf(string, ...any) }, ours *sqlite.Conn, theirs *sql.Conn, call string, args []sqlite.Value) {
	const shape = `SELECT typeof(x), hex(x) FROM (SELECT `
	query0 := shape + call + ` AS x)`
	in := make([]any, len(args))
	for i, v := range args {
		in[i] = asDriver(v)
	}
	var wantType, want string
	if err := theirs.QueryRowContext(context.Background(), query0, in...).Scan(&wantType, &want); err != nil {
		tb.Fatalf("%s %v: %v", call, args, err)
	}
	got, err := query(ours, query0, args...)
	if err != nil {
		if strings.Contains(err.Error(), "not UTF-8") {
			return // the documented difference
		}
		tb.Fatalf("%s %v: %v", call, args, err)
	}
	if got[0][0].Raw() != wantType || got[0][1].Raw() != want {
		tb.Fatalf("%s %v:\n got %s %s\nwant %s %s", call, args, got[0][0].Raw(), got[0][1].Raw(), wantType, want)
	}
}

func TestFunctionsAreLikeSQLites(t *testing.T) {
	ours, theirs := fresh(t), original(t)
	// Few letters, so that things are found; pieces of characters among them.
	piece := rapid.SampledFrom([]string{"a", "b", "ab", " ", "é", "\xc3", "\xa9", "日", "\xf0\x9f\x98\x80", "4", "F", "\x00", "\xff", "\xed\xa0\x80", "\xc0\x80"})
	bytes := rapid.Map(rapid.SliceOfN(piece, 0, 12), func(p []string) string { return strings.Join(p, "") })
	long := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 65, 200), func(p []string) string { return strings.Join(p, "") })
	value := rapid.OneOf(
		rapid.Map(bytes, sqlite.Text), rapid.Map(bytes, sqlite.Text), rapid.Map(long, sqlite.Text),
		rapid.Map(bytes, func(s string) sqlite.Value { return sqlite.Blob([]byte(s)) }),
		rapid.Map(rapid.Int64Range(-50, 50), sqlite.Int), rapid.Just(sqlite.Value{}), rapid.Just(sqlite.Float(4.5)),
	)
	rapid.Check(t, func(rt *rapid.T) {
		call := rapid.SampledFrom(calls).Draw(rt, "call")
		sameAsOriginal(rt, ours, theirs, call.sql, rapid.SliceOfN(value, call.args, call.args).Draw(rt, "args"))
	})
}

// The needle occurs, at the end, in the middle and overlapping itself.
func TestLongNeedles(t *testing.T) {
	ours, theirs := fresh(t), original(t)
	for _, n := range []int{63, 64, 65, 200, 1000} {
		needle := strings.Repeat("ab", n/2) + "a"
		for _, haystack := range []string{needle, "x" + needle, "é" + strings.Repeat("ab", n) + "a", needle[1:] + needle, needle + needle, strings.Repeat(needle+"日", 5)} {
			for _, call := range []string{`instr(?1, ?2)`, `replace(?1, ?2, 'é')`, `replace(?1, ?2, '')`} {
				sameAsOriginal(t, ours, theirs, call, []sqlite.Value{sqlite.Text(haystack), sqlite.Text(needle)})
			}
		}
	}
}

func FuzzFunctions(f *testing.F) {
	for i := range calls {
		f.Add(uint8(i), "abcabc", "b", "é", false)
		f.Add(uint8(i), "  é\xc3\xa9\x00 ", "\xa9 ", "", true)
	}
	ours, theirs := fresh(f), original(f)
	f.Fuzz(func(t *testing.T, i uint8, a, b, c string, blob bool) {
		call := calls[int(i)%len(calls)]
		args := []sqlite.Value{sqlite.Text(a), sqlite.Text(b), sqlite.Text(c)}
		if blob {
			args[0] = sqlite.Blob([]byte(a))
		}
		sameAsOriginal(t, ours, theirs, call.sql, args[:call.args])
	})
}
