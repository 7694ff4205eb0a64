package tenants_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMigrateInAWorker: a tenant whose file lives in a process of its own is
// migrated and put back like any other. When that process is killed in the
// middle, nothing of it is there, and the next attempt goes through.
func TestMigrateInAWorker(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.isolate(true, "acme")
	if got := k.one(t, "acme", "SELECT count(*) FROM kv"); got != "0" {
		t.Fatal(got)
	}
	ended := make(chan error, 1)
	go func() {
		_, _, err := k.migrate(t, "acme", migrationsOf("0001_long.sql",
			"CREATE TABLE t(x); INSERT INTO t WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c) SELECT x FROM c WHERE x < 0"))
		ended <- err
	}()
	for k.snapshotsOnDisk(t, "acme") == 0 {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(100 * time.Microsecond):
		}
	}
	must(t, syscall.Kill(k.workerOf(t, "acme"), syscall.SIGKILL))
	if err := <-ended; err == nil {
		t.Error("it went through in a process that was killed")
	}
	if n := len(k.has(t, "acme")); n != 0 {
		t.Errorf("%d migrations are there", n)
	}
	m, _, err := k.migrate(t, "acme", customers)
	must(t, err)
	if diff := cmp.Diff([]int{1, 2}, k.has(t, "acme")); diff != "" {
		t.Error(diff)
	}
	k.restore(t, "acme", m.Snapshot)
	if n := len(k.has(t, "acme")); n != 0 {
		t.Errorf("%d migrations after it was put back", n)
	}
	k.workerOf(t, "acme") // it lives there again
}
