package actions

import (
	"context"
	"time"

	"coffer/app/alerts"
	"coffer/app/authz"
	"coffer/app/domain"
)

// SQLExportIn names the tenant whose database is exported.
type SQLExportIn struct {
	Tenant string `path:"tenant" json:"-"`
}

// SQLExportOut says that the export stands in the log.
type SQLExportOut struct {
	Tenant string    `json:"tenant"`
	At     time.Time `json:"at"`
}

// SQLExport is asked before a whole database is read into a plain file. Who may do
// that may read every row anyway: it is there so that the log says it in so many
// words, that somebody is told, and that a stolen session cannot do it alone. The
// file is made where the caller is, so that nothing plain is written here.
var SQLExport = Operation[SQLExportIn, SQLExportOut]{
	action: authz.SQLExport,
	ask: func(_ context.Context, _ *Service, in SQLExportIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		return authz.Request{Action: authz.SQLExport, Tenant: tenant}, err
	},
	act: func(_ context.Context, c *call, _ SQLExportIn) (SQLExportOut, error) {
		tenant := c.permit.Tenant()
		c.detail["exported"] = "the whole database"
		if c.raise != nil {
			c.raise(alerts.Export, tenant, "the whole database of "+string(tenant)+" was exported into a plain file by "+c.who.Subject.Principal.String())
		}
		return SQLExportOut{Tenant: string(tenant), At: c.clock.Now()}, nil
	},
}
