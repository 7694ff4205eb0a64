package actions

import (
	"context"
	"errors"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/queries"
	"coffer/app/store"
)

// DashboardSaveIn is a dashboard as it is to be stored.
type DashboardSaveIn struct {
	Tenant  string   `path:"tenant" json:"-"`
	Name    string   `path:"name" json:"-"`
	Title   string   `json:"title,omitempty" doc:"a line for people; the name if absent" schema:"maxLength=128"`
	Queries []string `json:"queries" doc:"names of shared queries, in the order in which they are shown" schema:"minItems=1,maxItems=24"`
}

func (in DashboardSaveIn) dashboard() queries.Dashboard {
	d := queries.Dashboard{Name: in.Name, Title: in.Title, Queries: in.Queries}
	if d.Title == "" {
		d.Title = d.Name
	}
	return d
}

// DashboardInfo is a dashboard with what its queries are.
type DashboardInfo struct {
	Name    string      `json:"name"`
	Title   string      `json:"title"`
	Queries []QueryInfo `json:"queries"`
	By      string      `json:"by" doc:"id of the person who made it"`
	Changed time.Time   `json:"changed"`
}

// dashboardInfo reads the queries of a dashboard.
func (c *call) dashboardInfo(tx *store.Tx, d queries.Dashboard) (DashboardInfo, error) {
	out := DashboardInfo{Name: d.Name, Title: d.Title, Queries: []QueryInfo{}, By: d.By, Changed: d.Changed}
	for _, name := range d.Queries {
		q, err := queries.Find(tx, c.permit.Tenant(), name)
		if err != nil {
			return out, err
		}
		out.Queries = append(out.Queries, c.queryInfo(q))
	}
	return out, nil
}

// DashboardSave stores a dashboard, or changes it.
var DashboardSave = Operation[DashboardSaveIn, DashboardInfo]{
	action: authz.DashboardSave,
	ask: func(_ context.Context, _ *Service, in DashboardSaveIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err == nil {
			err = in.dashboard().Check()
		}
		return authz.Request{Tenant: tenant, Resource: in.Name}, err
	},
	owner: func(tx *store.Tx, in DashboardSaveIn) (string, error) { return dashboardOwner(tx, in.Tenant, in.Name) },
	act: func(ctx context.Context, c *call, in DashboardSaveIn) (out DashboardInfo, err error) {
		d := in.dashboard()
		d.By, d.Created = c.who.Subject.Principal.ID, c.clock.Now().UTC()
		d.Changed = d.Created
		c.detail["count"] = len(d.Queries)
		err = c.change(ctx, func(tx *store.Tx) error {
			saved, err := queries.SaveDashboard(tx, c.permit.Tenant(), d)
			if err == nil {
				out, err = c.dashboardInfo(tx, saved)
			}
			return err
		})
		return out, err
	},
}

// dashboardOwner finds whose a dashboard is; nobody's if there is none yet.
func dashboardOwner(tx *store.Tx, tenant, name string) (string, error) {
	d, err := queries.FindDashboard(tx, domain.TenantID(tenant), name)
	if errors.Is(err, queries.ErrNoDashboard) {
		return "", nil
	}
	return d.By, err
}

// DashboardShow shows a dashboard; its queries are run one by one.
var DashboardShow = Operation[QueryRef, DashboardInfo]{
	action: authz.DashboardList,
	ask:    askQuery,
	act: func(ctx context.Context, c *call, in QueryRef) (out DashboardInfo, err error) {
		err = c.db.View(ctx, func(tx *store.Tx) error {
			d, err := queries.FindDashboard(tx, c.permit.Tenant(), in.Name)
			if err == nil {
				out, err = c.dashboardInfo(tx, d)
			}
			return err
		})
		return out, err
	},
}

// DashboardListOut is a page of dashboards, by name.
type DashboardListOut struct {
	Dashboards []DashboardInfo `json:"dashboards"`
	Next       string          `json:"next,omitempty"`
}

// DashboardList lists the dashboards; every member may see them all.
var DashboardList = Operation[TenantPage, DashboardListOut]{
	action: authz.DashboardList,
	ask:    askTenantPage,
	act: func(ctx context.Context, c *call, in TenantPage) (out DashboardListOut, err error) {
		out.Dashboards = []DashboardInfo{}
		err = c.db.View(ctx, func(tx *store.Tx) error {
			out.Dashboards = out.Dashboards[:0]
			return queries.EachDashboard(tx, c.permit.Tenant(), in.After, func(d queries.Dashboard) error {
				info, err := c.dashboardInfo(tx, d)
				if err != nil {
					return err
				}
				if out.Dashboards = append(out.Dashboards, info); len(out.Dashboards) > in.size() {
					return store.ErrStop
				}
				return nil
			})
		})
		out.Dashboards, out.Next = cut(out.Dashboards, in.size(), func(d DashboardInfo) string { return d.Name })
		c.detail["count"] = len(out.Dashboards)
		return out, err
	},
}

// DashboardRemove removes a dashboard; its queries stay.
var DashboardRemove = Operation[QueryRef, DashboardInfo]{
	action: authz.DashboardRemove,
	ask:    askQuery,
	owner:  func(tx *store.Tx, in QueryRef) (string, error) { return dashboardOwner(tx, in.Tenant, in.Name) },
	act: func(ctx context.Context, c *call, in QueryRef) (out DashboardInfo, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			d, err := queries.RemoveDashboard(tx, c.permit.Tenant(), in.Name)
			if err == nil {
				out, err = c.dashboardInfo(tx, d)
			}
			return err
		})
		return out, err
	},
}
