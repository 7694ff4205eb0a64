package sqlite_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/tenants/sqlite"
)

var values = []sqlite.Value{
	{},
	sqlite.Int(0), sqlite.Int(1), sqlite.Int(-1), sqlite.Int(math.MaxInt64), sqlite.Int(math.MinInt64), sqlite.Int(1 << 53),
	sqlite.Float(0.5), sqlite.Float(math.MaxFloat64), sqlite.Float(math.SmallestNonzeroFloat64), sqlite.Float(math.Inf(-1)), sqlite.Float(math.Copysign(0, -1)),
	sqlite.Text(""), sqlite.Text("héllo"), sqlite.Text("a\x00b"), sqlite.Text("\xff\xfe invalid"), sqlite.Text(strings.Repeat("x", 100_000)),
	sqlite.Blob(nil), sqlite.Blob([]byte{0}), sqlite.Blob([]byte("\x00\xff")), sqlite.Blob(make([]byte, 100_000)),
}

// Values come back as they went in, whatever the column is declared as.
func TestValuesAreExact(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(i INTEGER PRIMARY KEY, v)`)
	for i, v := range values {
		mustQuery(t, c, `INSERT INTO t VALUES (?, ?)`, sqlite.Int(int64(i)), v)
	}
	for i, v := range values {
		for _, sql := range []string{`SELECT v FROM t WHERE i = ?`, `SELECT v FROM t WHERE i = ? ORDER BY random()`} {
			if got := mustQuery(t, c, sql, sqlite.Int(int64(i)))[0][0]; !got.Equal(v) && v != sqlite.Float(math.Copysign(0, -1)) {
				t.Errorf("%v came back as %v", v, got)
			}
		}
		if got := mustQuery(t, c, `SELECT typeof(?)`, v)[0][0].Raw(); got != v.Type().String() {
			t.Errorf("%v is %s", v, got)
		}
	}
	if got := mustQuery(t, c, `SELECT ?`, sqlite.Float(math.NaN()))[0][0]; !got.IsNull() {
		t.Errorf("NaN came back as %v", got)
	}
	for _, decl := range []string{"DATE", "DATETIME", "TIMESTAMP", "BOOLEAN", "VARCHAR(3)", "BLOB", ""} {
		mustExec(t, c, `DROP TABLE IF EXISTS d; CREATE TABLE d(v `+decl+`)`)
		const date = "2026-01-02 03:04:05.678+01:00"
		mustQuery(t, c, `INSERT INTO d VALUES (?)`, sqlite.Text(date))
		if got := mustQuery(t, c, `SELECT v FROM d`)[0][0]; got != sqlite.Text(date) {
			t.Errorf("%s: %v", decl, got)
		}
	}
}

func TestValueAccessors(t *testing.T) {
	v := sqlite.Blob([]byte{1, 2})
	b := v.Bytes()
	b[0] = 9
	if v.Raw() != "\x01\x02" || v.Size() != 2 || v.Int64() != 0 || v.Float64() != 0 {
		t.Errorf("%v", v)
	}
	if sqlite.Int(3).Bytes() != nil || sqlite.Int(3).Size() != 8 || (sqlite.Value{}).Size() != 0 || sqlite.Float(1.5).Float64() != 1.5 {
		t.Error("accessors")
	}
	if sqlite.Int(1).Equal(sqlite.Float(math.Float64frombits(1))) || sqlite.Text("x").Equal(sqlite.Blob([]byte("x"))) {
		t.Error("values of two classes are equal")
	}
	if got := fmt.Sprint(sqlite.Int(1), sqlite.Float(0.5), sqlite.Text("a"), v, sqlite.Value{}); got != `1 0.5 "a" x'0102' NULL` {
		t.Error(got)
	}
}

func TestDescription(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE people(id INTEGER PRIMARY KEY, born DATETIME)`)
	s, tail, err := c.Prepare(t.Context(), `SELECT born AS b, 1 + ?2, :x FROM people; SELECT 2`)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := []sqlite.Column{{Name: "b", DeclType: "DATETIME", Database: "main", Table: "people", Origin: "born"}, {Name: "1 + ?2"}, {Name: ":x"}}
	if diff := cmp.Diff(want, s.Columns()); diff != "" {
		t.Error(diff)
	}
	if tail != " SELECT 2" || s.ParamCount() != 3 || s.ParamName(1) != "" || s.ParamName(2) != "?2" || s.ParamName(3) != ":x" || s.ParamName(4) != "" {
		t.Error(tail, s.ParamCount())
	}
	if !s.ReadOnly() || s.IsExplain() {
		t.Error("flags")
	}
	e, _, err := c.Prepare(t.Context(), `EXPLAIN QUERY PLAN DELETE FROM people`)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !e.IsExplain() {
		t.Error("not an EXPLAIN")
	}
	for _, blank := range []string{"", "  ", "-- x", "/* x */ ;"} {
		if s, _, err := c.Prepare(t.Context(), blank); s != nil || err != nil {
			t.Errorf("%q: %v %v", blank, s, err)
		}
	}
}

func TestBindErrors(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)`)
	s, _, err := c.Prepare(t.Context(), `SELECT a, ? FROM t`)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, i := range []int{-1, 0, 2} {
		if err := s.Bind(i, sqlite.Int(1)); sqlite.CodeOf(err) != sqlite.CodeRange {
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, err := s.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(1, sqlite.Int(1)); sqlite.CodeOf(err) != sqlite.CodeMisuse {
		t.Errorf("%v", err)
	}
	if v := s.Value(7); !v.IsNull() {
		t.Error(v)
	}
}

// A value of one run is never seen by the next.
func TestBindingsAreForgotten(t *testing.T) {
	c := fresh(t)
	const sql = `SELECT ?, ?, ?`
	large := strings.Repeat("secret", 100_000)
	mustQuery(t, c, sql, sqlite.Text("secret"), sqlite.Int(7), sqlite.Text(large))
	s, _, err := c.Prepare(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Bind(2, sqlite.Int(8)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a run over again has the same values
		if ok, err := s.Step(t.Context()); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if diff := cmp.Diff([]sqlite.Value{{}, sqlite.Int(8), {}}, s.Row(nil)); diff != "" {
			t.Error(diff)
		}
		if ok, err := s.Step(t.Context()); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Step(t.Context()); !ok || err != nil || !s.Value(1).IsNull() {
		t.Errorf("%v %v %v", ok, err, s.Value(1))
	}
}

func TestCache(t *testing.T) {
	c := fresh(t)
	prepare := func(sql string) *sqlite.Stmt {
		t.Helper()
		s, _, err := c.Prepare(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := prepare(`SELECT 1`)
	a.SetTag("a")
	if other := prepare(`SELECT 1`); other == a {
		t.Error("a statement was handed out twice")
	} else if err := errors.Join(a.Close(), other.Close()); err != nil {
		t.Error(err)
	}
	if s := prepare(`SELECT 1`); s != a || s.Tag() != "a" {
		t.Error("the statement was not kept with its tag")
	} else if err := s.Close(); err != nil {
		t.Error(err)
	}
	for i := range 2 * sqlite.DefaultStatementsCache {
		if err := prepare(fmt.Sprintf(`SELECT %d + 1`, i)).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if s := prepare(`SELECT 1`); s.Tag() != nil {
		t.Error("the least recently used statement is still there")
	} else {
		s.SetTag("b")
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
	}
	if prepare(`SELECT 1`).Tag() != nil {
		t.Error("a discarded statement was kept")
	}
	u, _, err := c.PrepareUncached(t.Context(), `SELECT 3`)
	if err != nil {
		t.Fatal(err)
	}
	u.SetTag("u")
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if prepare(`SELECT 3`).Tag() != nil {
		t.Error("an uncached statement was kept")
	}
	// A statement that failed or was left in the middle is as new.
	mustExec(t, c, `CREATE TABLE t(a UNIQUE)`)
	for i := range 3 {
		_, err := query(c, `INSERT INTO t VALUES (1)`)
		if (err == nil) != (i == 0) {
			t.Errorf("run %d: %v", i, err)
		}
	}
}

func TestSchemaChange(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(a); INSERT INTO t VALUES (1)`)
	const sql = `SELECT * FROM t`
	mustQuery(t, c, sql)
	mustExec(t, c, `ALTER TABLE t ADD COLUMN b DEFAULT 'x'`)
	s, _, err := c.Prepare(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.Columns()) != 2 || len(s.Row(nil)) != 2 {
		t.Error(s.Columns(), s.Row(nil))
	}
}

// Any sequence of values goes through one statement as through fresh ones.
func TestRebinding(t *testing.T) {
	c := fresh(t)
	value := rapid.OneOf(
		rapid.Just(sqlite.Value{}),
		rapid.Map(rapid.Int64(), sqlite.Int),
		rapid.Map(rapid.Float64(), sqlite.Float),
		rapid.Map(rapid.String(), sqlite.Text),
		rapid.Map(rapid.SliceOf(rapid.Byte()), sqlite.Blob),
		rapid.Map(rapid.IntRange(0, 200_000), func(n int) sqlite.Value { return sqlite.Text(strings.Repeat("y", n)) }),
	)
	rapid.Check(t, func(rt *rapid.T) {
		for _, v := range rapid.SliceOfN(rapid.SliceOfN(value, 2, 2), 1, 8).Draw(rt, "runs") {
			got, err := query(c, `SELECT ?, ?`, v...)
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(v, got[0]); diff != "" {
				rt.Fatal(diff)
			}
		}
	})
}
