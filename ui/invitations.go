package ui

import "coffer/app/actions"

// invitations are those that wait to be taken up.
func (r *request) invitations() (rows []invitationRow, err error) {
	out, err := do(r, actions.InvitationList, actions.InvitationListIn{Tenant: string(r.tenant)})
	for _, i := range out.Invitations {
		rows = append(rows, invitationRow{ID: i.ID, Role: i.Role, Note: i.Note, By: i.By, Created: i.Created, Expires: i.Expires})
	}
	return rows, err
}

func (u *UI) invite(r *request) error {
	out, err := do(r, actions.InvitationCreate, actions.InviteIn{Tenant: string(r.tenant), Role: r.text("role"), Note: r.text("note")})
	if err != nil {
		return r.memberDone("invite", "", err)
	}
	return r.membersPage(form{}, u.linkMade(out, "/join", r.text("role")))
}

// linkMade is the address of a link. Its token stands in the fragment, which is
// sent to no server and stands in no log.
func (u *UI) linkMade(out actions.LinkOut, path, who string) *linkMade {
	url := string(out.URL.Reveal())
	if url == "" {
		url = u.opts.URL + path + "#" + string(out.Token.Reveal())
	}
	return &linkMade{URL: url, For: who, Expires: out.Expires}
}

func (u *UI) inviteRevoke(r *request) error {
	_, err := do(r, actions.InvitationRevoke, actions.InvitationRef{Tenant: string(r.tenant), ID: r.text("id")})
	return r.memberDone("invite", "invite-revoked", err)
}
