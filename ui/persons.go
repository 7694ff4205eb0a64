package ui

import (
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// personsView is the people of the whole appliance, for operators.
type personsView struct {
	base
	form
	paged
	People    []personRow
	Link      *linkMade
	MayRole   bool
	MayInvite bool
}

type personRow struct {
	ID, Name  string
	Appliance []domain.Role
	Operator  bool
	Auditor   bool
	Factors   string
	Seen      *time.Time
	Me        bool
}

func (u *UI) persons(r *request) error { return r.personsPage(form{}, nil) }

func (r *request) personsPage(f form, link *linkMade) error {
	in := actions.Page{}
	if r.Method() == get {
		in.After = r.query("after")
	}
	out, err := do(r, actions.PersonList, in)
	if err != nil {
		return err
	}
	v := personsView{base: r.base("People"), form: f, paged: paged{out.Next}, Link: link}
	v.MayRole, v.MayInvite = r.me.May(authz.PersonRole), r.me.May(authz.SetupLink)
	for _, p := range out.People {
		v.People = append(v.People, r.personRow(p))
	}
	return r.render(f.status(), "persons", v)
}

func (u *UI) personRole(r *request) error {
	if _, err := do(r, actions.PersonRole, r.personRoleIn()); err != nil {
		f, err := r.refused("role", err)
		if err != nil {
			return err
		}
		return r.personsPage(f, nil)
	}
	return r.seeOther("/people", "role")
}

// setupLinkMake makes a link for a further operator.
func (u *UI) setupLinkMake(r *request) error {
	out, err := do(r, actions.SetupLink, actions.Nothing{})
	if err != nil {
		f, err := r.refused("link", err)
		if err != nil {
			return err
		}
		return r.personsPage(f, nil)
	}
	return r.personsPage(form{}, &linkMade{URL: u.opts.URL + "/setup#" + string(out.Token.Reveal()), For: "operator", Expires: out.Expires})
}
