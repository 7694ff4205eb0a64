package actions

import (
	"context"
	"strings"
	"time"

	"coffer/app/alerts"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
)

// AlertInfo is one thing that somebody should look at: an alert that was raised,
// or a condition that stands, which goes when its cause goes.
type AlertInfo struct {
	ID       string          `json:"id"`
	Time     time.Time       `json:"time"` // of a condition: when it was looked at
	Kind     alerts.Kind     `json:"kind"`
	Tenant   domain.TenantID `json:"tenant,omitempty"`
	Text     string          `json:"text"`
	Standing bool            `json:"standing"`
	Last     *time.Time      `json:"last,omitempty"`  // when it was raised last, if more than once
	Count    int             `json:"count,omitempty"` // how often, if more than once
	Acked    *time.Time      `json:"acked,omitempty"`
	AckedBy  string          `json:"acked_by,omitempty"` // person
}

func alertInfo(a alerts.Alert) AlertInfo {
	out := AlertInfo{
		ID: a.ID, Time: a.First, Kind: a.Kind, Tenant: a.Tenant, Text: a.Text, Acked: a.Acked,
		AckedBy: strings.TrimPrefix(a.By, string(domain.Person)+":"),
	}
	if a.Count > 1 {
		out.Last, out.Count = &a.Last, a.Count
	}
	return out
}

// AlertListOut is a page of alerts: the conditions that stand first, then what was
// raised, newest first. Next is the cursor of the page after it.
type AlertListOut struct {
	Alerts []AlertInfo `json:"alerts"`
	Next   string      `json:"next,omitempty"`
}

// AlertList lists the alerts of the appliance and of all tenants.
var AlertList = Operation[Page, AlertListOut]{
	action: authz.AlertList,
	ask: func(_ context.Context, _ *Service, in Page) (authz.Request, error) {
		return authz.Request{}, in.check()
	},
	act: func(ctx context.Context, c *call, in Page) (AlertListOut, error) { return c.listAlerts(ctx, in) },
}

// AlertTenant lists the alerts of one tenant.
var AlertTenant = Operation[TenantPage, AlertListOut]{
	action: authz.AlertTenant,
	ask:    askTenantPage,
	act: func(ctx context.Context, c *call, in TenantPage) (AlertListOut, error) {
		return c.listAlerts(ctx, in.Page)
	},
}

// listAlerts lists the alerts of the permit's tenant, all of them for "".
func (c *call) listAlerts(ctx context.Context, in Page) (AlertListOut, error) {
	tenant, limit := c.permit.Tenant(), in.size()
	var found []AlertInfo
	err := c.db.View(ctx, func(tx *store.Tx) error {
		if in.After == "" || strings.HasPrefix(in.After, standingPrefix) {
			standing, err := c.standing(tx, tenant)
			if err != nil {
				return err
			}
			for _, a := range standing {
				if a.ID > in.After && len(found) <= limit {
					found = append(found, a)
				}
			}
			in.After = ""
		}
		if len(found) > limit {
			return nil
		}
		return alerts.Each(tx, in.After, func(a alerts.Alert) error {
			if tenant != "" && a.Tenant != tenant {
				return nil
			}
			if found = append(found, alertInfo(a)); len(found) > limit {
				return store.ErrStop
			}
			return nil
		})
	})
	out := AlertListOut{Alerts: []AlertInfo{}}
	found, out.Next = cut(found, limit, func(a AlertInfo) string { return a.ID })
	out.Alerts = append(out.Alerts, found...)
	c.detail["count"] = len(out.Alerts)
	return out, err
}

// AlertRef names an alert.
type AlertRef struct {
	ID string `path:"id" json:"-"`
}

// AlertAck says that an alert was looked at.
var AlertAck = Operation[AlertRef, AlertInfo]{
	action: authz.AlertAck,
	ask: func(_ context.Context, _ *Service, in AlertRef) (authz.Request, error) {
		if strings.HasPrefix(in.ID, standingPrefix) {
			return authz.Request{}, domain.Errorf(domain.Conflict, "that is a condition that stands: it goes when its cause goes").
				WithHint("see its text in: coffer alert list")
		}
		id, err := domain.ParseName("id", in.ID)
		return authz.Request{Resource: id}, err
	},
	act: func(ctx context.Context, c *call, in AlertRef) (out AlertInfo, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			a, err := alerts.Ack(tx, in.ID, c.who.Subject.Principal.String(), c.clock.Now())
			out = alertInfo(a)
			return err
		})
		c.detail["kind"], c.detail["tenant"] = out.Kind, out.Tenant
		return out, err
	},
}
