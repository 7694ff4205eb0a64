package app

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
)

func newSetupLinkCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "setup-link", Usage: "make a link with which somebody becomes an operator; printed this once", Flags: clientFlags(),
	}, 0, 0, func(r *run) error {
		return sendLink(r, "/api/v1/setup-link", nil, "makes an operator's account")
	})
}

// sendLink makes a link and prints it bare, and what it is for people.
func sendLink(r *run, path string, in any, what string) error {
	return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.LinkOut) {
		r.say("the link %s, once, until %s", what, timeText(out.Expires))
		fmt.Fprintln(w, linkText(out))
	})
}

func newAdminCommand(std Stdio) *cli.Command {
	return group("admin", "what an operator does on the machine itself", newAdminRecoverCommand(std))
}

func newAdminRecoverCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name:  "recover",
		Usage: "let a person in again who lost password or second factor: both are reset, all sessions end, and it stands in the log of each tenant of that person",
		Flags: clientFlags(), ArgsUsage: "NAME",
	}, 1, 1, func(r *run) error {
		return sendLink(r, "/api/v1/people/"+url.PathEscape(r.Args().First())+"/recover", nil, "gives "+r.Args().First()+" a new password")
	})
}
