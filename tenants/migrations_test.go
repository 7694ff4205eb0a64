package tenants_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/migrate"
	"coffer/tenants/sqlite"
)

// migrationsOf makes a set of names and texts.
func migrationsOf(pairs ...string) migrate.Set {
	var files []migrate.File
	for i := 0; i < len(pairs); i += 2 {
		files = append(files, migrate.File{Name: pairs[i], SQL: pairs[i+1]})
	}
	set, err := migrate.Parse(files)
	if err != nil {
		panic(err)
	}
	return set
}

func (k *kit) migrate(tb testing.TB, id domain.TenantID, set migrate.Set) (tenants.Migrated, audit.IntentID, error) {
	tb.Helper()
	p := k.intend(tb, id, authz.MigrationApply, migrate.Number(set.Top()))
	defer p.Abort()
	intent, _ := p.IntentID()
	m, err := k.pool.Migrate(context.Background(), p, set)
	return m, intent, err
}

func (k *kit) has(tb testing.TB, id domain.TenantID) (numbers []int) {
	tb.Helper()
	p := k.permit(tb, id, authz.SQLQuery, "")
	defer p.Abort()
	has, err := k.pool.Migrations(context.Background(), p)
	must(tb, err)
	for _, a := range has {
		numbers = append(numbers, a.Number)
	}
	return numbers
}

func (k *kit) snapshots(tb testing.TB, id domain.TenantID) (ids []string) {
	tb.Helper()
	p := k.permit(tb, id, authz.MigrationStatus, "")
	defer p.Abort()
	list, err := k.pool.SnapshotsOf(p)
	must(tb, err)
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

var customers = migrationsOf(
	"0001_customers.sql", "CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT NOT NULL);\nINSERT INTO customers(name) VALUES ('a'), ('b; c');",
	"0002_log.sql", `-- A trigger has semicolons inside.
CREATE TABLE log(what TEXT);
CREATE TRIGGER on_insert AFTER INSERT ON customers BEGIN
  INSERT INTO log VALUES (new.name); -- ;
  SELECT CASE WHEN 1 THEN 2 END;
END;
INSERT INTO customers(name) VALUES ('d')`,
)

func TestMigrate(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	m, intent, err := k.migrate(t, "acme", customers)
	must(t, err)
	want := tenants.Migrated{
		From: 0, To: 2, Snapshot: "000001-0000", Tables: []string{"customers", "log"}, Rows: 3,
		Statements: map[guard.Kind]int{guard.KindCreate: 3, guard.KindInsert: 2},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	if !k.applied(t, "acme", intent) {
		t.Error("the intent's mark is not in the file")
	}
	if got := k.one(t, "acme", "SELECT group_concat(what) FROM log"); got != "d" {
		t.Errorf("the trigger logged %q", got)
	}
	// Again: nothing is pending, nothing happens.
	m, intent, err = k.migrate(t, "acme", customers)
	must(t, err)
	if m.From != 2 || m.To != 2 || m.Snapshot != "" || k.applied(t, "acme", intent) {
		t.Errorf("with nothing pending: %+v", m)
	}
	// More: only what is new runs.
	more := append(append(migrate.Set{}, customers...), migrationsOf("0001_x.sql", "SELECT 1")[0])
	more[2].Number, more[2].Name = 3, "0003_more.sql"
	m, _, err = k.migrate(t, "acme", more)
	must(t, err)
	if m.From != 2 || m.To != 3 || m.Statements[guard.KindSelect] != 1 {
		t.Errorf("one more: %+v", m)
	}
	k.reopen(t, 0)
	if diff := cmp.Diff([]int{1, 2, 3}, k.has(t, "acme")); diff != "" {
		t.Error(diff)
	}
}

// TestMigrateAllOrNothing: whatever goes wrong, the file is what it was, and so are
// its snapshots.
func TestMigrateAllOrNothing(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	_, _, err := k.migrate(t, "acme", customers)
	must(t, err)
	changed := append(migrate.Set{}, customers...)
	changed[0].Sum[0]++
	renamed := append(migrate.Set{}, customers...)
	renamed[1].Name = "0002_other.sql"
	then := func(sql string) migrate.Set {
		set := append(migrate.Set{}, customers...)
		return append(set, migrate.Migration{Number: 3, Name: "0003_bad.sql", SQL: "INSERT INTO customers(name) VALUES ('lost');" + sql, Sum: migrate.SumOf(sql)})
	}
	for _, tc := range []struct {
		name string
		set  migrate.Set
		kind domain.Kind
		text string
	}{
		{"a changed file", changed, domain.Conflict, "0001_customers.sql was changed after it was applied"},
		{"a renamed file", renamed, domain.Conflict, "0002_log.sql was applied already and is called 0002_other.sql now"},
		{"fewer files", customers[:1], domain.Conflict, "the database has 0002_log.sql, which the set lacks"},
		{"wrong SQL", then("SELEKT 1"), domain.Invalid, "0003_bad.sql, statement 2: "},
		{"no table", then("DELETE FROM nowhere"), domain.Invalid, "no such table: nowhere"},
		{"a constraint", then("INSERT INTO customers(name) VALUES (NULL)"), domain.Conflict, "NOT NULL constraint failed: customers.name"},
		{"COMMIT", then("COMMIT; INSERT INTO customers(name) VALUES ('kept')"), domain.Invalid, "COMMIT"},
		{"END", then("END; SELECT 1"), domain.Invalid, "COMMIT"},
		{"ROLLBACK", then("ROLLBACK"), domain.Invalid, "ROLLBACK"},
		{"OR ROLLBACK", then("INSERT OR ROLLBACK INTO customers(name) VALUES (NULL)"), domain.Conflict, "NOT NULL"},
		{"SAVEPOINT", then("SAVEPOINT a; SELECT 1"), domain.Invalid, "SAVEPOINT"},
		{"ATTACH", then("ATTACH ':memory:' AS other"), domain.Denied, "ATTACH"},
		{"VACUUM INTO", then("VACUUM INTO 'copy.db'"), domain.Denied, ""},
		{"Coffer's own table", then("SELECT * FROM __coffer_migrations"), domain.Denied, "reserved"},
		{"Coffer's own marks", then("DELETE FROM __coffer_applied"), domain.Denied, "reserved"},
		{"its name in quotes", then(`DROP TABLE "__COFFER_migrations"`), domain.Denied, "reserved"},
		{"a pragma", then("PRAGMA writable_schema = ON"), domain.Denied, "writable_schema"},
		{"a setting that would stay", then("PRAGMA journal_mode = DELETE"), domain.Denied, "journal_mode"},
		{"an extension", then("SELECT load_extension('x')"), domain.Denied, "load_extension"},
		{"deferred foreign keys", then("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (7)"), domain.Conflict, "foreign keys"},
		{"no statement", migrate.Set{customers[0], customers[1], {Number: 3, Name: "0003_bad.sql", SQL: "-- nothing"}}, domain.Invalid, "no statement"},
		{"an unknown direction", migrate.Set{customers[0], customers[1], {Number: 3, Name: "0003_bad.sql", SQL: "-- coffer: vacuum\nSELECT 1"}}, domain.Invalid, "a direction to Coffer that it does not know"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, intent, err := k.migrate(t, "acme", tc.set)
			wantKind(t, err, tc.kind)
			if err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("the error says: %v", err)
			}
			if k.applied(t, "acme", intent) {
				t.Error("the mark of a failed migration is in the file")
			}
			if got := k.one(t, "acme", "SELECT count(*) || ' ' || (SELECT count(*) FROM sqlite_schema) FROM customers"); got != "3 5" {
				t.Errorf("the file has changed: %s", got)
			}
			if diff := cmp.Diff([]int{1, 2}, k.has(t, "acme")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"000001-0000"}, k.snapshots(t, "acme")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRebuild rebuilds a table to which another refers, in the twelve steps of
// SQLite's documentation, and finds out when rows are orphaned by it.
func TestRebuild(t *testing.T) {
	const before = `CREATE TABLE p(id INTEGER PRIMARY KEY, a); CREATE TABLE c(p REFERENCES p ON DELETE CASCADE); INSERT INTO p VALUES (1, 2), (2, 3); INSERT INTO c VALUES (1), (2);`
	const rebuild = "CREATE TABLE new_p(id INTEGER PRIMARY KEY, a NOT NULL); INSERT INTO new_p SELECT * FROM p; DROP TABLE p; ALTER TABLE new_p RENAME TO p;"
	k := newKit(t, 0)
	k.tenant(t, "acme", "strict", "orphan")
	_, _, err := k.migrate(t, "acme", migrationsOf("0001_a.sql", before, "0002_b.sql", "-- coffer: foreign_keys=off\n"+rebuild))
	must(t, err)
	if got := k.one(t, "acme", "SELECT count(*) FROM c"); got != "2" {
		t.Errorf("%s rows of the referring table are left", got)
	}
	// The connection enforces them again afterwards.
	if _, err := k.exec(t, "acme", "INSERT INTO c VALUES (9)"); domain.KindOf(err) != domain.Conflict {
		t.Errorf("an orphan afterwards: %v", err)
	}
	// Without the direction the cascade has taken the rows: why it is there.
	_, _, err = k.migrate(t, "strict", migrationsOf("0001_a.sql", before, "0002_b.sql", rebuild))
	must(t, err)
	if got := k.one(t, "strict", "SELECT count(*) FROM c"); got != "0" {
		t.Errorf("%s rows are left with foreign keys enforced", got)
	}
	_, _, err = k.migrate(t, "orphan", migrationsOf("0001_a.sql", before, "0002_b.sql", "-- coffer: foreign_keys=off\nDELETE FROM p WHERE id = 1"))
	wantKind(t, err, domain.Conflict)
	if err != nil && !strings.Contains(err.Error(), `rows of "c" refer to rows of "p" that are not there`) {
		t.Error(err)
	}
	if _, err := k.exec(t, "orphan", "CREATE TABLE p(id INTEGER PRIMARY KEY)"); err != nil {
		t.Error("something was kept:", err)
	}
	k.mustExec(t, "orphan", "CREATE TABLE c(p REFERENCES p)")
	if _, err := k.exec(t, "orphan", "INSERT INTO c VALUES (9)"); domain.KindOf(err) != domain.Conflict {
		t.Errorf("an orphan after a failed migration: %v", err)
	}
}

// TestMigrationsTellNothing: an operator chooses the statements and reads no rows.
// Nothing of a row reaches the operator by a result, an error or the report.
func TestMigrationsTellNothing(t *testing.T) {
	for where, isolated := range map[string]bool{"here": false, "in a worker": true} {
		t.Run(where, func(t *testing.T) {
			k := newKit(t, 0)
			k.tenant(t, "acme")
			k.isolate(isolated, "acme")
			k.tellNothing(t)
		})
	}
}

func (k *kit) tellNothing(t *testing.T) {
	const secret = "s3cr3t-of-acme"
	k.mustExec(t, "acme", "CREATE TABLE s(v TEXT UNIQUE, n)")
	k.mustExec(t, "acme", "INSERT INTO s VALUES ('"+secret+"', 1)")
	k.mustExec(t, "acme", "CREATE VIRTUAL TABLE ft USING fts5(body)")
	k.mustExec(t, "acme", "INSERT INTO ft VALUES ('"+secret+"')")
	for _, sql := range []string{
		"SELECT v FROM s",
		"INSERT INTO s VALUES ('x', 2) RETURNING (SELECT v FROM s WHERE n = 1)",
		"EXPLAIN SELECT * FROM s WHERE v = (SELECT v FROM s)",
		"PRAGMA integrity_check",
		"INSERT INTO s SELECT v, 3 FROM s",
		"CREATE TRIGGER tell BEFORE UPDATE ON s BEGIN SELECT RAISE(ABORT, old.v); END; UPDATE s SET n = 2",
		"CREATE TRIGGER tell BEFORE UPDATE ON s BEGIN SELECT RAISE(FAIL, 'UNIQUE constraint failed: ' || old.v); END; UPDATE s SET n = 2",
		"CREATE TRIGGER tell BEFORE UPDATE ON s BEGIN SELECT RAISE(ROLLBACK, old.v); END; UPDATE s SET n = 2",
		"SELECT json_extract('{}', v) FROM s",
		"SELECT json_extract('{}', 'error in ' || v) FROM s",
		"CREATE INDEX i ON s(json_extract('{}', v))",
		"ALTER TABLE s ADD COLUMN g GENERATED ALWAYS AS (json_extract('{}', v)); SELECT g FROM s",
		"ALTER TABLE s ADD COLUMN g NOT NULL GENERATED ALWAYS AS (json_extract('{}', v))",
		"CREATE TABLE t(a CHECK (json_extract('{}', a))); INSERT INTO t SELECT v FROM s",
		"SELECT * FROM ft WHERE ft MATCH (SELECT '\"' || v FROM s)",
		"SELECT * FROM ft WHERE ft MATCH (SELECT v || ':x' FROM s)",
		"SELECT * FROM ft, s WHERE ft MATCH s.v || ' AND'",
		"INSERT INTO ft(ft) SELECT v FROM s",
		"INSERT INTO ft(ft, rank) SELECT v, v FROM s",
		"SELECT * FROM pragma_table_info((SELECT v FROM s)), pragma_index_list((SELECT v FROM s))",
		"SELECT date(v), printf('%d', v), unistr('\\' || v), CAST(v AS INTEGER), substr(v, 1, 1e400), zeroblob(length(v) * 1e9) FROM s",
		"SELECT (SELECT 1 UNION SELECT 2) + v, abs(-9223372036854775808) FROM s",
		"CREATE TABLE t(a INTEGER PRIMARY KEY); INSERT INTO t SELECT v FROM s",
		"CREATE TABLE t(a INTEGER) STRICT; INSERT INTO t SELECT v FROM s",
		"SELECT likelihood(1, v) FROM s",
		"CREATE VIEW w AS SELECT v FROM s; SELECT * FROM w; DROP TABLE s; ALTER TABLE ft RENAME TO fu",
	} {
		m, _, err := k.migrate(t, "acme", migrationsOf("0001_tell.sql", sql))
		said := fmt.Sprintf("%+v %v %s", m, err, domain.HintOf(err))
		for e := err; e != nil; {
			u, ok := e.(interface{ Unwrap() error })
			if !ok {
				break
			}
			if e = u.Unwrap(); e != nil {
				said += fmt.Sprintf(" %v %+v", e, e)
			}
		}
		if strings.Contains(strings.ToLower(said), secret[:6]) {
			t.Errorf("%s\ntells: %s", sql, said)
		}
		if err == nil { // make room for the next one
			k.restore(t, "acme", m.Snapshot)
		}
	}
	if got := k.one(t, "acme", "SELECT count(*) FROM s"); got != "1" {
		t.Errorf("%s rows", got)
	}
}

func (k *kit) restore(tb testing.TB, id domain.TenantID, snapshot string) (tenants.Restored, audit.IntentID) {
	tb.Helper()
	p := k.intend(tb, id, authz.MigrationRestore, snapshot)
	defer p.Abort()
	intent, _ := p.IntentID()
	out, err := k.pool.Restore(context.Background(), p, snapshot)
	must(tb, err)
	return out, intent
}

// TestRestore: the file is what it was, but for the marks, which stay what
// happened; and what was replaced can be had back.
func TestRestore(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	k.mustExec(t, "acme", "INSERT INTO kv VALUES ('before', 1)")
	m, migrated, err := k.migrate(t, "acme", customers)
	must(t, err)
	after := k.mustExec(t, "acme", "INSERT INTO kv VALUES ('after', 1)")
	out, restored := k.restore(t, "acme", m.Snapshot)
	if want := (tenants.Restored{Number: 0, Instead: "000002-0002"}); out != want {
		t.Errorf("restored %+v, want %+v", out, want)
	}
	if got := k.one(t, "acme", "SELECT group_concat(k) FROM kv"); got != "before" {
		t.Errorf("the file has: %s", got)
	}
	if n := len(k.has(t, "acme")); n != 0 {
		t.Errorf("%d migrations are left", n)
	}
	for _, id := range []audit.IntentID{migrated, after, restored} {
		if !k.applied(t, "acme", id) {
			t.Errorf("the mark of %v was lost", id)
		}
	}
	out, _ = k.restore(t, "acme", out.Instead)
	if got := k.one(t, "acme", "SELECT count(*) FROM kv"); got != "2" || out.Number != 2 {
		t.Errorf("%s rows and %d migrations after putting it back", got, out.Number)
	}
	if n := len(k.snapshots(t, "acme")); n != tenants.Snapshots {
		t.Errorf("%d snapshots are kept", n)
	}
	if diff := cmp.Diff([]string{"data.db", "data.db-shm", "data.db-wal", "snapshots"}, names(t, filepath.Dir(k.data("acme")))); diff != "" {
		t.Error(diff)
	}

	// What does not authenticate, or is another tenant's, is not put back.
	_, _, err = k.migrate(t, "globex", customers)
	must(t, err)
	list := k.snapshots(t, "acme")
	path := func(id domain.TenantID, name string) string {
		return filepath.Join(filepath.Dir(k.data(id)), "snapshots", name+".db")
	}
	foreign, err := os.ReadFile(path("globex", k.snapshots(t, "globex")[0]))
	must(t, err)
	must(t, os.WriteFile(path("acme", list[0]), foreign, 0o600))
	flip(t, path("acme", list[1]), 5000)
	for _, name := range append(list, "000009-0001", "../../globex/data", "") {
		p := k.intend(t, "acme", authz.MigrationRestore, name)
		if _, err := k.pool.Restore(context.Background(), p, name); err == nil {
			t.Errorf("%q was put back", name)
		}
		p.Abort()
	}
	if got := k.one(t, "acme", "SELECT count(*) FROM kv"); got != "2" {
		t.Errorf("%s rows after refusals", got)
	}
}

// TestRestoreOverDamage: a file that does not authenticate is not replaced, since
// what was acknowledged in it could not be set aside.
func TestRestoreOverDamage(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	m, _, err := k.migrate(t, "acme", customers)
	must(t, err)
	must(t, k.pool.Close(t.Context()))
	flip(t, k.data("acme"), 100)
	k.openPool(t, 0, guard.Limits{})
	p := k.intend(t, "acme", authz.MigrationRestore, m.Snapshot)
	before := k.files(t)
	_, err = k.pool.Restore(t.Context(), p, m.Snapshot)
	wantKind(t, err, domain.Tampered)
	if diff := cmp.Diff(before, k.files(t)); diff != "" {
		t.Error("files were changed")
	}
}

func names(tb testing.TB, dir string) (out []string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	must(tb, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestSnapshotWhileReading: who reads what is there now is not waited for; who
// reads an older state is. Both go on with what they saw.
func TestSnapshotWhileReading(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.mustExec(t, "acme", "INSERT INTO kv VALUES ('a', 1)")
	now, err := k.pool.Begin(t.Context(), k.permit(t, "acme", authz.SQLQuery, ""), tenants.TxRead)
	must(t, err)
	count := func(tx *tenants.Tx) (n string) {
		p := k.permit(t, "acme", authz.SQLQuery, "")
		defer p.Abort()
		_, err := tx.Stream(t.Context(), p, guard.Request{SQL: "SELECT count(*) FROM kv"}, guard.Sink{
			Row: func(row []sqlite.Value) error { n = text(row[0]); return nil },
		})
		must(t, err)
		return n
	}
	count(now)
	m, _, err := k.migrate(t, "acme", customers[:1])
	must(t, err)
	k.mustExec(t, "acme", "INSERT INTO kv VALUES ('b', 1)")

	// The first one reads an older state now.
	ended := make(chan error, 1)
	go func() {
		_, _, err := k.migrate(t, "acme", customers)
		ended <- err
	}()
	if n := count(now); n != "1" {
		t.Errorf("the reader sees %s rows", n)
	}
	must(t, now.Rollback(t.Context()))
	must(t, <-ended)
	for i, want := range []string{"1", "2"} {
		k.restore(t, "acme", []string{m.Snapshot, "000002-0001"}[i])
		if got := k.one(t, "acme", "SELECT count(*) FROM kv"); got != want {
			t.Errorf("snapshot %d has %s rows", i+1, got)
		}
	}
	p := k.permit(t, "", authz.CheckStores, "")
	must(t, k.pool.Verify(t.Context(), p, "acme"))
	flip(t, filepath.Join(filepath.Dir(k.data("acme")), "snapshots", k.snapshots(t, "acme")[0]+".db"), 5000)
	wantKind(t, k.pool.Verify(t.Context(), p, "acme"), domain.Tampered)
}

// TestSnapshotKeepsLocks: SQLite's locks on the file are for other processes, such
// as workers, and belong to this process as a whole: a copy that opened and closed
// the file in the usual way would drop them.
func TestSnapshotKeepsLocks(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	locked := func() bool {
		f, err := os.Open(k.data("acme"))
		must(t, err)
		// Closing it would do just that, so it is left open to the end.
		t.Cleanup(func() { _ = f.Close() })
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: 0x40000000 + 2, Len: 510}
		must(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock))
		return lock.Type != unix.F_UNLCK
	}
	if !locked() {
		t.Skip("an open file is not locked here")
	}
	_, _, err := k.migrate(t, "acme", customers)
	must(t, err)
	if !locked() {
		t.Error("the copy has dropped SQLite's locks")
	}
	must(t, k.pool.Close(t.Context()))
	k.openPool(t, 0, guard.Limits{})
}

// TestSuspendEndsMigration: who closes a tenant does not wait for a migration
// that runs long; nothing of it is kept.
func TestSuspendEndsMigration(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	p := k.intend(t, "acme", authz.MigrationApply, "0001")
	defer p.Abort()
	ended := make(chan error, 1)
	go func() {
		_, err := k.pool.Migrate(context.Background(), p, migrationsOf("0001_long.sql",
			"CREATE TABLE t(x); INSERT INTO t WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c) SELECT x FROM c WHERE x < 0"))
		ended <- err
	}()
	for k.snapshotsOnDisk(t, "acme") == 0 {
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
	}
	must(t, k.pool.Bar(context.Background(), "acme"))
	wantKind(t, <-ended, domain.Unavailable)
	k.pool.Admit("acme")
	if n := len(k.has(t, "acme")); n != 0 {
		t.Errorf("%d migrations were kept", n)
	}
}

func (k *kit) snapshotsOnDisk(tb testing.TB, id domain.TenantID) int {
	tb.Helper()
	list, err := filepath.Glob(filepath.Join(filepath.Dir(k.data(id)), "snapshots", "0*.db"))
	must(tb, err)
	return len(list)
}

// TestCreateWithMigrations: a new file begins where the set ends, or is not made.
func TestCreateWithMigrations(t *testing.T) {
	k := newKit(t, 0)
	create := func(id domain.TenantID, set migrate.Set) error {
		p := k.intend(t, "", authz.TenantCreate, string(id))
		_, err := k.v.CreateTenant(context.Background(), p, id)
		must(t, err)
		return k.pool.Create(context.Background(), p, id, set...)
	}
	must(t, create("acme", customers))
	k.register(t, "acme")
	if diff := cmp.Diff([]int{1, 2}, k.has(t, "acme")); diff != "" {
		t.Error(diff)
	}
	if got := k.one(t, "acme", "SELECT count(*) FROM customers"); got != "3" {
		t.Errorf("%s customers", got)
	}
	m, _, err := k.migrate(t, "acme", customers)
	must(t, err)
	if m.From != 2 {
		t.Errorf("the next one begins at %d", m.From)
	}
	if err := create("globex", migrationsOf("0001_x.sql", "ATTACH 'x' AS y")); domain.KindOf(err) != domain.Denied {
		t.Error(err)
	}
}

// TestTryMigrations: what cannot start a tenant is found out on an empty database.
func TestTryMigrations(t *testing.T) {
	must(t, tenants.TryMigrations(t.Context(), customers))
	must(t, tenants.TryMigrations(t.Context(), nil))
	for sql, kind := range map[string]domain.Kind{
		"INSERT INTO customers VALUES (1)": domain.Invalid,
		"ATTACH 'x' AS y":                  domain.Denied,
		"CREATE TABLE t(x); INSERT INTO t WITH RECURSIVE c(x) AS (VALUES(zeroblob(900000)) UNION ALL SELECT x FROM c) SELECT x FROM c": domain.Limit,
	} {
		wantKind(t, tenants.TryMigrations(t.Context(), migrationsOf("0001_x.sql", sql)), kind)
	}
}

// TestTogether migrates, puts back, writes, reads, suspends and verifies at once.
// Whatever comes first, the file is sound, and is where its own record says.
func TestTogether(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	set := customers
	for n := 3; n <= 12; n++ {
		m := migrationsOf("0001_x.sql", fmt.Sprintf("CREATE TABLE t%d(x)", n))[0]
		m.Number, m.Name = n, migrate.Number(n)+"_x.sql"
		set = append(set[:n-1:n-1], m)
	}
	fine := func(err error) {
		if kind := domain.KindOf(err); err != nil && (kind == domain.Tampered || kind == domain.Internal) {
			t.Error(err)
		}
	}
	var all sync.WaitGroup
	each := func(do func(i int)) {
		all.Go(func() {
			for i := range 12 {
				do(i)
			}
		})
	}
	each(func(i int) {
		if _, _, err := k.migrate(t, "acme", set.To(i+1)); err != nil && domain.KindOf(err) != domain.Conflict { // fewer files than it has
			fine(err)
		}
	})
	each(func(int) {
		p := k.permit(t, "acme", authz.MigrationStatus, "")
		list, err := k.pool.SnapshotsOf(p)
		fine(err)
		p.Abort()
		if len(list) > 0 {
			p := k.intend(t, "acme", authz.MigrationRestore, list[0].ID)
			_, err := k.pool.Restore(t.Context(), p, list[0].ID)
			fine(err)
			p.Abort()
		}
	})
	each(func(i int) {
		_, err := k.exec(t, "acme", "INSERT INTO kv VALUES (hex(randomblob(8)), 1)")
		fine(err)
		_, err = k.query(t, "acme", "SELECT count(*) FROM kv")
		fine(err)
	})
	each(func(i int) {
		if i%4 == 0 {
			fine(k.pool.Bar(t.Context(), "acme"))
			k.pool.Admit("acme")
		}
		p := k.permit(t, "", authz.CheckStores, "")
		fine(k.pool.Verify(t.Context(), p, "acme"))
		p.Abort()
	})
	all.Wait()
	_, _, err := k.migrate(t, "acme", set)
	must(t, err)
	if got := k.one(t, "acme", "SELECT count(*) FROM sqlite_schema WHERE name GLOB 't[0-9]*'"); got != "10" || len(k.has(t, "acme")) != 12 {
		t.Errorf("%s tables after %d migrations", got, len(k.has(t, "acme")))
	}
	if n := k.alarmed("acme"); n != 0 {
		t.Errorf("%d alarms", n)
	}
	p := k.permit(t, "", authz.CheckStores, "")
	must(t, k.pool.Verify(t.Context(), p, "acme"))
}
