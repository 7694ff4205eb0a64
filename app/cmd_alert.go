package app

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
)

func newAlertCommand(std Stdio) *cli.Command {
	return group("alert", "what somebody should look at", newAlertListCommand(std), newAlertAckCommand(std))
}

func newAlertListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "list", Usage: "list the alerts of the appliance, or with -t of one tenant", Flags: tenantFlags(),
	}, 0, 0, func(r *run) error {
		path := "/api/v1/alerts"
		if r.IsSet("tenant") {
			var err error
			if path, err = r.tenantPath("alerts"); err != nil {
				return err
			}
		}
		all := actions.AlertListOut{Alerts: []actions.AlertInfo{}}
		if err := pages(r, path, func(page actions.AlertListOut) string {
			all.Alerts = append(all.Alerts, page.Alerts...)
			return page.Next
		}); err != nil {
			return err
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, a := range all.Alerts {
				rows = append(rows, []string{a.ID, alertState(a), timeText(a.Time), string(a.Kind), dashIfEmpty(string(a.Tenant)), a.Text})
			}
			table(w, []string{"ALERT", "STATE", "TIME", "KIND", "TENANT", "TEXT"}, rows)
		})
	})
}

func alertState(a actions.AlertInfo) string {
	switch {
	case a.Standing:
		return "stands"
	case a.Acked != nil:
		return "acknowledged"
	case a.Count > 1:
		return fmt.Sprintf("new, %d times", a.Count)
	}
	return "new"
}

func newAlertAckCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "ack", Usage: "say that an alert was looked at", ArgsUsage: "ALERT", Flags: clientFlags(),
	}, 1, 1, func(r *run) error {
		path := "/api/v1/alerts/" + url.PathEscape(r.Args().First()) + "/ack"
		return ask(r, http.MethodPost, path, nil, nil, func(w io.Writer, out actions.AlertInfo) {
			fmt.Fprintf(w, "acknowledged %s\n", out.ID)
		})
	})
}
