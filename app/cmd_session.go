package app

import (
	"io"
	"net/http"
	"net/url"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
)

func newSessionCommand(std Stdio) *cli.Command {
	return group("session", "one's own sessions", newSessionListCommand(std),
		clientCommand(std, &cli.Command{Name: "end", Usage: "end a session", ArgsUsage: "ACCESSOR", Flags: clientFlags()}, 1, 1, func(r *run) error {
			return endSessions(r, "/api/v1/sessions/"+url.PathEscape(r.Args().First()))
		}),
		clientCommand(std, &cli.Command{Name: "end-all", Usage: "end all sessions, also the one that one acts with", Flags: clientFlags()}, 0, 0, func(r *run) error {
			return endSessions(r, "/api/v1/sessions")
		}))
}

func newSessionListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list one's own sessions", Flags: clientFlags()}, 0, 0, func(r *run) error {
		return ask(r, http.MethodGet, "/api/v1/sessions", nil, nil, func(w io.Writer, out actions.SessionListOut) {
			var rows [][]string
			for _, s := range out.Sessions {
				current := ""
				if s.Current {
					current = "*"
				}
				rows = append(rows, []string{current, s.Accessor, timeText(s.Created), timeText(s.Seen), timeText(s.Expires), s.Source, s.Client})
			}
			table(w, []string{"", "ACCESSOR", "BEGAN", "SEEN", "ENDS", "FROM", "WITH"}, rows)
		})
	})
}
