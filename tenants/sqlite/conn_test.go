package sqlite_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/tenants/sqlite"
)

// mustOpen opens a connection that the test closes.
func mustOpen(tb testing.TB, path string, mode sqlite.Mode) *sqlite.Conn {
	tb.Helper()
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: mode})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// fresh opens a new file.
func fresh(tb testing.TB) *sqlite.Conn {
	tb.Helper()
	return mustOpen(tb, filepath.Join(tb.TempDir(), "test.db"), sqlite.Create)
}

func mustExec(tb testing.TB, c *sqlite.Conn, sql string) {
	tb.Helper()
	if err := c.Exec(context.Background(), sql); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// query runs one statement and returns its rows.
func query(c *sqlite.Conn, sql string, args ...sqlite.Value) ([][]sqlite.Value, error) {
	ctx := context.Background()
	s, _, err := c.Prepare(ctx, sql)
	if err != nil {
		return nil, err
	}
	for i, v := range args {
		if err := s.Bind(i+1, v); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	var rows [][]sqlite.Value
	for {
		ok, err := s.Step(ctx)
		if err != nil || !ok {
			return rows, errors.Join(err, s.Close())
		}
		rows = append(rows, s.Row(nil))
	}
}

func mustQuery(tb testing.TB, c *sqlite.Conn, sql string, args ...sqlite.Value) [][]sqlite.Value {
	tb.Helper()
	rows, err := query(c, sql, args...)
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return rows
}

func TestModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for _, mode := range []sqlite.Mode{sqlite.ReadOnly, sqlite.ReadWrite, 9} {
		if _, err := sqlite.Open("file:"+path, sqlite.Options{Mode: mode}); err == nil {
			t.Errorf("mode %d made a file", mode)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatal("a failed Open left a file")
	}
	mustExec(t, mustOpen(t, path, sqlite.Create), `CREATE TABLE t(a)`)
	mustExec(t, mustOpen(t, path, sqlite.ReadWrite), `INSERT INTO t VALUES (1)`)
	ro := mustOpen(t, path, sqlite.ReadOnly)
	if err := ro.Exec(t.Context(), `INSERT INTO t VALUES (2)`); !errors.Is(err, &sqlite.Error{Code: sqlite.CodeReadOnly}) {
		t.Errorf("%v", err)
	}
	if _, err := sqlite.Open("file:"+path+"?mode=rwc", sqlite.Options{}); err == nil {
		t.Error("a URI widened the mode")
	}
	if _, err := sqlite.Open("file:"+path+"\x00x", sqlite.Options{}); err == nil {
		t.Error("a NUL byte cut the URI")
	}
	if _, err := sqlite.Open("file:"+path+"?vfs=nosuch", sqlite.Options{}); err == nil {
		t.Error("an unknown VFS opened")
	}
}

// What every connection refuses, whoever uses it.
func TestHardened(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(a)`)
	for _, sql := range []string{
		`PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'x'`,
		`SELECT "double quoted"`,
		`CREATE INDEX i ON t("x")`,
		`SELECT load_extension('x')`,
		`CREATE VIEW v AS SELECT * FROM sqlite_dbpage; SELECT * FROM v`,
		`ATTACH 'file:` + filepath.Join(t.TempDir(), "made.db") + `?mode=rwc' AS made; CREATE TABLE made.t(a)`,
	} {
		if err := c.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s: no error", sql)
		}
	}
	// VACUUM needs a temporary attached file and must still work.
	mustExec(t, c, `VACUUM`)
	mustExec(t, c, `VACUUM INTO '`+filepath.Join(t.TempDir(), "copy.db")+`'`)
}

func TestCloseIsSafe(t *testing.T) {
	c, err := sqlite.Open("file:"+filepath.Join(t.TempDir(), "x.db"), sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, c, `CREATE TABLE t(a); INSERT INTO t VALUES (1), (2); BEGIN; INSERT INTO t VALUES (3)`)
	running, _, err := c.Prepare(t.Context(), `SELECT a FROM t`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := running.Step(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := running.Close(); err != nil {
			t.Error(err)
		}
	}
	c.Interrupt()
	if _, err := running.Step(t.Context()); err == nil {
		t.Error("a statement of a closed connection ran")
	}
	if err := running.Bind(1, sqlite.Int(1)); err == nil {
		t.Error("a statement of a closed connection was bound")
	}
	if _, _, err := c.Prepare(t.Context(), `SELECT 1`); !errors.Is(err, &sqlite.Error{Code: sqlite.CodeMisuse}) {
		t.Errorf("%v", err)
	}
	if err := c.Exec(t.Context(), `SELECT 1`); err == nil {
		t.Error("a closed connection ran a statement")
	}
}

func TestChangesAndRowIDs(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE u(a);
		CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO u VALUES (1), (2); END;
		INSERT INTO t(b) VALUES ('x'), ('y')`)
	if c.Changes() != 2 || c.TotalChanges() != 6 || c.LastInsertRowID() != 2 {
		t.Error(c.Changes(), c.TotalChanges(), c.LastInsertRowID())
	}
	c.SetLastInsertRowID(77)
	if got := mustQuery(t, c, `SELECT last_insert_rowid()`); got[0][0].Int64() != 77 {
		t.Error(got)
	}
	if c.InTransaction() {
		t.Error("in a transaction")
	}
	mustExec(t, c, `BEGIN`)
	if !c.InTransaction() {
		t.Error("not in a transaction")
	}
}

func TestLimits(t *testing.T) {
	c := fresh(t)
	if was := c.SetLimit(sqlite.LimitLength, 1000); was < 1000 || c.SetLimit(sqlite.LimitLength, -1) != 1000 {
		t.Error(was)
	}
	if _, err := query(c, `SELECT ?`, sqlite.Text(strings.Repeat("x", 1001))); sqlite.CodeOf(err) != sqlite.CodeTooBig {
		t.Errorf("%v", err)
	}
	if _, err := query(c, `SELECT randomblob(1000000000)`); sqlite.CodeOf(err) != sqlite.CodeTooBig {
		t.Errorf("%v", err)
	}
}

func TestAuthorizer(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 2); CREATE VIEW v AS SELECT b FROM t`)
	mustQuery(t, c, `SELECT a FROM t`) // in the cache now
	type event struct {
		Action               sqlite.Action
		Arg1, Arg2, DB, From string
	}
	var seen []event
	decision := sqlite.Allow
	if err := c.SetAuthorizer(func(a sqlite.Action, arg1, arg2, db, from string) sqlite.Decision {
		seen = append(seen, event{a, arg1, arg2, db, from})
		if a == sqlite.ActionRead && arg2 == "a" {
			return decision
		}
		return sqlite.Allow
	}); err != nil {
		t.Fatal(err)
	}
	mustQuery(t, c, `SELECT b FROM v`)
	if diff := cmp.Diff([]event{
		{Action: sqlite.ActionSelect},
		{sqlite.ActionRead, "t", "b", "main", "v"},
		{sqlite.ActionRead, "v", "b", "main", ""},
		{Action: sqlite.ActionSelect, From: "v"},
	}, seen); diff != "" {
		t.Error(diff)
	}
	decision = sqlite.Deny
	if _, err := query(c, `SELECT a FROM t`); sqlite.CodeOf(err)&0xff != sqlite.CodeAuth {
		t.Errorf("a cached statement went past a new authorizer: %v", err)
	}
	decision = sqlite.Skip
	if got := mustQuery(t, c, `SELECT a, b FROM t`); !got[0][0].IsNull() || got[0][1].Int64() != 2 {
		t.Error(got)
	}
	if err := c.SetAuthorizer(nil); err != nil {
		t.Fatal(err)
	}
	if got := mustQuery(t, c, `SELECT a, b FROM t`); got[0][0].Int64() != 1 {
		t.Error(got)
	}
}

const endless = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`

func TestProgress(t *testing.T) {
	c := fresh(t)
	calls := 0
	for _, n := range []int{1, 500, 10_000} {
		calls = 0
		c.SetProgress(n, func() bool { calls++; return calls < 5 })
		if _, err := query(c, endless); sqlite.CodeOf(err) != sqlite.CodeInterrupt || calls != 5 {
			t.Errorf("%v after %d calls", err, calls)
		}
	}
	c.SetProgress(0, nil)
	mustQuery(t, c, `SELECT 1`)
}

func TestContextStopsTheStatement(t *testing.T) {
	c := fresh(t)
	cause := errors.New("enough")
	for range 3 {
		ctx, end := context.WithCancelCause(t.Context())
		c.SetProgress(1, func() bool { end(cause); return true }) // it runs, then its context ends
		err := c.Exec(ctx, endless)
		c.SetProgress(0, nil)
		if !errors.Is(err, cause) || !errors.Is(err, &sqlite.Error{Code: sqlite.CodeInterrupt}) {
			t.Fatalf("%v", err)
		}
		mustQuery(t, c, `SELECT 1`) // the connection is as good as before
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Exec(ended, `SELECT 1`); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// The end of one statement's context leaves the others alone.
func TestContextStopsNoOther(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3)`)
	ctx1, cancel1 := context.WithCancel(t.Context())
	ctx2, cancel2 := context.WithCancel(t.Context())
	defer cancel2()
	s1, _, err := c.Prepare(ctx1, `SELECT a FROM t`)
	if err != nil {
		t.Fatal(err)
	}
	s2, _, err := c.Prepare(ctx2, `SELECT a FROM t WHERE a > 0`)
	if err != nil {
		t.Fatal(err)
	}
	for s, ctx := range map[*sqlite.Stmt]context.Context{s1: ctx1, s2: ctx2} {
		if ok, err := s.Step(ctx); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	cancel1()
	if ok, err := s2.Step(ctx2); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if _, err := s1.Step(ctx1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	// A run that began under one context can go on under another.
	if ok, err := s1.Step(t.Context()); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	// And one that began without one can get it.
	if err := s2.Reset(); err != nil {
		t.Error(err)
	}
	s3, _, err := c.Prepare(t.Context(), `SELECT 1 UNION ALL SELECT * FROM (`+endless+`)`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := s3.Step(context.Background()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	ctx3, cancel3 := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel3()
	if _, err := s3.Step(ctx3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(s3.Close(), s1.Close(), s2.Close()); err != nil {
		t.Error(err)
	}
}

// Interrupts come at any time, from anywhere, also around Close.
func TestInterruptRaces(t *testing.T) {
	c, err := sqlite.Open("file:"+filepath.Join(t.TempDir(), "x.db"), sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				c.Interrupt()
			}
		}
	})
	for range 50 {
		if err := c.Exec(t.Context(), endless); sqlite.CodeOf(err) != sqlite.CodeInterrupt {
			t.Fatalf("%v", err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	close(done)
	wg.Wait()
}

func TestBusyWaitEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	a := mustOpen(t, path, sqlite.Create)
	mustExec(t, a, `CREATE TABLE t(a); BEGIN IMMEDIATE`)

	b, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.ReadWrite, BusyTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	// On a busy machine the context can end before the waiting begins.
	for after, code := 20*time.Millisecond, 0; code != sqlite.CodeBusy; after *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err := b.Exec(ctx, `INSERT INTO t VALUES (1)`)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		code = sqlite.CodeOf(err) & 0xff
	}

	for _, timeout := range []time.Duration{-1, 5 * time.Millisecond} {
		n, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.ReadWrite, BusyTimeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Exec(t.Context(), `INSERT INTO t VALUES (1)`); sqlite.CodeOf(err)&0xff != sqlite.CodeBusy {
			t.Errorf("%v", err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	// And a lock that is given back is got.
	var wg sync.WaitGroup
	wg.Go(func() { mustExec(t, b, `INSERT INTO t VALUES (2)`) })
	mustExec(t, a, `COMMIT`)
	wg.Wait()
}

func TestErrors(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (1)`)
	for _, tt := range []struct {
		sql     string
		code    int
		name    string
		message string
		offset  int
	}{
		{`SELECT 1 FRM t`, sqlite.CodeError, "SQLITE_ERROR", `near "t": syntax error`, 13},
		{`SELECT b FROM t`, sqlite.CodeError, "SQLITE_ERROR", `no such column: b`, 7},
		{`INSERT INTO t VALUES (1)`, 2067, "SQLITE_CONSTRAINT", `UNIQUE constraint failed: t.a`, -1},
		{"SELECT 1\x00, 2", sqlite.CodeError, "SQLITE_ERROR", `the SQL text has a NUL byte`, 8},
	} {
		_, err := query(c, tt.sql)
		e, ok := errors.AsType[*sqlite.Error](err)
		if !ok || e.Code != tt.code || e.Name() != tt.name || e.Message != tt.message || e.Offset != tt.offset {
			t.Errorf("%s: %#v", tt.sql, err)
		}
		if !errors.Is(err, &sqlite.Error{Code: e.Primary()}) || !errors.Is(err, &sqlite.Error{Code: e.Code}) || errors.Is(err, &sqlite.Error{Code: sqlite.CodeFull}) {
			t.Errorf("%s: errors.Is", tt.sql)
		}
	}
}
