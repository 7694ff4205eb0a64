package ui

import (
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// membersView is who may do what at a client, and who is invited.
type membersView struct {
	base
	form
	paged
	Members     []memberRow
	Invitations []invitationRow
	Link        *linkMade
	Roles       []string
	MayAdd      bool
	MayChange   bool
	MayRemove   bool
	MayInvite   bool
}

type memberRow struct {
	Person, Name string
	Role         domain.Role
	Since        time.Time
	Expires      *time.Time
	Reason       string
	Me           bool
}

type invitationRow struct {
	ID      string
	Role    domain.Role
	Note    string
	By      string
	Created time.Time
	Expires time.Time
}

// linkMade is a link that was just made, shown this once.
type linkMade struct {
	URL     string
	For     string
	Expires time.Time
}

func (u *UI) members(r *request) error { return r.membersPage(form{}, nil) }

func (r *request) membersPage(f form, link *linkMade) error {
	out, err := do(r, actions.MemberList, r.tenantPage())
	if err != nil {
		return err
	}
	v := membersView{base: r.base("People"), form: f, Link: link, Roles: delegable(domain.Owner)}
	v.Tabs, v.Next = markTab(v.Tabs, "People"), out.Next
	for _, m := range out.Members {
		v.Members = append(v.Members, memberRow{
			Person: m.Person, Name: m.Name, Role: m.Role, Since: m.Since, Expires: m.Expires, Reason: m.Reason,
			Me: m.Person == r.who.Subject.Principal.ID,
		})
	}
	v.MayAdd, v.MayChange, v.MayRemove = r.me.May(authz.MemberAdd), r.me.May(authz.MemberRole), r.me.May(authz.MemberRemove)
	if v.MayInvite = r.me.May(authz.InvitationCreate); v.MayInvite {
		if v.Invitations, err = r.invitations(); err != nil {
			return err
		}
	}
	return r.render(f.status(), "members", v)
}

func (u *UI) memberAdd(r *request) error {
	_, err := do(r, actions.MemberAdd, r.memberIn())
	return r.memberDone("add", "member-added", err)
}

func (u *UI) memberRole(r *request) error {
	_, err := do(r, actions.MemberRole, r.memberIn())
	return r.memberDone("role", "member-role", err)
}

func (u *UI) memberRemove(r *request) error {
	_, err := do(r, actions.MemberRemove, r.memberIn())
	return r.memberDone("remove", "member-gone", err)
}

func (r *request) memberIn() actions.MemberIn {
	return actions.MemberIn{Tenant: string(r.tenant), Name: r.text("name"), Role: r.text("role")}
}

// memberDone leads back to the page, or shows it with what is wrong.
func (r *request) memberDone(which, done string, err error) error {
	if err != nil {
		f, err := r.refused(which, err)
		if err != nil {
			return err
		}
		return r.membersPage(f, nil)
	}
	return r.seeOther(clientPath(r.tenant, "people"), done)
}
