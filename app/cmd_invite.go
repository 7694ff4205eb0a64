package app

import (
	"fmt"
	"io"
	"net/http"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

// newInviteCommand makes an invitation; its subcommands see to those there are.
func newInviteCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "role", Usage: "`ROLE` in the tenant"},
		&cli.StringFlag{Name: "note", Usage: "`TEXT` for whom it is"},
	)
	c := clientCommand(std, &cli.Command{
		Name: "invite", Usage: "make a link with which somebody becomes a member; printed this once", Flags: flags,
	}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("invitations")
		if err != nil {
			return err
		}
		if r.String("role") == "" {
			return domain.Fieldf("role", "missing").WithHint("add --role ROLE; see: coffer role list")
		}
		in := actions.InviteIn{Role: r.String("role"), Note: r.String("note")}
		return sendLink(r, path, in, "makes a member, as "+in.Role+",")
	})
	c.Subcommands = []*cli.Command{newInviteListCommand(std), newInviteRevokeCommand(std)}
	return c
}

func newInviteListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list the invitations that wait", Flags: tenantFlags()}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("invitations")
		if err != nil {
			return err
		}
		return ask(r, http.MethodGet, path, queryOf("limit", positive(actions.MaxPage)), nil, func(w io.Writer, out actions.InvitationListOut) {
			var rows [][]string
			for _, i := range out.Invitations {
				rows = append(rows, []string{i.ID, string(i.Role), dashIfEmpty(i.Note), i.By, timeText(i.Expires)})
			}
			table(w, []string{"ID", "ROLE", "NOTE", "BY", "ENDS"}, rows)
		})
	})
}

func newInviteRevokeCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "revoke", Usage: "revoke an invitation", ArgsUsage: "ID", Flags: tenantFlags()}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("invitations", r.Args().First())
		if err != nil {
			return err
		}
		return ask(r, http.MethodDelete, path, nil, nil, func(w io.Writer, out actions.InvitationInfo) {
			fmt.Fprintf(w, "revoked %s\n", out.ID)
		})
	})
}
