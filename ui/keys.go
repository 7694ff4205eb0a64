package ui

import (
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// keysView is a client's own key, and rotations of the keys that Coffer has of it.
type keysView struct {
	base
	form
	Has       bool // there is a client-held key
	Open      bool
	Kind      string // what it is
	Set       *time.Time
	Until     *time.Time
	Idle      string
	Warning   string
	Words     string // to be typed
	Rotations []rotationRow
	May       struct{ Set, Open, Close, Remove, Rotate bool }
}

// rotationRow is a rotation as it stands.
type rotationRow struct {
	Kind, Of    string
	State       status
	Step, Why   string
	Done, Total int
	Changed     time.Time
}

// rotationState gives a rotation's state its word.
func rotationState(s string) status {
	switch s {
	case "done":
		return status{"done", "check", "good"}
	case "failed":
		return status{"stopped", "cross", "bad"}
	case "waiting":
		return status{"waits", "pause", "warn"}
	}
	return status{s, "dot", "plain"}
}

func rotationRows(list []actions.RotationInfo) (out []rotationRow) {
	for _, o := range list {
		row := rotationRow{
			Kind: o.Kind, Of: string(o.Tenant), State: rotationState(o.State), Step: o.Step, Why: o.Why, Done: o.Done, Total: o.Total, Changed: o.Changed,
		}
		if row.Of == "" {
			row.Of = "all"
		}
		out = append(out, row)
	}
	return out
}

func (u *UI) keys(r *request) error { return r.keysPage(form{}) }

func (r *request) keysPage(f form) error {
	ref := actions.TenantRef{Tenant: string(r.tenant)}
	out, err := do(r, actions.ClientKeyStatus, ref)
	if err != nil {
		return err
	}
	v := keysView{
		base: r.base("Keys"), form: f, Has: out.State != "none", Open: out.State == "open", Kind: out.Form, Set: out.Set, Until: out.Until,
		Warning: actions.ClientKeyWarning, Words: actions.ClientKeyWords,
	}
	v.Tabs = markTab(v.Tabs, "Keys")
	if out.Idle != nil {
		v.Idle = time.Duration(*out.Idle).String()
	}
	v.May.Set = r.me.May(authz.ClientKeySet) && !v.Has
	v.May.Open = r.me.May(authz.ClientKeyOpen) && v.Has
	v.May.Close = r.me.May(authz.ClientKeyClose) && v.Open
	v.May.Remove = r.me.May(authz.ClientKeyRemove) && v.Open
	v.May.Rotate = r.me.May(authz.RotateTenant)
	if r.me.May(authz.RotateTenantStatus) {
		list, err := do(r, actions.RotateTenantStatus, ref)
		if err != nil {
			return err
		}
		v.Rotations = rotationRows(list.Rotations)
	}
	return r.render(f.status(), "keys", v)
}

// keysDone leads back to the page, or shows it with what is wrong.
func (r *request) keysDone(which, done string, err error) error {
	if err != nil {
		f, err := r.refused(which, err)
		if err != nil {
			return err
		}
		return r.keysPage(f)
	}
	return r.seeOther(clientPath(r.tenant, "keys"), done)
}

// openFor reads for how long a key opens.
func (r *request) openFor() (o actions.ClientOpenFor, err error) {
	if o.For, err = parseSpan("for", r.text("for")); err != nil {
		return o, err
	}
	o.Idle, err = parseSpan("idle", r.text("idle"))
	return o, err
}

func (u *UI) clientKeySet(r *request) error {
	in := actions.ClientKeySetIn{Tenant: string(r.tenant), Form: r.text("form"), Key: r.secret("secret"), Confirm: r.text("confirm"), Words: r.text("words")}
	var err error
	if in.ClientOpenFor, err = r.openFor(); err == nil && !in.Key.Equal(r.secret("again")) {
		err = domain.Fieldf("again", "the key was not given twice the same")
	}
	if err == nil {
		_, err = do(r, actions.ClientKeySet, in)
	}
	return r.keysDone("set", "key-set", err)
}

func (u *UI) clientKeyOpen(r *request) error {
	in := actions.ClientKeyOpenIn{Tenant: string(r.tenant), Form: r.text("form"), Key: r.secret("secret")}
	var err error
	if in.ClientOpenFor, err = r.openFor(); err == nil {
		_, err = do(r, actions.ClientKeyOpen, in)
	}
	return r.keysDone("open", "key-open", err)
}

func (u *UI) clientKeyClose(r *request) error {
	_, err := do(r, actions.ClientKeyClose, actions.TenantRef{Tenant: string(r.tenant)})
	return r.keysDone("close", "key-closed", err)
}

func (u *UI) clientKeyRemove(r *request) error {
	_, err := do(r, actions.ClientKeyRemove, actions.ClientKeyRemoveIn{Tenant: string(r.tenant), Confirm: r.text("confirm")})
	return r.keysDone("remove", "key-removed", err)
}

func (u *UI) rotateTenant(r *request) error {
	_, err := do(r, actions.RotateTenant, actions.RotateTenantIn{Tenant: string(r.tenant), Kind: r.text("kind")})
	return r.keysDone("rotate", "rotating", err)
}

func (u *UI) rotateStart(r *request) error {
	_, err := do(r, actions.RotateStart, actions.RotateIn{Kind: r.text("kind")})
	return r.sealDone("keys", "rotating", err)
}

func (u *UI) rotateResume(r *request) error {
	_, err := do(r, actions.RotateResume, actions.Nothing{})
	return r.sealDone("resume", "rotating", err)
}
