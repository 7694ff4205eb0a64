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
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/vault/token"
)

func newTokenCommand(std Stdio) *cli.Command {
	return group("token", "issue, look up, renew and revoke short-lived tokens",
		newTokenIssueCommand(std), newTokenLookupCommand(std), newTokenRenewCommand(std), newTokenRevokeCommand(std), newTokenListCommand(std))
}

func newTokenIssueCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "role", Usage: "no more than `ROLE`; your own if not given"},
		&cli.StringSliceFlag{Name: "grant", Usage: "no more than this `CAPABILITY`; may be repeated"},
		&cli.StringSliceFlag{Name: "policy", Usage: "no more than the policy `NAME` gives; may be repeated"},
		&cli.StringFlag{Name: "workload", Usage: "for the workload `NAME`"},
		&cli.DurationFlag{Name: "ttl", Usage: "ends after `TIME`: 1h if not given, 24h at most"},
		&cli.StringFlag{Name: "name", Usage: "display `NAME`"},
		&cli.BoolFlag{Name: "renewable", Usage: "it can be renewed, until its maximum"},
		&cli.DurationFlag{Name: "max-ttl", Usage: "no renewal goes past `TIME` after its issue: 24h if not given, and at most"},
		&cli.DurationFlag{Name: "period", Usage: "each renewal gives `TIME`"},
		&cli.IntFlag{Name: "uses", Usage: "it holds for `N` requests"},
		&cli.StringSliceFlag{Name: "meta", Usage: "a note for programs, `KEY=VALUE`; may be repeated"},
		&cli.BoolFlag{Name: "orphan", Usage: "it does not end with the token with which it is made; for owners"},
	)
	return clientCommand(std, &cli.Command{
		Name: "issue", Usage: "issue a token no wider than yourself; printed this once", Flags: flags,
	}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("tokens")
		if err != nil {
			return err
		}
		in := actions.TokenIssueIn{
			Role: r.String("role"), Grants: r.StringSlice("grant"), Policies: r.StringSlice("policy"), Workload: r.String("workload"),
			TTL: actions.Duration(r.Duration("ttl")), Name: r.String("name"),
			Renewable: r.Bool("renewable"), MaxTTL: actions.Duration(r.Duration("max-ttl")), Period: actions.Duration(r.Duration("period")),
			Uses: r.Int("uses"), Orphan: r.Bool("orphan"),
		}
		if in.Meta, err = pairs("meta", r.StringSlice("meta")); err != nil {
			return err
		}
		var out actions.Issued
		if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, in, &out); err != nil {
			return err
		}
		return showToken(r, out)
	})
}

// pairs reads KEY=VALUE.
func pairs(flag string, list []string) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if _, twice := out[key]; !ok || twice {
			return nil, domain.Fieldf(flag, "give each key once, as KEY=VALUE")
		}
		out[key] = value
	}
	return out, nil
}

// showToken prints a token bare, and what it is for people.
func showToken(r *run, out actions.Issued) error {
	return r.show(out, func(w io.Writer) {
		what := string(out.Role)
		if what == "" {
			what = boundText(out.Capabilities, out.Policies)
		}
		r.say("token for %s (%s), ends %s, accessor %s", out.Tenant, what, timeText(out.Expires), out.Accessor)
		for _, text := range out.Warnings {
			r.say("warning: %s", text)
		}
		fmt.Fprintln(w, string(out.Token.Reveal()))
	})
}

// boundText says what bounds who has no role.
func boundText(capabilities []authz.Capability, policies []string) string {
	if len(policies) > 0 {
		return "policies " + strings.Join(policies, ", ")
	}
	return joinText(capabilities)
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
			if out.Renewable {
				fmt.Fprintf(w, "renewable: until %s\n", timeText(out.Max))
			}
			if out.Parent != "" {
				fmt.Fprintf(w, "parent:    %s\n", out.Parent)
			}
			if out.Uses > 0 {
				fmt.Fprintf(w, "uses left: %d of %d\n", out.UsesLeft, out.Uses)
			}
		})
	})
}

// tokenRenewal is the wire form of a renewal.
type tokenRenewal struct {
	heldToken
	Increment actions.Duration `json:"increment,omitempty"`
}

func newTokenRenewCommand(std Stdio) *cli.Command {
	flags := append(clientFlags(), &cli.DurationFlag{Name: "increment", Usage: "it lives for `TIME` from now on; without it, for as long as it was made"})
	return clientCommand(std, &cli.Command{
		Name: "renew", Usage: "let a token live longer, up to its maximum", ArgsUsage: "[TOKEN]", Flags: flags,
	}, 0, 1, func(r *run) error {
		t, err := tokenArgument(r)
		if err != nil {
			return err
		}
		in := tokenRenewal{heldToken{string(t.Reveal())}, actions.Duration(r.Duration("increment"))}
		return ask(r, http.MethodPost, "/api/v1/token/renew", nil, in, func(w io.Writer, out actions.TokenInfo) {
			fmt.Fprintf(w, "renewed %s of %s, ends %s, at most %s\n", out.Accessor, out.Tenant, timeText(out.Expires), timeText(out.Max))
		})
	})
}

func tokenBound(t actions.TokenInfo) string {
	if t.Role != "" {
		return string(t.Role)
	}
	return boundText(t.Capabilities, t.Policies)
}

func newTokenRevokeCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "revoke", Usage: "revoke a token and those made with it, at once and for good", ArgsUsage: "TOKEN or ACCESSOR", Flags: tenantFlags(),
	}, 0, 1, func(r *run) error {
		var out actions.TokenRevoked
		if err := revoke(r, &out); err != nil {
			return err
		}
		return r.show(out, func(w io.Writer) {
			fmt.Fprintf(w, "revoked %s of %s\n", out.Accessor, out.Tenant)
			if out.Revoked > 1 {
				fmt.Fprintf(w, "with it %d that were made with it\n", out.Revoked-1)
			}
		})
	})
}

func revoke(r *run, out *actions.TokenRevoked) error {
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
