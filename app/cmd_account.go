package app

import (
	"fmt"
	"io"
	"net/http"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
)

func newAccountCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "account", Usage: "show one's own account", Flags: clientFlags(),
	}, 0, 0, func(r *run) error {
		return ask(r, http.MethodGet, "/api/v1/account", nil, nil, func(w io.Writer, out actions.AccountOut) {
			fmt.Fprintf(w, "name:           %s\nperson:         %s\nappliance:      %s\n", clean(out.Name), out.Person, dashIfEmpty(roleText(out.Appliance)))
			fmt.Fprintf(w, "password:       %s\ncodes:          %s\npasskeys:       %d\nrecovery codes: %d left\n",
				yesNo(out.Password), yesNo(out.TOTP), len(out.Passkeys), out.RecoveryCodesLeft)
			var rows [][]string
			for _, t := range out.Tenants {
				rows = append(rows, []string{string(t.Tenant), t.Name, string(t.Role)})
			}
			table(w, []string{"TENANT", "NAME", "ROLE"}, rows)
		})
	})
}
