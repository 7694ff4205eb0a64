package tenants_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/tenants"
	"coffer/tenants/guard"
)

// TestQuotaInRecord: a quota stands in the record, and a record without one, as
// versions before wrote it, has the defaults.
func TestQuotaInRecord(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	for id, q := range map[domain.TenantID]tenants.Quota{"acme": {}, "globex": {Secrets: 2 << 20, File: 3 << 20}} {
		must(t, q.Check())
		_, err := storetest.Change(t, db, func(tx *store.Tx) (tenants.Record, error) {
			return tenants.Add(tx, tenants.Record{ID: id, Created: start, Quota: q})
		})
		must(t, err)
		r, err := find(t, db, id)
		if diff := cmp.Diff(q, r.Quota); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	if got, want := (tenants.Quota{}).WithDefaults(), (tenants.Quota{Secrets: 64 << 20, File: 10 << 30}); got != want {
		t.Errorf("%+v", got)
	}
	for _, bad := range []tenants.Quota{{Secrets: 1}, {Secrets: -1}, {Secrets: 2 << 30}, {File: 1}, {File: -1}, {File: 2 << 40}} {
		wantKind(t, bad.Check(), domain.Invalid)
	}
	for _, bad := range []string{`,"secret_bytes":0}`, `,"secret_bytes":-5}`, `,"file_bytes":1,"secret_bytes":1}`} {
		whole := vectors(t)[0].JSON
		_, err := tenants.Recode(append(whole[:len(whole)-1:len(whole)-1], bad...))
		wantKind(t, err, domain.Tampered)
	}
}

// TestQuotaOfFile: each file has the quota of its tenant, and one that cannot be
// asked for opens no file.
func TestQuotaOfFile(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme", "globex", "broken")
	must(t, k.pool.Close(context.Background()))
	pool, err := tenants.Open(tenants.Options{
		Dir: k.path("tenants"), Keys: k.v, Limits: guard.Limits{},
		Quota: func(_ context.Context, id domain.TenantID) (q tenants.Quota, err error) {
			switch id {
			case "acme":
				q.File = tenants.MinFileBytes
			case "broken":
				err = domain.Errorf(domain.Unavailable, "nobody knows")
			}
			return q, err
		},
	})
	must(t, err)
	k.pool = pool
	const large = `INSERT INTO kv VALUES (hex(randomblob(8)), randomblob(900000))`
	for id, want := range map[domain.TenantID]domain.Kind{"acme": domain.Limit, "globex": 0, "broken": domain.Unavailable} {
		_, err := k.exec(t, id, large)
		if err == nil {
			_, err = k.exec(t, id, large)
		}
		if want == 0 {
			must(t, err)
			continue
		}
		wantKind(t, err, want)
	}
}
