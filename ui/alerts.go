package ui

import (
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// alertsView is what somebody should look at.
type alertsView struct {
	base
	form
	paged
	Standing []alertRow // conditions, which go when their cause goes
	Raised   []alertRow // newest first
	MayAck   bool
}

type alertRow struct {
	ID, Kind, Text string
	Client         domain.TenantID
	Time           time.Time
	Last           *time.Time
	Count          int
	Acked          *time.Time
	AckedBy        string
}

// Href is the page of the client that the alert is about.
func (a alertRow) Href() string { return clientPath(a.Client, "") }

func (u *UI) alerts(r *request) error { return r.alertsPage(form{}) }

func (r *request) alertsPage(f form) error {
	in := actions.Page{}
	if r.Method() == get {
		in.After = r.query("after")
	}
	out, err := do(r, actions.AlertList, in)
	if err != nil {
		return err
	}
	v := alertsView{base: r.base("Alerts"), form: f, paged: paged{out.Next}, MayAck: r.me.May(authz.AlertAck)}
	var ids []string
	for _, a := range out.Alerts {
		ids = append(ids, "person:"+a.AckedBy)
	}
	names, err := r.service.Names(r.ctx, "", ids)
	if err != nil {
		return err
	}
	for _, a := range out.Alerts {
		row := alertRow{
			ID: a.ID, Kind: string(a.Kind), Text: a.Text, Client: a.Tenant, Time: a.Time, Last: a.Last, Count: a.Count, Acked: a.Acked,
		}
		if a.Acked != nil {
			row.AckedBy = named(names, "person:"+a.AckedBy)
		}
		if a.Standing {
			v.Standing = append(v.Standing, row)
		} else {
			v.Raised = append(v.Raised, row)
		}
	}
	return r.render(f.status(), "alerts", v)
}

func (u *UI) alertAck(r *request) error {
	if _, err := do(r, actions.AlertAck, actions.AlertRef{ID: r.text("id")}); err != nil {
		f, err := r.refused("ack", err)
		if err != nil {
			return err
		}
		return r.alertsPage(f)
	}
	return r.seeOther("/alerts", "acked")
}
