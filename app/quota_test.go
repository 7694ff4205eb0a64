package app_test

import (
	"strings"
	"testing"
)

// TestQuotaAtTheWall: at the wall of its quota a tenant is told what to do, on either
// surface; it still reads, and makes room by deleting. Others notice nothing.
func TestQuotaAtTheWall(t *testing.T) {
	r := serveTemp(t)
	r.must("", "POST", "/api/v1/tenants", object{"id": "small", "name": "Small", "file_bytes": 1 << 20}, nil)
	r.tenant("globex")
	owner := r.issue("small", object{"role": "owner"})
	const at = "/api/v1/tenants/small/sql"
	run := func(sql string) answer { return r.do(owner, "POST", at, object{"sql": sql}) }
	r.must(owner, "POST", at, object{"sql": "CREATE TABLE t(a INTEGER PRIMARY KEY, b)"}, nil)
	var wall answer
	rows := 0
	for ; rows < 100; rows++ {
		if wall = run("INSERT INTO t(b) VALUES (hex(randomblob(20000)))"); wall.status != 200 {
			break
		}
	}
	if wall.status != 429 || rows < 10 || !strings.Contains(string(wall.body), "quota") || !strings.Contains(string(wall.body), `"hint"`) || wall.receipt == "" {
		t.Errorf("after %d rows: %d %s", rows, wall.status, wall.body)
	}
	if got, _ := r.pipeline(owner, "small", "", "INSERT INTO t(b) VALUES (hex(randomblob(20000)))", "SELECT count(*) > 9 FROM t"); len(got) != 2 || got[0] != "SQLITE_FULL" || got[1] != "1" {
		t.Errorf("over the wire: %q", got)
	}
	if a := run("DELETE FROM t WHERE a > 5"); a.status != 200 {
		t.Errorf("deleting at the wall: %d %s", a.status, a.body)
	}
	if a := run("INSERT INTO t(b) VALUES (hex(randomblob(20000)))"); a.status != 200 {
		t.Errorf("there is no room after deleting: %d %s", a.status, a.body)
	}
	if a := r.do("", "POST", "/api/v1/tenants/globex/sql", object{"sql": "INSERT INTO t(a, b) VALUES (99, 'x')"}); a.status != 200 {
		t.Errorf("another tenant: %d %s", a.status, a.body)
	}
}
