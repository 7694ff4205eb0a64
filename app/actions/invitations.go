package actions

import (
	"context"
	"slices"
	"strings"
	"time"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// InviteIn says as what somebody is invited.
type InviteIn struct {
	Tenant string `path:"tenant" json:"-"`
	Role   string `json:"role"`
	Note   string `json:"note,omitempty"` // for whom it is, for people
}

// InvitationCreate makes a link with which somebody becomes a member.
var InvitationCreate = Operation[InviteIn, LinkOut]{
	action:  authz.InvitationCreate,
	creates: true,
	ask: func(_ context.Context, _ *Service, in InviteIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		if in.Note != "" {
			if _, err := domain.ParseText("note", in.Note, domain.MaxDisplayName); err != nil {
				return authz.Request{}, err
			}
		}
		_, err = domain.ParseTenantRole(in.Role)
		return authz.Request{Tenant: tenant, Resource: in.Role}, err
	},
	act: func(ctx context.Context, c *call, in InviteIn) (out LinkOut, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			text, l, err := directory.AddLink(tx, directory.Link{
				Kind: directory.InvitationLink, Tenant: c.permit.Tenant(), Role: domain.Role(in.Role),
				Note: strings.TrimSpace(in.Note), By: c.who.Subject.Principal.ID,
			}, directory.InvitationTTL, c.clock.Now())
			out = c.linkOut(text, l)
			return err
		})
		c.detail["invitation"], c.detail["expires"] = out.ID, out.Expires
		return out, err
	},
}

// InvitationInfo is what can be shown of an invitation.
type InvitationInfo struct {
	ID      string      `json:"id"`
	Role    domain.Role `json:"role"`
	Note    string      `json:"note,omitempty"`
	By      string      `json:"by"` // the name of who invited
	Created time.Time   `json:"created"`
	Expires time.Time   `json:"expires"`
}

// InvitationListIn asks for a part of a tenant's invitations.
type InvitationListIn struct {
	Tenant string `path:"tenant" json:"-"`
	Page
}

// InvitationListOut is a page of invitations that wait; Next is the cursor of the
// one after it.
type InvitationListOut struct {
	Invitations []InvitationInfo `json:"invitations"`
	Next        string           `json:"next,omitempty"`
}

// InvitationList lists the invitations that wait, by id.
var InvitationList = Operation[InvitationListIn, InvitationListOut]{
	action: authz.InvitationList,
	ask: func(_ context.Context, _ *Service, in InvitationListIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err == nil {
			err = in.Page.check()
		}
		return authz.Request{Tenant: tenant}, err
	},
	act: func(ctx context.Context, c *call, in InvitationListIn) (InvitationListOut, error) {
		out := InvitationListOut{Invitations: []InvitationInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			all, err := directory.Links(tx, c.permit.Tenant(), c.clock.Now())
			slices.SortFunc(all, func(a, b directory.Link) int { return strings.Compare(a.ID, b.ID) })
			for _, l := range all {
				if l.ID <= in.After {
					continue
				}
				if len(out.Invitations) == in.Page.size() {
					out.Next = out.Invitations[len(out.Invitations)-1].ID
					break
				}
				p, _, err := directory.PersonByID(tx, l.By)
				if err != nil {
					return err
				}
				out.Invitations = append(out.Invitations, InvitationInfo{l.ID, l.Role, l.Note, p.Name, l.Created, l.Expires})
			}
			return err
		})
		c.detail["count"] = len(out.Invitations)
		return out, err
	},
}

// InvitationRef names an invitation of a tenant.
type InvitationRef struct {
	Tenant string `path:"tenant" json:"-"`
	ID     string `path:"id" json:"-"`
}

// InvitationRevoke burns an invitation.
var InvitationRevoke = Operation[InvitationRef, InvitationInfo]{
	action: authz.InvitationRevoke,
	ask: func(_ context.Context, _ *Service, in InvitationRef) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err == nil {
			_, err = parseRef("id", in.ID, "li_")
		}
		return authz.Request{Tenant: tenant, Resource: in.ID}, err
	},
	act: func(ctx context.Context, c *call, in InvitationRef) (out InvitationInfo, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			all, err := directory.Links(tx, c.permit.Tenant(), c.clock.Now())
			if err != nil {
				return err
			}
			for _, l := range all {
				if l.ID == in.ID {
					p, _, err := directory.PersonByID(tx, l.By)
					if err != nil {
						return err
					}
					out = InvitationInfo{l.ID, l.Role, l.Note, p.Name, l.Created, l.Expires}
					return directory.RemoveLink(tx, l)
				}
			}
			return domain.Errorf(domain.NotFound, "there is no invitation with that id").WithHint("see: coffer invite list -t %s", in.Tenant)
		})
		return out, err
	},
}

// Joined is of what somebody became a member.
type Joined struct {
	Tenant domain.TenantID `json:"tenant"`
	Role   domain.Role     `json:"role"`
}

// InvitationJoin takes an invitation up as the person that one is.
var InvitationJoin = Operation[LinkHeld, Joined]{
	action: authz.InvitationJoin,
	prove: func(ctx context.Context, s *Service, who *Caller, in *LinkHeld) (err error) {
		if in.link, err = s.held(ctx, who, in.Token); err == nil && in.link.Kind != directory.InvitationLink {
			err = authn.ErrLink
		}
		return err
	},
	ask: askLink,
	act: func(ctx context.Context, c *call, in LinkHeld) (out Joined, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			now, me := c.clock.Now(), c.who.Subject.Principal.ID
			l, err := authn.Link(tx, in.Token, now)
			if err != nil {
				return err
			}
			if m, found, err := directory.Membership(tx, l.Tenant, me, now); err != nil || found {
				if found {
					err = domain.Errorf(domain.Conflict, "you are a member already, as %s", m.Role).
						WithHint("an owner can change your role: coffer member role")
				}
				return err
			}
			if err := directory.RemoveLink(tx, l); err != nil {
				return err
			}
			out = Joined{l.Tenant, l.Role}
			return directory.SetMember(tx, directory.Member{Tenant: l.Tenant, Person: me, Role: l.Role}, now)
		})
		c.detail["role"] = string(out.Role)
		return out, err
	},
}
