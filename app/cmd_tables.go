package app

import (
	"io"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
)

func newActionCommand(std Stdio) *cli.Command {
	list := clientCommand(std, &cli.Command{Name: "list", Usage: "list the actions and who may do them", Flags: clientFlags()}, 0, 0, func(r *run) error {
		return ask(r, http.MethodGet, "/api/v1/actions", nil, nil, func(w io.Writer, out actions.ActionListOut) {
			var rows [][]string
			for _, a := range out.Actions {
				rows = append(rows, []string{string(a.Action), a.Meaning, dashIfEmpty(whoMay(a))})
			}
			table(w, []string{"ACTION", "MEANING", "WHO"}, rows)
		})
	})
	return group("action", "what can be done", list)
}

func whoMay(a actions.ActionInfo) string {
	var who []string
	for _, r := range a.Roles {
		who = append(who, string(r))
	}
	for _, r := range a.Own {
		who = append(who, string(r)+" (own)")
	}
	if a.Cap != "" {
		who = append(who, a.Cap)
	}
	return strings.Join(who, " ")
}

func newRoleCommand(std Stdio) *cli.Command {
	list := clientCommand(std, &cli.Command{Name: "list", Usage: "list the roles and what they may do", Flags: clientFlags()}, 0, 0, func(r *run) error {
		return ask(r, http.MethodGet, "/api/v1/roles", nil, nil, func(w io.Writer, out actions.RoleListOut) {
			var rows [][]string
			for _, role := range out.Roles {
				var may []string
				for _, a := range role.Actions {
					may = append(may, string(a))
				}
				for _, a := range role.Own {
					may = append(may, string(a)+" (own)")
				}
				rows = append(rows, []string{string(role.Role), strings.Join(may, " ")})
			}
			table(w, []string{"ROLE", "MAY"}, rows)
		})
	})
	return group("role", "who may do what", list)
}
