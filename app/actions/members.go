package actions

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/lease"
	"coffer/vault/token"
)

// MemberIn names a person in a tenant. UID links a new person to a local user.
type MemberIn struct {
	Tenant string  `path:"tenant" json:"-"`
	Name   string  `path:"name" json:"name,omitempty" doc:"the person's name: 1 to 64 of a-z, 0-9 and . _ - between them" schema:"required,maxLength=64"`
	Role   string  `json:"role,omitempty" doc:"a role in the tenant" schema:"required,enum=owner|admin|analyst|viewer|client-auditor"`
	UID    *uint32 `json:"uid,omitempty" doc:"local user id that a new person has on the machine of the appliance"`
}

// MemberInfo is what can be shown of a member.
type MemberInfo struct {
	Person  string      `json:"person"`
	Name    string      `json:"name"`
	Role    domain.Role `json:"role"`
	Since   time.Time   `json:"since"`
	Expires *time.Time  `json:"expires,omitempty"`
	Reason  string      `json:"reason,omitempty"`
}

// askMember reads the input. It looks nobody up: whether a person is known on
// the appliance is not for somebody who may not add members. The event names the
// person by id, in its detail, never by name.
func askMember(withRole bool) func(context.Context, *Service, MemberIn) (authz.Request, error) {
	return func(_ context.Context, _ *Service, in MemberIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		if _, err := domain.ParseName("name", in.Name); err != nil {
			return authz.Request{}, err
		}
		if withRole {
			_, err = domain.ParseTenantRole(in.Role)
		}
		return authz.Request{Tenant: tenant}, err
	}
}

// MemberAdd makes a person a member; a name not seen before becomes a person.
var MemberAdd = Operation[MemberIn, MemberInfo]{
	action:  authz.MemberAdd,
	creates: true,
	ask:     askMember(true),
	act: func(ctx context.Context, c *call, in MemberIn) (out MemberInfo, err error) {
		c.detail["role"] = in.Role
		err = c.change(ctx, func(tx *store.Tx) error {
			now := c.clock.Now()
			p, found, err := directory.PersonByName(tx, in.Name)
			if err != nil {
				return err
			}
			if !found {
				if p, err = directory.AddPerson(tx, in.Name, in.UID, now); err != nil {
					return err
				}
			} else if in.UID != nil && (p.UID == nil || *p.UID != *in.UID) {
				return domain.Errorf(domain.Conflict, "%q is known already, with another uid or none", in.Name)
			}
			if m, found, err := directory.Membership(tx, c.permit.Tenant(), p.ID, now); err != nil || found {
				if found {
					err = domain.Errorf(domain.Conflict, "%q is a member already, as %s", in.Name, m.Role).
						WithHint("change the role with: coffer member role -t %s %s ROLE", in.Tenant, in.Name)
				}
				return err
			}
			m := directory.Member{Tenant: c.permit.Tenant(), Person: p.ID, Role: domain.Role(in.Role)}
			out = memberInfo(p, m, now)
			return directory.SetMember(tx, m, now)
		})
		c.detail["member"] = out.Person
		return out, err
	},
}

func memberInfo(p directory.Person, m directory.Member, since time.Time) MemberInfo {
	return MemberInfo{Person: p.ID, Name: p.Name, Role: m.Role, Since: since.UTC(), Expires: m.Expires, Reason: m.Reason}
}

// member finds a person by name and the membership.
func (c *call) member(tx *store.Tx, name string) (directory.Person, directory.Member, error) {
	p, found, err := directory.PersonByName(tx, name)
	if err == nil && found {
		var m directory.Member
		if m, found, err = directory.Membership(tx, c.permit.Tenant(), p.ID, c.clock.Now()); err == nil && found {
			return p, m, nil
		}
	}
	if err == nil {
		err = domain.Errorf(domain.NotFound, "%q is not a member of %s", name, c.permit.Tenant()).
			WithHint("see: coffer member list -t %s", c.permit.Tenant())
	}
	return directory.Person{}, directory.Member{}, err
}

// MemberRole changes a member's role. Tokens shrink with it at once.
var MemberRole = Operation[MemberIn, MemberInfo]{
	action: authz.MemberRole,
	ask:    askMember(true),
	act: func(ctx context.Context, c *call, in MemberIn) (out MemberInfo, err error) {
		c.detail["role"] = in.Role
		err = c.change(ctx, func(tx *store.Tx) error {
			p, m, err := c.member(tx, in.Name)
			if err != nil {
				return err
			}
			m.Role, m.Expires, m.Reason = domain.Role(in.Role), nil, ""
			out = memberInfo(p, m, c.clock.Now())
			return directory.SetMember(tx, m, c.clock.Now())
		})
		c.detail["member"] = out.Person
		return out, err
	},
}

// MemberRemove ends a membership and the tokens of the tenant that the person
// has, or issued for a workload.
var MemberRemove = Operation[MemberIn, Removed]{
	action: authz.MemberRemove,
	ask:    askMember(false),
	act: func(ctx context.Context, c *call, in MemberIn) (out Removed, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			p, _, err := c.member(tx, in.Name)
			if err != nil {
				return err
			}
			c.detail["member"] = p.ID
			if err := directory.RemoveMember(tx, c.permit.Tenant(), p.ID, c.clock.Now()); err != nil {
				return err
			}
			out.TokensRevoked, err = token.RevokeWhere(tx, c.permit.Tenant(), func(t token.Token) bool { return t.Principal.ID == p.ID || t.IssuedBy == p.ID })
			return errors.Join(err, lease.RevokePrincipal(tx, c.permit.Tenant(), p.ID, c.clock.Now()), lease.OwnersGone(tx, c.permit.Tenant(), c.clock.Now()))
		})
		return out, err
	},
}

// MemberListOut is a page of a tenant's members, by name; Next is the cursor of
// the one after it.
type MemberListOut struct {
	Members []MemberInfo `json:"members"`
	Next    string       `json:"next,omitempty"`
}

// place is where a member stands in the list: a name is followed by a space, which
// none has, so that the order is that of the names.
func (m MemberInfo) place() string { return m.Name + " " + m.Person }

// MemberList lists the members.
var MemberList = Operation[TenantPage, MemberListOut]{
	action: authz.MemberList,
	ask:    askTenantPage,
	act: func(ctx context.Context, c *call, in TenantPage) (MemberListOut, error) {
		out := MemberListOut{Members: []MemberInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			members, err := directory.Members(tx, c.permit.Tenant(), c.clock.Now())
			for _, m := range members {
				p, _, err := directory.PersonByID(tx, m.Person)
				if err != nil {
					return err
				}
				p.ID = m.Person
				if info := memberInfo(p, m, m.Since); info.place() > in.After {
					out.Members = append(out.Members, info)
				}
			}
			return err
		})
		slices.SortFunc(out.Members, func(a, b MemberInfo) int { return strings.Compare(a.place(), b.place()) })
		out.Members, out.Next = cut(out.Members, in.size(), MemberInfo.place)
		c.detail["count"] = len(out.Members)
		return out, err
	},
}

// BreakGlassIn is an operator's plea for a closed tenant.
type BreakGlassIn struct {
	Tenant string   `path:"tenant" json:"-"`
	Reason string   `json:"reason" doc:"why; it stands in the tenant's own log" schema:"maxLength=500"`
	TTL    Duration `json:"ttl,omitempty" doc:"at most 1h" schema:"default=1h"`
}

// BreakGlass makes an operator an owner for at most an hour. The event, with the
// reason, stands in the tenant's own log.
var BreakGlass = Operation[BreakGlassIn, MemberInfo]{
	action: authz.BreakGlass,
	ask: func(_ context.Context, _ *Service, in BreakGlassIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		if ttl := time.Duration(in.TTL); ttl < 0 || ttl > directory.MaxBreakGlass {
			return authz.Request{}, domain.Fieldf("ttl", "%v is not between 0 and %v", ttl, directory.MaxBreakGlass)
		}
		_, err = domain.ParseText("reason", in.Reason, domain.MaxReason)
		return authz.Request{Tenant: tenant}, err
	},
	act: func(ctx context.Context, c *call, in BreakGlassIn) (out MemberInfo, err error) {
		reason, err := domain.ParseText("reason", in.Reason, domain.MaxReason)
		if err != nil {
			return out, err
		}
		c.detail["reason"] = reason
		err = c.change(ctx, func(tx *store.Tx) error {
			now := c.clock.Now()
			p, found, err := directory.PersonByID(tx, c.who.Subject.Principal.ID)
			if err != nil || !found {
				return errors.Join(err, domain.Errorf(domain.Denied, "only a person can break the glass"))
			}
			if m, found, err := directory.Membership(tx, c.permit.Tenant(), p.ID, now); err != nil || found {
				if found {
					err = domain.Errorf(domain.Conflict, "you are a member already, as %s", m.Role).
						WithHint("an owner can change your role: coffer member role")
				}
				return err
			}
			ttl := time.Duration(in.TTL)
			if ttl == 0 {
				ttl = directory.MaxBreakGlass
			}
			ends := now.Add(ttl).UTC()
			m := directory.Member{Tenant: c.permit.Tenant(), Person: p.ID, Role: domain.Owner, Expires: &ends, Reason: reason}
			out = memberInfo(p, m, now)
			return directory.SetMember(tx, m, now)
		})
		c.detail["expires"] = out.Expires
		return out, err
	},
}
