package app

import (
	"fmt"
	"io"
	"math"
	"net/http"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

func newMemberCommand(std Stdio) *cli.Command {
	return group("member", "people and their roles in a tenant",
		newMemberAddCommand(std), newMemberListCommand(std), newMemberRoleCommand(std), newMemberRemoveCommand(std))
}

func newMemberAddCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "role", Usage: "`ROLE` in the tenant"},
		&cli.UintFlag{Name: "uid", Usage: "local user `ID` of a new person"},
	)
	return clientCommand(std, &cli.Command{
		Name: "add", Usage: "make a person a member", ArgsUsage: "NAME", Flags: flags,
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("members")
		if err != nil {
			return err
		}
		in := actions.MemberIn{Name: r.Args().First(), Role: r.String("role")}
		if r.IsSet("uid") {
			uid, err := parseUID(r.Uint("uid"))
			if err != nil {
				return err
			}
			in.UID = &uid
		}
		return sendMember(r, http.MethodPost, path, in)
	})
}

// parseUID refuses what no local user's id can be; (uid_t)-1 means none.
func parseUID(n uint) (uint32, error) {
	if n >= math.MaxUint32 {
		return 0, domain.Fieldf("uid", "%d is not a user's id", n).WithHint("see: id -u NAME")
	}
	return uint32(n), nil
}

func sendMember(r *run, method, path string, in actions.MemberIn) error {
	return ask(r, method, path, nil, in, func(w io.Writer, out actions.MemberInfo) { fmt.Fprintf(w, "%s is %s\n", clean(out.Name), out.Role) })
}

func newMemberListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list the members", Flags: tenantFlags()}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("members")
		if err != nil {
			return err
		}
		all := actions.MemberListOut{Members: []actions.MemberInfo{}}
		if err := pages(r, path, func(page actions.MemberListOut) string {
			all.Members = append(all.Members, page.Members...)
			return page.Next
		}); err != nil {
			return err
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, m := range all.Members {
				ends := "-"
				if m.Expires != nil {
					ends = timeText(*m.Expires) + " (break-glass)"
				}
				rows = append(rows, []string{m.Name, string(m.Role), timeText(m.Since), ends, m.Person})
			}
			table(w, []string{"NAME", "ROLE", "SINCE", "ENDS", "PERSON"}, rows)
		})
	})
}

func newMemberRoleCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "role", Usage: "change a member's role", ArgsUsage: "NAME ROLE", Flags: tenantFlags(),
	}, 2, 2, func(r *run) error {
		path, err := r.tenantPath("members", r.Args().First())
		if err != nil {
			return err
		}
		return sendMember(r, http.MethodPatch, path, actions.MemberIn{Role: r.Args().Get(1)})
	})
}

func newMemberRemoveCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "remove", Usage: "remove a member and the person's tokens", ArgsUsage: "NAME", Flags: tenantFlags(),
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("members", r.Args().First())
		if err != nil {
			return err
		}
		return ask(r, http.MethodDelete, path, nil, nil, func(w io.Writer, out actions.Removed) {
			fmt.Fprintf(w, "removed %s; %d tokens revoked\n", clean(r.Args().First()), out.TokensRevoked)
		})
	})
}

func newBreakGlassCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "reason", Usage: "`WHY`: it stands in the tenant's own log"},
		&cli.DurationFlag{Name: "ttl", Usage: "ends after `TIME`: 1h at most, and if not given"},
	)
	return clientCommand(std, &cli.Command{
		Name: "break-glass", Usage: "become an owner for at most an hour, with a reason", Flags: flags,
	}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("break-glass")
		if err != nil {
			return err
		}
		in := actions.BreakGlassIn{Reason: r.String("reason"), TTL: actions.Duration(r.Duration("ttl"))}
		return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.MemberInfo) {
			fmt.Fprintf(w, "you are %s until %s; the reason stands in the tenant's log\n", out.Role, timeText(*out.Expires))
		})
	})
}
