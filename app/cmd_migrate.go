package app

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/tenants/migrate"
)

const migrationsPath = "/api/v1/migrations"

func newMigrateCommand(std Stdio) *cli.Command {
	return group("migrate", "bring every tenant's database to the same schema",
		newMigratePlanCommand(std), newMigrateApplyCommand(std), newMigrateStatusCommand(std), newMigrateRestoreCommand(std),
	)
}

func newMigratePlanCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "plan", Usage: "show what the files would change, and in which tenants; keep nothing", ArgsUsage: "[DIRECTORY]", Flags: clientFlags(),
		Description: "Without a directory: of the set that Coffer keeps.",
	}, 0, 1, func(r *run) error {
		set, err := r.keptSet()
		if err != nil {
			return err
		}
		if r.NArg() == 1 {
			if set, err = r.planned(r.Args().First(), set); err != nil {
				return err
			}
		}
		tenants, err := r.fleet()
		if err != nil {
			return err
		}
		return r.show(planOf(set, tenants), func(w io.Writer) { printPlan(w, set, tenants) })
	})
}

// keptSet asks for the set that Coffer keeps.
func (r *run) keptSet() (out actions.MigrationSetOut, err error) {
	err = r.client.call(r.Context.Context, http.MethodGet, migrationsPath, nil, nil, &out)
	return out, err
}

// planned asks what the files of a directory would change.
func (r *run) planned(dir string, kept actions.MigrationSetOut) (out actions.MigrationSetOut, err error) {
	steps, err := uploads(dir, kept)
	if err != nil {
		return out, err
	}
	// Only what can be sent at once can be planned whole; of more, what comes
	// first.
	err = r.client.call(r.Context.Context, http.MethodPost, migrationsPath+"/plan", nil, steps[0], &out)
	if err == nil && len(steps) > 1 {
		r.say("the files are too many for one request: this is the plan of the first %d", len(steps[0].Files))
	}
	return out, err
}

// fleet asks how far each tenant has come.
func (r *run) fleet() (all []actions.TenantMigration, err error) {
	err = pages(r, migrationsPath+"/tenants", func(page actions.MigrationFleetOut) string {
		all = append(all, page.Tenants...)
		return page.Next
	})
	return all, err
}

// maxUpload bounds the texts in one request, in bytes of SQL; JSON makes them
// longer.
const maxUpload = 600 << 10

// uploads reads the files of a directory and makes the requests that hand them
// over: each is a whole set, the next one longer, and texts that the server has
// are left out. There is at least one.
func uploads(dir string, kept actions.MigrationSetOut) ([]actions.MigrationFilesIn, error) {
	set, err := readMigrations(dir)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, m := range kept.Migrations {
		known[m.Name+m.SHA256] = true
	}
	var steps []actions.MigrationFilesIn
	var now actions.MigrationFilesIn
	size := 0
	for _, m := range set {
		file := actions.MigrationFile{Name: m.Name, SHA256: m.Sum.String()}
		if !known[m.Name+file.SHA256] {
			if size += len(m.SQL); size > maxUpload && size > len(m.SQL) {
				steps, size = append(steps, actions.MigrationFilesIn{Files: slices.Clone(now.Files)}), len(m.SQL)
				for i := range now.Files {
					now.Files[i].SQL = ""
				}
			}
			file.SQL = m.SQL
		}
		now.Files = append(now.Files, file)
	}
	return append(steps, now), nil
}

// readMigrations reads the .sql files of a directory; others are left alone.
func readMigrations(dir string) (migrate.Set, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, domain.Errorf(domain.Invalid, "reading the migrations: %w", err)
	}
	var files []migrate.File
	for _, e := range entries {
		if !strings.EqualFold(filepath.Ext(e.Name()), ".sql") {
			continue
		}
		b, err := durable.ReadFile(filepath.Join(dir, e.Name()), migrate.MaxFile)
		if err != nil {
			return nil, domain.Errorf(domain.Invalid, "reading the migrations: %w", err)
		}
		files = append(files, migrate.File{Name: e.Name(), SQL: string(b)})
	}
	if len(files) == 0 {
		return nil, domain.Errorf(domain.Invalid, "%s has no file whose name ends in .sql", dir).
			WithHint("migrations are called 0001_name.sql, 0002_name.sql and so on")
	}
	set, err := migrate.Parse(files)
	if err != nil {
		return nil, err
	}
	for _, m := range set {
		if _, err := m.Loose(); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// tenantPlan is what is pending in one tenant.
type tenantPlan struct {
	Tenant  domain.TenantID `json:"tenant"`
	State   string          `json:"state"`
	Number  int             `json:"number"`
	Pending []string        `json:"pending"`
}

type planOut struct {
	Migrations []actions.MigrationInfo `json:"migrations"`
	Tenants    []tenantPlan            `json:"tenants"`
}

func planOf(set actions.MigrationSetOut, tenants []actions.TenantMigration) planOut {
	out := planOut{Migrations: set.Migrations, Tenants: []tenantPlan{}}
	for _, t := range tenants {
		p := tenantPlan{t.Tenant, string(t.State), t.Number, []string{}}
		for _, m := range set.Migrations[min(t.Number, len(set.Migrations)):] {
			p.Pending = append(p.Pending, m.Name)
		}
		out.Tenants = append(out.Tenants, p)
	}
	return out
}

func printPlan(w io.Writer, set actions.MigrationSetOut, tenants []actions.TenantMigration) {
	for _, m := range set.Migrations {
		if m.New {
			fmt.Fprintf(w, "new: %s\n", clean(m.Name))
		}
	}
	behind := 0
	var rows [][]string
	for _, p := range planOf(set, tenants).Tenants {
		if len(p.Pending) > 0 {
			behind++
			rows = append(rows, []string{string(p.Tenant), p.State, migrate.Number(p.Number), strings.Join(p.Pending, " ")})
		}
	}
	if behind == 0 {
		fmt.Fprintf(w, "nothing is pending in %d tenants\n", len(tenants))
		return
	}
	table(w, []string{"TENANT", "STATE", "HAS", "PENDING"}, rows)
}

func newMigrateApplyCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "canary", Usage: "`TENANTS` that come first, as acme,globex, or their number; if one fails, no other is touched"},
		&cli.IntFlag{Name: "parallel", Usage: "`NUMBER` of tenants at a time", Value: actions.DefaultParallel},
		&cli.IntFlag{Name: "max-failures", Usage: "stop at `NUMBER` failures", Value: 1},
		allFlag(),
		&cli.IntFlag{Name: "to", Usage: "`NUMBER` of the last migration to apply; all if not given"},
	)
	return clientCommand(std, &cli.Command{
		Name: "apply", Usage: "hand the files over and apply what is pending, in all tenants or in one", ArgsUsage: "[DIRECTORY]", Flags: flags,
		Description: "Without a directory: the set that Coffer keeps. Tenants that have it already are passed over, so that after a stop, Ctrl-C or a crash the same command goes on.",
	}, 0, 1, func(r *run) error {
		if r.NArg() == 1 {
			if err := r.putMigrations(r.Args().First()); err != nil {
				return err
			}
		}
		if r.oneTenant() {
			return r.applyInOne()
		}
		return r.applyInAll()
	})
}

// allFlag is for all tenants where COFFER_TENANT names one.
func allFlag() cli.Flag {
	return &cli.BoolFlag{Name: "all", Usage: "all tenants, also if COFFER_TENANT names one"}
}

// oneTenant says whether the command is about one tenant, which is named.
func (r *run) oneTenant() bool {
	return r.IsSet("tenant") || (r.std.Env("COFFER_TENANT") != "" && !r.Bool("all"))
}

// putMigrations hands over the files of a directory, if they are new.
func (r *run) putMigrations(dir string) error {
	kept, err := r.keptSet()
	if err != nil {
		return err
	}
	steps, err := uploads(dir, kept)
	if err != nil {
		return err
	}
	last := steps[len(steps)-1]
	if slices.EqualFunc(last.Files, kept.Migrations, func(f actions.MigrationFile, m actions.MigrationInfo) bool {
		return f.Name == m.Name && f.SHA256 == m.SHA256
	}) {
		return nil
	}
	for _, in := range steps {
		var out actions.MigrationSetOut
		if err := r.client.call(r.Context.Context, http.MethodPut, migrationsPath, nil, in, &out); err != nil {
			return err
		}
	}
	return nil
}

// applyInOne applies what is pending in one tenant.
func (r *run) applyInOne() error {
	for _, name := range []string{"canary", "parallel", "max-failures"} {
		if r.IsSet(name) {
			return domain.Fieldf(name, "that is for all tenants, and one is named")
		}
	}
	path, err := r.tenantPath("migrations", "apply")
	if err != nil {
		return err
	}
	return ask(r, http.MethodPost, path, nil, actions.MigrationApplyIn{To: r.Int("to")}, func(w io.Writer, out actions.MigrationResult) {
		printMigrated(w, out)
	})
}

func printMigrated(w io.Writer, m actions.MigrationResult) {
	switch {
	case m.Outcome != "ok":
		fmt.Fprintf(w, "%s %s: %s\n", m.Tenant, m.Outcome, clean(m.Text))
	case m.From == m.To:
		fmt.Fprintf(w, "%s has %s already\n", m.Tenant, migrate.Number(m.To))
	default:
		fmt.Fprintf(w, "%s went from %s to %s\n", m.Tenant, migrate.Number(m.From), migrate.Number(m.To))
	}
}

// newRun reads the flags.
func (r *run) newRun() (actions.MigrationRunIn, error) {
	in := actions.MigrationRunIn{To: r.Int("to"), Parallel: r.Int("parallel"), MaxFailures: r.Int("max-failures")}
	for name, n := range map[string]int{"parallel": in.Parallel, "max-failures": in.MaxFailures} {
		if n < 1 {
			return in, domain.Fieldf(name, "%d is less than 1", n)
		}
	}
	canary := r.String("canary")
	if n, err := strconv.Atoi(canary); err == nil { // no tenant's id begins with a digit
		if n < 1 {
			return in, domain.Fieldf("canary", "%d is less than 1", n)
		}
		in.Canaries = n
		return in, nil
	}
	if r.IsSet("canary") {
		in.Canary = strings.Split(canary, ",")
	}
	return in, nil
}

// applyInAll begins a run and drives it to its end.
func (r *run) applyInAll() error {
	in, err := r.newRun()
	if err != nil {
		return err
	}
	all := actions.MigrationRunOut{Results: []actions.MigrationResult{}}
	if err := r.client.call(r.Context.Context, http.MethodPost, migrationsPath+"/run", nil, in, &all); err != nil {
		return err
	}
	bar := newBar(r.std.Err)
	defer bar.end()
	for all.Run.State == "canaries" || all.Run.State == "rest" {
		bar.show(all.Run)
		var out actions.MigrationRunOut
		if err := r.client.call(r.Context.Context, http.MethodPost, migrationsPath+"/run/continue", nil, actions.MigrationContinueIn{Run: all.Run.ID}, &out); err != nil {
			return err
		}
		all.Run, all.Results = out.Run, append(all.Results, out.Results...)
	}
	bar.show(all.Run)
	bar.end()
	if err := r.show(all, func(w io.Writer) { printRun(w, all) }); err != nil {
		return err
	}
	return runError(all.Run)
}

func printRun(w io.Writer, all actions.MigrationRunOut) {
	for _, m := range all.Results {
		if m.Outcome != "ok" {
			printMigrated(w, m)
		}
	}
	fmt.Fprintf(w, "%d of %d tenants brought to %s, %d failed\n", all.Run.Done, all.Run.Total, migrate.Number(all.Run.To), all.Run.Failures)
}

// runError makes the command fail if not all went well.
func runError(run actions.MigrationRunInfo) error {
	switch {
	case run.State == "stopped":
		return domain.Errorf(domain.Conflict, "the run stopped: %s", run.Why).
			WithHint("see: coffer migrate status; what is right stays, the same command goes on")
	case run.Failures > 0:
		return domain.Errorf(domain.Conflict, "not every tenant has %s now: %d failed", migrate.Number(run.To), run.Failures).WithHint("see: coffer migrate status")
	}
	return nil
}
