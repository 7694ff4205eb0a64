package app

import (
	"context"
	"errors"
	"log/slog"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
)

// ReadLogs opens a data directory that nobody serves, and gives every record of
// every log to fn: the appliance's own log ("") and those of all tenants, also
// of destroyed ones, whose logs no role but an auditor may read.
func ReadLogs(ctx context.Context, data string, fn func(tenant domain.TenantID, e audit.Entry) error) (err error) {
	cfg := Config{Data: data, Seal: "keyfile", TPM: "/dev/null", AuditSpace: 1 << 30}
	d, err := startDaemon(ctx, cfg, cfg.machine(Stdio{Env: func(string) string { return "" }}), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close(context.WithoutCancel(ctx))) }()
	ids := []domain.TenantID{""}
	if err := d.appliance.db.View(ctx, func(tx *store.Tx) error {
		records, err := tenants.List(tx, "", 1<<20)
		for _, r := range records {
			ids = append(ids, r.ID)
		}
		return err
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if err := d.appliance.journal.Query(ctx, id, audit.Filter{}, func(e audit.Entry) error { return fn(id, e) }); err != nil {
			return err
		}
	}
	return nil
}
