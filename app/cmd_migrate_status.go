package app

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/tenants/migrate"
)

func newMigrateStatusCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "status", Usage: "show how far each tenant has come, and what failed", Flags: tenantFlags(allFlag()),
	}, 0, 0, func(r *run) error {
		if r.oneTenant() {
			return r.statusOfOne()
		}
		set, err := r.keptSet()
		if err != nil {
			return err
		}
		tenants, err := r.fleet()
		if err != nil {
			return err
		}
		out := struct {
			actions.MigrationSetOut
			Tenants []actions.TenantMigration `json:"tenants"`
		}{set, append([]actions.TenantMigration{}, tenants...)}
		return r.show(out, func(w io.Writer) { printFleet(w, set, tenants) })
	})
}

func printFleet(w io.Writer, set actions.MigrationSetOut, tenants []actions.TenantMigration) {
	if n := len(set.Migrations); n > 0 {
		fmt.Fprintf(w, "set:  %s to %s\n", clean(set.Migrations[0].Name), clean(set.Migrations[n-1].Name))
	} else {
		fmt.Fprintln(w, "set:  no migrations; hand them over with: coffer migrate apply DIRECTORY")
	}
	if run := set.Run; run != nil {
		line := fmt.Sprintf("run:  to %s, %s, %d of %d done, %d failed, begun %s", migrate.Number(run.To), run.State, run.Done, run.Total, run.Failures, timeText(run.Started))
		if run.Why != "" {
			line += "; " + clean(run.Why)
		}
		fmt.Fprintln(w, line)
	}
	var rows [][]string
	for _, t := range tenants {
		failed := "-"
		if t.Failed != nil {
			failed = t.Failed.Text
		}
		rows = append(rows, []string{string(t.Tenant), string(t.State), migrate.Number(t.Number), strconv.Itoa(t.Pending), failed})
	}
	table(w, []string{"TENANT", "STATE", "HAS", "PENDING", "FAILED"}, rows)
}

func (r *run) statusOfOne() error {
	path, err := r.tenantPath("migrations")
	if err != nil {
		return err
	}
	return ask(r, http.MethodGet, path, nil, nil, func(w io.Writer, out actions.MigrationStatusOut) {
		fmt.Fprintf(w, "has:      %s\npending:  %s\n", migrate.Number(out.Number), dashIfEmpty(clean(strings.Join(out.Names, " "))))
		if out.Failed != nil {
			fmt.Fprintf(w, "failed:   %s, %s\n", timeText(out.Failed.Time), clean(out.Failed.Text))
		}
		for _, s := range out.Snapshots {
			fmt.Fprintf(w, "snapshot: %s with %s, %s, made %s\n", s.ID, migrate.Number(s.Number), byteText(s.Bytes), timeText(s.Made))
		}
	})
}

func newMigrateRestoreCommand(std Stdio) *cli.Command {
	confirm := &cli.StringFlag{Name: "confirm", Usage: "the `TENANT`'s id again: what was written since the snapshot is set aside"}
	return clientCommand(std, &cli.Command{
		Name: "restore", Usage: "put a tenant's database back to a snapshot", ArgsUsage: "SNAPSHOT", Flags: tenantFlags(confirm),
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("migrations", "restore")
		if err != nil {
			return err
		}
		in := actions.MigrationRestoreIn{Snapshot: r.Args().First()}
		return ask(r, http.MethodPost, path, queryOf("confirm", r.String("confirm")), in, func(w io.Writer, out actions.MigrationRestored) {
			fmt.Fprintf(w, "%s has %s again; what was replaced is snapshot %s\n", out.Tenant, migrate.Number(out.Number), out.Instead)
		})
	})
}
