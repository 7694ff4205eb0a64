package ui

import (
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
)

// accountView is what one has to do with oneself: factors and sessions.
type accountView struct {
	base
	form
	Name      string
	Appliance []domain.Role
	TOTP      bool
	Passkeys  []passkeyRow
	CodesLeft int
	Clients   []membership
	Sessions  []sessionRow
	CanPass   bool // passkeys work under this name
}

type passkeyRow struct {
	ID, Name string
	Created  time.Time
}

type membership struct {
	Client domain.TenantID
	Name   string
	Role   domain.Role
}

// Href is the client's page.
func (m membership) Href() string { return clientPath(m.Client, "") }

type sessionRow struct {
	Accessor               string
	Created, Seen, Expires time.Time
	Source, Client         string
	Current                bool
}

func (u *UI) account(r *request) error { return r.accountPage(form{}) }

func (r *request) accountPage(f form) error {
	out, err := do(r, actions.Account, actions.Nothing{})
	if err != nil {
		return err
	}
	sessions, err := do(r, actions.SessionList, actions.Nothing{})
	if err != nil {
		return err
	}
	v := accountView{
		base: r.base("Your account"), form: f, Name: out.Name, Appliance: out.Appliance, TOTP: out.TOTP,
		CodesLeft: out.RecoveryCodesLeft, CanPass: r.passkeys(),
	}
	for _, p := range out.Passkeys {
		v.Passkeys = append(v.Passkeys, passkeyRow{p.ID, p.Name, p.Created})
	}
	for _, m := range out.Tenants {
		v.Clients = append(v.Clients, membership{m.Tenant, m.Name, m.Role})
	}
	for _, s := range sessions.Sessions {
		v.Sessions = append(v.Sessions, sessionRow{s.Accessor, s.Created, s.Seen, s.Expires, s.Source, s.Client, s.Current})
	}
	return r.render(f.status(), "account", v)
}

// accountDone leads back to the page, or shows it with what is wrong.
func (r *request) accountDone(which, done string, err error) error {
	if err != nil {
		f, err := r.refused(which, err)
		if err != nil {
			return err
		}
		return r.accountPage(f)
	}
	return r.seeOther("/account", done)
}

func (u *UI) password(r *request) error {
	if !r.secret("new").Equal(r.secret("again")) {
		return r.accountDone("password", "", domain.Fieldf("again", "the new password was not typed twice the same"))
	}
	_, err := do(r, actions.PasswordChange, actions.PasswordChangeIn{Old: r.secret("old"), New: r.secret("new")})
	return r.accountDone("password", "password", err)
}

func (u *UI) passkeyRemove(r *request) error {
	_, err := do(r, actions.PasskeyRemove, actions.PasskeyRef{ID: r.text("id")})
	return r.accountDone("passkey", "passkey-removed", err)
}

func (u *UI) sessionEnd(r *request) error {
	_, err := do(r, actions.SessionEnd, actions.SessionRef{Accessor: r.text("accessor")})
	return r.accountDone("session", "session-ended", err)
}

func (u *UI) sessionEndAll(r *request) error {
	if _, err := do(r, actions.SessionEndAll, actions.Nothing{}); err != nil {
		return err
	}
	u.forget(r)
	return r.seeOther("/login", "all-signed-out")
}
