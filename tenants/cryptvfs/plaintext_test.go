package cryptvfs_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/tenants/cryptvfs"
)

// marker stands in every row, and would in every file if they were plain.
const marker = "Kundengeheimnis-4711"

// openFiles reads every regular file that this process has open below dir, or
// that SQLite made as a temporary file and unlinked, through /proc.
func openFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal("no /proc to find unlinked temporary files with")
	}
	out := map[string][]byte{}
	for _, e := range entries {
		link := "/proc/self/fd/" + e.Name()
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, dir+"/") && !strings.HasSuffix(target, "(deleted)") {
			continue
		}
		f, err := os.Open(link)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()+" "+target] = b
	}
	return out
}

// work writes, sorts, rolls back and vacuums with a tiny cache and calls look
// at moments when files of each kind are in use.
func work(t testing.TB, db *sql.DB, look func(moment string)) {
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	do := func(q string, args ...any) { t.Helper(); mustExec(t, conn, q, args...) }
	do("PRAGMA temp_store=FILE")
	do("PRAGMA temp.cache_size=3")
	do("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b TEXT)")
	do("BEGIN")
	for i := range 3000 {
		do("INSERT INTO t VALUES(?,?,?)", i, fmt.Sprintf("%s %d", marker, i*7919%3000), fmt.Sprintf("%0400d %s", i, marker))
		if i == 1500 {
			look("in a transaction that spilled")
		}
	}
	do("COMMIT")
	look("committed")
	do("CREATE TEMP TABLE tt AS SELECT * FROM t")
	do("BEGIN")
	do("UPDATE tt SET b=b||a")
	look("temporary table and its journal")
	do("ROLLBACK")
	do("BEGIN")
	do("SAVEPOINT s")
	do("UPDATE t SET b=b||a")
	look("statement journal")
	do("ROLLBACK TO s")
	do("COMMIT")
	rows, err := conn.QueryContext(ctx, "SELECT b||a, a FROM t ORDER BY substr(b,200), a DESC")
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; rows.Next(); n++ {
		if n == 10 {
			look("sorting")
		}
	}
	_ = rows.Close()
	do("CREATE INDEX tb ON t(b, a)")
	do("DELETE FROM t WHERE id%2=0")
	do("VACUUM")
	look("vacuumed")
	if got := one[string](t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Fatal(got)
	}
}

// TestNoPlaintext looks at all bytes of all files at all moments. A plain
// database goes first, to show that the looking finds what there is.
func TestNoPlaintext(t *testing.T) {
	tests := []string{"plain", "wal", "delete", "truncate", "persist", "memory", "off"}
	for _, mode := range tests {
		t.Run(mode, func(t *testing.T) {
			dir := memoryDir(t)
			path := filepath.Join(dir, "a.db")
			var db *sql.DB
			r := register(t, fixedID(1), randomKeys())
			stop := func() {}
			written := &markers{}
			if mode == "plain" {
				db = openDSN(t, "file:"+path+"?_pragma=journal_mode(delete)&_pragma=cache_size(3)")
			} else {
				stop = cryptvfs.SetTrace(written)
				db = openNew(t, r, path, "journal_mode("+mode+")", "cache_size(3)")
			}
			defer stop()
			moments, temporary := 0, 0
			work(t, db, func(moment string) {
				for name, content := range openFiles(t, dir) {
					if bytes.Contains(content, []byte(marker)) {
						moments++
						if mode != "plain" {
							t.Errorf("%s: %s holds plaintext", moment, name)
						}
					}
					if strings.HasSuffix(name, "(deleted)") && len(content) > 0 {
						temporary++
					}
				}
			})
			if temporary == 0 {
				t.Error("no temporary file was seen: the test looks at the wrong moments")
			}
			if mode == "plain" && moments < 5 {
				t.Errorf("the marker of a plain database was seen at %d moments only", moments)
			}
			closeDB(t, db)
			files, _ := filepath.Glob(dir + "/*")
			for _, f := range files {
				if mode != "plain" && bytes.Contains(readFile(t, f), []byte(marker)) {
					t.Errorf("%s holds plaintext", f)
				}
			}
			if written.found != "" || mode != "plain" && written.writes == 0 {
				t.Errorf("of %d writes, plaintext in %s", written.writes, written.found)
			}
			if r.AuthFailures() != 0 {
				t.Errorf("%d authentication failures", r.AuthFailures())
			}
		})
	}
}

// markers looks for the marker in all that is written.
type markers struct {
	writes int
	found  string
}

func (m *markers) Write(path string, data []byte, _ int64) {
	m.writes++
	if bytes.Contains(data, []byte(marker)) || bytes.Contains(data, []byte("SQLite format 3")) {
		m.found = "a write to " + path
	}
}
func (m *markers) Truncate(string, int64) {}
func (m *markers) Sync(string)            {}
func (m *markers) Remove(string, bool)    {}

// TestSuperJournal commits to two files at once in a rollback mode.
func TestSuperJournal(t *testing.T) {
	r1, r2 := register(t, fixedID(1), randomKeys()), register(t, fixedID(2), randomKeys())
	dir := memoryDir(t)
	written := &diskLog{dir: dir}
	stop := cryptvfs.SetTrace(written)
	db := openNew(t, r1, dir+"/a.db", "synchronous(EXTRA)", "cache_size(3)")
	mustExec(t, db, "ATTACH ? AS b", r2.URI(dir+"/b.db", cryptvfs.Options{Mode: cryptvfs.Create}))
	mustExec(t, db, "CREATE TABLE main.t(v TEXT); CREATE TABLE b.t(v TEXT)")
	mustExec(t, db, "INSERT INTO main.t VALUES('0'); INSERT INTO b.t VALUES('0')")
	start := written.len()
	mustExec(t, db, "BEGIN; UPDATE main.t SET v='1'; UPDATE b.t SET v='1'; COMMIT")
	end := written.len()
	closeDB(t, db)
	stop()
	super, changes := 0, written.changes
	for _, c := range changes {
		if strings.Contains(c.path, "-mj") {
			super++
			if bytes.Contains(c.data, []byte("journal")) {
				t.Error("a super-journal shows file names")
			}
		}
	}
	if super == 0 {
		t.Fatal("no super-journal was written")
	}
	// A kill after each change: both files have the transaction, or neither.
	// The names in a super-journal are absolute, so it is always the same
	// directory.
	for at := start; at <= end; at++ {
		restore(t, afterKill(changes[:at]), dir)
		// The recovery of one file reads the other's journal: its keys must
		// be known, so open it first.
		other := openOld(t, r2, dir+"/b.db")
		if err := other.Ping(); err != nil {
			t.Fatal(err)
		}
		db := openOld(t, r1, dir+"/a.db")
		mustExec(t, db, "ATTACH ? AS b", r2.URI(dir+"/b.db", cryptvfs.Options{}))
		a, b := one[string](t, db, "SELECT v FROM main.t"), one[string](t, db, "SELECT v FROM b.t")
		if a != b || at == end && a != "1" {
			t.Errorf("after change %d of %d..%d: %s and %s", at, start, end, a, b)
		}
		closeDB(t, db)
		closeDB(t, other)
	}
}

// afterKill gives the files with all changes applied.
func afterKill(changes []change) map[string][]byte {
	files := map[string][]byte{}
	for _, c := range changes {
		switch c.op {
		case "write", "truncate":
			files[c.path] = apply(files[c.path], c, nil)
		case "remove", "removeSynced":
			delete(files, c.path)
		}
	}
	return files
}

// restore makes dir hold these files and no others.
func restore(t testing.TB, files map[string][]byte, dir string) {
	t.Helper()
	old, _ := filepath.Glob(dir + "/*")
	for _, f := range old {
		_ = os.Remove(f)
	}
	for name, content := range files {
		writeFile(t, filepath.Join(dir, name), content)
	}
}
