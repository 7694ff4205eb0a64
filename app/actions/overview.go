package actions

import (
	"context"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/tenants"
)

// Overview is one tenant as one who may see it looks at all of them. What is
// counted is what that one may list: a viewer's own tokens and workloads, and no
// members.
type Overview struct {
	ID               domain.TenantID `json:"id"`
	Name             string          `json:"name"`
	State            tenants.State   `json:"state"`
	Role             domain.Role     `json:"role,omitempty"` // "" for an operator or auditor who is no member
	LastEvent        *time.Time      `json:"last_event,omitempty"`
	OldestCredential *time.Time      `json:"oldest_credential,omitempty"` // when the oldest live token or secret id was made
	Tokens           int             `json:"tokens"`                      // live
	Workloads        int             `json:"workloads"`
	Members          int             `json:"members"`
}

// MineOut is a page of overviews; Next is the cursor of the one after it.
type MineOut struct {
	Tenants []Overview `json:"tenants"`
	Next    string     `json:"next,omitempty"`
}

// TenantMine shows a person the tenants in which the person is a member, and an
// operator or auditor all of them, by id. It touches no tenant's keys.
var TenantMine = Operation[Page, MineOut]{
	action: authz.TenantMine,
	ask: func(_ context.Context, _ *Service, in Page) (authz.Request, error) {
		return authz.Request{}, in.check()
	},
	act: func(ctx context.Context, c *call, in Page) (MineOut, error) {
		out := MineOut{Tenants: []Overview{}}
		if c.who.Subject.Principal.Kind != domain.Person {
			return out, domain.Errorf(domain.Denied, "only a person has an overview of tenants").
				WithHint("a token says to which tenant it belongs: coffer token lookup")
		}
		before := c.overviews.stamp()
		err := c.db.View(ctx, func(tx *store.Tx) error {
			v := viewer{Service: c.Service, subject: c.who.Subject, now: c.clock.Now(), before: before}
			limit := in.size()
			page, err := tenants.Page(tx, domain.TenantID(in.After), limit+1, func(id domain.TenantID) (bool, error) { return v.sees(tx, id) })
			page, out.Next = cut(page, limit, func(r tenants.Record) string { return string(r.ID) })
			for _, r := range page {
				o, err := v.overview(tx, r)
				if err != nil {
					return err
				}
				out.Tenants = append(out.Tenants, o)
			}
			return err
		})
		if err == nil {
			err = c.lastWritten(ctx, out.Tenants)
		}
		c.detail["count"] = len(out.Tenants)
		return out, err
	},
}

// lastWritten fills in when each log was written last.
func (s *Service) lastWritten(ctx context.Context, list []Overview) error {
	for i := range list {
		at, err := s.log.LastEvent(ctx, list[i].ID)
		if err != nil {
			return err
		}
		if !at.IsZero() {
			list[i].LastEvent = &at
		}
	}
	return nil
}

// viewer is who looks at the tenants.
type viewer struct {
	*Service
	subject authz.Subject
	now     time.Time
	before  uint64 // a stamp from before the store was read
}

// everywhere says whether the viewer's role holds on the whole appliance. A token
// reaches its own tenant alone, whatever its person is besides.
func (v viewer) everywhere() bool { return v.subject.Home == "" && len(v.subject.Appliance) > 0 }

// sees says whether the viewer may know of a tenant.
func (v viewer) sees(tx *store.Tx, id domain.TenantID) (bool, error) {
	if v.everywhere() {
		return true, nil
	}
	role, err := v.role(tx, id)
	return role != "", err
}

// role is what the viewer is in a tenant: of a token the narrowest that bounds it,
// "" if it holds capabilities only, which show no tenant.
func (v viewer) role(tx *store.Tx, id domain.TenantID) (role domain.Role, err error) {
	if v.subject.Home == "" {
		m, _, err := directory.Membership(tx, id, v.subject.Principal.ID, v.now)
		return m.Role, err
	}
	if v.subject.Home != id {
		return "", nil
	}
	for _, l := range v.subject.Tenants[id] {
		if role = l.Role; role == "" {
			return "", nil
		}
	}
	return role, nil
}

// overview looks at one tenant that the viewer sees.
func (v viewer) overview(tx *store.Tx, r tenants.Record) (Overview, error) {
	role, err := v.role(tx, r.ID)
	o := Overview{ID: r.ID, Name: r.Name, State: r.State, Role: role}
	if err != nil || r.State == tenants.Destroyed {
		return o, err
	}
	mayTokens, ownTokens := v.lists(authz.TokenList, role)
	mayWorkloads, ownWorkloads := v.lists(authz.WorkloadList, role)
	mayMembers, _ := v.lists(authz.MemberList, role)
	var found summary
	if mayTokens && mayWorkloads {
		found, err = v.summaryOf(tx, r.ID)
	} else {
		mine := func(may, own bool) func(string) bool {
			return func(owner string) bool { return may || own && owner == v.subject.Principal.ID }
		}
		found, err = summarize(tx, r.ID, v.now, mine(mayTokens, ownTokens), mine(mayWorkloads, ownWorkloads))
	}
	o.Tokens, o.Workloads = found.tokens, found.workloads
	if mayMembers {
		o.Members = found.members
	}
	if !found.oldest.IsZero() {
		o.OldestCredential = &found.oldest
	}
	return o, err
}

// lists says whether the viewer may list something in a tenant, or what is its own.
// An appliance-wide role counts everything, and reads nothing.
func (v viewer) lists(a domain.Action, role domain.Role) (all, own bool) {
	if v.everywhere() {
		return true, false
	}
	info, _ := authz.Lookup(a)
	return info.Permits(role), info.PermitsOwn(role)
}
