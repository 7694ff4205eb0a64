package tenants_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
	"coffer/tenants/worker"
)

// TestMain makes the test binary be a worker where a pool starts one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "worker" {
		if err := worker.Main(context.Background(), os.Getenv); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// workerOf is the process of a tenant's worker.
func (k *kit) workerOf(tb testing.TB, id domain.TenantID) int {
	tb.Helper()
	var pid int
	if _, err := fmt.Sscanf(k.pool.Confinement(id), "worker %d:", &pid); err != nil {
		tb.Fatalf("%s has no worker: %q", id, k.pool.Confinement(id))
	}
	return pid
}

// counting takes longer than a statement may stay.
const counting = `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 30000) SELECT count(*) FROM c`

// TestLongReadsMove: a statement that reads for long goes on in a worker, and
// gives what it would have given here, with the data of its tenant.
func TestLongReadsMove(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 'of acme')`)
	k.mustExec(t, "globex", `INSERT INTO kv VALUES ('a', 'of globex')`)
	for _, id := range []domain.TenantID{"acme", "globex", "acme"} {
		rows, err := k.query(t, id, `SELECT v FROM kv UNION ALL `+strings.Replace(counting, "WITH", "SELECT * FROM (WITH", 1)+`)`)
		if must(t, err); fmt.Sprint(rows) != fmt.Sprintf("[of %s 30000]", id) {
			t.Errorf("%s: %v", id, rows)
		}
		if !strings.Contains(k.noted(), string(id)+": started worker") {
			t.Errorf("%s: no worker was started: %s", id, k.noted())
		}
	}
	if n := strings.Count(k.noted(), "started"); n != 2 {
		t.Errorf("%d workers were started for two tenants", n)
	}
	if _, err := k.query(t, "acme", `SELECT v FROM kv, (`+counting+`) WHERE v = abs(-9223372036854775807 - 1)`); domain.KindOf(err) != domain.Invalid {
		t.Errorf("an error in a worker: %v", err)
	}
	k.mustExec(t, "acme", `DELETE FROM kv`) // the worker holds nothing that is in the way
	must(t, k.pool.Verify(t.Context(), k.permit(t, "", authz.CheckStores, ""), "acme"))
}

// TestLongReadsWithoutWorkers: where no worker can be had, a long statement goes
// on here, and a tenant that wants a process of its own is not served.
func TestLongReadsWithoutWorkers(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.noWorker = true
	k.reopen(t, 0)
	if got := k.one(t, "acme", counting); got != "30000" {
		t.Error(got)
	}
	k.isolate(true, "acme")
	_, err := k.query(t, "acme", `SELECT 1`)
	wantKind(t, err, domain.Unavailable)
}

// TestIsolated: a tenant in a process of its own is served like any other, and
// moves there and back with its data.
func TestIsolated(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`)
	k.isolate(true, "acme")
	var last int
	for i := range 3 {
		intent := k.mustExec(t, "acme", `UPDATE kv SET v = v + 1`)
		if got := k.one(t, "acme", `SELECT v FROM kv`); got != fmt.Sprint(i+2) || !k.applied(t, "acme", intent) {
			t.Errorf("%s after %d changes", got, i+1)
		}
		last = k.workerOf(t, "acme")
	}
	if k.pool.Confinement("globex") != "" {
		t.Error("globex has a worker")
	}
	if _, err := k.exec(t, "acme", `INSERT INTO kv VALUES ('a', 2)`); guard.Code(err) != "SQLITE_CONSTRAINT" || domain.KindOf(err) != domain.Conflict {
		t.Errorf("%v", err)
	}
	if _, err := k.query(t, "acme", `SELECT * FROM __coffer_applied`); domain.KindOf(err) != domain.Denied {
		t.Errorf("%v", err)
	}
	k.isolate(false, "acme")
	if got := k.one(t, "acme", `SELECT v FROM kv`); got != "4" || k.pool.Confinement("acme") != "" {
		t.Errorf("%s, %q", got, k.pool.Confinement("acme"))
	}
	if err := syscall.Kill(last, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the worker is there still: %v", err)
	}
	k.isolate(true, "acme")
	must(t, k.pool.Bar(t.Context(), "acme"))
	if _, err := os.Stat(k.data("acme") + "-wal"); err == nil {
		t.Error("the file of a closed worker was not checkpointed")
	}
	k.pool.Admit("acme")
	if got := k.one(t, "acme", `SELECT v FROM kv`); got != "4" {
		t.Error(got)
	}
	if n := k.alarmed("acme"); n != 0 {
		t.Errorf("%d alarms", n)
	}
}

// TestIsolatedDamage: damage that a worker finds is an alarm of its parent's.
func TestIsolatedDamage(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.mustExec(t, "acme", `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 400) INSERT INTO kv SELECT n, hex(randomblob(1000)) FROM c`)
	k.isolate(true, "acme")
	must(t, k.pool.Bar(t.Context(), "acme"))
	b, err := os.ReadFile(k.data("acme"))
	must(t, err)
	b[len(b)-3000] ^= 1
	must(t, os.WriteFile(k.data("acme"), b, 0o600))
	k.pool.Admit("acme")
	_, err = k.query(t, "acme", `SELECT sum(length(v)) FROM kv`)
	wantKind(t, err, domain.Tampered)
	if k.alarmed("acme") == 0 {
		t.Error("no alarm")
	}
}

// TestKilledWorker: kill -9 of a tenant's worker, between two statements, within
// a transaction and at its commit. Nothing that was acknowledged is lost, the mark
// tells of each change whether it happened, the next request starts another
// worker, and nobody else notices.
func TestKilledWorker(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex", "initech")
	k.isolate(true, "acme", "globex")
	other := k.one(t, "globex", `SELECT 1`)
	otherWorker := k.workerOf(t, "globex")
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('n', 0)`)
	kill := func() { must(t, syscall.Kill(k.workerOf(t, "acme"), syscall.SIGKILL)) }
	want := 0

	kill() // while it is idle
	for range 3 {
		k.mustExec(t, "acme", `UPDATE kv SET v = v + 1`)
		want++
	}

	// Within a transaction that its client holds open.
	p := k.intend(t, "acme", authz.SQLWrite, "")
	tx, err := k.pool.Begin(t.Context(), p, tenants.TxWrite)
	must(t, err)
	_, err = tx.Stream(t.Context(), p, guard.Request{SQL: `UPDATE kv SET v = v + 100`}, guard.Sink{})
	must(t, err)
	kill()
	<-tx.Done()
	err = tx.Commit(t.Context(), p)
	if _, uncertain := errors.AsType[*tenants.UncertainError](err); err == nil || uncertain {
		t.Errorf("the commit of a transaction that was lost before it: %v", err)
	}
	must(t, tx.Rollback(t.Context()))
	intent, _ := p.IntentID()
	if k.applied(t, "acme", intent) {
		t.Error("the lost transaction left its mark")
	}

	// While a change runs that has begun to reach the log. On a busy machine it can
	// come to its deadline before: then there was nothing to kill.
	for killed := false; !killed; {
		k.one(t, "acme", `SELECT 1`)
		failed := make(chan error, 1)
		go func() {
			_, err := k.exec(t, "acme", `INSERT INTO kv SELECT n, hex(randomblob(500)) FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT n FROM c)`)
			failed <- err
		}()
		for running := true; running; {
			select {
			case err := <-failed:
				running = false
				if kind := domain.KindOf(err); kind != domain.Limit && (kind != domain.Unavailable || !killed) {
					t.Fatalf("killed: %v, and the change's error is %v", killed, err)
				}
			case <-time.After(time.Millisecond):
				if info, err := os.Stat(k.data("acme") + "-wal"); err == nil && info.Size() > 1<<20 && !killed {
					kill()
					killed = true
				}
			}
		}
	}
	if got := k.one(t, "acme", `SELECT count(*) FROM kv`); got != "1" {
		t.Errorf("%s rows are there", got)
	}

	// At any moment of many commits.
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		stop, counted := make(chan struct{}), make(chan int)
		k.one(t, "acme", `SELECT 1`)
		go func() {
			n := 0
			defer func() { counted <- n }()
			for {
				intent, err := k.exec(t, "acme", `UPDATE kv SET v = v + 1 WHERE k = 'n'`)
				switch _, uncertain := errors.AsType[*tenants.UncertainError](err); {
				case err == nil, uncertain && k.applied(t, "acme", intent):
					n++
				case !uncertain && k.applied(t, "acme", intent):
					t.Errorf("a change that failed is there: %v", err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		for range 3 {
			k.query(t, "acme", `SELECT 1`)
		}
		kill()
		close(stop)
		want += <-counted
	}
	if got := k.one(t, "acme", `SELECT v FROM kv WHERE k = 'n'`); got != fmt.Sprint(want) {
		t.Errorf("%s changes are there, %d were acknowledged", got, want)
	}
	if k.one(t, "globex", `SELECT 1`) != other || k.workerOf(t, "globex") != otherWorker || k.one(t, "initech", `SELECT 1`) != "1" {
		t.Error("another tenant was touched")
	}
	if n := k.alarmed("acme"); n != 0 {
		t.Errorf("%d alarms: %s", n, k.noted())
	}
}

// TestKilledHelper: the worker of a long read is killed; it is read in another.
func TestKilledHelper(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	type result struct {
		rows []string
		err  error
	}
	answered := make(chan result, 1)
	go func() {
		rows, err := k.query(t, "acme", counting)
		answered <- result{rows, err}
	}()
	var pid int
	for pid == 0 {
		_, _ = fmt.Sscanf(k.noted(), "acme: started worker %d:", &pid)
		select {
		case r := <-answered:
			t.Fatalf("it was read here: %v, %v", r.rows, r.err)
		case <-time.After(100 * time.Microsecond):
		}
	}
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	if r := <-answered; r.err != nil || fmt.Sprint(r.rows) != "[30000]" {
		t.Errorf("%v, %v", r.rows, r.err)
	}
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', ?)`, sqlite.Int(1))
	if got := k.one(t, "acme", counting); got != "30000" {
		t.Error(got)
	}
}
