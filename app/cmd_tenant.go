package app

import (
	"cmp"
	"fmt"
	"io"
	"net/http"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/tenants"
)

func newTenantCommand(std Stdio) *cli.Command {
	return group("tenant", "create and manage tenants",
		newTenantCreateCommand(std), newTenantListCommand(std),
		tenantStateCommand(std, "show", "show one tenant", http.MethodGet, ""),
		tenantStateCommand(std, "suspend", "close a tenant for everybody until it is resumed", http.MethodPost, "suspend"),
		tenantStateCommand(std, "resume", "open a suspended tenant again", http.MethodPost, "resume"),
		newTenantIsolateCommand(std), newTenantDestroyCommand(std),
	)
}

func newTenantListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list the tenants", Flags: clientFlags()}, 0, 0, func(r *run) error {
		all := actions.TenantListOut{Tenants: []actions.TenantInfo{}}
		err := pages(r, "/api/v1/tenants", func(page actions.TenantListOut) string {
			all.Tenants = append(all.Tenants, page.Tenants...)
			return page.Next
		})
		if err != nil {
			return err
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, t := range all.Tenants {
				rows = append(rows, []string{string(t.ID), t.Name, string(t.State), timeText(t.Created)})
			}
			table(w, []string{"TENANT", "NAME", "STATE", "CREATED"}, rows)
		})
	})
}

// tenantArgument lets the tenant be given as an argument besides --tenant.
func tenantArgument(r *run) error {
	if r.NArg() == 1 && r.String("tenant") == "" {
		return r.Set("tenant", r.Args().First())
	}
	return nil
}

func tenantStateCommand(std Stdio, name, usage, method, verb string) *cli.Command {
	return clientCommand(std, &cli.Command{Name: name, Usage: usage, ArgsUsage: "[TENANT]", Flags: tenantFlags()}, 0, 1, func(r *run) error {
		if err := tenantArgument(r); err != nil {
			return err
		}
		parts := []string{}
		if verb != "" {
			parts = append(parts, verb)
		}
		path, err := r.tenantPath(parts...)
		if err != nil {
			return err
		}
		return ask(r, method, path, nil, nil, func(w io.Writer, out actions.TenantInfo) { printTenant(w, out) })
	})
}

func printTenant(w io.Writer, t actions.TenantInfo) {
	fmt.Fprintf(w, "tenant:   %s\nname:     %s\nstate:    %s since %s\ncreated:  %s\nlog slot: %d, kept %d days\nmay keep: %s of secrets, %s in its database\n",
		t.ID, clean(t.Name), t.State, timeText(t.Changed), timeText(t.Created), t.Slot, t.RetentionDays, byteText(t.SecretBytes), byteText(t.FileBytes))
	fmt.Fprintf(w, "database: %s\n", map[bool]string{true: "in a process of its own", false: "in Coffer's process"}[t.Isolation == string(tenants.Process)])
	if t.ClientKey != "" {
		fmt.Fprintf(w, "client key: %s\n", t.ClientKey)
	}
	if t.Confined != "" {
		fmt.Fprintf(w, "          %s\n", clean(t.Confined))
	}
}

func newTenantIsolateCommand(std Stdio) *cli.Command {
	isolation := &cli.StringFlag{Name: "isolation", Usage: "`WHERE` its database lives: process for one of its own, or shared"}
	return clientCommand(std, &cli.Command{
		Name: "isolate", Usage: "move a tenant's database into a process of its own, or back", ArgsUsage: "[TENANT]", Flags: tenantFlags(isolation),
	}, 0, 1, func(r *run) error {
		if err := tenantArgument(r); err != nil {
			return err
		}
		path, err := r.tenantPath("isolate")
		if err != nil {
			return err
		}
		in := actions.TenantIsolateIn{Isolation: cmp.Or(r.String("isolation"), string(tenants.Process))}
		return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.TenantInfo) { printTenant(w, out) })
	})
}

func newTenantDestroyCommand(std Stdio) *cli.Command {
	confirm := &cli.StringFlag{Name: "confirm", Usage: "the `TENANT`'s id again: nothing brings it back"}
	return clientCommand(std, &cli.Command{
		Name: "destroy", Usage: "destroy a tenant's keys, then its data; its log stays", ArgsUsage: "[TENANT]", Flags: tenantFlags(confirm),
	}, 0, 1, func(r *run) error {
		if err := tenantArgument(r); err != nil {
			return err
		}
		path, err := r.tenantPath()
		if err != nil {
			return err
		}
		return ask(r, http.MethodDelete, path, queryOf("confirm", r.String("confirm")), nil, func(w io.Writer, out actions.TenantInfo) {
			fmt.Fprintf(w, "destroyed %s: its keys are gone, its data is removed, its log stays\n", out.ID)
		})
	})
}
