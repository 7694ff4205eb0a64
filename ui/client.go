package ui

import (
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// clientView is one client at a glance.
type clientView struct {
	base
	form
	Name     string
	State    status
	Created  time.Time
	Changed  time.Time
	Closed   bool // suspended
	Gone     bool // destroyed, or about to be
	KeyHeld  bool // closed under its own key
	Doors    []door
	Snippets []snippet
	Member   bool
	May      struct{ Suspend, Resume, Destroy, BreakGlass, Log bool }
}

func (u *UI) client(r *request) error { return r.clientPage(form{}) }

func (r *request) clientPage(f form) error {
	out, err := do(r, actions.TenantShow, actions.TenantRef{Tenant: string(r.tenant)})
	if err != nil {
		return err
	}
	v := clientView{
		base: r.base(out.Name), form: f, Name: out.Name, State: stateOf(string(out.State)), Created: out.Created, Changed: out.Changed,
		Closed: out.State == "suspended", Gone: out.State == "destroying" || out.State == "destroyed", Member: r.me.Role() != "",
	}
	v.KeyHeld = out.ClientKey == "closed"
	v.Doors = v.doors()
	v.Snippets = r.ui.snippets(out.ID, "", "", "")
	v.May.Suspend = r.me.May(authz.TenantSuspend) && out.State == "active"
	v.May.Resume = r.me.May(authz.TenantResume) && v.Closed
	v.May.Destroy = r.me.May(authz.TenantDestroy) && !v.Gone
	v.May.BreakGlass = r.me.May(authz.BreakGlass) && !v.Member && out.State == "active"
	v.May.Log = r.me.May(authz.AuditRead)
	return r.render(f.status(), "client", v)
}

// door is a way on from the first page.
type door struct{ Text, Href, About string }

// doorWords say what one finds behind the tabs.
var doorWords = map[string]string{
	"Secrets":     "Paths and ages. Values are shown on request, once.",
	"Tokens":      "Who can come in right now, and until when.",
	"Workloads":   "The client’s programs, and what each one can do.",
	"People":      "Members, their roles, and who is invited.",
	"SQL console": "The client’s own database. Reads only, unless you say so.",
	"Keys":        "A key that only the client has, and new keys in place of old ones.",
	"Timeline":    "Everything that was done here, and a proof that it stands.",
}

// doors are the tabs but for the first, with what is behind them.
func (b base) doors() (out []door) {
	for _, tab := range b.Tabs {
		if about := doorWords[tab.Text]; about != "" {
			out = append(out, door{tab.Text, tab.Href, about})
		}
	}
	return out
}

// onClient runs an operation of a form of the client's page, and shows the page
// again if it was refused.
func onClient[In, Out any](r *request, which string, op actions.Operation[In, Out], in In, done string) error {
	if _, err := do(r, op, in); err != nil {
		f, err := r.refused(which, err)
		if err != nil {
			return err
		}
		return r.clientPage(f)
	}
	return r.seeOther(clientPath(r.tenant, ""), done)
}

func (u *UI) clientSuspend(r *request) error {
	return onClient(r, "suspend", actions.TenantSuspend, actions.TenantRef{Tenant: string(r.tenant)}, "suspended")
}

func (u *UI) clientResume(r *request) error {
	return onClient(r, "resume", actions.TenantResume, actions.TenantRef{Tenant: string(r.tenant)}, "resumed")
}

func (u *UI) clientDestroy(r *request) error {
	in := actions.TenantDestroyIn{Tenant: string(r.tenant), Confirm: r.text("confirm")}
	return onClient(r, "destroy", actions.TenantDestroy, in, "destroyed-client")
}

func (u *UI) breakGlass(r *request) error {
	in := actions.BreakGlassIn{Tenant: string(r.tenant), Reason: r.text("reason")}
	var err error
	if in.TTL, err = parseSpan("ttl", r.text("ttl")); err != nil {
		f, _ := r.refused("glass", err)
		return r.clientPage(f)
	}
	return onClient(r, "glass", actions.BreakGlass, in, "broken-glass")
}

// rolesView says what each role may do.
type rolesView struct {
	base
	Roles []roleRow
	Asked domain.Role // the role that was asked about
}

type roleRow struct {
	Role      domain.Role
	Appliance bool
	May       []string // meanings of actions
	Own       []string // the same, for what is their own
}

func (u *UI) roles(r *request) error {
	out, err := do(r, actions.RoleList, actions.Nothing{})
	if err != nil {
		return err
	}
	v := rolesView{base: r.base("What each role may do"), Asked: domain.Role(r.query("role"))}
	for _, role := range out.Roles {
		v.Roles = append(v.Roles, roleRow{role.Role, role.Appliance, meanings(role.Actions), meanings(role.Own)})
	}
	return r.show("roles", v)
}

func meanings(actions []domain.Action) (out []string) {
	for _, a := range actions {
		info, _ := authz.Lookup(a)
		out = append(out, info.Meaning)
	}
	return out
}
