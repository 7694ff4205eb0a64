package actions

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/tenants"
	"coffer/tenants/migrate"
)

// Bounds of a run.
const (
	DefaultParallel = 2
	MaxParallel     = 32
	MaxCanaries     = 100

	runBatch   = 64               // tenants that one request visits at most
	runRequest = 10 * time.Second // after which a request begins with no other tenant
)

// MigrationRunIn says how to walk over the tenants.
type MigrationRunIn struct {
	To          int      `json:"to,omitempty" doc:"number of the last migration to apply; all if 0" schema:"minimum=0,maximum=9999,default=0"`
	Canary      []string `json:"canary,omitempty" doc:"tenants that come first; if one fails, no other is touched" schema:"maxItems=100"`
	Canaries    int      `json:"canaries,omitempty" doc:"instead of names: that many come first" schema:"minimum=0,maximum=100,default=0"`
	Parallel    int      `json:"parallel,omitempty" doc:"tenants at a time" schema:"minimum=1,maximum=32,default=2"`
	MaxFailures int      `json:"max_failures,omitempty" doc:"the run stops at so many" schema:"minimum=1,maximum=1000000,default=1"`
}

// MigrationRunInfo is a run as it stands.
type MigrationRunInfo struct {
	ID          string            `json:"id"`
	By          string            `json:"by"`
	Started     time.Time         `json:"started"`
	Changed     time.Time         `json:"changed"`
	To          int               `json:"to"`
	Canary      []domain.TenantID `json:"canary"`
	Parallel    int               `json:"parallel"`
	MaxFailures int               `json:"max_failures"`
	State       string            `json:"state" doc:"canaries, rest, stopped or finished"`
	Why         string            `json:"why,omitempty" doc:"it stopped"`
	Total       int               `json:"total" doc:"tenants that had something pending when it began"`
	Done        int               `json:"done"`
	Failures    int               `json:"failures"`
}

func runInfo(r migrate.Run) MigrationRunInfo {
	return MigrationRunInfo{
		ID: r.ID, By: r.By, Started: r.Started, Changed: r.Changed, To: r.To, Canary: append([]domain.TenantID{}, r.Canaries...),
		Parallel: r.Parallel, MaxFailures: r.MaxFailures, State: string(r.State), Why: r.Why, Total: r.Total, Done: r.Done, Failures: r.Failures,
	}
}

// MigrationRunOut is a run after a step of it.
type MigrationRunOut struct {
	Run     MigrationRunInfo  `json:"run"`
	Results []MigrationResult `json:"results" doc:"of the tenants that this request visited"`
}

// MigrationRun begins a run: it visits no tenant yet. The run before it ends
// there. What tenants have they keep, so that a new run is how one goes on after
// a run that stopped or was left.
var MigrationRun = Operation[MigrationRunIn, MigrationRunOut]{
	action: authz.MigrationRun,
	ask: func(_ context.Context, _ *Service, in MigrationRunIn) (authz.Request, error) {
		_, err := in.check()
		return authz.Request{Resource: resourceTo(in.To)}, err
	},
	act: func(ctx context.Context, c *call, in MigrationRunIn) (MigrationRunOut, error) {
		if !c.stepping.TryLock() {
			return MigrationRunOut{}, errStepping
		}
		defer c.stepping.Unlock()
		canaries, err := in.check()
		if err != nil {
			return MigrationRunOut{}, err
		}
		now := c.clock.Now().UTC()
		run := migrate.Run{
			ID: "mr_" + strings.ToLower(rand.Text()), By: c.permit.Grant().Principal().String(), Started: now, Changed: now, Canaries: canaries,
			Parallel: cmp.Or(in.Parallel, DefaultParallel), MaxFailures: cmp.Or(in.MaxFailures, 1), State: migrate.Canaries,
		}
		c.detail["run"], c.detail["parallel"], c.detail["max_failures"] = run.ID, run.Parallel, run.MaxFailures
		err = c.change(ctx, func(tx *store.Tx) error {
			if err := planRun(tx, &run, in.Canaries, in.To); err != nil {
				return err
			}
			return run.Save(tx)
		})
		c.detail["to"], c.detail["total"], c.detail["canary"] = run.To, run.Total, run.Canaries
		return MigrationRunOut{Run: runInfo(run), Results: []MigrationResult{}}, err
	},
}

var errStepping = domain.Errorf(domain.Conflict, "a run of migrations is under way").
	WithHint("see: coffer migrate status; wait for it, or for the one who drives it")

// check reads the names of the canaries.
func (in MigrationRunIn) check() (canaries []domain.TenantID, err error) {
	switch {
	case in.Parallel < 0 || in.Parallel > MaxParallel:
		return nil, domain.Fieldf("parallel", "%d is not between 1 and %d", in.Parallel, MaxParallel)
	case in.MaxFailures < 0 || in.MaxFailures > 1_000_000:
		return nil, domain.Fieldf("max_failures", "%d is not between 1 and 1000000", in.MaxFailures)
	case in.Canaries < 0 || in.Canaries > MaxCanaries || len(in.Canary) > MaxCanaries:
		return nil, domain.Fieldf("canaries", "not between 0 and %d", MaxCanaries)
	case in.Canaries > 0 && len(in.Canary) > 0:
		return nil, domain.Fieldf("canaries", "give their names or their number, not both")
	}
	for _, name := range in.Canary {
		id, err := domain.ParseTenantID(name)
		if err != nil {
			return nil, inField("canary", err)
		}
		if !slices.Contains(canaries, id) {
			canaries = append(canaries, id)
		}
	}
	return canaries, checkTo(in.To)
}

// planRun finds out up to where the run goes and how much there is to do, and
// chooses that many canaries if they were not named.
func planRun(tx *store.Tx, run *migrate.Run, canaries, to int) error {
	kept, err := migrate.Load(tx)
	if err != nil {
		return err
	}
	set, err := upTo(kept, to)
	if err != nil {
		return err
	}
	run.To = set.Top()
	for _, id := range run.Canaries {
		r, err := tenants.Find(tx, id)
		if err != nil {
			return inField("canary", err)
		}
		if r.State != tenants.Active {
			return domain.Errorf(domain.Conflict, "the canary %s is %s", id, r.State).WithHint("choose another one")
		}
	}
	err = eachTenant(tx, func(r tenants.Record) error {
		wanted, err := wants(tx, *run, r)
		if err != nil || !wanted || r.State != tenants.Active {
			return err
		}
		run.Total++
		if len(run.Canaries) < canaries {
			run.Canaries = append(run.Canaries, r.ID)
		}
		return nil
	})
	switch {
	case run.Total == 0:
		run.State = migrate.Finished
	case len(run.Canaries) == 0:
		run.State = migrate.Rest
	}
	return err
}

// wants says whether the run has something to do in a tenant: it is behind, and
// did not fail in this run.
func wants(tx *store.Tx, run migrate.Run, r tenants.Record) (bool, error) {
	if !living(r.State) {
		return false, nil
	}
	s, err := migrate.Find(tx, r.ID)
	return s.Number < run.To && (s.Failed == nil || s.Failed.Run != run.ID), err
}

// MigrationContinueIn names the run.
type MigrationContinueIn struct {
	Run string `json:"run" doc:"id of the run" schema:"maxLength=64"`
}

// MigrationContinue visits the next tenants of a run: a bounded number of them,
// for a bounded time, so that whoever drives the run sees how it goes, and it
// ends when nobody does. Each tenant is a request of its own in that tenant's log.
var MigrationContinue = Operation[MigrationContinueIn, MigrationRunOut]{
	action: authz.MigrationContinue,
	ask: func(_ context.Context, _ *Service, in MigrationContinueIn) (authz.Request, error) {
		if in.Run == "" || len(in.Run) > 64 {
			return authz.Request{}, domain.Fieldf("run", "no run is named")
		}
		return authz.Request{Resource: in.Run}, nil
	},
	act: func(ctx context.Context, c *call, in MigrationContinueIn) (MigrationRunOut, error) {
		if !c.stepping.TryLock() {
			return MigrationRunOut{}, errStepping
		}
		defer c.stepping.Unlock()
		var run migrate.Run
		if err := c.db.View(ctx, func(tx *store.Tx) (err error) {
			run, _, err = migrate.Current(tx)
			return err
		}); err != nil {
			return MigrationRunOut{}, err
		}
		switch {
		case run.ID != in.Run:
			return MigrationRunOut{}, domain.Errorf(domain.Conflict, "another run was begun since").WithHint("see: coffer migrate status")
		case !run.Going():
			return MigrationRunOut{}, domain.Errorf(domain.Conflict, "the run is %s", run.State).WithHint("begin another: coffer migrate apply")
		}
		if err := c.begin(ctx); err != nil {
			return MigrationRunOut{}, err
		}
		ctx = context.WithoutCancel(ctx) // a tenant takes as long as it needs
		results, err := c.step(ctx, &run)
		if err != nil {
			return MigrationRunOut{}, err
		}
		c.detail["visited"], c.detail["state"] = len(results), string(run.State)
		run.Changed = c.clock.Now().UTC()
		err = c.change(ctx, run.Save)
		return MigrationRunOut{Run: runInfo(run), Results: results}, err
	},
}

// step visits the next tenants, and moves the run on as far as they went well.
func (c *call) step(ctx context.Context, run *migrate.Run) ([]MigrationResult, error) {
	b, err := c.nextBatch(ctx, *run)
	if err != nil {
		return nil, err
	}
	results, whole := c.visit(ctx, *run, b.visit)
	for _, r := range results {
		if r.Outcome == "ok" {
			run.Done++
			continue
		}
		run.Failures++
		if run.State == migrate.Canaries {
			run.State, run.Why = migrate.Stopped, "the canary "+string(r.Tenant)+" failed"
		}
	}
	switch {
	case run.State == migrate.Canaries && whole:
		run.State = migrate.Rest
	case run.State != migrate.Rest:
	case run.Failures >= run.MaxFailures:
		run.State, run.Why = migrate.Stopped, fmt.Sprintf("failures: %d", run.Failures)
	case whole && b.last:
		run.State = migrate.Finished
	case whole:
		run.After = b.after
	}
	return append(results, b.skipped...), nil
}

// batch is what a step does.
type batch struct {
	visit   []domain.TenantID
	skipped []MigrationResult
	after   domain.TenantID // where the next one begins
	last    bool            // there is no next one
}

// nextBatch finds the tenants that come next. Those that are suspended are left
// out and named; they stay behind until somebody resumes them and applies again.
func (c *call) nextBatch(ctx context.Context, run migrate.Run) (b batch, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) error {
		list := make([]tenants.Record, 0, MaxPage)
		if run.State == migrate.Canaries {
			for _, id := range run.Canaries {
				r, err := tenants.Find(tx, id)
				if err != nil {
					return err
				}
				list = append(list, r)
			}
		} else if list, err = tenants.List(tx, run.After, MaxPage); err != nil {
			return err
		}
		for i, r := range list {
			wanted, err := wants(tx, run, r)
			switch {
			case err != nil:
				return err
			case !wanted:
			case r.State != tenants.Active:
				b.skipped = append(b.skipped, MigrationResult{Tenant: r.ID, Outcome: "skipped", Text: "it is " + string(r.State)})
			case c.vault.ClientKey(r.ID).Closed():
				b.skipped = append(b.skipped, MigrationResult{Tenant: r.ID, Outcome: "skipped", Text: "it is closed under its client's key"})
			default:
				b.visit = append(b.visit, r.ID)
			}
			b.after, b.last = r.ID, i == len(list)-1 && len(list) < MaxPage
			if len(b.visit) == runBatch && run.State != migrate.Canaries {
				return nil
			}
		}
		b.last = b.last || len(list) == 0
		return nil
	})
	return b, err
}

// visit applies the migrations in tenants, some at a time. It begins no other one
// after enough failures or after some time; whole says that all were visited.
func (c *call) visit(ctx context.Context, run migrate.Run, ids []domain.TenantID) (results []MigrationResult, whole bool) {
	results = []MigrationResult{} // an array in JSON, also if there are none
	var mu sync.Mutex
	failures, next := run.Failures, 0
	until := time.Now().Add(runRequest)
	take := func() (id domain.TenantID, more bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(ids) || failures >= run.MaxFailures || (next > 0 && time.Now().After(until)) {
			return "", false
		}
		next++
		return ids[next-1], true
	}
	var workers sync.WaitGroup
	for range min(run.Parallel, len(ids)) {
		workers.Go(func() {
			for id, more := take(); more; id, more = take() {
				r := c.migrateTenant(ctx, id, run)
				mu.Lock()
				results = append(results, r)
				if r.Outcome != "ok" {
					failures++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.SortFunc(results, func(a, b MigrationResult) int { return strings.Compare(string(a.Tenant), string(b.Tenant)) })
	return results, next == len(ids)
}

// migrateTenant is one tenant's part of a run: authorized, logged in the tenant's
// log and carried out under a permit for that tenant, as a request of its own
// would be. The second factor was proven for the run.
func (c *call) migrateTenant(ctx context.Context, id domain.TenantID, run migrate.Run) MigrationResult {
	failed := func(err error) MigrationResult {
		return MigrationResult{Tenant: id, Outcome: "failed", Text: told(err)}
	}
	who, request := c.who, authz.Request{Action: authz.MigrationApply, Tenant: id, Resource: resourceTo(run.To)}
	var err error
	if who.Subject, err = c.holds(ctx, who.Subject, id); err != nil {
		return failed(err)
	}
	grant, err := c.authorize(ctx, who, request)
	if err != nil {
		_, err = c.refuse(ctx, who, err)
		return failed(err)
	}
	permit, err := c.log.Begin(ctx, grant, who.Call)
	if err != nil {
		return failed(err)
	}
	defer permit.Abort() // of no effect after finish
	one := &call{Service: c.Service, who: who, request: request, permit: permit, detail: map[string]any{}}
	var out MigrationResult
	if err = one.open(ctx); err == nil {
		out, err = one.migrate(ctx, run.To, run.ID)
	}
	if _, err = one.finish(ctx, err); err != nil {
		return failed(err)
	}
	return out
}
