package tenants_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// TestHeldTransactionsHoldNoTurns: a tenant that leaves as many transactions open
// as it may, and reads results of others slowly, takes no turn from anybody.
func TestHeldTransactionsHoldNoTurns(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "loud", "quiet")
	w := k.intend(t, "loud", authz.SQLWrite, "")
	modes := []tenants.TxMode{tenants.TxWrite}
	for range tenants.ReadersPerTenant - 1 {
		modes = append(modes, tenants.TxRead)
	}
	for _, mode := range modes {
		p, sql := k.permit(t, "loud", authz.SQLQuery, ""), `SELECT count(*) FROM kv`
		if mode == tenants.TxWrite {
			p, sql = w, `INSERT INTO kv VALUES ('held', 1)`
		}
		tx, err := k.pool.Begin(t.Context(), p, mode)
		must(t, err)
		_, err = tx.Stream(t.Context(), p, guard.Request{SQL: sql}, guard.Sink{})
		must(t, err)
		defer func() { must(t, tx.Rollback(t.Context())) }()
	}
	slow := k.block(t, "loud") // the last reader
	for i := range 20 {
		k.mustExec(t, "quiet", `REPLACE INTO kv VALUES ('n', ?)`, sqlite.Int(int64(i)))
		if got := k.one(t, "quiet", `SELECT v FROM kv`); got != fmt.Sprint(i) {
			t.Error(got)
		}
	}
	slow()
}

// TestWorkerHasNothingElse: what a tenant's worker has open is the tenant's file and
// its socket; its arguments and environment name no tenant and hold no key.
func TestWorkerHasNothingElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root sees what a process has open that is not dumpable")
	}
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	k.mustExec(t, "globex", `INSERT INTO kv VALUES ('a', 1)`) // open in this process
	k.isolate(true, "acme")
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`)
	if got := k.one(t, "acme", `SELECT v FROM kv`); got != "1" {
		t.Error(got)
	}
	proc := fmt.Sprintf("/proc/%d/", k.workerOf(t, "acme"))
	fds, err := os.ReadDir(proc + "fd")
	must(t, err)
	files := 0
	for _, fd := range fds {
		to, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		switch {
		case err != nil: // closed meanwhile
		case strings.HasPrefix(to, filepath.Dir(k.data("acme"))+"/"):
			files++
		case strings.HasPrefix(to, "socket:"), strings.HasPrefix(to, "anon_inode:"), strings.HasPrefix(to, "pipe:"), to == os.DevNull:
		case strings.HasPrefix(to, "/sys/fs/cgroup/"), strings.HasPrefix(to, "/proc/"): // the runtime looks at its own limits
		default:
			t.Errorf("the worker has %s open", to)
		}
	}
	if files == 0 {
		t.Error("the worker has no file open")
	}
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(proc + name)
		must(t, err)
		for _, what := range []string{"acme", "globex", k.dir, string(k.root)} {
			if bytes.Contains(b, []byte(what)) {
				t.Errorf("%s holds %q", name, what)
			}
		}
	}
}

// TestIsolatedBomb: a memory bomb ends the worker of its tenant, with words that say
// so, and the next statement has another.
func TestIsolatedBomb(t *testing.T) {
	k := newKit(t, 0)
	k.memory = 100 << 20
	k.reopen(t, 0)
	k.tenant(t, "acme", "globex")
	k.isolate(true, "acme")
	before := k.one(t, "globex", `SELECT 1`)
	bombs := make(chan error, tenants.ReadersPerTenant)
	for range tenants.ReadersPerTenant { // each within the bound of one connection
		go func() {
			_, err := k.query(t, "acme", `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT `+
				strings.Repeat("hex(zeroblob(400000)), ", 60)+`n FROM c`)
			bombs <- err
		}()
	}
	lost := 0
	for range tenants.ReadersPerTenant {
		if err := <-bombs; domain.KindOf(err) == domain.Limit && strings.Contains(err.Error(), "more memory or time") {
			lost++
		}
	}
	if lost == 0 {
		t.Skip("the bombs were over before they could be seen together") // SQLite's own bounds ended each first
	}
	if got := k.one(t, "acme", `SELECT count(*) FROM kv`); got != "0" || k.one(t, "globex", `SELECT 1`) != before {
		t.Error(got)
	}
}
