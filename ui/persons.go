package ui

import (
	"slices"
	"strings"
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
	return r.personsPage(form{}, u.linkMade(out, "/setup", "operator"))
}

func (r *request) personRoleIn() actions.PersonRoleIn {
	return actions.PersonRoleIn{Name: r.text("name"), Roles: r.form["role"]}
}

func (r *request) personRow(p actions.PersonInfo) personRow {
	row := personRow{ID: p.Person, Name: p.Name, Appliance: p.Appliance, Seen: p.SignedIn, Me: p.Person == r.who.Subject.Principal.ID}
	row.Operator, row.Auditor = slices.Contains(p.Appliance, domain.Operator), slices.Contains(p.Appliance, domain.Auditor)
	var factors []string
	if p.TOTP {
		factors = append(factors, "app")
	}
	if p.Passkeys > 0 {
		factors = append(factors, plural(p.Passkeys, "passkey"))
	}
	row.Factors = strings.Join(factors, ", ")
	return row
}
