package directory_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

func TestPeopleAreUnique(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	anna, err := addPerson(t, db, "anna", ref(uint32(1000)))
	must(t, err)
	_, err = addPerson(t, db, "anna", nil)
	wantKind(t, err, domain.Conflict)
	_, err = addPerson(t, db, "ben", ref(uint32(1000)))
	wantKind(t, err, domain.Conflict)
	if _, found, _ := lookPerson(t, db, "ben"); found {
		t.Error("a refused person is there")
	}
	ben, err := addPerson(t, db, "ben", ref(uint32(0)))
	must(t, err)
	carl, err := addPerson(t, db, "carl", nil)
	must(t, err)
	for uid, want := range map[uint32]directory.Person{1000: anna, 0: ben} {
		if diff := cmp.Diff(want, byUID(t, db, uid)); diff != "" {
			t.Error(diff)
		}
	}
	if got := byUID(t, db, 1); got.ID != "" {
		t.Errorf("%+v for a uid that nobody has", got)
	}
	if got, found, by := lookPerson(t, db, "carl"); !found || !cmp.Equal(got, carl) || !cmp.Equal(by, carl) {
		t.Errorf("%+v %+v", got, by)
	}
	if anna.ID == ben.ID || anna.ID[:2] != "p_" {
		t.Errorf("ids %s, %s", anna.ID, ben.ID)
	}
}

func byUID(t *testing.T, db *store.Store, uid uint32) directory.Person {
	t.Helper()
	return look(t, db, func(tx *store.Tx) (directory.Person, error) {
		p, _, err := directory.PersonByUID(tx, uid)
		return p, err
	})
}

func lookPerson(t *testing.T, db *store.Store, name string) (byName directory.Person, found bool, byID directory.Person) {
	t.Helper()
	must(t, db.View(t.Context(), func(tx *store.Tx) (err error) {
		if byName, found, err = directory.PersonByName(tx, name); err != nil || !found {
			return err
		}
		byID, _, err = directory.PersonByID(tx, byName.ID)
		return err
	}))
	return byName, found, byID
}

// TestLastOwner: a tenant never loses its last lasting owner, in whatever way
// it is tried.
func TestLastOwner(t *testing.T) {
	hour := ref(start.Add(time.Hour))
	member := func(person string, role domain.Role) directory.Member {
		return directory.Member{Tenant: "acme", Person: person, Role: role}
	}
	for name, try := range map[string]func(t *testing.T, db *store.Store) error{
		"removed":       func(t *testing.T, db *store.Store) error { return removeMember(t, db, "acme", "p_1", start) },
		"made an admin": func(t *testing.T, db *store.Store) error { return setMember(t, db, member("p_1", domain.Admin), start) },
		"made a viewer": func(t *testing.T, db *store.Store) error {
			return setMember(t, db, member("p_1", domain.Viewer), start)
		},
		"made one to last": func(t *testing.T, db *store.Store) error {
			m := member("p_1", domain.Owner)
			m.Expires, m.Reason = hour, "x"
			return setMember(t, db, m, start)
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := storetest.New(t, t.TempDir())
			must(t, setMember(t, db, member("p_1", domain.Owner), start))
			must(t, setMember(t, db, member("p_2", domain.Admin), start))
			must(t, setMember(t, db, directory.Member{Tenant: "globex", Person: "p_3", Role: domain.Owner}, start))
			glass := member("p_4", domain.Owner)
			glass.Expires, glass.Reason = hour, "the owner is ill"
			must(t, setMember(t, db, glass, start))
			before := members(t, db, "acme", start)
			wantKind(t, try(t, db), domain.Conflict)
			if diff := cmp.Diff(before, members(t, db, "acme", start)); diff != "" {
				t.Error(diff)
			}
			must(t, setMember(t, db, member("p_1", domain.Owner), start)) // stays one
			must(t, setMember(t, db, member("p_2", domain.Owner), start))
			must(t, try(t, db))
		})
	}
	db := storetest.New(t, t.TempDir())
	must(t, setMember(t, db, member("p_2", domain.Viewer), start)) // no owner yet: nothing to lose
	wantKind(t, removeMember(t, db, "acme", "p_9", start), domain.NotFound)
	must(t, removeMember(t, db, "acme", "p_2", start))
}

func TestBreakGlass(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	must(t, setMember(t, db, directory.Member{Tenant: "acme", Person: "p_1", Role: domain.Owner}, start))
	glass := directory.Member{Tenant: "acme", Person: "p_op", Role: domain.Owner, Expires: ref(start.Add(directory.MaxBreakGlass)), Reason: "r"}
	long := glass
	long.Expires = ref(start.Add(directory.MaxBreakGlass + 1))
	wantKind(t, setMember(t, db, long, start), domain.Internal)
	must(t, setMember(t, db, glass, start))
	for at, live := range map[time.Duration]bool{0: true, time.Hour - 1: true, time.Hour: false, 99 * time.Hour: false} {
		now := start.Add(at)
		_, member := members(t, db, "acme", now)["p_op"]
		m := look(t, db, func(tx *store.Tx) (directory.Member, error) {
			m, found, err := directory.Membership(tx, "acme", "p_op", now)
			if found != (m.Person != "") {
				t.Errorf("found %v: %+v", found, m)
			}
			return m, err
		})
		if member != live || (m.Reason == "r") != live {
			t.Errorf("after %v: %v, %+v; want live %v", at, member, m, live)
		}
	}
	wantKind(t, removeMember(t, db, "acme", "p_op", start.Add(time.Hour)), domain.NotFound)
	must(t, removeMember(t, db, "acme", "p_op", start))
}

func TestMembershipsOfOneTenant(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	for _, tenant := range []domain.TenantID{"acme", "acm", "acme-two"} {
		for i, role := range domain.TenantRoles() {
			person := "p_" + string(role) + string(tenant)
			must(t, setMember(t, db, directory.Member{Tenant: tenant, Person: person, Role: role}, start))
			if got := members(t, db, tenant, start); len(got) != i+1 || got[person] != role {
				t.Errorf("%s: %v", tenant, got)
			}
		}
	}
	w, err := addWorkload(t, db, "acme", "web")
	must(t, err)
	kept, err := addWorkload(t, db, "acme-two", "web")
	must(t, err)
	_, err = addSecretID(t, db, w, directory.SecretIDSpec{}, start)
	must(t, err)
	_, err = storetest.Change(t, db, func(tx *store.Tx) (int, error) { return 0, directory.RemoveTenant(tx, "acme") })
	must(t, err)
	if len(members(t, db, "acme", start)) != 0 || len(members(t, db, "acm", start)) != 5 || len(members(t, db, "acme-two", start)) != 5 {
		t.Error("the wrong members were removed")
	}
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		for bucket, want := range map[string]int{"members": 10, "workloads": 1, "role-ids": 1, "secret-ids": 0} {
			if n, err := tx.Count(bucket, nil); n != want || err != nil {
				t.Errorf("%d rows in %s, %v", n, bucket, err)
			}
		}
		_, found, err := directory.TenantOfRole(tx, w.ID)
		tenant, other, err2 := directory.TenantOfRole(tx, kept.ID)
		if found || !other || tenant != "acme-two" || err != nil || err2 != nil {
			t.Errorf("%v %v %s, %v %v", found, other, tenant, err, err2)
		}
		return nil
	}))
}

// TestMembersAgainstModel: a random history of roles, break-glass and time.
func TestMembersAgainstModel(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	rapid.Check(t, func(r *rapid.T) {
		_, err := storetest.Change(t, db, func(tx *store.Tx) (int, error) { return 0, directory.RemoveTenant(tx, "acme") })
		must(t, err)
		model := map[string]directory.Member{}
		now := start
		person := rapid.SampledFrom([]string{"p_1", "p_2", "p_3"})
		lasting := func(m directory.Member) bool { return m.Role == domain.Owner && m.Expires == nil }
		onlyOwner := func(p string) bool {
			for other, m := range model {
				if other != p && lasting(m) {
					return false
				}
			}
			return lasting(model[p])
		}
		r.Repeat(map[string]func(*rapid.T){
			"set": func(r *rapid.T) {
				m := directory.Member{Tenant: "acme", Person: person.Draw(r, "person"), Role: rapid.SampledFrom(domain.TenantRoles()).Draw(r, "role")}
				if rapid.IntRange(0, 3).Draw(r, "glass") == 0 {
					m.Expires = ref(now.Add(time.Duration(rapid.IntRange(0, 60).Draw(r, "minutes")) * time.Minute))
				}
				refused := onlyOwner(m.Person) && !lasting(m)
				err := setMember(t, db, m, now)
				if (err != nil) != refused || refused && domain.KindOf(err) != domain.Conflict {
					r.Fatalf("set %+v: %v, want refused %v", m, err, refused)
				}
				if err == nil {
					model[m.Person] = m
				}
			},
			"remove": func(r *rapid.T) {
				p := person.Draw(r, "person")
				m, is := model[p]
				is = is && m.Live(now)
				refused := onlyOwner(p)
				err := removeMember(t, db, "acme", p, now)
				if (err == nil) != (is && !refused) {
					r.Fatalf("remove %s: %v, member %v, only owner %v", p, err, is, refused)
				}
				if err == nil {
					delete(model, p)
				}
			},
			"time": func(r *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(r, "minutes")) * time.Minute) },
			"": func(r *rapid.T) {
				want := map[string]domain.Role{}
				for p, m := range model {
					if m.Live(now) {
						want[p] = m.Role
					}
				}
				if diff := cmp.Diff(want, members(t, db, "acme", now)); diff != "" {
					r.Fatal(diff)
				}
			},
		})
	})
}
