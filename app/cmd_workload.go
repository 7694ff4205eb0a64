package app

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
)

func newWorkloadCommand(std Stdio) *cli.Command {
	return group("workload", "machine identities with granted capabilities",
		newWorkloadCreateCommand(std), newWorkloadListCommand(std), newWorkloadSecretIDCommand(std),
		newWorkloadRemoveCommand(std), newWorkloadLoginCommand(std))
}

func newWorkloadCreateCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringSliceFlag{Name: "grant", Usage: "grant this `CAPABILITY`, e.g. secret:read:stripe/*; may be repeated"},
		&cli.StringSliceFlag{Name: "policy", Usage: "what the policy `NAME` gives, in place of capabilities; may be repeated"},
		&cli.DurationFlag{Name: "ttl", Usage: "its tokens end after `TIME`: 1h if not given, 24h at most"},
		&cli.DurationFlag{Name: "secret-id-ttl", Usage: "the secret id ends after `TIME`: 720h if not given, 2160h at most"},
		&cli.IntFlag{Name: "secret-id-uses", Usage: "the secret id logs in `N` times; any number if not given"},
	)
	return clientCommand(std, &cli.Command{
		Name: "create", Usage: "create a workload; its secret id is printed this once", ArgsUsage: "NAME", Flags: flags,
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("workloads")
		if err != nil {
			return err
		}
		in := actions.WorkloadCreateIn{
			Name: r.Args().First(), Grants: r.StringSlice("grant"), Policies: r.StringSlice("policy"), TokenTTL: actions.Duration(r.Duration("ttl")),
			SecretIDTTL: actions.Duration(r.Duration("secret-id-ttl")), SecretIDUses: r.Int("secret-id-uses"),
		}
		var out actions.Credentials
		if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, in, &out); err != nil {
			return err
		}
		return showCredentials(r, out)
	})
}

func showCredentials(r *run, out actions.Credentials) error {
	return r.show(out, func(w io.Writer) {
		r.say("workload %s; the secret id is shown this once and ends %s", out.Workload, timeText(out.Expires))
		fmt.Fprintf(w, "role_id=%s\nsecret_id=%s\n", out.RoleID, out.SecretID.Reveal())
	})
}

func newWorkloadListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list the workloads", Flags: tenantFlags()}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("workloads")
		if err != nil {
			return err
		}
		all := actions.WorkloadListOut{Workloads: []actions.WorkloadInfo{}}
		if err := pages(r, path, func(page actions.WorkloadListOut) string {
			all.Workloads = append(all.Workloads, page.Workloads...)
			return page.Next
		}); err != nil {
			return err
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, x := range all.Workloads {
				rows = append(rows, []string{x.Name, x.RoleID, boundText(x.Capabilities, x.Policies), time.Duration(x.TokenTTL).String()})
			}
			table(w, []string{"NAME", "ROLE ID", "MAY", "TOKEN TTL"}, rows)
		})
	})
}

func newWorkloadSecretIDCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.DurationFlag{Name: "ttl", Usage: "ends after `TIME`: 720h if not given, 2160h at most"},
		&cli.IntFlag{Name: "uses", Usage: "logs in `N` times; any number if not given"},
	)
	return clientCommand(std, &cli.Command{
		Name: "secret-id", Usage: "issue another secret id; printed this once", ArgsUsage: "NAME", Flags: flags,
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("workloads", r.Args().First(), "secret-id")
		if err != nil {
			return err
		}
		in := actions.WorkloadRef{TTL: actions.Duration(r.Duration("ttl")), Uses: r.Int("uses")}
		var out actions.Credentials
		if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, in, &out); err != nil {
			return err
		}
		return showCredentials(r, out)
	})
}

func newWorkloadRemoveCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "remove", Usage: "remove a workload, its secret ids and its tokens", ArgsUsage: "NAME", Flags: tenantFlags(),
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("workloads", r.Args().First())
		if err != nil {
			return err
		}
		return ask(r, http.MethodDelete, path, nil, nil, func(w io.Writer, out actions.Removed) {
			fmt.Fprintf(w, "removed %s; %d tokens revoked\n", r.Args().First(), out.TokensRevoked)
		})
	})
}

func newWorkloadLoginCommand(std Stdio) *cli.Command {
	flags := clientFlags(
		&cli.StringFlag{Name: "role-id", Usage: "the workload's role `ID`"},
		&cli.StringFlag{Name: "secret-id-file", Usage: "`FILE` with the secret id, - for stdin", Value: "-"},
		&cli.DurationFlag{Name: "ttl", Usage: "ends after `TIME`, at most what the workload was given"},
	)
	return clientCommand(std, &cli.Command{
		Name: "login", Usage: "log in with role id and secret id for a token", Flags: flags,
	}, 0, 0, func(r *run) error {
		secretID, err := readSecretFile(r.String("secret-id-file"), r.std.In)
		if err != nil {
			return err
		}
		in := struct {
			RoleID   string           `json:"role_id"`
			SecretID string           `json:"secret_id"`
			TTL      actions.Duration `json:"ttl,omitempty"`
		}{r.String("role-id"), string(secretID.Reveal()), actions.Duration(r.Duration("ttl"))}
		var out actions.Issued
		if err := r.client.call(r.Context.Context, http.MethodPost, "/api/v1/login/workload", nil, in, &out); err != nil {
			return err
		}
		return showToken(r, out)
	})
}
