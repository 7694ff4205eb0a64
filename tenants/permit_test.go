package tenants_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/guard"
)

// needsNone are the exported methods that give no handle and no row.
var needsNone = map[string]string{
	"Bar": "closes", "Admit": "opens nothing by itself", "Close": "closes", "Usage": "counts",
	"Reopen": "closes", "Confinement": "says how a process is limited", "Workers": "says how processes are limited",
	"Dirs": "names directories, for who cleans up before anybody is served",
}

// poolMethods call each method of Pool that takes a permit, for tenant acme.
var poolMethods = map[string]struct {
	tenant domain.TenantID // of the right permit
	action domain.Action
	change bool
	call   func(k *kit, p *audit.Permit) error
}{
	"Query": {"acme", authz.SQLQuery, false, func(k *kit, p *audit.Permit) error {
		out, err := k.pool.Query(context.Background(), p, guard.Request{SQL: "SELECT 1"}, guard.Sink{})
		return some(out.Report.RowsOut > 0, err)
	}},
	"Exec": {"acme", authz.SQLWrite, true, func(k *kit, p *audit.Permit) error {
		out, err := k.pool.Exec(context.Background(), p, guard.Request{SQL: "DELETE FROM kv"}, guard.Sink{})
		return some(out.Affected > 0, err)
	}},
	"Describe": {"acme", authz.SQLQuery, false, func(k *kit, p *audit.Permit) error {
		d, err := k.pool.Describe(context.Background(), p, "SELECT 1")
		return some(len(d.Columns) > 0, err)
	}},
	"Begin": {"acme", authz.SQLQuery, false, func(k *kit, p *audit.Permit) error {
		tx, err := k.pool.Begin(context.Background(), p, tenants.TxRead)
		if tx != nil {
			err = errors.Join(err, tx.Rollback(context.Background()))
		}
		return some(tx != nil, err)
	}},
	"Applied": {"acme", authz.SQLQuery, false, func(k *kit, p *audit.Permit) error {
		found, err := k.pool.Applied(context.Background(), p, audit.IntentID{})
		return some(found, err)
	}},
	"Migrate": {"acme", authz.MigrationApply, true, func(k *kit, p *audit.Permit) error {
		m, err := k.pool.Migrate(context.Background(), p, migrationsOf("0001_a.sql", "CREATE TABLE a(x)"))
		return some(m.To > 0, err)
	}},
	"Migrations": {"acme", authz.SQLQuery, false, func(k *kit, p *audit.Permit) error {
		has, err := k.pool.Migrations(context.Background(), p)
		return some(len(has) > 0, err)
	}},
	"Restore": {"acme", authz.MigrationRestore, true, func(k *kit, p *audit.Permit) error {
		out, err := k.pool.Restore(context.Background(), p, "000001-0000")
		return some(out.Instead != "", err)
	}},
	"SnapshotsOf": {"acme", authz.MigrationStatus, false, func(k *kit, p *audit.Permit) error {
		list, err := k.pool.SnapshotsOf(p)
		return some(len(list) > 0, err)
	}},
	"Create":  {"", authz.TenantCreate, true, func(k *kit, p *audit.Permit) error { return k.pool.Create(context.Background(), p, "acme") }},
	"Abandon": {"", authz.TenantCreate, true, func(k *kit, p *audit.Permit) error { return k.pool.Abandon(context.Background(), p, "acme") }},
	"Remove":  {"acme", authz.TenantDestroy, true, func(k *kit, p *audit.Permit) error { return k.pool.Remove(context.Background(), p) }},
	"Verify":  {"", authz.CheckStores, false, func(k *kit, p *audit.Permit) error { return k.pool.Verify(context.Background(), p, "acme") }},
}

// selfNaming are the methods that take the tenant from the permit alone, so that
// another tenant's permit is a good one, for that tenant.
var selfNaming = map[string]bool{
	"Query": true, "Exec": true, "Describe": true, "Begin": true, "Applied": true, "Remove": true,
	"Migrate": true, "Migrations": true, "Restore": true, "SnapshotsOf": true,
}

// eitherWay are the methods for which a permit to write does too.
var eitherWay = map[string]bool{"Query": true, "Applied": true, "Begin": true, "Describe": true, "Migrations": true}

var errGave = domain.Errorf(domain.Invalid, "something was handed out beside an error")

func some(given bool, err error) error {
	if given && err != nil {
		return errGave
	}
	return err
}

// files are the tenants' files with their contents.
func (k *kit) files(tb testing.TB) map[string]string {
	tb.Helper()
	all := map[string]string{}
	must(tb, filepath.WalkDir(k.path("tenants"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	}))
	return all
}

// TestPermitTableIsComplete fails when a method is added that the test below
// does not call without a permit.
func TestPermitTableIsComplete(t *testing.T) {
	for m := range reflect.TypeFor[*tenants.Pool]().Methods() {
		if _, tested := poolMethods[m.Name]; !tested && needsNone[m.Name] == "" {
			t.Errorf("Pool.%s is neither tested without a permit nor said to need none", m.Name)
		}
	}
}

// TestNoPermitNoHandle calls every method of the pool with every wrong permit:
// each refuses as a fault of ours, opens nothing and changes nothing.
func TestNoPermitNoHandle(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	k.mustExec(t, "acme", `INSERT INTO kv VALUES ('a', 1)`)
	for name, m := range poolMethods {
		k.reopen(t, 0) // no file is open
		before := k.files(t)
		resource := ""
		if m.action == authz.TenantCreate {
			resource = "acme"
		}
		finished := k.permit(t, m.tenant, m.action, resource)
		finished.Abort()
		wrong := map[string]*audit.Permit{
			"none": nil, "zero": new(audit.Permit), "finished": finished,
			"for another thing": k.intend(t, "acme", authz.MemberAdd, ""),
			"to read a secret":  k.permit(t, "acme", authz.SecretRead, "a"),
			"of the appliance":  k.permit(t, "", authz.TenantList, ""),
			"to create another": k.intend(t, "", authz.TenantCreate, "globex"),
		}
		if m.action != authz.SQLQuery {
			wrong["to read rows"] = k.permit(t, "acme", authz.SQLQuery, "")
		}
		if name != "SnapshotsOf" { // it gives names and sizes alone
			if m.action != authz.MigrationApply {
				wrong["to migrate"] = k.intend(t, "acme", authz.MigrationApply, "0001")
			}
			if m.action != authz.MigrationRestore {
				wrong["to restore"] = k.intend(t, "acme", authz.MigrationRestore, "x")
			}
		}
		if m.action != authz.SQLWrite && !eitherWay[name] {
			wrong["to write rows"] = k.intend(t, "acme", authz.SQLWrite, "")
		}
		if m.action != authz.CheckStores {
			wrong["to check the stores"] = k.permit(t, "", authz.CheckStores, "")
		}
		if m.tenant != "" && !selfNaming[name] {
			wrong["another tenant's"] = k.intend(t, "globex", m.action, "")
		}
		if m.change {
			wrong["without an intent"] = k.permit(t, m.tenant, m.action, resource)
		}
		for why, p := range wrong {
			t.Run(name+" "+why, func(t *testing.T) {
				wantKind(t, m.call(k, p), domain.Internal)
				if files, conns := k.pool.Usage(); files != 0 || conns != 0 {
					t.Errorf("%d files, %d connections were opened", files, conns)
				}
			})
		}
		if diff := cmp.Diff(before, k.files(t)); diff != "" {
			t.Errorf("%s changed files", name)
		}
	}
	if got := k.one(t, "acme", "SELECT count(*) FROM kv"); got != "1" {
		t.Errorf("%s rows afterwards", got)
	}
}

// TestPermitReachesItsOwnFile: the same statement under two tenants' permits
// sees two files.
func TestPermitReachesItsOwnFile(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex")
	for _, id := range []domain.TenantID{"acme", "globex"} {
		k.mustExec(t, id, `INSERT INTO kv VALUES ('who', '`+string(id)+`')`)
	}
	for _, id := range []domain.TenantID{"acme", "globex"} {
		if got := k.one(t, id, `SELECT v FROM kv`); got != string(id) {
			t.Errorf("%s sees %s", id, got)
		}
	}
	mine := k.mustExec(t, "acme", `DELETE FROM kv`)
	if k.applied(t, "globex", mine) || !k.applied(t, "acme", mine) {
		t.Error("an intent's mark stands in another tenant's file")
	}
	if got := k.one(t, "globex", `SELECT v FROM kv`); got != "globex" {
		t.Error(got)
	}
}
