package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coffer/tenants/sqlite"
)

const heapLimit = 16 << 20

// bombs want far more memory than the limit.
var bombs = []string{
	`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT json_group_array(hex(zeroblob(400000))) FROM n`,
	`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT json_group_object(i, hex(zeroblob(400000))) FROM n`,
	`SELECT json_array(x,x,x,x,x,x,x,x,x,x,x,x) FROM (SELECT CAST(zeroblob(999000) AS TEXT) AS x)`,
	`SELECT json_pretty('[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]', hex(zeroblob(499000)))`,
	`SELECT 1 WHERE 1 IN (` + strings.Repeat(`1,`, 300_000) + `1)`,
}

func TestMemoryLimit(t *testing.T) {
	c := fresh(t)
	c.SetLimit(sqlite.LimitLength, 1_000_000)
	if err := c.SetMemoryLimit(heapLimit); err != nil {
		t.Fatal(err)
	}
	before := peak(t)
	for _, sql := range bombs {
		if _, err := query(c, sql); sqlite.CodeOf(err) != sqlite.CodeNoMemory {
			t.Errorf("%.60s: %v", sql, err)
		}
		if used := c.MemoryUsed(); used > heapLimit/8 {
			t.Errorf("%.60s: %d bytes are still held", sql, used)
		}
		mustQuery(t, c, `SELECT 1`)
	}
	// The Go heap and the allocator's own slack are in it, so the bound is
	// loose; without the limit it would be hundreds of megabytes.
	if grown := peak(t) - before; grown > 8*heapLimit {
		t.Errorf("the process grew by %d bytes", grown)
	}
	if err := c.SetMemoryLimit(0); err != nil {
		t.Fatal(err)
	}
	if _, err := query(c, bombs[3]); sqlite.CodeOf(err) != sqlite.CodeTooBig {
		t.Errorf("without a limit: %v", err)
	}
}

// peak is the largest resident size of the process so far, in bytes.
func peak(tb testing.TB) int64 {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatalf("this test reads the size of the process from Linux: %v", err)
	}
	var kb int64
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscan(rest, &kb); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return kb << 10
}

// One instruction that builds an ever larger text is stopped by its context,
// although nothing interrupts an instruction.
func TestContextStopsGrowth(t *testing.T) {
	c := fresh(t)
	c.SetLimit(sqlite.LimitLength, 1_000_000)
	sql := `SELECT json_pretty(replace(hex(zeroblob(60)), '00', '[') || replace(hex(zeroblob(60)), '00', ']'), hex(zeroblob(499000)))`
	outOfMemory := &sqlite.Error{Code: sqlite.CodeNoMemory}
	// On a busy machine the context can end before that instruction begins.
	for after, err := 30*time.Millisecond, error(nil); !errors.Is(err, outOfMemory); after *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err = c.Exec(ctx, sql)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
	}
	if got := mustQuery(t, c, `SELECT length(hex(zeroblob(100000)))`); got[0][0].Int64() != 200_000 {
		t.Errorf("large blocks are still refused: %v", got)
	}
}

// What a statement needed is given back at its end, and at Close all of it.
func TestMemoryIsGivenBack(t *testing.T) {
	c := fresh(t)
	mustExec(t, c, `CREATE TABLE t(a, b); CREATE INDEX i ON t(b)`)
	work := func() {
		mustExec(t, c, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO t SELECT i, hex(randomblob(50)) FROM n;
			SELECT b, count(*) FROM t GROUP BY b ORDER BY 2, 1; DELETE FROM t`)
	}
	work()
	first := c.MemoryUsed()
	for range 5 {
		work()
	}
	if now := c.MemoryUsed(); now > first+64<<10 {
		t.Errorf("%d bytes grew to %d", first, now)
	}
}

// A write that runs out of memory changes nothing, and the file stays sound.
func TestOutOfMemoryKeepsTheFileSound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	c := mustOpen(t, path, sqlite.Create)
	mustExec(t, c, `CREATE TABLE t(a PRIMARY KEY, b); INSERT INTO t VALUES (0, 'x')`)
	base := c.MemoryUsed()
	failed := 0
	for extra := int64(1 << 10); extra < 4<<20; extra = extra * 5 / 4 {
		if err := c.SetMemoryLimit(base + extra); err != nil {
			t.Fatal(err)
		}
		_, err := query(c, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
			INSERT INTO t SELECT random(), group_concat(i || hex(zeroblob(500))) OVER (ORDER BY i) FROM n`)
		if err != nil {
			failed++
			if sqlite.CodeOf(err)&0xff != sqlite.CodeNoMemory && sqlite.CodeOf(err)&0xff != sqlite.CodeIOErr {
				t.Fatalf("%v", err)
			}
		}
		if err := c.SetMemoryLimit(0); err != nil {
			t.Fatal(err)
		}
		n := mustQuery(t, c, `SELECT count(*) FROM t`)[0][0].Int64()
		if err != nil && n != 1 || err == nil && n != 301 {
			t.Fatalf("limit +%d: %d rows, %v", extra, n, err)
		}
		mustExec(t, c, `DELETE FROM t WHERE a <> 0`)
	}
	if got := mustQuery(t, mustOpen(t, path, sqlite.ReadOnly), `PRAGMA integrity_check`)[0][0].Raw(); got != "ok" {
		t.Error(got)
	}
	if failed == 0 {
		t.Error("nothing ran out of memory: the test shows nothing")
	}
}
