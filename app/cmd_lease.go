package app

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
)

func newLeaseCommand(std Stdio) *cli.Command {
	return group("lease", "see what ends, renew it, and take it back",
		newLeaseListCommand(std), newLeaseLookupCommand(std), newLeaseRenewCommand(std), newLeaseRevokeCommand(std),
		newLeaseRevokePrefixCommand(std), newLeaseRevokeAllCommand(std))
}

func newLeaseListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list leases, those under a prefix if one is given", ArgsUsage: "[PREFIX]", Flags: tenantFlags()}, 0, 1, func(r *run) error {
		path, err := r.tenantPath("leases")
		if err != nil {
			return err
		}
		all := actions.LeaseListOut{Leases: []actions.LeaseInfo{}}
		for after := ""; ; {
			var page actions.LeaseListOut
			q := url.Values{"limit": {strconv.Itoa(actions.MaxPage)}}
			for name, value := range map[string]string{"after": after, "prefix": r.Args().First()} {
				if value != "" {
					q.Set(name, value)
				}
			}
			if err := r.client.call(r.Context.Context, http.MethodGet, path, q, nil, &page); err != nil {
				return err
			}
			all.Leases = append(all.Leases, page.Leases...)
			if after = page.Next; after == "" {
				break
			}
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, l := range all.Leases {
				rows = append(rows, []string{l.ID, l.Kind, l.State, l.Principal, time.Until(l.Expires).Round(time.Second).String()})
			}
			table(w, []string{"LEASE", "KIND", "STATE", "PRINCIPAL", "ENDS IN"}, rows)
		})
	})
}

// leaseID is the wire form of what names a lease.
type leaseID struct {
	ID        string           `json:"id"`
	Increment actions.Duration `json:"increment,omitempty"`
	Sync      bool             `json:"sync,omitempty"`
}

func newLeaseLookupCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "lookup", Usage: "show a lease", ArgsUsage: "LEASE", Flags: tenantFlags()}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("leases", "lookup")
		if err != nil {
			return err
		}
		return ask(r, http.MethodPost, path, nil, leaseID{ID: r.Args().First()}, showLease)
	})
}

func showLease(w io.Writer, l actions.LeaseInfo) {
	fmt.Fprintf(w, "lease:     %s\nkind:      %s\nstate:     %s\nprincipal: %s\nissued:    %s\nends:      %s\n",
		clean(l.ID), l.Kind, l.State, l.Principal, timeText(l.Issued), timeText(l.Expires))
	if l.Renewable && l.Max != nil {
		fmt.Fprintf(w, "renewable: until %s\n", timeText(*l.Max))
	}
	if l.Attempts > 0 && l.Next != nil {
		fmt.Fprintf(w, "attempts:  %d at taking it back, the next %s\n", l.Attempts, timeText(*l.Next))
	}
}

func newLeaseRenewCommand(std Stdio) *cli.Command {
	flags := tenantFlags(&cli.DurationFlag{Name: "increment", Usage: "it lives for `TIME` from now on; without it, for as long as it was made"})
	return clientCommand(std, &cli.Command{Name: "renew", Usage: "let a lease live longer, up to its maximum", ArgsUsage: "LEASE", Flags: flags}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("leases", "renew")
		if err != nil {
			return err
		}
		in := leaseID{ID: r.Args().First(), Increment: actions.Duration(r.Duration("increment"))}
		return ask(r, http.MethodPost, path, nil, in, showLease)
	})
}

func newLeaseRevokeCommand(std Stdio) *cli.Command {
	flags := tenantFlags(&cli.BoolFlag{Name: "sync", Usage: "wait until it was taken back in the other system"})
	return clientCommand(std, &cli.Command{Name: "revoke", Usage: "revoke a lease", ArgsUsage: "LEASE", Flags: flags}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("leases", "revoke")
		if err != nil {
			return err
		}
		in := leaseID{ID: r.Args().First(), Sync: r.Bool("sync")}
		return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.LeaseInfo) { fmt.Fprintf(w, "revoked %s\n", clean(out.ID)) })
	})
}

func newLeaseRevokePrefixCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "revoke-prefix", Usage: "revoke all leases under a prefix", ArgsUsage: "PREFIX", Flags: tenantFlags()}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("leases", "revoke-prefix")
		if err != nil {
			return err
		}
		in := struct {
			Prefix string `json:"prefix"`
		}{r.Args().First()}
		return ask(r, http.MethodPost, path, nil, in, showRevoked)
	})
}

func showRevoked(w io.Writer, out actions.LeasesRevoked) {
	fmt.Fprintf(w, "revoked what was issued until %s\n", timeText(out.Until))
}

// revokeAll is the wire form of whose everything is revoked.
type revokeAll struct {
	Token    string `json:"token,omitempty"`
	Workload string `json:"workload,omitempty"`
	Member   string `json:"member,omitempty"`
	All      bool   `json:"all,omitempty"`
}

func newLeaseRevokeAllCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "of-token", Usage: "the token with the `ACCESSOR`, those made with it, and their leases"},
		&cli.StringFlag{Name: "of-workload", Usage: "tokens, secret ids and leases of the workload `NAME`"},
		&cli.StringFlag{Name: "of-member", Usage: "tokens that the member `NAME` has or issued, and their leases"},
		&cli.BoolFlag{Name: "all", Usage: "everything in the tenant"},
	)
	return clientCommand(std, &cli.Command{
		Name: "revoke-all", Usage: "revoke everything of a token, a workload, a member, or the tenant, at once", Flags: flags,
	}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("leases", "revoke-all")
		if err != nil {
			return err
		}
		in := revokeAll{r.String("of-token"), r.String("of-workload"), r.String("of-member"), r.Bool("all")}
		return ask(r, http.MethodPost, path, nil, in, showRevoked)
	})
}
