package app

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

func newAuditCommand(std Stdio) *cli.Command {
	return group("audit", "read and verify the log",
		newAuditTailCommand(std), newAuditQueryCommand(std), newAuditVerifyCommand(std))
}

func systemFlag() cli.Flag {
	return &cli.BoolFlag{Name: "system", Usage: "the appliance's own log instead of a tenant's"}
}

// logPath is where the log is: the tenant's, or the appliance's with --system.
func (r *run) logPath(rest ...string) (string, error) {
	if !r.Bool("system") {
		return r.tenantPath(append([]string{"audit"}, rest...)...)
	}
	path := "/api/v1/audit"
	for _, part := range rest {
		path += "/" + part
	}
	return path, nil
}

func newAuditTailCommand(std Stdio) *cli.Command {
	last := &cli.IntFlag{Name: "last", Aliases: []string{"n"}, Usage: "the newest `N` records", Value: 20}
	return clientCommand(std, &cli.Command{Name: "tail", Usage: "show the newest records", Flags: tenantFlags(systemFlag(), last)}, 0, 0, func(r *run) error {
		path, err := r.logPath()
		if err != nil {
			return err
		}
		return ask(r, http.MethodGet, path, queryOf("last", strconv.Itoa(r.Int("last"))), nil, func(w io.Writer, out actions.Events) { printEvents(w, out.Events) })
	})
}

func newAuditQueryCommand(std Stdio) *cli.Command {
	names := []string{"from", "to", "actor", "action", "resource", "outcome", "request-id"}
	flags := []cli.Flag{systemFlag(), &cli.IntFlag{Name: "limit", Usage: "at most `N` records; all if not given"}}
	for _, n := range names {
		flags = append(flags, &cli.StringFlag{Name: n, Usage: "only records with this `" + n + "`"})
	}
	return clientCommand(std, &cli.Command{Name: "query", Usage: "find records, oldest first", Flags: tenantFlags(flags...)}, 0, 0, func(r *run) error {
		path, err := r.logPath()
		if err != nil {
			return err
		}
		if r.Int("limit") < 0 {
			return domain.Fieldf("limit", "%d is not a number of records", r.Int("limit"))
		}
		all := actions.Events{Events: []actions.Event{}}
		for more := true; more; {
			size := actions.MaxPage
			if n := r.Int("limit"); n > 0 {
				size = min(size, n-len(all.Events))
			}
			q := queryOf("from", r.String("from"), "to", r.String("to"), "actor", r.String("actor"), "action", r.String("action"),
				"resource", r.String("resource"), "outcome", r.String("outcome"), "request_id", r.String("request-id"),
				"after", all.Next, "limit", strconv.Itoa(size))
			var page actions.Events
			if err := r.client.call(r.Context.Context, http.MethodGet, path, q, nil, &page); err != nil {
				return err
			}
			all.Events, all.Next = append(all.Events, page.Events...), page.Next
			more = page.Next != "" && (r.Int("limit") == 0 || len(all.Events) < r.Int("limit"))
		}
		return r.show(all, func(w io.Writer) { printEvents(w, all.Events) })
	})
}

func printEvents(w io.Writer, events []actions.Event) {
	var rows [][]string
	for _, e := range events {
		what := e.Action
		if what == "" {
			what = e.Type
		}
		rows = append(rows, []string{
			strconv.FormatUint(e.Seq, 10), timeText(e.Time), e.Type, dashIfEmpty(e.Actor), what,
			dashIfEmpty(e.Resource), dashIfEmpty(e.Outcome), string(e.Detail),
		})
	}
	table(w, []string{"SEQ", "TIME", "TYPE", "ACTOR", "ACTION", "RESOURCE", "OUTCOME", "DETAIL"}, rows)
}

func newAuditVerifyCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "verify", Usage: "verify every record from the first one on; exit 6 names the first bad one", Flags: tenantFlags(systemFlag()),
	}, 0, 0, func(r *run) error {
		path, err := r.logPath("verify")
		if err != nil {
			return err
		}
		return ask(r, http.MethodPost, path, nil, nil, func(w io.Writer, out actions.Verified) {
			fmt.Fprintf(w, "good: %d records from %s to %s\nhead: %s\n", out.Records, timeText(out.First), timeText(out.Last), out.Head)
		})
	})
}
