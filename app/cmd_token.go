package app

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/vault/token"
)

func newTokenCommand(std Stdio) *cli.Command {
	return group("token", "issue, look up and revoke short-lived tokens",
		newTokenIssueCommand(std), newTokenLookupCommand(std), newTokenRevokeCommand(std), newTokenListCommand(std))
}

func newTokenIssueCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "role", Usage: "no more than `ROLE`; your own if not given"},
		&cli.StringSliceFlag{Name: "grant", Usage: "no more than this `CAPABILITY`; may be repeated"},
		&cli.StringFlag{Name: "workload", Usage: "for the workload `NAME`"},
		&cli.DurationFlag{Name: "ttl", Usage: "ends after `TIME`: 1h if not given, 24h at most"},
		&cli.StringFlag{Name: "name", Usage: "display `NAME`"},
	)
	return clientCommand(std, &cli.Command{
		Name: "issue", Usage: "issue a token no wider than yourself; printed this once", Flags: flags,
	}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("tokens")
		if err != nil {
			return err
		}
		in := actions.TokenIssueIn{
			Role: r.String("role"), Grants: r.StringSlice("grant"), Workload: r.String("workload"),
			TTL: actions.Duration(r.Duration("ttl")), Name: r.String("name"),
		}
		var out actions.Issued
		if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, in, &out); err != nil {
			return err
		}
		return showToken(r, out)
	})
}

// showToken prints a token bare, and what it is for people.
func showToken(r *run, out actions.Issued) error {
	return r.show(out, func(w io.Writer) {
		what := string(out.Role)
		if what == "" {
			what = joinText(out.Capabilities)
		}
		r.say("token for %s (%s), ends %s, accessor %s", out.Tenant, what, timeText(out.Expires), out.Accessor)
		fmt.Fprintln(w, string(out.Token.Reveal()))
	})
}

// tokenArgument reads the token of look-up and revocation: an argument, "-" for
// stdin, or the token that the command acts with.
func tokenArgument(r *run) (domain.Secret, error) {
	switch arg := r.Args().First(); {
	case arg == "":
		// An empty argument is a script's unset variable, not the own token.
		if r.NArg() > 0 || r.client.token.Len() == 0 {
			return domain.Secret{}, domain.Fieldf("token", "no token is given").
				WithHint("give it as an argument, with --token-file, or in COFFER_TOKEN")
		}
		return r.client.token, nil
	case arg == "-":
		b, err := io.ReadAll(io.LimitReader(r.std.In, 4096))
		return domain.SecretString(strings.TrimSpace(string(b))), err
	default:
		return domain.SecretString(arg), nil
	}
}

// heldToken is the wire form of a token that one holds.
type heldToken struct {
	Token string `json:"token"`
}

func newTokenLookupCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "lookup", Usage: "show what a token may do and when it ends", ArgsUsage: "[TOKEN]", Flags: clientFlags(),
	}, 0, 1, func(r *run) error {
		t, err := tokenArgument(r)
		if err != nil {
			return err
		}
		in := heldToken{string(t.Reveal())}
		return ask(r, http.MethodPost, "/api/v1/token/lookup", nil, in, func(w io.Writer, out actions.TokenInfo) {
			fmt.Fprintf(w, "accessor:  %s\ntenant:    %s\nprincipal: %s\nmay:       %s\nissued:    %s\nends:      %s\n",
				out.Accessor, out.Tenant, out.Principal, tokenBound(out), timeText(out.Issued), timeText(out.Expires))
		})
	})
}

func tokenBound(t actions.TokenInfo) string {
	if t.Role != "" {
		return string(t.Role)
	}
	return joinText(t.Capabilities)
}

func newTokenRevokeCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "revoke", Usage: "revoke a token at once and for good", ArgsUsage: "TOKEN or ACCESSOR", Flags: tenantFlags(),
	}, 0, 1, func(r *run) error {
		var out actions.TokenInfo
		if err := revoke(r, &out); err != nil {
			return err
		}
		return r.show(out, func(w io.Writer) { fmt.Fprintf(w, "revoked %s of %s\n", out.Accessor, out.Tenant) })
	})
}

func revoke(r *run, out *actions.TokenInfo) error {
	if arg := r.Args().First(); arg != "" && arg != "-" && !strings.HasPrefix(arg, token.Prefix) {
		path, err := r.tenantPath("tokens", arg)
		if err != nil {
			return err
		}
		return r.client.call(r.Context.Context, http.MethodDelete, path, nil, nil, out)
	}
	t, err := tokenArgument(r)
	if err != nil {
		return err
	}
	return r.client.call(r.Context.Context, http.MethodPost, "/api/v1/token/revoke", nil, heldToken{string(t.Reveal())}, out)
}

func newTokenListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list live tokens by accessor", Flags: tenantFlags()}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("tokens")
		if err != nil {
			return err
		}
		all := actions.TokenListOut{Tokens: []actions.TokenInfo{}}
		if err := pages(r, path, func(page actions.TokenListOut) string {
			all.Tokens = append(all.Tokens, page.Tokens...)
			return page.Next
		}); err != nil {
			return err
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, t := range all.Tokens {
				rows = append(rows, []string{t.Accessor, t.Principal, tokenBound(t), dashIfEmpty(t.Name), time.Until(t.Expires).Round(time.Second).String()})
			}
			table(w, []string{"ACCESSOR", "PRINCIPAL", "MAY", "NAME", "ENDS IN"}, rows)
		})
	})
}

// readSecretFile reads a one-line secret from a file, "-" for stdin.
func readSecretFile(path string, stdin io.Reader) (domain.Secret, error) {
	if path == "-" {
		b, err := io.ReadAll(io.LimitReader(stdin, maxPassphraseFile))
		return domain.NewSecret(trimLineEnd(b)), err
	}
	if _, err := os.Stat(path); err != nil {
		return domain.Secret{}, domain.Errorf(domain.Invalid, "reading a secret: %w", err)
	}
	return readPassphraseFile(path)
}
