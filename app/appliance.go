package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/audit"
	"coffer/audit/record"
	"coffer/tenants"
	"coffer/vault"
	"coffer/vault/seal"
)

// appliance is everything that an unsealed Coffer holds open.
type appliance struct {
	cfg     Config
	log     *slog.Logger
	clock   *durable.Clock
	holder  *actions.Keyholder
	vault   *vault.Vault
	db      *store.Store
	journal *audit.Log
	files   *tenants.Pool
	service *actions.Service
}

// openAppliance opens everything with the root key, which it takes over, and
// completes what a crash interrupted. Nothing is served before it returns. conns
// bounds the connections to tenants' files.
func openAppliance(ctx context.Context, cfg Config, m actions.Machine, file *seal.File, root domain.Secret, clock *durable.Clock, conns int, log *slog.Logger) (_ *appliance, err error) {
	a := &appliance{cfg: cfg, log: log, clock: clock, holder: actions.NewKeyholder(file, root, m, clock.Now)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close(context.WithoutCancel(ctx)))
		}
	}()
	fresh, err := checkComplete(cfg.Data)
	if err != nil {
		return nil, err
	}
	a.vault, err = vault.Open(ctx, vault.Options{
		Dir: vaultDir(cfg.Data), Root: a.holder.Root(), Payload: file.Payload(), Save: a.holder.SavePayload,
		MustExist: !fresh,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the vault: %w", err)
	}
	if fresh {
		a.db, err = store.Create(controlPath(cfg.Data), a.vault.ControlAEAD())
	} else {
		a.db, err = store.Open(controlPath(cfg.Data), a.vault.ControlAEAD())
	}
	if err != nil {
		return nil, fmt.Errorf("opening the control store: %w", err)
	}
	if err := a.openJournal(ctx); err != nil {
		return nil, err
	}
	if err := a.reportClock(ctx); err != nil {
		return nil, err
	}
	if a.files, err = tenants.Open(tenants.Options{Dir: tenantsDir(cfg.Data), Keys: a.vault, MaxConns: conns, Alarm: a.fileAlarm}); err != nil {
		return nil, err
	}
	a.service, err = actions.New(ctx, actions.Parts{
		DB: a.db, Vault: a.vault, Log: a.journal, Files: a.files, Seal: a.holder, Clock: clock,
	})
	return a, err
}

// checkComplete refuses a data directory from which a part was taken away, and
// says whether it is a new one. What is missing is never made again over data
// that still needs it.
func checkComplete(data string) (fresh bool, err error) {
	control, keys := missing(controlPath(data)), missing(keysPath(data))
	journal := missing(auditDir(data))
	for _, part := range []struct {
		gone bool
		path string
	}{
		{keys && !control, keysPath(data)},
		{control && (!journal || !vacant(tenantsDir(data))), controlPath(data)},
	} {
		if part.gone {
			return false, missingPart(part.path)
		}
	}
	return control, nil
}

func missingPart(path string) error {
	return domain.Errorf(domain.Tampered, "%s is missing", path).
		WithHint("it was there before: put it back, or restore a backup; nothing was changed")
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// openJournal finds or makes the appliance's identity and opens the audit log.
func (a *appliance) openJournal(ctx context.Context) error {
	id, err := findIdentity(ctx, a.db)
	if err != nil {
		return err
	}
	if id.Logged && missing(auditDir(a.cfg.Data)) {
		return missingPart(auditDir(a.cfg.Data))
	}
	a.journal, err = audit.Open(ctx, audit.Options{
		Dir: auditDir(a.cfg.Data), Instance: [16]byte(id.Instance), System: id.log(), Keys: a.vault.LogKeys(),
		Now: a.cfg.wall, Space: a.cfg.AuditSpace, MustExist: id.Logged, Alarm: a.alarm,
	})
	if err != nil {
		return err
	}
	if !id.Logged {
		id.Logged = true
		if err := id.save(ctx, a.db); err != nil {
			return err
		}
	}
	return a.clock.Advance(a.journal.LastTime())
}

// alarm tells the operator what the log has to say of itself.
func (a *appliance) alarm(al audit.Alarm) {
	a.log.LogAttrs(context.Background(), slog.LevelError, "audit alarm",
		slog.String("kind", string(al.Kind)), slog.String("tenant", string(al.Tenant)), slog.String("text", al.Text))
}

// fileAlarm reports a tenant's file that does not authenticate, in the tenant's
// own log too.
func (a *appliance) fileAlarm(id domain.TenantID, text string) {
	a.log.LogAttrs(context.Background(), slog.LevelError, "tenant file alarm", slog.String("tenant", string(id)), slog.String("text", text))
	if _, err := a.journal.Note(context.Background(), id, "alarm.file", audit.Detail{"text": text}); err != nil {
		a.log.LogAttrs(context.Background(), slog.LevelError, "recording the alarm", slog.String("error", err.Error()))
	}
}

// reportClock puts jumps of the clock into the appliance's own log. They revive
// no token and erase nothing.
func (a *appliance) reportClock(ctx context.Context) error {
	for _, step := range a.clock.Steps() {
		a.log.LogAttrs(ctx, slog.LevelWarn, "the clock jumped", slog.Duration("by", step.Jump), slog.Bool("at_boot", step.AtBoot))
		if _, err := a.journal.NoteClock(ctx, record.ClockJump{At: step.At.UnixNano(), Jump: int64(step.Jump), AtBoot: step.AtBoot}); err != nil {
			return err
		}
	}
	return nil
}

// How often the clock is looked at, and expired tokens are swept.
const (
	clockEvery = 5 * time.Second
	sweepEvery = 10 * time.Minute
)

// watch reports clock jumps and sweeps what expired until the context ends or
// the audit log can no longer be written, which is an error.
func (a *appliance) watch(ctx context.Context) error {
	clock, sweep := time.NewTicker(clockEvery), time.NewTicker(sweepEvery)
	defer clock.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.journal.Failed():
			return domain.Errorf(domain.Unavailable, "the audit log cannot be written, so nothing is answered: %w", a.journal.Err()).
				WithHint("look at the disk under %s, then start Coffer again", auditDir(a.cfg.Data))
		case <-clock.C:
			a.clock.Now()
			if err := a.reportClock(ctx); err != nil {
				return err
			}
		case <-sweep.C:
			if err := a.service.Sweep(ctx); err != nil && ctx.Err() == nil {
				a.log.LogAttrs(ctx, slog.LevelError, "sweeping expired tokens", slog.String("error", err.Error()))
			}
		}
	}
}

// close closes everything in the reverse order of opening: the tenants' files,
// then the log, then the stores, then the keys.
func (a *appliance) close(ctx context.Context) error {
	var errs []error
	if a.files != nil {
		errs = append(errs, a.files.Close(ctx))
	}
	if a.journal != nil {
		errs = append(errs, a.journal.Close(ctx))
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	if a.vault != nil {
		errs = append(errs, a.vault.Close())
	}
	a.holder.Close()
	return errors.Join(errs...)
}
