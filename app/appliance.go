package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	"coffer/app/actions"
	"coffer/app/alerts"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/audit"
	"coffer/audit/record"
	"coffer/tenants"
	"coffer/tenants/fair"
	"coffer/tenants/worker"
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
	alerts  *alerts.Inbox
}

// openAppliance opens everything with the root key, which it takes over, and
// completes what a crash interrupted. Nothing is served before it returns. conns
// bounds the connections to tenants' files.
func openAppliance(ctx context.Context, cfg Config, m actions.Machine, file *seal.File, root domain.Secret, clock *durable.Clock, conns int, turns *fair.Queue, log *slog.Logger) (_ *appliance, err error) {
	a := &appliance{cfg: cfg, log: log, clock: clock, holder: actions.NewKeyholder(file, root, m, clock.Now), alerts: alerts.NewInbox(clock.Now)}
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
		MustExist: !fresh, Now: clock.Now,
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
	if a.files, err = tenants.Open(tenants.Options{
		Dir: tenantsDir(cfg.Data), Keys: a.vault, MaxConns: conns, Alarm: a.fileAlarm, Quota: a.quota,
		Turns: turns, Worker: a.workers(), Isolation: a.isolation, Note: a.workerNote,
	}); err != nil {
		return nil, err
	}
	a.service, err = actions.New(ctx, actions.Parts{
		DB: a.db, Vault: a.vault, Log: a.journal, Files: a.files, Seal: a.holder, Clock: clock,
		Raise: a.alerts.Raise,
		Door:  actions.Door{UID: uint32(os.Geteuid()), Origin: cfg.origin(), Wall: cfg.wall},
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
	a.alerts.Raise(alerts.Kind(al.Kind), al.Tenant, al.Text)
}

// workers says how processes for single tenants are started. They put temporary
// files where this process does.
func (a *appliance) workers() *worker.Options {
	o := &worker.Options{Env: a.cfg.temp}
	var err error
	if o.Group, err = worker.Delegated(); err != nil {
		o.Why = err.Error()
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "limits of worker processes", slog.String("how", o.Describe()))
	return o
}

// isolation is where a tenant's file lives.
func (a *appliance) isolation(ctx context.Context, id domain.TenantID) (i tenants.Isolation, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) error {
		r, err := tenants.Find(tx, id)
		i = r.Isolation
		return err
	})
	return i, err
}

// workerNote tells the operator what became of a tenant's worker.
func (a *appliance) workerNote(id domain.TenantID, text string) {
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "worker", slog.String("tenant", string(id)), slog.String("text", text))
}

// quota is how large a tenant's file may become.
func (a *appliance) quota(ctx context.Context, id domain.TenantID) (q tenants.Quota, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) error {
		r, err := tenants.Find(tx, id)
		q = r.Quota
		return err
	})
	return q, err
}

// fileAlarm reports a tenant's file that does not authenticate, in the tenant's
// own log too.
func (a *appliance) fileAlarm(id domain.TenantID, text string) {
	a.log.LogAttrs(context.Background(), slog.LevelError, "tenant file alarm", slog.String("tenant", string(id)), slog.String("text", text))
	a.alerts.Raise(alerts.File, id, text)
	if _, err := a.journal.Note(context.Background(), id, "alarm.file", audit.Detail{"text": text}); err != nil {
		a.log.LogAttrs(context.Background(), slog.LevelError, "recording the alarm", slog.String("error", err.Error()))
	}
}

// reportClock puts jumps of the clock into the appliance's own log. They revive
// no token and erase nothing.
func (a *appliance) reportClock(ctx context.Context) error {
	for _, step := range a.clock.Steps() {
		a.log.LogAttrs(ctx, slog.LevelWarn, "the clock jumped", slog.Duration("by", step.Jump), slog.Bool("at_boot", step.AtBoot))
		a.alerts.Raise(alerts.Clock, "", clockText(step))
		if _, err := a.journal.NoteClock(ctx, record.ClockJump{At: step.At.UnixNano(), Jump: int64(step.Jump), AtBoot: step.AtBoot}); err != nil {
			return err
		}
	}
	return nil
}

// clockText says how the clock jumped.
func clockText(s durable.Step) string {
	if s.AtBoot {
		return fmt.Sprintf("since the last time that was seen before the start, the clock moved by %v: Coffer was stopped so long, or the clock jumped", s.Jump.Round(time.Second))
	}
	return fmt.Sprintf("the clock jumped by %v", s.Jump.Round(time.Second))
}

// How often the clock is looked at, and expired tokens are swept.
const (
	clockEvery = 5 * time.Second
	sweepEvery = 10 * time.Minute
)

// watch reports clock jumps and sweeps what expired until the context ends or
// the audit log or a store can no longer be written, which is an error.
func (a *appliance) watch(ctx context.Context) error {
	clock, sweep := time.NewTicker(clockEvery), time.NewTicker(sweepEvery)
	defer clock.Stop()
	defer sweep.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before it is waited for
	wg.Go(func() { a.takeLeasesBack(ctx) })
	stopped := make(chan error, 1) // a store took its last revision
	for _, wait := range []func(context.Context, store.Revision) (store.Revision, error){a.db.Watch, a.vault.WatchKeys} {
		go func() {
			if _, err := wait(ctx, math.MaxUint64); ctx.Err() == nil {
				select {
				case stopped <- err:
				default: // the other one was first
				}
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.journal.Failed():
			return domain.Errorf(domain.Unavailable, "the audit log cannot be written, so nothing is answered: %w", a.journal.Err()).
				WithHint("look at the disk under %s, then start Coffer again", auditDir(a.cfg.Data))
		case err := <-stopped:
			return fmt.Errorf("nothing more can be changed: %w", err)
		case <-clock.C:
			a.clock.Now()
			if err := a.reportClock(ctx); err != nil {
				return err
			}
			if err := a.service.CloseLapsed(ctx); err != nil && ctx.Err() == nil {
				a.log.LogAttrs(ctx, slog.LevelError, "closing what a client's key had opened", slog.String("error", err.Error()))
			}
		case <-sweep.C:
			if err := a.service.Sweep(ctx); err != nil && ctx.Err() == nil {
				a.log.LogAttrs(ctx, slog.LevelError, "sweeping expired tokens", slog.String("error", err.Error()))
				a.alerts.Raise(alerts.Sweep, "", "what expired could not be removed: "+err.Error())
			}
		case <-a.alerts.News():
			a.storeAlerts(ctx)
		}
	}
}

// leaseEvery is how often it is looked whether leases ended.
const leaseEvery = 5 * time.Second

// takeLeasesBack takes back what ended or was revoked until the context ends. The
// first time it catches up with what ended while Coffer was stopped.
func (a *appliance) takeLeasesBack(ctx context.Context) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		if err := a.service.SweepLeases(ctx); err != nil && ctx.Err() == nil {
			a.log.LogAttrs(ctx, slog.LevelError, "taking back leases", slog.String("error", err.Error()))
			a.alerts.Raise(alerts.Sweep, "", "what ended could not be taken back: "+err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.service.LeaseNews():
		}
	}
}

// storeAlerts puts what was raised into the control store. What cannot be stored
// stands in the operator's log, and is tried again with the next one.
func (a *appliance) storeAlerts(ctx context.Context) {
	if err := a.alerts.Store(ctx, a.db); err != nil && ctx.Err() == nil {
		a.log.LogAttrs(ctx, slog.LevelError, "storing alerts", slog.String("error", err.Error()))
	}
}

// close closes everything in the reverse order of opening: the tenants' files,
// then the log, then the stores, then the keys.
func (a *appliance) close(ctx context.Context) error {
	var errs []error
	if a.service != nil {
		a.service.CloseStreams()
	}
	if a.files != nil {
		errs = append(errs, a.files.Close(ctx))
	}
	if a.journal != nil {
		errs = append(errs, a.journal.Close(ctx))
	}
	if a.db != nil {
		a.storeAlerts(ctx) // the last ones came while the log was closed
		errs = append(errs, a.db.Close())
	}
	if a.vault != nil {
		errs = append(errs, a.vault.Close())
	}
	a.holder.Close()
	return errors.Join(errs...)
}
