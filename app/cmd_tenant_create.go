package app

import (
	"fmt"
	"io"
	"net/http"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
)

func newTenantCreateCommand(std Stdio) *cli.Command {
	flags := clientFlags(
		&cli.StringFlag{Name: "name", Usage: "display `NAME`; the id if not given"},
		&cli.StringFlag{Name: "owner", Usage: "its first owner is the known person `NAME`; you if not given"},
		&cli.IntFlag{Name: "retention-days", Usage: "its log is kept `DAYS`: 90 if not given, 30 to 3650"},
		&cli.StringFlag{Name: "secret-space", Usage: "most `BYTES` of its secrets: 64MiB if not given"},
		&cli.StringFlag{Name: "file-space", Usage: "most `BYTES` of its database: 10GiB if not given"},
		&cli.StringFlag{Name: "isolation", Usage: "`WHERE` its database lives: process for one of its own with limits of its own, else shared"},
		&cli.StringFlag{Name: "workload", Usage: "make a workload `NAME` at once; its secret id is printed this once"},
		&cli.StringSliceFlag{Name: "grant", Usage: "grant the workload this `CAPABILITY`; may be repeated"},
		&cli.DurationFlag{Name: "token-ttl", Usage: "and print a token of the workload that ends after `TIME`, 24h at most"},
	)
	return clientCommand(std, &cli.Command{
		Name: "create", Usage: "create a tenant with its keys, file, log and owner", ArgsUsage: "TENANT", Flags: flags,
	}, 1, 1, func(r *run) error {
		in, err := r.newTenant()
		if err != nil {
			return err
		}
		return ask(r, http.MethodPost, "/api/v1/tenants", nil, in, func(w io.Writer, out actions.TenantCreated) { r.printCreated(w, in, out) })
	})
}

// newTenant reads the flags.
func (r *run) newTenant() (in actions.TenantCreateIn, err error) {
	in = actions.TenantCreateIn{
		ID: r.Args().First(), Name: r.String("name"), Owner: r.String("owner"), RetentionDays: r.Int("retention-days"),
		Isolation: r.String("isolation"),
	}
	if in.Name == "" {
		in.Name = in.ID
	}
	if s := r.String("secret-space"); s != "" {
		if in.SecretBytes, err = parseSize("secret-space", s); err != nil {
			return in, err
		}
	}
	if s := r.String("file-space"); s != "" {
		if in.FileBytes, err = parseSize("file-space", s); err != nil {
			return in, err
		}
	}
	if r.IsSet("workload") || r.IsSet("grant") {
		in.Workload = &actions.NewWorkload{Name: r.String("workload"), Grants: r.StringSlice("grant")}
	}
	if r.IsSet("token-ttl") {
		in.Token = &actions.NewToken{TTL: actions.Duration(r.Duration("token-ttl"))}
	}
	return in, nil
}

// printCreated shows a new tenant with its credentials.
func (r *run) printCreated(w io.Writer, in actions.TenantCreateIn, out actions.TenantCreated) {
	if in.Owner == "" {
		fmt.Fprintf(w, "created %s, you are its first owner\n", out.ID)
	} else {
		fmt.Fprintf(w, "created %s, its first owner is %s\n", out.ID, clean(out.Owner))
	}
	if out.Migration != "" {
		r.say("its database begins with the migrations up to %s", out.Migration)
	}
	if c := out.Credentials; c != nil {
		r.say("workload %s; the secret id is shown this once and ends %s", c.Workload, timeText(c.Expires))
		fmt.Fprintf(w, "role_id=%s\nsecret_id=%s\n", c.RoleID, c.SecretID.Reveal())
	}
	if t := out.Token; t != nil {
		r.say("its token ends %s, accessor %s", timeText(t.Expires), t.Accessor)
		fmt.Fprintf(w, "token=%s\n", t.Token.Reveal())
	}
}
