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

func newPolicyCommand(std Stdio) *cli.Command {
	return group("policy", "ACL policies: what tokens and workloads may, in Vault's language",
		newPolicyPutCommand(std), newPolicyGetCommand(std), newPolicyListCommand(std), newPolicyRemoveCommand(std), newPolicyExplainCommand(std))
}

func newPolicyPutCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "put", Usage: "write a policy, or change it; it acts at once", ArgsUsage: "NAME POLICY", Flags: tenantFlags(),
		Description: "POLICY is HCL or JSON as Vault reads it, @FILE, or - for stdin.",
	}, 2, 2, func(r *run) error {
		path, err := r.tenantPath("policies", "acl", r.Args().First())
		if err != nil {
			return err
		}
		text, err := textOrFile(r.Args().Get(1), r.std.In)
		if err != nil {
			return err
		}
		return ask(r, http.MethodPut, path, nil, actions.PolicyPutIn{Policy: text}, func(w io.Writer, out actions.PolicyInfo) {
			fmt.Fprintf(w, "wrote %s, revision %d, %d paths\n", out.Name, out.Revision, out.Rules)
		})
	})
}

func newPolicyGetCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "get", Usage: "show a policy, or what a role may", ArgsUsage: "NAME", Flags: tenantFlags(),
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("policies", "acl", r.Args().First())
		if err != nil {
			return err
		}
		return ask(r, http.MethodGet, path, nil, nil, func(w io.Writer, out actions.PolicyInfo) { fmt.Fprintln(w, cleanLines(out.Policy)) })
	})
}

func newPolicyListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list the policies", Flags: tenantFlags()}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("policies")
		if err != nil {
			return err
		}
		all := actions.PolicyListOut{Policies: []actions.PolicyInfo{}}
		if err := pages(r, path, func(page actions.PolicyListOut) string {
			all.Policies = append(all.Policies, page.Policies...)
			return page.Next
		}); err != nil {
			return err
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, p := range all.Policies {
				if p.ReadOnly {
					rows = append(rows, []string{p.Name, "", "", "read-only"})
					continue
				}
				rows = append(rows, []string{p.Name, strconv.Itoa(p.Rules), strconv.Itoa(p.Revision), timeText(*p.Changed)})
			}
			table(w, []string{"NAME", "PATHS", "REVISION", "CHANGED"}, rows)
		})
	})
}

func newPolicyRemoveCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "remove", Usage: "remove a policy; who holds it loses at once what it gave", ArgsUsage: "NAME", Flags: tenantFlags(),
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("policies", "acl", r.Args().First())
		if err != nil {
			return err
		}
		return ask(r, http.MethodDelete, path, nil, nil, func(w io.Writer, out actions.PolicyInfo) { fmt.Fprintf(w, "removed %s\n", out.Name) })
	})
}

func newPolicyExplainCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "role", Usage: "whoever has this `ROLE`"},
		&cli.StringSliceFlag{Name: "policy", Usage: "whoever has this policy `NAME`; may be repeated"},
		&cli.StringFlag{Name: "workload", Usage: "the workload `NAME`"},
		&cli.StringFlag{Name: "member", Usage: "the member `NAME`"},
		&cli.StringFlag{Name: "token", Usage: "the token with this `ACCESSOR`"},
		&cli.StringFlag{Name: "action", Usage: "may it do this `ACTION`, such as secret.read, on the resource that is given"},
	)
	return clientCommand(std, &cli.Command{
		Name: "explain", Usage: "say what somebody may, and by which rule", ArgsUsage: "PATH [CAPABILITY] | --action ACTION [RESOURCE]", Flags: flags,
		Description: "PATH is as in a policy, such as secret/data/stripe/live; a folder ends in a slash.",
	}, 0, 2, func(r *run) error {
		path, err := r.tenantPath("policies", "explain")
		if err != nil {
			return err
		}
		in := actions.PolicyExplainIn{
			Role: r.String("role"), Policies: r.StringSlice("policy"), Workload: r.String("workload"), Member: r.String("member"),
			Token: r.String("token"), Action: r.String("action"),
		}
		switch {
		case in.Action != "" && r.NArg() > 1:
			return domain.Fieldf("action", "with --action give one argument at most: the resource")
		case in.Action != "":
			in.Resource = r.Args().First()
		default:
			in.Path, in.Capability = r.Args().First(), r.Args().Get(1)
		}
		return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.PolicyExplained) {
			for _, s := range out.Sentences {
				fmt.Fprintln(w, clean(s))
			}
		})
	})
}
