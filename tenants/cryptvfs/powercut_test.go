package cryptvfs_test

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/tenants/cryptvfs"
)

// change is one change of a file on its way to the disk.
type change struct {
	op   string // write, truncate, sync, remove, removeSynced
	path string // base name
	data []byte
	off  int64
}

// diskLog records all changes below a directory, in order.
type diskLog struct {
	dir     string
	mu      sync.Mutex
	changes []change
}

func (d *diskLog) add(c change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if filepath.Dir(c.path) == d.dir {
		c.path = filepath.Base(c.path)
		d.changes = append(d.changes, c)
	}
}

func (d *diskLog) Write(path string, data []byte, off int64) {
	d.add(change{"write", path, slices.Clone(data), off})
}
func (d *diskLog) Truncate(path string, size int64) { d.add(change{"truncate", path, nil, size}) }
func (d *diskLog) Sync(path string)                 { d.add(change{"sync", path, nil, 0}) }
func (d *diskLog) Remove(path string, synced bool) {
	op := "remove"
	if synced {
		op = "removeSynced"
	}
	d.add(change{op, path, nil, 0})
}

func (d *diskLog) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.changes)
}

const sector = 512

func apply(file []byte, c change, torn *rapid.T) []byte {
	if c.op == "truncate" {
		if int64(len(file)) > c.off {
			return file[:c.off]
		}
		return append(file, make([]byte, c.off-int64(len(file)))...)
	}
	if need := c.off + int64(len(c.data)) - int64(len(file)); need > 0 {
		file = append(file, make([]byte, need)...)
	}
	through := ^uint64(0) // by sector
	if torn != nil {
		through = rapid.Uint64().Draw(torn, "sectors")
	}
	for from := 0; from < len(c.data); through >>= 1 {
		// To the next border of a sector of the device.
		to := min(len(c.data), from+sector-int((c.off+int64(from))%sector))
		if through&1 != 0 {
			copy(file[c.off+int64(from):], c.data[from:to])
		}
		from = to
	}
	return file
}

// afterPowerCut gives the files as a power cut after the changes may leave
// them: what was synced is there; of the rest each change came through, did
// not, or did in part, sector by sector.
func afterPowerCut(t *rapid.T, changes []change) map[string][]byte {
	durable := map[string][]byte{}
	pending := map[string][]change{}
	settle := func(path string, all bool) {
		file, ok := durable[path]
		for _, c := range pending[path] {
			fate := 1
			if !all {
				fate = rapid.IntRange(0, 2).Draw(t, "fate")
			}
			switch fate {
			case 1:
				file, ok = apply(file, c, nil), true
			case 2:
				file, ok = apply(file, c, t), true
			}
		}
		if ok || len(pending[path]) > 0 {
			durable[path] = file
		}
		delete(pending, path)
	}
	for i, c := range changes {
		switch c.op {
		case "sync":
			settle(c.path, true)
		case "removeSynced", "remove":
			// As ext4 and xfs have it, any later sync commits it.
			last := !slices.ContainsFunc(changes[i+1:], func(o change) bool { return o.path == c.path || o.op == "sync" })
			if c.op == "remove" && last && rapid.Bool().Draw(t, "undone") {
				continue
			}
			delete(durable, c.path)
			delete(pending, c.path)
		default:
			pending[c.path] = append(pending[c.path], c)
		}
	}
	killed := rapid.IntRange(0, 3).Draw(t, "killed") == 0 // and the machine went on
	for _, path := range slices.Sorted(maps.Keys(pending)) {
		settle(path, killed)
	}
	return durable
}

// statement draws SQL whose effect depends on nothing but the database.
func statement(t *rapid.T) string {
	k, n := rapid.IntRange(0, 40).Draw(t, "k"), rapid.IntRange(1, 12000).Draw(t, "n")
	seed := rapid.IntRange(0, 255).Draw(t, "seed")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return fmt.Sprintf("DELETE FROM kv WHERE k BETWEEN %d AND %d", k, k+n%15)
	case 1:
		return fmt.Sprintf("UPDATE kv SET v=substr(v||hex(k*%d),1,%d) WHERE k%%3=%d", seed, n, k%3)
	case 2:
		return fmt.Sprintf("WITH RECURSIVE s(i) AS (SELECT %d UNION ALL SELECT i+1 FROM s WHERE i<%d) "+
			"INSERT OR REPLACE INTO kv SELECT i, printf('%%0*d', %d, %d) FROM s", k, k+20, n%3000+1, seed)
	default:
		return fmt.Sprintf("INSERT OR REPLACE INTO kv VALUES(%d, printf('%%0*d', %d, %d))", k, n, seed)
	}
}

func dump(t testing.TB, db *sql.DB) []string {
	rows, err := db.Query("SELECT k || '=' || length(v) || ':' || substr(v,1,40) || substr(v,-40) FROM kv ORDER BY k")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

const kvTable = "CREATE TABLE IF NOT EXISTS kv(k INTEGER PRIMARY KEY, v TEXT); CREATE INDEX IF NOT EXISTS kvv ON kv(v)"

// history is what happened: the changes, and after how many of them each
// transaction was begun and acknowledged, with the state it made.
type history struct {
	changes []change
	begun   []int
	acked   []int
	states  [][]string
}

func run(t *rapid.T, tb testing.TB, reg *cryptvfs.Registration, mode string) history {
	dir := memoryDir(tb)
	log := &diskLog{dir: dir}
	stop := cryptvfs.SetTrace(log)
	defer stop()
	path := filepath.Join(dir, "x.db")
	dsn := reg.URI(path, cryptvfs.Options{Mode: cryptvfs.Create, Params: pragmas("synchronous(EXTRA)",
		"journal_mode("+mode+")", "cache_size(4)", "wal_autocheckpoint(12)")})
	open := func(dsn string) *sql.DB {
		db, err := sql.Open("sqlite", dsn)
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		return db
	}
	db, model := open(dsn), open(":memory:")
	defer func() { _ = db.Close(); _ = model.Close() }()
	var h history
	transact := func(statements []string, commit bool) {
		h.begun = append(h.begun, log.len())
		for _, d := range []*sql.DB{db, model} {
			tx, err := d.Begin()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range statements {
				if _, err := tx.Exec(s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			end := tx.Commit
			if !commit {
				end = tx.Rollback
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
		}
		h.acked = append(h.acked, log.len())
		h.states = append(h.states, dump(tb, model))
	}
	transact([]string{kvTable}, true)
	for range rapid.IntRange(1, 8).Draw(t, "transactions") {
		if rapid.IntRange(0, 9).Draw(t, "reopen") == 0 {
			_ = db.Close()
			db = open(dsn)
		}
		if rapid.IntRange(0, 9).Draw(t, "switch") == 0 {
			other := rapid.SampledFrom(journalModes).Draw(t, "mode")
			if _, err := db.Exec("PRAGMA journal_mode=" + other); err != nil {
				t.Fatal(err)
			}
		}
		transact(rapid.SliceOfN(rapid.Custom(statement), 1, 6).Draw(t, "sql"), rapid.IntRange(0, 4).Draw(t, "commit") > 0)
		if diff := cmp.Diff(h.states[len(h.states)-1], dump(tb, db)); diff != "" {
			t.Fatalf("state differs from the plain database (-plain +encrypted):\n%s", diff)
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	h.changes = log.changes
	return h
}

var journalModes = []string{"wal", "delete", "truncate", "persist"}

// TestPowerCut plays power cuts at any point of random work in each journal
// mode: what was acknowledged is there, what was not is there wholly or not at
// all, and nothing else is.
func TestPowerCut(t *testing.T) {
	for _, mode := range journalModes {
		t.Run(mode, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				reg := register(t, fixedID(7), fixedKeys(7))
				defer reg.Close()
				h := run(rt, t, reg, mode)
				for range 4 {
					at := rapid.IntRange(0, len(h.changes)).Draw(rt, "cut")
					recoverAt(rt, t, reg, h, at)
				}
			})
		})
	}
}

func recoverAt(rt *rapid.T, t *testing.T, reg *cryptvfs.Registration, h history, at int) {
	before := reg.AuthFailures() - reg.TornTails()
	dir := memoryDir(t)
	for name, content := range afterPowerCut(rt, h.changes[:at]) {
		writeFile(t, filepath.Join(dir, name), content)
	}
	db, err := sql.Open("sqlite", reg.URI(filepath.Join(dir, "x.db"), cryptvfs.Options{Mode: cryptvfs.Create}))
	if err != nil {
		rt.Fatal(err)
	}
	defer func() { _ = db.Close(); _ = os.RemoveAll(dir) }()
	db.SetMaxOpenConns(1)
	var sound string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
		rt.Fatalf("after a power cut at %d of %d: integrity_check %q, %v", at, len(h.changes), sound, err)
	}
	if _, err := db.Exec(kvTable); err != nil { // the cut may have been before it
		rt.Fatal(err)
	}
	got := dump(t, db)
	var low, high int // states that are allowed: index of state+1, 0 is empty
	for i := range h.states {
		if h.acked[i] <= at {
			low = i + 1
		}
		if h.begun[i] < at {
			high = i + 1
		}
	}
	for i := low; i <= max(low, high); i++ {
		var want []string
		if i > 0 {
			want = h.states[i-1]
		}
		if slices.Equal(got, want) {
			if f := reg.AuthFailures() - reg.TornTails(); f != before {
				rt.Fatalf("a power cut counts as %d certain authentication failures", f-before)
			}
			return
		}
	}
	rt.Fatalf("after a power cut at %d of %d: state is none of %d..%d; it has %d rows: %s",
		at, len(h.changes), low, high, len(got), strings.Join(got, "\n"))
}
