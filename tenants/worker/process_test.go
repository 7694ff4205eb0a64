package worker_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/tenants/cryptvfs"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
	"coffer/tenants/worker"
)

// TestMain makes the test binary be a worker where a test starts one, and a
// parent that starts one and is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "worker":
			if err := worker.Main(context.Background(), os.Getenv); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "parent":
			p, err := worker.Start(context.Background(), worker.Options{}, spec(os.Args[2]))
			if err != nil {
				panic(err)
			}
			fmt.Println(p.PID())
			select {}
		}
	}
	os.Exit(m.Run())
}

// keys derives page keys as a tenant's keyset does.
type keys []byte

func (k keys) Derive(info []byte, n int) ([]byte, error) {
	return hkdf.Key(sha256.New, k, nil, string(info), n)
}

// secret is looked for where it must not be.
var secret = keys("0123456789abcdef0123456789abcdef")

var fileID = [16]byte{1, 2, 3}

func spec(path string) worker.Spec {
	return worker.Spec{Path: path, FileID: fileID, Keys: secret}
}

// database makes a file with a table of so many rows.
func database(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "data.db")
	reg, err := cryptvfs.Register(fileID, secret)
	must(tb, err)
	defer reg.Close()
	db, err := sqlite.Open(reg.URI(path, cryptvfs.Options{Mode: cryptvfs.Create}), sqlite.Options{Mode: sqlite.Create})
	must(tb, err)
	must(tb, db.Exec(tb.Context(), fmt.Sprintf(`PRAGMA journal_mode = WAL; CREATE TABLE t(n INTEGER PRIMARY KEY, s TEXT UNIQUE);
		WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < %d) INSERT INTO t SELECT n, 'row ' || n FROM c WHERE n <= %[1]d;`, n)))
	must(tb, db.Close())
	return path
}

func start(tb testing.TB, o worker.Options, s worker.Spec) *worker.Process {
	tb.Helper()
	p, err := worker.Start(tb.Context(), o, s)
	must(tb, err)
	tb.Cleanup(func() { must(tb, p.Close()) })
	return p
}

func session(tb testing.TB, p *worker.Process, role guard.Role) *worker.Session {
	tb.Helper()
	s, err := p.Open(tb.Context(), role)
	must(tb, err)
	return s
}

// query gives the rows as text.
func query(ctx context.Context, s *worker.Session, sql string, args ...sqlite.Value) (out []string, err error) {
	_, err = s.Stream(ctx, guard.Request{SQL: sql, Args: args}, guard.Sink{
		Row: func(row []sqlite.Value) error { out = append(out, fmt.Sprint(row)); return nil },
	})
	return out, err
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// TestSession: what a guard does, it does in a worker.
func TestSession(t *testing.T) {
	p := start(t, worker.Options{}, spec(database(t, 30_000)))
	w, r := session(t, p, guard.Writer), session(t, p, guard.Reader)
	got, err := query(t.Context(), r, `SELECT s FROM t WHERE n = ?`, sqlite.Int(7))
	if must(t, err); fmt.Sprint(got) != `[["row 7"]]` {
		t.Error(got)
	}
	got, err = query(t.Context(), r, `SELECT n, s FROM t`) // many messages
	if must(t, err); len(got) != 30_000 || got[29_999] != `[30000 "row 30000"]` {
		t.Errorf("%d rows, the last is %s", len(got), got[len(got)-1])
	}
	columns := 0
	_, err = r.Stream(t.Context(), guard.Request{SQL: `SELECT n, s FROM t WHERE n < 0`}, guard.Sink{
		Columns: func(c []sqlite.Column) error { columns += len(c); return nil },
	})
	if must(t, err); columns != 2 {
		t.Errorf("%d columns of an empty result", columns)
	}
	_, err = query(t.Context(), r, `DELETE FROM t`)
	if domain.KindOf(err) != domain.Denied {
		t.Errorf("a reader wrote: %v", err)
	}
	_, err = w.Trusted(t.Context(), "BEGIN IMMEDIATE")
	if must(t, err); !w.InTransaction() {
		t.Error("no transaction is open")
	}
	out, err := w.Stream(t.Context(), guard.Request{SQL: `INSERT INTO t VALUES (-1, 'a'), (-2, 'b')`}, guard.Sink{})
	if must(t, err); out.Affected != 2 || !out.Wrote || fmt.Sprint(out.Report.Tables) != "[t]" {
		t.Errorf("%+v", out)
	}
	_, err = query(t.Context(), w, `INSERT INTO t VALUES (-1, 'c')`)
	if domain.KindOf(err) != domain.Conflict || guard.Code(err) != "SQLITE_CONSTRAINT" {
		t.Errorf("%v, code %s", err, guard.Code(err))
	}
	must(t, w.Rollback(t.Context()))
	if w.InTransaction() {
		t.Error("the transaction is open after the rollback")
	}
	rows, err := w.Trusted(t.Context(), "SELECT count(*) FROM t WHERE n < ?", sqlite.Int(0))
	if must(t, err); rows[0][0].Int64() != 0 {
		t.Error("rows are there after the rollback")
	}
	d, err := r.Describe(t.Context(), `SELECT n AS x FROM t WHERE s = :s`)
	if must(t, err); fmt.Sprint(d.Params) != "[:s]" || d.Columns[0].Name != "x" || !d.ReadOnly {
		t.Errorf("%+v", d)
	}
	must(t, w.Close())
	must(t, w.Close())
	if _, err := query(t.Context(), w, "SELECT 1"); err == nil {
		t.Error("a closed connection answers")
	}
	if p.AuthFailures() != 0 || !strings.Contains(p.Confined(), "nice 19") {
		t.Errorf("%d failures, confined by %s", p.AuthFailures(), p.Confined())
	}
}

// TestUnwantedRowsUndoTheChange: a change with RETURNING whose rows the taker
// refuses is undone, the last of them too, and the transaction stays open.
func TestUnwantedRowsUndoTheChange(t *testing.T) {
	p := start(t, worker.Options{}, spec(database(t, 10)))
	w := session(t, p, guard.Writer)
	full := errors.New("full")
	for _, sql := range []string{`DELETE FROM t RETURNING n`, `UPDATE t SET s = s || zeroblob(20000) RETURNING s`} {
		_, err := w.Trusted(t.Context(), "BEGIN IMMEDIATE")
		must(t, err)
		left := 10
		_, err = w.Stream(t.Context(), guard.Request{SQL: sql}, guard.Sink{Row: func([]sqlite.Value) error {
			if left--; left == 0 {
				return full
			}
			return nil
		}})
		if !errors.Is(err, full) || !w.InTransaction() {
			t.Errorf("error %v, in a transaction %v", err, w.InTransaction())
		}
		got, err := query(t.Context(), w, `SELECT count(*), sum(length(s)) FROM t`)
		if must(t, err); fmt.Sprint(got) != `[[10 51]]` {
			t.Errorf("after the refusal: %v", got)
		}
		must(t, w.Rollback(t.Context()))
	}
}

// endless runs until it is stopped.
const endless = `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c`

// TestStops: the end of a context stops one statement, a deadline another, and
// the connection goes on.
func TestStops(t *testing.T) {
	s := spec(database(t, 1))
	s.Limits.Deadline = 30 * time.Millisecond
	p := start(t, worker.Options{}, s)
	r := session(t, p, guard.Reader)
	ctx, cancel := context.WithCancel(t.Context())
	other := session(t, p, guard.Reader)
	for i := range 3 {
		_, err := query(t.Context(), r, endless)
		if domain.KindOf(err) != domain.Limit || guard.Code(err) != "SQLITE_INTERRUPT" {
			t.Errorf("%v, code %q", err, guard.Code(err))
		}
		if i == 1 {
			cancel()
		}
		if _, err = query(ctx, other, endless); i > 0 && domain.KindOf(err) != domain.Unavailable {
			t.Errorf("%v of kind %v", err, domain.KindOf(err))
		}
	}
	rows := 0
	ctx, cancel = context.WithCancel(t.Context())
	_, err := r.Stream(ctx, guard.Request{SQL: `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT n, hex(zeroblob(5000)) FROM c`}, guard.Sink{
		Row: func([]sqlite.Value) error {
			if rows++; rows == 20 {
				cancel()
			}
			return nil
		},
	})
	if err == nil {
		t.Error("an endless result ended")
	}
	if got, err := query(t.Context(), r, `SELECT 1`); err != nil || len(got) != 1 {
		t.Errorf("after all that: %v, %v", got, err)
	}
}

// TestKilled: whoever kills a worker leaves its callers with one kind of error,
// whatever they were doing, and the file with all that was committed.
func TestKilled(t *testing.T) {
	path := database(t, 10)
	p := start(t, worker.Options{}, spec(path))
	w, r := session(t, p, guard.Writer), session(t, p, guard.Reader)
	for _, sql := range []string{"BEGIN IMMEDIATE", "INSERT INTO t VALUES (11, 'kept')", "COMMIT", "BEGIN IMMEDIATE", "INSERT INTO t VALUES (12, 'lost')"} {
		_, err := w.Trusted(t.Context(), sql)
		must(t, err)
	}
	failed := make(chan error)
	go func() { _, err := query(t.Context(), r, endless); failed <- err }()
	must(t, syscall.Kill(p.PID(), syscall.SIGKILL))
	if err := <-failed; !errors.Is(err, worker.ErrLost) || domain.KindOf(err) != domain.Unavailable {
		t.Errorf("while a statement ran: %v", err)
	}
	<-p.Done()
	if _, err := w.Trusted(t.Context(), "COMMIT"); !errors.Is(err, worker.ErrLost) {
		t.Errorf("afterwards: %v", err)
	}
	if w.InTransaction() {
		t.Error("a dead worker has a transaction open")
	}
	must(t, w.Rollback(t.Context()))
	must(t, w.Close())
	if _, err := p.Open(t.Context(), guard.Reader); !errors.Is(err, worker.ErrLost) {
		t.Error(err)
	}
	next := session(t, start(t, worker.Options{}, spec(path)), guard.Reader)
	if got, err := query(t.Context(), next, `SELECT n FROM t WHERE n > 10`); err != nil || fmt.Sprint(got) != "[[11]]" {
		t.Errorf("in the file: %v, %v", got, err)
	}
}

// TestMemoryBomb: a worker that grows is killed, and says why.
func TestMemoryBomb(t *testing.T) {
	s := spec(database(t, 1))
	s.Limits.Memory, s.Limits.Length = 1<<30, 500_000_000
	s.Limits.Deadline = time.Minute
	p := start(t, worker.Options{Memory: 120 << 20}, s)
	_, err := query(t.Context(), session(t, p, guard.Reader),
		`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT sum(length(hex(zeroblob(100000000 + n)))) FROM c`)
	if !errors.Is(err, worker.ErrLost) || !strings.Contains(fmt.Sprint(p.Err()), "bytes of memory") {
		t.Errorf("%v, ended because %v", err, p.Err())
	}
}

// TestKeysStayInMemory: the page keys and what they come from stand neither in
// the arguments nor in the environment of a worker.
func TestKeysStayInMemory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root sees the environment of a process that is not dumpable")
	}
	p := start(t, worker.Options{}, spec(database(t, 1)))
	session(t, p, guard.Writer)
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID(), name))
		must(t, err)
		if bytes.Contains(b, secret) || len(b) > 400 {
			t.Errorf("%s: %q", name, b)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.PID()))
	must(t, err)
	if !strings.Contains(string(status), "Max core file size        0") {
		t.Errorf("%s", status)
	}
}

// TestForeignKeys: a worker gets the keys of its file and of no other, and one
// that was given another tenant's file reads nothing of it.
func TestForeignKeys(t *testing.T) {
	path := database(t, 1)
	p := start(t, worker.Options{}, spec(path))
	own := "coffer/cryptvfs/v1/page\x00" + string(fileID[:]) + "\x00\x00\x00\x01"
	must(t, session(t, p, guard.Reader).Close())
	for _, info := range []string{
		"", "coffer/cryptvfs/v1/page", own[:len(own)-1], own + "\x00", "coffer/secrets\x00" + string(fileID[:]),
		"coffer/cryptvfs/v1/page\x00" + strings.Repeat("\x09", 16) + "\x00\x00\x00\x01",
	} {
		if err := p.AskForKey(info); err == nil {
			t.Errorf("a key for %q", info)
		}
	}
	other := spec(path)
	other.FileID = [16]byte{9}
	_, err := start(t, worker.Options{}, other).Open(t.Context(), guard.Reader)
	if err == nil || !strings.Contains(err.Error(), "NOTADB") {
		t.Errorf("the file opened under another id: %v", err)
	}
}

// TestByHand: nobody starts a worker but a parent with a socket.
func TestByHand(t *testing.T) {
	for _, file := range []string{os.DevNull, "/proc/self/exe"} {
		f, err := os.Open(file)
		must(t, err)
		cmd := exec.Command("/proc/self/exe", "worker")
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "for Coffer itself") {
			t.Errorf("%v: %s", err, out)
		}
		must(t, f.Close())
	}
}

// TestDiesWithItsParent: kill -9 of the parent ends the worker.
func TestDiesWithItsParent(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "parent", database(t, 1))
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line := make([]byte, 16)
	n, err := out.Read(line)
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	must(t, err)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	for alive(pid) {
		if t.Context().Err() != nil {
			t.Fatalf("worker %d lives", pid)
		}
		time.Sleep(time.Millisecond)
	}
}

// alive says whether a process runs; one that nobody has reaped does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(b, ')')
	return i >= 0 && len(b) > i+2 && b[i+2] != 'Z' && b[i+2] != 'X'
}
