package tenants_test

import (
	"context"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// within runs a statement in a transaction, with a permit of its own.
func (k *kit) within(tb testing.TB, tx *tenants.Tx, action domain.Action, sql string, args ...sqlite.Value) (guard.Outcome, error) {
	tb.Helper()
	return tx.Stream(context.Background(), k.permitFor(tb, action), guard.Request{SQL: sql, Args: args}, guard.Sink{})
}

// permitFor is a permit in acme, with a durable intent if it is one to write.
func (k *kit) permitFor(tb testing.TB, action domain.Action) *audit.Permit {
	tb.Helper()
	if action == authz.SQLWrite {
		return k.intend(tb, "acme", action, "")
	}
	return k.permit(tb, "acme", action, "")
}

func (k *kit) begin(tb testing.TB, mode tenants.TxMode) *tenants.Tx {
	tb.Helper()
	tx, err := k.pool.Begin(context.Background(), k.permitFor(tb, authz.SQLQuery), mode)
	must(tb, err)
	return tx
}

func ended(tx *tenants.Tx) bool {
	select {
	case <-tx.Done():
		return true
	default:
		return false
	}
}

// TestTx: what a transaction writes is seen by others once it is committed, and
// by nobody if it is rolled back; each use takes a permit that fits.
func TestTx(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	ctx := context.Background()
	tx := k.begin(t, tenants.TxWrite)
	write := k.permitFor(t, authz.SQLWrite)
	_, err := tx.Stream(ctx, write, guard.Request{SQL: `INSERT INTO kv VALUES ('a', 1)`}, guard.Sink{})
	must(t, err)
	if got := k.count(t, "acme"); got != 0 {
		t.Errorf("%d rows are seen before the commit", got)
	}
	if _, err := k.within(t, tx, authz.SQLQuery, `INSERT INTO kv VALUES ('b', 1)`); domain.KindOf(err) != domain.Denied {
		t.Errorf("a permit to read wrote: %v", err)
	}
	if _, err := tx.Stream(ctx, k.permit(t, "acme", authz.SQLWrite, ""), guard.Request{SQL: `INSERT INTO kv VALUES ('c', 1)`}, guard.Sink{}); domain.KindOf(err) != domain.Internal {
		t.Errorf("a permit without intent wrote: %v", err)
	}
	if _, err := tx.Stream(ctx, k.intend(t, "globex", authz.SQLWrite, ""), guard.Request{SQL: `SELECT 1`}, guard.Sink{}); domain.KindOf(err) != domain.Internal {
		t.Errorf("a permit for another tenant: %v", err)
	}
	for _, sql := range []string{`COMMIT`, `ROLLBACK`, `BEGIN`, `END; SELECT 1`} {
		if _, err := k.within(t, tx, authz.SQLWrite, sql); err == nil || ended(tx) {
			t.Errorf("%s went through as a statement: %v", sql, err)
		}
	}
	if err := tx.Commit(ctx, k.permitFor(t, authz.SQLQuery)); domain.KindOf(err) != domain.Internal {
		t.Errorf("a permit to read committed: %v", err)
	}
	if !ended(tx) || k.count(t, "acme") != 0 {
		t.Error("a commit that must not be left the transaction")
	}

	tx = k.begin(t, tenants.TxWrite)
	last := k.permitFor(t, authz.SQLWrite)
	_, err = tx.Stream(ctx, last, guard.Request{SQL: `INSERT INTO kv VALUES ('a', 1)`}, guard.Sink{})
	must(t, err)
	must(t, tx.Commit(ctx, last))
	must(t, tx.Rollback(ctx))
	if _, err := k.within(t, tx, authz.SQLQuery, `SELECT 1`); guard.Code(err) != tenants.CodeTimeout {
		t.Errorf("after the end: %v", err)
	}
	id, _ := last.IntentID()
	if found, err := k.pool.Applied(ctx, k.permitFor(t, authz.SQLQuery), id); err != nil || !found || k.count(t, "acme") != 1 {
		t.Errorf("the commit: %v %v", found, err)
	}
}

// count is the number of rows in kv.
func (k *kit) count(tb testing.TB, id domain.TenantID) (n int64) {
	tb.Helper()
	_, err := k.pool.Query(context.Background(), k.permit(tb, id, authz.SQLQuery, ""), guard.Request{SQL: `SELECT count(*) FROM kv`}, guard.Sink{
		Row: func(r []sqlite.Value) error { n = r[0].Int64(); return nil },
	})
	must(tb, err)
	return n
}

// TestTxRead: one snapshot, and nothing is written on it with any permit.
func TestTxRead(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	var open []*tenants.Tx
	for range tenants.ReadersPerTenant - 1 {
		open = append(open, k.begin(t, tenants.TxRead))
	}
	for _, tx := range open {
		if _, err := k.within(t, tx, authz.SQLQuery, `SELECT count(*) FROM kv`); err != nil {
			t.Error(err)
		}
		_, err := k.within(t, tx, authz.SQLWrite, `INSERT INTO kv VALUES ('a', 1)`)
		if wantKind(t, err, domain.Denied); err == nil || err.Error() != "this transaction may only read" || guard.Code(err) != "SQLITE_READONLY" {
			t.Errorf("%v, %s", err, guard.Code(err))
		}
		_, err = k.within(t, tx, authz.SQLWrite, `INSERT INTO __coffer_applied VALUES (1, 1, 1)`) // what nobody may is another matter
		if wantKind(t, err, domain.Denied); guard.Code(err) == "SQLITE_READONLY" {
			t.Errorf("%v", err)
		}
	}
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`) // the writer and the last reader are free
	if k.count(t, "acme") != 1 {
		t.Error("no row")
	}
	rows := int64(-1)
	_, err := open[0].Stream(context.Background(), k.permitFor(t, authz.SQLQuery), guard.Request{SQL: `SELECT count(*) FROM kv`}, guard.Sink{
		Row: func(r []sqlite.Value) error { rows = r[0].Int64(); return nil },
	})
	if err != nil || rows != 0 {
		t.Errorf("the snapshot has %d rows: %v", rows, err)
	}
	for _, tx := range open {
		must(t, tx.Commit(context.Background(), k.permitFor(t, authz.SQLQuery)))
	}
}

// TestTxForeignKeys: a deferred constraint that fails at the commit leaves the
// transaction open, a loose one does not look, and the next one does again.
func TestTxForeignKeys(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	k.mustExec(t, "acme", `CREATE TABLE child(p TEXT REFERENCES kv(k) DEFERRABLE INITIALLY DEFERRED)`)
	ctx := context.Background()
	tx := k.begin(t, tenants.TxWrite)
	p := k.permitFor(t, authz.SQLWrite)
	_, err := tx.Stream(ctx, p, guard.Request{SQL: `INSERT INTO child VALUES ('none')`}, guard.Sink{})
	must(t, err)
	if err := tx.Commit(ctx, p); domain.KindOf(err) != domain.Conflict || guard.Code(err) != "SQLITE_CONSTRAINT" || ended(tx) {
		t.Fatalf("%v", err)
	}
	_, err = k.within(t, tx, authz.SQLWrite, `DELETE FROM child`)
	must(t, err)
	last := k.permitFor(t, authz.SQLWrite)
	must(t, tx.Commit(ctx, last))
	for p, want := range map[*audit.Permit]bool{p: false, last: true} {
		id, _ := p.IntentID()
		if found, err := k.pool.Applied(ctx, k.permitFor(t, authz.SQLQuery), id); err != nil || found != want {
			t.Errorf("applied: %v, want %v: %v", found, want, err)
		}
	}

	loose := k.begin(t, tenants.TxLoose)
	p = k.permitFor(t, authz.SQLWrite)
	_, err = loose.Stream(ctx, p, guard.Request{SQL: `INSERT INTO child VALUES ('none')`}, guard.Sink{})
	must(t, err)
	must(t, loose.Commit(ctx, p))
	_, err = k.pool.Exec(ctx, k.permitFor(t, authz.SQLWrite), guard.Request{SQL: `INSERT INTO child VALUES ('none')`}, guard.Sink{})
	if domain.KindOf(err) != domain.Conflict {
		t.Errorf("foreign keys stayed off: %v", err)
	}
}

// TestBarEndsTransactions: suspending a tenant does not wait for a client that
// holds a transaction open.
func TestBarEndsTransactions(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	ctx := context.Background()
	tx, reading := k.begin(t, tenants.TxWrite), k.begin(t, tenants.TxRead)
	p := k.permitFor(t, authz.SQLWrite)
	_, err := tx.Stream(ctx, p, guard.Request{SQL: `INSERT INTO kv VALUES ('a', 1)`}, guard.Sink{})
	must(t, err)
	must(t, k.pool.Bar(ctx, "acme"))
	if !ended(tx) || !ended(reading) {
		t.Fatal("a transaction is open")
	}
	if err := tx.Commit(ctx, p); guard.Code(err) != tenants.CodeTimeout {
		t.Errorf("the commit after that: %v", err)
	}
	k.pool.Admit("acme")
	if got := k.count(t, "acme"); got != 0 {
		t.Errorf("%d rows are left of it", got)
	}
}
