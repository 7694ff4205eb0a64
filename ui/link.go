package ui

import (
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
)

// linkView is the page behind a link for setting up, joining or recovering. The
// link's token stands in the fragment of the address, which browsers send to
// nobody; a script, or the person, puts it into the form.
type linkView struct {
	base
	form
	Join    bool   // the page for invitations
	Token   string // of a link that was looked at: the next form sends it again
	Kind    string // setup, invitation or recover
	Client  domain.TenantID
	Name    string // the client's
	As      domain.Role
	Expires time.Time
	Me      string // who is signed in, and can take the invitation up as oneself
}

func (u *UI) setupLink(r *request) error { return r.linkPage(linkView{}) }
func (u *UI) joinLink(r *request) error  { return r.linkPage(linkView{Join: true}) }

func (r *request) linkPage(v linkView) error {
	title := "Set up your account"
	if v.Join {
		title = "Join"
	}
	v.base = r.base(title)
	return r.render(v.status(), "link", v)
}

// linkLook shows what a link is for. It burns nothing.
func (u *UI) linkLook(r *request) error {
	v, err := r.look()
	if err != nil {
		return r.linkRefused("look", err, v)
	}
	return r.linkPage(v)
}

// look finds out what the link in the form is for, and who is signed in already.
func (r *request) look() (v linkView, err error) {
	v.Join = r.form.Has("join")
	if err := r.open(); err != nil {
		return v, err
	}
	token := r.text("token")
	out, err := do(r, actions.LinkShow, actions.LinkHeld{Token: domain.SecretString(token)})
	if err != nil {
		return v, err
	}
	v.Token, v.Kind, v.Client, v.Name, v.As, v.Expires = token, string(out.Kind), out.Tenant, out.TenantName, out.Role, out.Expires
	v.Join = v.Kind == "invitation"
	if session := r.ui.cookie(r.Ctx, sessionCookie); v.Join && session.Len() > 0 && r.know(session) == nil {
		v.Me = r.me.Name
	}
	return v, nil
}

// linkRefused shows the page again with what is wrong.
func (r *request) linkRefused(which string, err error, v linkView) error {
	f, err := r.refused(which, err)
	if err != nil {
		return err
	}
	v.form = f
	return r.linkPage(v)
}

// linkAccept makes the account. It burns the link.
func (u *UI) linkAccept(r *request) error {
	v, err := r.look()
	if err != nil {
		return r.linkRefused("look", err, v)
	}
	if !r.secret("password").Equal(r.secret("again")) {
		return r.linkRefused("accept", domain.Fieldf("again", "the password was not typed twice the same"), v)
	}
	out, err := do(r, actions.LinkAccept, actions.LinkAcceptIn{
		Token: domain.SecretString(v.Token), Name: r.text("name"), Password: r.secret("password"),
	})
	if err != nil {
		return r.linkRefused("accept", err, v)
	}
	r.beginSession(out)
	return r.seeOther("/account/second-factor", "")
}

// linkJoin takes an invitation up as the person who is signed in.
func (u *UI) linkJoin(r *request) error {
	out, err := do(r, actions.InvitationJoin, actions.LinkHeld{Token: domain.SecretString(r.text("token"))})
	if err != nil {
		return r.linkRefused("look", err, linkView{Join: true})
	}
	return r.seeOther(clientPath(out.Tenant, ""), "joined")
}
