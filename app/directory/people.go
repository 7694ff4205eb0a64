package directory

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// MaxBreakGlass is the longest membership that an operator can open by
// breaking the glass.
const MaxBreakGlass = time.Hour

// Person is a human being known to the appliance.
type Person struct {
	ID      string    `json:"id"`   // random, in audit records
	Name    string    `json:"name"` // unique, for people to type
	UID     *uint32   `json:"uid,omitempty"`
	Created time.Time `json:"created"`
}

// Member is a person's role in one tenant.
type Member struct {
	Tenant  domain.TenantID `json:"tenant"`
	Person  string          `json:"person"`
	Role    domain.Role     `json:"role"`
	Since   time.Time       `json:"since"`
	Expires *time.Time      `json:"expires,omitempty"` // break-glass only
	Reason  string          `json:"reason,omitempty"`  // break-glass only
}

// Live says whether the membership holds at a time.
func (m Member) Live(now time.Time) bool { return m.Expires == nil || now.Before(*m.Expires) }

// PersonByUID finds the person recorded for a local user id.
func PersonByUID(tx *store.Tx, uid uint32) (Person, bool, error) {
	id, found, err := recall[string](tx, bucketUIDs, []byte(strconv.FormatUint(uint64(uid), 10)))
	if err != nil || !found {
		return Person{}, false, err
	}
	return PersonByID(tx, id)
}

// PersonByID finds a person.
func PersonByID(tx *store.Tx, id string) (Person, bool, error) {
	return recall[Person](tx, bucketPeople, []byte(id))
}

// PersonByName finds a person by name. People are few; no index holds their
// names outside the sealed values.
func PersonByName(tx *store.Tx, name string) (Person, bool, error) {
	people, err := scan[Person](tx, bucketPeople, nil)
	if err != nil {
		return Person{}, false, err
	}
	i := slices.IndexFunc(people, func(p Person) bool { return p.Name == name })
	if i < 0 {
		return Person{}, false, nil
	}
	return people[i], true, nil
}

// AddPerson records a person under a new id. uid links a local user, nil none.
func AddPerson(tx *store.Tx, name string, uid *uint32, now time.Time) (Person, error) {
	if _, taken, err := PersonByName(tx, name); err != nil || taken {
		if taken {
			err = domain.Errorf(domain.Conflict, "there is a person %q already", name)
		}
		return Person{}, err
	}
	p := Person{ID: domain.NewID("p_"), Name: name, UID: uid, Created: now.UTC()}
	if uid != nil {
		if other, taken, err := PersonByUID(tx, *uid); err != nil || taken {
			if taken {
				err = domain.Errorf(domain.Conflict, "uid %d is recorded for %q already", *uid, other.Name)
			}
			return Person{}, err
		}
		if err := put(tx, bucketUIDs, []byte(strconv.FormatUint(uint64(*uid), 10)), p.ID); err != nil {
			return Person{}, err
		}
	}
	return p, put(tx, bucketPeople, []byte(p.ID), p)
}

// RenamePerson gives a person another name.
func RenamePerson(tx *store.Tx, p Person, name string) (Person, error) {
	if p.Name == name {
		return p, nil
	}
	if _, taken, err := PersonByName(tx, name); err != nil || taken {
		if taken {
			err = domain.Errorf(domain.Conflict, "there is a person %q already", name)
		}
		return p, err
	}
	p.Name = name
	return p, put(tx, bucketPeople, []byte(p.ID), p)
}

// People lists everybody, by name.
func People(tx *store.Tx) ([]Person, error) {
	all, err := scan[Person](tx, bucketPeople, nil)
	slices.SortFunc(all, func(a, b Person) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// MembershipsOf lists the live memberships of a person, by tenant.
func MembershipsOf(tx *store.Tx, person string, now time.Time) ([]Member, error) {
	all, err := scan[Member](tx, bucketMembers, nil)
	return slices.DeleteFunc(all, func(m Member) bool { return m.Person != person || !m.Live(now) }), err
}

// Membership finds a person's live role in a tenant.
func Membership(tx *store.Tx, tenant domain.TenantID, person string, now time.Time) (Member, bool, error) {
	m, found, err := recall[Member](tx, bucketMembers, within(tenant, person))
	if err != nil || !found || !m.Live(now) {
		return Member{}, false, err
	}
	return m, true, nil
}

// Members lists a tenant's live members, by person id.
func Members(tx *store.Tx, tenant domain.TenantID, now time.Time) ([]Member, error) {
	all, err := scan[Member](tx, bucketMembers, within(tenant, ""))
	return slices.DeleteFunc(all, func(m Member) bool { return !m.Live(now) }), err
}

// BreakGlasses lists the memberships that operators opened by breaking the glass
// and that hold, in one tenant or, for "", in all, by tenant.
func BreakGlasses(tx *store.Tx, tenant domain.TenantID, now time.Time) (out []Member, err error) {
	err = tx.Scan(bucketMembers, tenantPrefix(tenant), nil, func(_, value []byte) error {
		if !bytes.Contains(value, []byte(`"expires":`)) { // nearly all: they need not be decoded
			return nil
		}
		m, err := decode[Member](value)
		if err == nil && m.Expires != nil && m.Live(now) {
			out = append(out, m)
		}
		return err
	})
	return out, err
}

// SetMember makes a person a member or changes the role, but never takes the
// last lasting owner away, and gives nobody more than MaxBreakGlass of a
// membership that expires.
func SetMember(tx *store.Tx, m Member, now time.Time) error {
	if m.Expires != nil && m.Expires.Sub(now) > MaxBreakGlass {
		return domain.Errorf(domain.Internal, "a membership by breaking the glass cannot last until %v", m.Expires)
	}
	if m.Role != domain.Owner || m.Expires != nil {
		if err := keepOwner(tx, m.Tenant, m.Person, now); err != nil {
			return err
		}
	}
	m.Since = now.UTC()
	return put(tx, bucketMembers, within(m.Tenant, m.Person), m)
}

// RemoveMember ends a membership, but never that of the last owner.
func RemoveMember(tx *store.Tx, tenant domain.TenantID, person string, now time.Time) error {
	if _, found, err := Membership(tx, tenant, person, now); err != nil || !found {
		if err == nil {
			err = domain.Errorf(domain.NotFound, "that person is not a member of %s", tenant).
				WithHint("see: coffer member list -t %s", tenant)
		}
		return err
	}
	if err := keepOwner(tx, tenant, person, now); err != nil {
		return err
	}
	return tx.Delete(bucketMembers, within(tenant, person))
}

// keepOwner refuses when the tenant has no lasting owner but this person.
func keepOwner(tx *store.Tx, tenant domain.TenantID, leaving string, now time.Time) error {
	members, err := Members(tx, tenant, now)
	if err != nil {
		return err
	}
	isOwner := func(m Member) bool { return m.Role == domain.Owner && m.Expires == nil }
	i := slices.IndexFunc(members, func(m Member) bool { return m.Person == leaving })
	if i < 0 || !isOwner(members[i]) {
		return nil
	}
	if !slices.ContainsFunc(members, func(m Member) bool { return m.Person != leaving && isOwner(m) }) {
		return domain.Errorf(domain.Conflict, "%s would be left without an owner", tenant).
			WithHint("make somebody else an owner first: coffer member role -t %s NAME owner", tenant)
	}
	return nil
}
