package tenants_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store/storetest"
	"coffer/audit"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// flip changes one bit of a file.
func flip(tb testing.TB, path string, off int) {
	tb.Helper()
	b, err := os.ReadFile(path)
	must(tb, err)
	b[off] ^= 1
	must(tb, os.WriteFile(path, b, 0o600))
}

// TestDamagedFile: whichever page is changed, its tenant gets an error that says
// so and never wrong data; the others go on.
func TestDamagedFile(t *testing.T) {
	k := openKit(t, storetest.MemoryDir(t), 0)
	k.tenant(t, "acme", "globex")
	for i := range 40 {
		k.mustExec(t, "acme", `INSERT INTO kv VALUES (?, ?)`, sqlite.Int(int64(i)), sqlite.Text(strings.Repeat("x", 900)))
	}
	must(t, k.pool.Close(t.Context()))
	sound, err := os.ReadFile(k.data("acme"))
	must(t, err)
	const page = 4096
	refused := 0
	for number := range len(sound) / page {
		for _, in := range []int{0, 20, 99, 2000, page - 33, page - 17, page - 1} {
			flip(t, k.data("acme"), number*page+in)
			k.openPool(t, 0, guard.Limits{})
			rows, err := k.query(t, "acme", `SELECT v FROM kv`)
			switch {
			case err == nil && len(rows) == 40: // that page is not read by this statement
			case domain.KindOf(err) != domain.Tampered || domain.HintOf(err) == "":
				t.Errorf("byte %d of page %d: %d rows, %v", in, number+1, len(rows), err)
			default:
				refused++
			}
			wantKind(t, k.pool.Verify(t.Context(), k.permit(t, "", authz.CheckStores, ""), "acme"), domain.Tampered)
			if got := k.one(t, "globex", `SELECT count(*) FROM kv`); got != "0" {
				t.Error(got)
			}
			if err := k.pool.Close(t.Context()); domain.KindOf(err) != domain.Tampered && err != nil {
				t.Error(err)
			}
			must(t, os.WriteFile(k.data("acme"), sound, 0o600))
		}
	}
	if refused < 5*7 {
		t.Errorf("only %d of the changes were noticed by the statement", refused)
	}
	if k.alarmed("acme") == 0 || k.alarmed("globex") != 0 {
		t.Errorf("%d alarms for the damaged file, %d for the other", k.alarmed("acme"), k.alarmed("globex"))
	}
	k.openPool(t, 0, guard.Limits{})
	must(t, k.pool.Verify(t.Context(), k.permit(t, "", authz.CheckStores, ""), "acme"))
	if got := k.one(t, "acme", `SELECT count(*) FROM kv`); got != "40" {
		t.Error(got)
	}
}

// TestForeignFiles: a file in another tenant's place, an emptied and a foreign
// one do not open.
func TestForeignFiles(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, k *kit){
		"another tenant's": func(t *testing.T, k *kit) {
			b, err := os.ReadFile(k.data("globex"))
			must(t, err)
			must(t, os.WriteFile(k.data("acme"), b, 0o600))
		},
		"emptied":     func(t *testing.T, k *kit) { must(t, os.Truncate(k.data("acme"), 0)) },
		"cut":         func(t *testing.T, k *kit) { must(t, os.Truncate(k.data("acme"), 4096)) },
		"plain":       func(t *testing.T, k *kit) { k.plain(t) },
		"zeros":       func(t *testing.T, k *kit) { must(t, os.WriteFile(k.data("acme"), make([]byte, 8192), 0o600)) },
		"not Coffers": func(t *testing.T, k *kit) { k.mustDrop(t) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, 0)
			k.tenant(t, "acme", "globex")
			must(t, k.pool.Close(t.Context()))
			spoil(t, k)
			k.openPool(t, 0, guard.Limits{})
			before, err := os.ReadFile(k.data("acme"))
			must(t, err)
			rows, err := k.query(t, "acme", `SELECT count(*) FROM kv`)
			if err == nil || len(rows) > 0 {
				t.Errorf("it was opened: %v", rows)
			}
			wantKind(t, err, domain.Tampered)
			if name != "not Coffers" { // every page of that one authenticates
				wantKind(t, k.pool.Verify(t.Context(), k.permit(t, "", authz.CheckStores, ""), "acme"), domain.Tampered)
			}
			if _, err := k.exec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`); err == nil {
				t.Error("it was written to")
			}
			if after, err := os.ReadFile(k.data("acme")); err != nil || string(after) != string(before) {
				t.Errorf("the file was changed: %v", err)
			}
			if got := k.one(t, "globex", `SELECT count(*) FROM kv`); got != "0" {
				t.Error(got)
			}
		})
	}
}

// plain puts an unencrypted database in the tenant's place.
func (k *kit) plain(t *testing.T) {
	t.Helper()
	must(t, os.Remove(k.data("acme")))
	db, err := sqlite.Open("file:"+k.data("acme"), sqlite.Options{Mode: sqlite.Create})
	must(t, err)
	must(t, db.Exec(t.Context(), `CREATE TABLE __coffer_applied(slot INTEGER PRIMARY KEY, number INTEGER NOT NULL, intent BLOB NOT NULL); CREATE TABLE kv(k, v)`))
	must(t, db.Close())
}

// mustDrop puts a file under the right keys without Coffer's own table.
func (k *kit) mustDrop(t *testing.T) {
	t.Helper()
	keys, id, err := k.v.TenantPages(t.Context(), k.permit(t, "acme", authz.SQLQuery, ""), "acme")
	must(t, err)
	must(t, os.Remove(k.data("acme")))
	encrypted(t, id, keys, k.data("acme"), `CREATE TABLE kv(k, v)`)
}

// TestDamagedVictim: when an idle file cannot be closed well to make room, the
// tenant that needs the room does not hear of it.
func TestDamagedVictim(t *testing.T) {
	k := newKit(t, fewest)
	k.tenant(t, "acme", "globex", "third")
	k.reopen(t, fewest)
	for _, id := range []domain.TenantID{"acme", "globex"} {
		k.mustExec(t, id, `INSERT INTO kv VALUES ('a', 1)`)
		k.one(t, id, `SELECT v FROM kv`)
	}
	wal, err := os.ReadFile(k.data("acme") + "-wal")
	must(t, err)
	flip(t, k.data("acme")+"-wal", len(wal)-2000) // what its checkpoint will read
	for range 3 {
		if got := k.one(t, "third", `SELECT count(*) FROM kv`); got != "0" {
			t.Error(got)
		}
		k.mustExec(t, "third", `DELETE FROM kv`)
	}
	if k.alarmed("acme") == 0 || k.alarmed("third") != 0 {
		t.Errorf("%d alarms about the damaged file, %d about the other", k.alarmed("acme"), k.alarmed("third"))
	}
}

const killEnv = "COFFER_TEST_TENANTS_KILL"

// TestKilled kills a process that writes, again and again on the same file:
// what was answered is there exactly once, with its mark.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	func() { // closed before the first child opens it
		k := &subtest{T: t}
		kit := openKit(k, dir, 0)
		kit.tenant(k, "acme")
		k.end()
	}()
	answered := map[string]string{} // row → intent
	for round := range 8 {
		for _, line := range killAfter(t, dir, 3+5*round) {
			row, intent, _ := strings.Cut(line, " ")
			answered[row] = intent
		}
		s := &subtest{T: t}
		k := openKit(s, dir, 0)
		k.register(s, "acme")
		for row, intent := range answered {
			if got := k.one(s, "acme", `SELECT count(*) FROM kv WHERE k = ?`, sqlite.Text(row)); got != "1" {
				t.Errorf("round %d: %s rows %s", round, got, row)
			}
			delete(answered, row) // checked; the marks are bounded
			raw, err := hex.DecodeString(intent)
			must(t, err)
			if !k.applied(s, "acme", audit.IntentID(raw)) {
				t.Errorf("round %d: %s has no mark", round, row)
			}
		}
		must(t, k.pool.Verify(t.Context(), k.permit(s, "", authz.CheckStores, ""), "acme"))
		s.end()
	}
}

// subtest is a testing.TB whose clean-up runs when end is called.
type subtest struct {
	*testing.T
	cleanups []func()
}

func (s *subtest) Cleanup(fn func()) { s.cleanups = append(s.cleanups, fn) }

func (s *subtest) end() {
	for len(s.cleanups) > 0 {
		last := s.cleanups[len(s.cleanups)-1]
		s.cleanups = s.cleanups[:len(s.cleanups)-1]
		last()
	}
}

func killAfter(t *testing.T, dir string, n int) (lines []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), killEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for scan := bufio.NewScanner(out); scan.Scan(); {
		line, ok := strings.CutPrefix(scan.Text(), "answered ")
		if !ok || !strings.HasSuffix(line, ".") {
			continue // the last line may be cut
		}
		lines = append(lines, strings.TrimSuffix(line, "."))
		if len(lines) == n {
			must(t, cmd.Process.Kill())
		}
	}
	_ = cmd.Wait()
	if len(lines) < n {
		t.Fatalf("the process ended after %d answers", len(lines))
	}
	return lines
}

func writeUntilKilled(t *testing.T, dir string) {
	k := openKit(t, dir, 0)
	k.register(t, "acme")
	for i := range 5000 {
		row := fmt.Sprintf("%d-%d", os.Getpid(), i)
		intent := k.mustExec(t, "acme", `INSERT INTO kv VALUES (?, zeroblob(3000))`, sqlite.Text(row))
		fmt.Printf("answered %s %s.\n", row, intent)
	}
}

// TestLeftovers: what an unfinished creation left does not stand in the way of
// the next one.
func TestLeftovers(t *testing.T) {
	k := newKit(t, 0)
	dir := k.path("tenants/acme")
	must(t, os.MkdirAll(dir+"/deep", 0o700))
	for _, name := range []string{"data.db", "data.db-wal", "data.db-journal", "deep/file"} {
		must(t, os.WriteFile(dir+"/"+name, []byte("left over"), 0o600))
	}
	k.tenant(t, "acme")
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "data.db") {
			t.Errorf("left over: %s", e.Name())
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the directory has mode %v, %v", info.Mode(), err)
	}
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`)

	// A creation that goes no further is taken back wholly.
	p := k.intend(t, "", authz.TenantCreate, "globex")
	_, err = k.v.CreateTenant(t.Context(), p, "globex")
	must(t, err)
	must(t, k.pool.Create(t.Context(), p, "globex"))
	must(t, k.pool.Abandon(t.Context(), p, "globex"))
	must(t, k.v.AbandonTenant(t.Context(), p, "globex"))
	must(t, k.pool.Abandon(t.Context(), p, "globex"))
	if names, err := k.pool.Dirs(); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

// TestRemove: a destroyed tenant's file goes, and only behind the bar.
func TestRemove(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	p := k.intend(t, "acme", authz.TenantDestroy, "")
	wantKind(t, k.pool.Remove(t.Context(), p), domain.Internal)
	if got := k.one(t, "acme", `SELECT count(*) FROM kv`); got != "0" {
		t.Error(got)
	}
	must(t, k.pool.Bar(t.Context(), "acme"))
	must(t, k.pool.Remove(t.Context(), p))
	must(t, k.pool.Remove(t.Context(), p))
	if _, err := os.Stat(k.path("tenants/acme")); err == nil {
		t.Error("the directory is still there")
	}
	if got := k.one(t, "globex", `SELECT count(*) FROM kv`); got != "0" {
		t.Error(got)
	}
}

// TestDestroyedKeys: a copy of the file outlives its tenant as noise.
func TestDestroyedKeys(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`)
	must(t, k.pool.Bar(t.Context(), "acme"))
	must(t, k.v.DestroyTenant(t.Context(), k.intend(t, "acme", authz.TenantDestroy, ""), "acme"))
	k.pool.Admit("acme")
	_, err := k.query(t, "acme", `SELECT v FROM kv`)
	wantKind(t, err, domain.Unavailable)
}

// TestVerifyKeepsTheBar: checking a file does not open a tenant that was closed
// meanwhile or before.
func TestVerifyKeepsTheBar(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	check := k.permit(t, "", authz.CheckStores, "")
	must(t, k.pool.Bar(t.Context(), "acme"))
	must(t, k.pool.Verify(t.Context(), check, "acme"))
	_, err := k.query(t, "acme", `SELECT 1`)
	wantKind(t, err, domain.Unavailable)
	k.pool.Admit("acme")
	must(t, k.pool.Verify(t.Context(), check, "acme"))
	if got := k.one(t, "acme", `SELECT count(*) FROM kv`); got != "0" {
		t.Error(got)
	}
	if err := k.pool.Verify(t.Context(), check, "nobody"); domain.KindOf(err) != domain.Unavailable {
		t.Error(err)
	}
}

// TestRandomPages: one byte that is changed in any of 200 random pages of a file with
// tables, indexes, long rows, full text and free pages is found.
func TestRandomPages(t *testing.T) {
	pages := 200
	if testing.Short() {
		pages = 20
	}
	k := openKit(t, storetest.MemoryDir(t), 0)
	k.tenant(t, "acme", "globex")
	for _, sql := range []string{
		`CREATE TABLE long(a INTEGER PRIMARY KEY, b TEXT)`, `CREATE INDEX by_b ON long(b)`, `CREATE VIRTUAL TABLE words USING fts5(text)`,
		`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 100) INSERT INTO long SELECT n, hex(randomblob(3000)) FROM c`,
		`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 200) INSERT INTO words SELECT 'word ' || hex(randomblob(40)) FROM c`,
		`DELETE FROM long WHERE a % 10 = 0`,
	} {
		k.mustExec(t, "acme", sql)
	}
	must(t, k.pool.Close(t.Context()))
	sound, err := os.ReadFile(k.data("acme"))
	must(t, err)
	const page = 4096
	if len(sound)/page < pages {
		t.Fatalf("the file has %d pages", len(sound)/page)
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same pages each time
	for _, number := range random.Perm(len(sound) / page)[:pages] {
		in := random.IntN(page)
		changed := bytes.Clone(sound)
		changed[number*page+in] ^= 1 << random.IntN(8)
		must(t, os.WriteFile(k.data("acme"), changed, 0o600))
		k.openPool(t, 0, guard.Limits{})
		err := k.pool.Verify(t.Context(), k.permit(t, "", authz.CheckStores, ""), "acme")
		if domain.KindOf(err) != domain.Tampered || !strings.Contains(err.Error(), "acme") {
			t.Errorf("byte %d of page %d: %v", in, number+1, err)
		}
		if err := k.pool.Close(t.Context()); domain.KindOf(err) != domain.Tampered && err != nil {
			t.Error(err)
		}
	}
	must(t, os.WriteFile(k.data("acme"), sound, 0o600))
	k.openPool(t, 0, guard.Limits{})
	must(t, k.pool.Verify(t.Context(), k.permit(t, "", authz.CheckStores, ""), "acme"))
	if got := k.one(t, "globex", `SELECT count(*) FROM kv`); got != "0" {
		t.Error(got)
	}
}
