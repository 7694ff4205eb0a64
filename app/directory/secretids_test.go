package directory_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

// TestSweepSecretIDs: those that ended before the time go, a bounded number at a
// time, and no other.
func TestSweepSecretIDs(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	var made []directory.Workload
	for _, tenant := range []domain.TenantID{"acme", "globex"} {
		w, err := addWorkload(t, db, tenant, "web")
		must(t, err)
		made = append(made, w)
		for n := range 5 {
			_, err := addSecretID(t, db, w, directory.SecretIDSpec{TTL: time.Duration(n+1) * time.Hour}, start)
			must(t, err)
		}
	}
	ending := map[time.Duration]int{}
	for _, within := range []time.Duration{0, time.Hour, time.Hour + 1, 3 * time.Hour, 10 * time.Hour} {
		must(t, db.View(t.Context(), func(tx *store.Tx) error {
			return directory.EndingSecretIDs(tx, "acme", start.Add(time.Minute), start.Add(within), func(h directory.HeldSecretID) error {
				ending[within]++
				return nil
			})
		}))
	}
	if diff := cmp.Diff(map[time.Duration]int{time.Hour + 1: 1, 3 * time.Hour: 2, 10 * time.Hour: 5}, ending); diff != "" {
		t.Error(diff)
	}
	sweep := func(before time.Time, limit int) int {
		t.Helper()
		n, err := storetest.Change(t, db, func(tx *store.Tx) (int, error) { return directory.SweepSecretIDs(tx, before, limit) })
		must(t, err)
		return n
	}
	due := func(before time.Time) bool {
		return look(t, db, func(tx *store.Tx) (bool, error) { return directory.AnyExpiredSecretID(tx, before) })
	}
	live := func(tenant domain.TenantID, now time.Time) (n int) {
		must(t, db.View(t.Context(), func(tx *store.Tx) error {
			return directory.EachSecretID(tx, tenant, now, func(h directory.HeldSecretID) error {
				if tenant != "" && (h.Tenant != tenant || h.Workload != made[map[domain.TenantID]int{"acme": 0, "globex": 1}[tenant]].ID) {
					t.Errorf("%+v is not of %s", h, tenant)
				}
				n++
				return nil
			})
		}))
		return n
	}
	if live("", start) != 10 || live("acme", start) != 5 || live("globex", start.Add(2*time.Hour)) != 3 {
		t.Error("not all that live")
	}
	if before := start.Add(time.Hour); due(before) || sweep(before, 10) != 0 {
		t.Error("one that just ended is swept")
	}
	before := start.Add(3 * time.Hour) // two of each tenant ended before it
	if !due(before) || sweep(before, 3) != 3 || sweep(before, 3) != 1 || due(before) {
		t.Error("not four, three at a time")
	}
	if live("", start) != 6 {
		t.Error("one that lives was swept")
	}
}

// TestBreakGlasses: only memberships that were opened so, and hold.
func TestBreakGlasses(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	ends := start.Add(time.Hour)
	for _, m := range []directory.Member{
		{Tenant: "acme", Person: "p_1", Role: domain.Owner},
		{Tenant: "acme", Person: "p_2", Role: domain.Owner, Expires: &ends, Reason: "r"},
		{Tenant: "acme-2", Person: "p_2", Role: domain.Owner, Expires: &ends, Reason: "r"},
		{Tenant: "globex", Person: "p_3", Role: domain.Viewer, Reason: `"expires":`},
	} {
		if m.Expires != nil {
			must(t, setMember(t, db, directory.Member{Tenant: m.Tenant, Person: "p_0", Role: domain.Owner}, start))
		}
		must(t, setMember(t, db, m, start))
	}
	for _, tc := range []struct {
		tenant domain.TenantID
		at     time.Time
		want   int
	}{{"", start, 2}, {"acme", start, 1}, {"globex", start, 0}, {"", ends, 0}} {
		got := look(t, db, func(tx *store.Tx) ([]directory.Member, error) { return directory.BreakGlasses(tx, tc.tenant, tc.at) })
		if len(got) != tc.want {
			t.Errorf("%q at %v: %+v", tc.tenant, tc.at, got)
		}
	}
}
