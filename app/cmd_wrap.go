package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

func newWrapCommand(std Stdio) *cli.Command {
	return group("wrap", "hand something over that can be opened once",
		newWrapCreateCommand(std), newWrapLookupCommand(std), newWrapOpenCommand(std), newWrapRenewCommand(std))
}

func newWrapCreateCommand(std Stdio) *cli.Command {
	flags := tenantFlags(&cli.DurationFlag{Name: "ttl", Usage: "it waits for `TIME`: 1h if not given, 24h at most"})
	return clientCommand(std, &cli.Command{
		Name: "create", Usage: "wrap values; prints a wrapping token, this once", ArgsUsage: "KEY=VALUE…",
		Description: "A value comes from stdin as KEY=-, from a file as KEY=@FILE. Values on the command line stand in the shell's history.",
		Flags:       flags,
	}, 1, domain.MaxSecretKeys, func(r *run) error {
		path, err := r.tenantPath("wrap")
		if err != nil {
			return err
		}
		data, err := readPairs(r.Args().Slice(), r.std.In)
		if err != nil {
			return err
		}
		in := struct {
			Data json.RawMessage  `json:"data"`
			TTL  actions.Duration `json:"ttl,omitempty"`
		}{data.Reveal(), actions.Duration(r.Duration("ttl"))}
		return showWrapped(r, path, in)
	})
}

// showWrapped asks for a wrapping token and prints it bare.
func showWrapped(r *run, path string, in any) error {
	var out actions.Wrapped
	if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, in, &out); err != nil {
		return err
	}
	return r.show(out, func(w io.Writer) {
		r.say("it can be opened once, until %s; accessor %s", timeText(out.Expires), out.Accessor)
		fmt.Fprintln(w, string(out.Token.Reveal()))
	})
}

func newWrapLookupCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "lookup", Usage: "show what a wrapping token is for, without using it", ArgsUsage: "TOKEN", Flags: clientFlags(),
	}, 1, 1, func(r *run) error {
		t, err := tokenArgument(r)
		if err != nil {
			return err
		}
		in := heldToken{string(t.Reveal())}
		return ask(r, http.MethodPost, "/api/v1/wrapping/lookup", nil, in, func(w io.Writer, out actions.WrapInfo) {
			fmt.Fprintf(w, "accessor: %s\ntenant:   %s\nanswer:   %s\nwrapped:  %s by %s\nends:     %s\n",
				out.Accessor, out.Tenant, clean(out.Path), timeText(out.Created), out.Maker, timeText(out.Expires))
		})
	})
}

func newWrapOpenCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "open", Usage: "unwrap what a wrapping token is for, which burns it", ArgsUsage: "TOKEN", Flags: clientFlags(),
	}, 1, 1, func(r *run) error {
		t, err := tokenArgument(r)
		if err != nil {
			return err
		}
		in := heldToken{string(t.Reveal())}
		return ask(r, http.MethodPost, "/api/v1/wrapping/unwrap", nil, in, func(w io.Writer, out actions.Unwrapped) {
			fmt.Fprintln(w, string(out.Data.Reveal()))
		})
	})
}

func newWrapRenewCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "rewrap", Usage: "replace a wrapping token by a new one, for what has to wait longer", ArgsUsage: "TOKEN", Flags: clientFlags(),
	}, 1, 1, func(r *run) error {
		t, err := tokenArgument(r)
		if err != nil {
			return err
		}
		return showWrapped(r, "/api/v1/wrapping/rewrap", heldToken{string(t.Reveal())})
	})
}
