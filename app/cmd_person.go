package app

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

func newPersonCommand(std Stdio) *cli.Command {
	return group("person", "people and what they are on the whole appliance", newPersonListCommand(std), newPersonRoleCommand(std))
}

func newPersonListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list the people", Flags: clientFlags(
		&cli.StringFlag{Name: "after", Usage: "the page after this `NAME`"},
	)}, 0, 0, func(r *run) error {
		query := queryOf("limit", positive(actions.MaxPage), "after", r.String("after"))
		return ask(r, http.MethodGet, "/api/v1/people", query, nil, func(w io.Writer, out actions.PersonListOut) {
			var rows [][]string
			for _, p := range out.People {
				seen := "-"
				if p.SignedIn != nil {
					seen = timeText(*p.SignedIn)
				}
				rows = append(rows, []string{p.Name, dashIfEmpty(roleText(p.Appliance)), dashIfEmpty(factorText(p)), seen, p.Person})
			}
			table(w, []string{"NAME", "APPLIANCE", "SIGNS IN WITH", "SIGNED IN", "PERSON"}, rows)
			if out.Next != "" {
				r.say("there are more: --after %s", out.Next)
			}
		})
	})
}

func roleText(roles []domain.Role) string {
	var out []string
	for _, role := range roles {
		out = append(out, string(role))
	}
	return strings.Join(out, " ")
}

func factorText(p actions.PersonInfo) string {
	var out []string
	if p.Password {
		out = append(out, "password")
	}
	if p.TOTP {
		out = append(out, "codes")
	}
	if p.Passkeys > 0 {
		out = append(out, fmt.Sprintf("%d passkeys", p.Passkeys))
	}
	return strings.Join(out, ", ")
}

func newPersonRoleCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "role", Usage: "make a person an operator or auditor of the whole appliance, or none", ArgsUsage: "NAME operator|auditor|none", Flags: clientFlags(),
	}, 2, 2, func(r *run) error {
		roles := slices.DeleteFunc(strings.Split(r.Args().Get(1), ","), func(s string) bool { return s == "none" })
		in := actions.PersonRoleIn{Roles: roles}
		return ask(r, http.MethodPatch, "/api/v1/people/"+url.PathEscape(r.Args().First()), nil, in, func(w io.Writer, out actions.PersonInfo) {
			roles := roleText(out.Appliance)
			if roles == "" {
				roles = "nothing"
			}
			fmt.Fprintf(w, "%s is %s on the appliance\n", clean(out.Name), roles)
		})
	})
}
