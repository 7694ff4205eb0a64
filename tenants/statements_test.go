package tenants_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store/storetest"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// TestReaderCannotWrite: what comes through Query changes nothing, whatever it
// says and whoever asks.
func TestReaderCannotWrite(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`)
	for _, sql := range []string{
		`INSERT INTO kv VALUES ('b', 2)`, `UPDATE kv SET v = 2`, `DELETE FROM kv`, `DROP TABLE kv`, `CREATE TABLE x(a)`,
		`INSERT INTO kv VALUES ('c', 3) RETURNING k`, `WITH x AS (SELECT 1) DELETE FROM kv`, `PRAGMA user_version = 9`,
		`REPLACE INTO __coffer_applied VALUES (1, 1, x'00')`, `SELECT * FROM __coffer_applied`, `BEGIN`, `VACUUM`,
		`ATTACH 'x.db' AS x`, `PRAGMA journal_mode = DELETE`, `CREATE TEMP TABLE x(a)`,
	} {
		if _, err := k.query(t, "acme", sql); domain.KindOf(err) != domain.Denied && domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if got := k.one(t, "acme", `SELECT count(*) || ' ' || sum(v) FROM kv`); got != "1 1" {
		t.Error(got)
	}
}

// TestMarksStandWithTheChange: an intent's mark is there exactly if its change
// is.
func TestMarksStandWithTheChange(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	done := k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	errSink := errors.New("the receiver is gone")
	for name, c := range map[string]struct {
		ctx  context.Context
		sql  string
		sink guard.Sink
		is   func(error) bool
	}{
		"a constraint":   {t.Context(), `INSERT INTO kv VALUES ('b', 1), ('a', 2)`, guard.Sink{}, kind(domain.Conflict)},
		"bad SQL":        {t.Context(), `INSERT INTO nothing VALUES (1)`, guard.Sink{}, kind(domain.Invalid)},
		"a denial":       {t.Context(), `DELETE FROM __coffer_applied`, guard.Sink{}, kind(domain.Denied)},
		"two statements": {t.Context(), `DELETE FROM kv; DELETE FROM kv`, guard.Sink{}, kind(domain.Invalid)},
		"a COMMIT":       {t.Context(), `COMMIT`, guard.Sink{}, kind(domain.Invalid)},
		"a ROLLBACK":     {t.Context(), `ROLLBACK`, guard.Sink{}, kind(domain.Invalid)},
		"a conflict that rolls back": {
			t.Context(), `INSERT OR ROLLBACK INTO kv VALUES ('c', 1), ('a', 2)`, guard.Sink{}, kind(domain.Conflict),
		},
		"an ended context": {canceled, `DELETE FROM kv`, guard.Sink{}, kind(domain.Unavailable)},
		"a receiver that fails": {
			t.Context(), `INSERT INTO kv VALUES ('d', 1) RETURNING k`,
			guard.Sink{Row: func([]sqlite.Value) error { return errSink }},
			func(err error) bool { return errors.Is(err, errSink) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := k.intend(t, "acme", authz.SQLWrite, "")
			intent, _ := p.IntentID()
			if _, err := k.pool.Exec(c.ctx, p, guard.Request{SQL: c.sql}, c.sink); !c.is(err) {
				t.Errorf("%v of kind %v", err, domain.KindOf(err))
			}
			if k.applied(t, "acme", intent) {
				t.Error("what was rolled back has a mark")
			}
			if got := k.one(t, "acme", `SELECT group_concat(k || v) FROM kv`); got != "a1" {
				t.Errorf("the table holds %s", got)
			}
			// The connection serves the next one.
			if next := k.mustExec(t, "acme", `UPDATE kv SET v = 1`); !k.applied(t, "acme", next) {
				t.Error("the next change has no mark")
			}
		})
	}
	if !k.applied(t, "acme", done) {
		t.Error("the first change's mark is gone")
	}
}

func kind(k domain.Kind) func(error) bool {
	return func(err error) bool { return err != nil && domain.KindOf(err) == k }
}

// TestNewestMarksAreKept: the newest marks are there however often the file was
// closed in between, and there are never more than the bound.
func TestNewestMarksAreKept(t *testing.T) {
	k := openKit(t, storetest.MemoryDir(t), 0)
	k.tenant(t, "acme")
	var all []audit.IntentID
	for i := range 3*tenants.Marks + 7 {
		all = append(all, k.mustExec(t, "acme", `REPLACE INTO kv VALUES ('a', ?)`, sqlite.Int(int64(i))))
		if i%50 == 49 || i > 3*tenants.Marks {
			k.reopen(t, 0)
		}
	}
	for i, intent := range all {
		if want := i >= len(all)-tenants.Marks+1; want && !k.applied(t, "acme", intent) {
			t.Errorf("the mark of change %d of %d is gone", i, len(all))
		}
	}
	if k.applied(t, "acme", all[0]) {
		t.Error("the oldest mark is still there")
	}
}

// TestConcurrentTenants: readers and writers of several tenants at once, in a
// pool that must evict all the time. No row is lost, none is another's, and the
// bound holds.
func TestConcurrentTenants(t *testing.T) {
	const conns, perTenant = 10, 12
	k := openKit(t, storetest.MemoryDir(t), conns)
	var ids []domain.TenantID
	for i := range 8 {
		ids = append(ids, domain.TenantID(fmt.Sprintf("tenant-%d", i)))
	}
	k.tenant(t, ids...)
	for _, id := range ids {
		k.mustExec(t, id, `CREATE TABLE log(id INTEGER PRIMARY KEY, who TEXT, n INTEGER)`)
	}
	var wg sync.WaitGroup
	for _, id := range ids {
		for range 2 { // two callers each
			write, read := k.intend(t, id, authz.SQLWrite, ""), k.permit(t, id, authz.SQLQuery, "")
			wg.Go(func() {
				for n := range perTenant {
					k.again(t, func() error {
						_, err := k.pool.Exec(context.Background(), write, guard.Request{
							SQL: `INSERT INTO log(who, n) VALUES (?, ?)`, Args: []sqlite.Value{sqlite.Text(string(id)), sqlite.Int(int64(n))},
						}, guard.Sink{})
						return err
					})
					k.again(t, func() error {
						_, err := k.pool.Query(context.Background(), read, guard.Request{SQL: `SELECT DISTINCT who FROM log`}, guard.Sink{
							Row: func(row []sqlite.Value) error {
								if row[0].Raw() != string(id) {
									t.Errorf("%s sees a row of %s", id, row[0].Raw())
								}
								return nil
							},
						})
						return err
					})
					if _, n := k.pool.Usage(); n > conns {
						t.Errorf("%d connections are open", n)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, id := range ids {
		if got := k.one(t, id, `SELECT count(*) || ' ' || sum(n) FROM log`); got != fmt.Sprintf("%d %d", 2*perTenant, perTenant*(perTenant-1)) {
			t.Errorf("%s: %s", id, got)
		}
	}
}

// again repeats what finds all connections in use.
func (k *kit) again(t *testing.T, do func() error) {
	for {
		err := do()
		if domain.KindOf(err) == domain.Limit {
			continue
		}
		if err != nil {
			t.Error(err)
		}
		return
	}
}

// TestNothingReadable: neither SQL, names nor values stand in any file.
func TestNothingReadable(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.mustExec(t, "acme", `CREATE TABLE canarytable(canarycolumn TEXT)`)
	k.mustExec(t, "acme", `INSERT INTO canarytable VALUES ('canaryvalue')`)
	k.mustExec(t, "acme", `INSERT INTO canarytable VALUES (?)`, sqlite.Text("canaryargument"))
	if got := k.one(t, "acme", `SELECT group_concat(canarycolumn) FROM canarytable ORDER BY 1`); !strings.Contains(got, "canaryargument") {
		t.Error(got)
	}
	check := func(when string) {
		t.Helper()
		files := k.files(t)
		if len(files) == 0 {
			t.Error("no files")
		}
		for path, b := range files {
			if bytes.Contains([]byte(b), []byte("canary")) {
				t.Errorf("%s: %s holds a canary", when, path)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
			}
		}
	}
	check("while open")
	k.reopen(t, 0)
	check("closed")
}
