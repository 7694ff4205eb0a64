package actions

import (
	"context"
	"errors"
	"slices"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/vault/lease"
	"coffer/vault/token"
)

// PersonInfo is what an operator sees of a person.
type PersonInfo struct {
	Person    string        `json:"person"`
	Name      string        `json:"name"`
	Appliance []domain.Role `json:"appliance"`
	Password  bool          `json:"password"`
	TOTP      bool          `json:"totp"`
	Passkeys  int           `json:"passkeys"`
	Created   time.Time     `json:"created"`
	SignedIn  *time.Time    `json:"signed_in,omitempty"` // the last time
}

func personInfo(tx *store.Tx, p directory.Person) (PersonInfo, error) {
	a, err := directory.FindAccount(tx, p.ID)
	if err != nil {
		return PersonInfo{}, err
	}
	keys, err := directory.Passkeys(tx, p.ID)
	out := PersonInfo{
		Person: p.ID, Name: p.Name, Appliance: append([]domain.Role{}, a.Appliance...), Password: !a.Password.IsZero(),
		TOTP: a.TOTP != nil, Passkeys: len(keys), Created: p.Created,
	}
	if !a.SignedIn.IsZero() {
		out.SignedIn = &a.SignedIn
	}
	return out, err
}

// PersonListOut is a page of people, by name; Next is the cursor of the one after
// it.
type PersonListOut struct {
	People []PersonInfo `json:"people"`
	Next   string       `json:"next,omitempty"`
}

// PersonList lists the people of the appliance.
var PersonList = Operation[Page, PersonListOut]{
	action: authz.PersonList,
	ask: func(_ context.Context, _ *Service, in Page) (authz.Request, error) {
		return authz.Request{}, in.check()
	},
	act: func(ctx context.Context, c *call, in Page) (PersonListOut, error) {
		out := PersonListOut{People: []PersonInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			all, err := directory.People(tx)
			for _, p := range all {
				if p.Name <= in.After {
					continue
				}
				if len(out.People) == in.size() {
					out.Next = out.People[len(out.People)-1].Name
					break
				}
				info, err := personInfo(tx, p)
				if err != nil {
					return err
				}
				out.People = append(out.People, info)
			}
			return err
		})
		c.detail["count"] = len(out.People)
		return out, err
	},
}

// PersonRoleIn names a person with the roles on the whole appliance, none for
// none.
type PersonRoleIn struct {
	Name  string   `path:"name" json:"-"`
	Roles []string `json:"roles"`
}

func (in PersonRoleIn) roles() (out []domain.Role, err error) {
	for _, r := range in.Roles {
		if !slices.Contains(domain.ApplianceRoles(), domain.Role(r)) {
			return nil, domain.Fieldf("roles", "%.40q is not a role on the appliance", r).WithHint("operator, auditor, or none")
		}
		if !slices.Contains(out, domain.Role(r)) {
			out = append(out, domain.Role(r))
		}
	}
	return out, nil
}

// PersonRole gives or takes a person's roles on the whole appliance, at once also
// in sessions that there are. The last operator's account stays one.
var PersonRole = Operation[PersonRoleIn, PersonInfo]{
	action: authz.PersonRole,
	ask: func(_ context.Context, _ *Service, in PersonRoleIn) (authz.Request, error) {
		if _, err := domain.ParseName("name", in.Name); err != nil {
			return authz.Request{}, err
		}
		_, err := in.roles()
		return authz.Request{}, err
	},
	act: func(ctx context.Context, c *call, in PersonRoleIn) (out PersonInfo, err error) {
		roles, err := in.roles()
		if err != nil {
			return out, err
		}
		c.detail["roles"] = roles
		err = c.change(ctx, func(tx *store.Tx) error {
			p, err := knownPerson(tx, in.Name)
			if err != nil {
				return err
			}
			before, err := directory.Operators(tx)
			if err != nil {
				return err
			}
			a, err := directory.FindAccount(tx, p.ID)
			if err != nil {
				return err
			}
			a.Appliance = roles
			if err := directory.PutAccount(tx, a); err != nil {
				return err
			}
			if after, err := directory.Operators(tx); err != nil || len(before) > 0 && len(after) == 0 {
				return errors.Join(err, domain.Errorf(domain.Conflict, "the appliance would be left without an operator's account").
					WithHint("make another one first: coffer setup-link"))
			}
			out, err = personInfo(tx, p)
			return err
		})
		c.detail["person"] = out.Person
		return out, err
	},
}

func knownPerson(tx *store.Tx, name string) (directory.Person, error) {
	p, found, err := directory.PersonByName(tx, name)
	if err == nil && !found {
		err = domain.Errorf(domain.NotFound, "there is no person %q", name).WithHint("see: coffer person list")
	}
	return p, err
}

// PersonRef names a person.
type PersonRef struct {
	Name string `path:"name" json:"-"`
}

// PersonRecover takes everything from a person that proves to be that person, and
// the person's own tokens, and makes a link for a new password. It is for who lost
// the second factor, and could serve to become somebody else: so it stands in the
// log of every tenant of which the person is a member, before it happens.
var PersonRecover = Operation[PersonRef, LinkOut]{
	action: authz.PersonRecover,
	ask: func(_ context.Context, _ *Service, in PersonRef) (authz.Request, error) {
		_, err := domain.ParseName("name", in.Name)
		return authz.Request{}, err
	},
	act: func(ctx context.Context, c *call, in PersonRef) (out LinkOut, err error) {
		var p directory.Person
		noted := map[domain.TenantID]bool{}
		if err := c.db.View(ctx, func(tx *store.Tx) error {
			if p, err = knownPerson(tx, in.Name); err != nil {
				return err
			}
			members, err := directory.MembershipsOf(tx, p.ID, c.clock.Now())
			for _, m := range members {
				noted[m.Tenant] = true
			}
			return err
		}); err != nil {
			return out, err
		}
		c.detail["person"], c.detail["tenants"] = p.ID, len(noted)
		if err := c.begin(ctx); err != nil {
			return out, err
		}
		for tenant := range noted {
			if _, err := c.log.Note(ctx, tenant, authz.PersonRecover, audit.Detail{"person": p.ID, "by": c.who.Subject.Principal.String()}); err != nil {
				return out, err
			}
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			out, err = c.recoverPerson(tx, p, noted)
			return err
		})
		c.detail["link"] = out.ID
		return out, err
	},
}

// recoverPerson does it, if the logs of all tenants that it touches say so.
func (c *call) recoverPerson(tx *store.Tx, p directory.Person, noted map[domain.TenantID]bool) (LinkOut, error) {
	now := c.clock.Now()
	members, err := directory.MembershipsOf(tx, p.ID, now)
	if err != nil {
		return LinkOut{}, err
	}
	tokens := 0
	for _, m := range members {
		if !noted[m.Tenant] {
			return LinkOut{}, domain.Errorf(domain.Conflict, "%q became a member of a tenant at this moment", p.Name).WithHint("try again")
		}
		n, err := token.RevokeWhere(tx, m.Tenant, func(t token.Token) bool { return t.Principal.ID == p.ID })
		if err = errors.Join(err, lease.RevokePrincipal(tx, m.Tenant, p.ID, now)); err != nil {
			return LinkOut{}, err
		}
		tokens += n
	}
	sessions, err := directory.Disarm(tx, p.ID, now)
	if err != nil {
		return LinkOut{}, err
	}
	c.detail["sessions_ended"], c.detail["tokens_revoked"] = sessions, tokens
	text, l, err := directory.AddLink(tx,
		directory.Link{Kind: directory.RecoverLink, Person: p.ID, By: c.who.Subject.Principal.ID}, directory.RecoverTTL, now)
	return c.linkOut(text, l), err
}
