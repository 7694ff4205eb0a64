package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/queries"
)

func newQueryCommand(std Stdio) *cli.Command {
	return group("query", "stored queries: what viewers see, and what is looked at often",
		newQuerySaveCommand(std), newQueryListCommand(std), newQueryShowCommand(std), newQueryRunCommand(std), newQueryRemoveCommand(std))
}

func newQuerySaveCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "title", Usage: "a line for people"},
		&cli.StringFlag{Name: "description", Usage: "what it says, and what not"},
		&cli.StringSliceFlag{Name: "param", Usage: "default of a parameter, `NAME=VALUE`; may be repeated"},
		&cli.StringFlag{Name: "chart", Usage: "table, number, line, bar or pie", Value: string(queries.Table)},
		&cli.StringFlag{Name: "x", Usage: "`COLUMN` of the labels"},
		&cli.StringSliceFlag{Name: "y", Usage: "`COLUMN` of values; may be repeated"},
		&cli.DurationFlag{Name: "refresh", Usage: "a page asks again after `TIME`"},
		&cli.BoolFlag{Name: "shared", Usage: "every member may see and run it, viewers too"},
	)
	return clientCommand(std, &cli.Command{
		Name: "save", Usage: "store a query that only reads, or change it", ArgsUsage: "NAME SQL", Flags: flags,
		Description: "SQL can be @FILE or - for stdin. Parameters are written :name.",
	}, 2, 2, func(r *run) error {
		path, err := r.tenantPath("queries", r.Args().First())
		if err != nil {
			return err
		}
		sql, err := textOrFile(r.Args().Get(1), r.std.In)
		if err != nil {
			return err
		}
		if t := r.Duration("refresh"); t%time.Second != 0 {
			return domain.Fieldf("refresh", "not whole seconds")
		}
		in := actions.QuerySaveIn{
			Title: r.String("title"), Description: r.String("description"), SQL: sql, Chart: queries.Chart(r.String("chart")),
			X: r.String("x"), Y: r.StringSlice("y"), Refresh: int(r.Duration("refresh") / time.Second), Shared: r.Bool("shared"),
		}
		for _, given := range r.StringSlice("param") {
			name, value, err := param(given)
			if err != nil {
				return err
			}
			in.Params = append(in.Params, queries.Param{Name: name, Default: value})
		}
		return ask(r, http.MethodPut, path, nil, in, func(w io.Writer, out actions.QueryInfo) {
			fmt.Fprintf(w, "stored %s, %s\n", out.Name, visibility(out.Shared))
		})
	})
}

// textOrFile is an argument, what stands in the file that @FILE names, or for -
// what comes on stdin.
func textOrFile(arg string, stdin io.Reader) (string, error) {
	var b []byte
	var err error
	switch {
	case arg == "-":
		b, err = readLimited(stdin)
	case strings.HasPrefix(arg, "@"):
		b, err = readValueFile(arg[1:])
	default:
		b = []byte(arg)
	}
	if err == nil && !utf8.Valid(b) { // JSON would replace what is not, without a word
		err = domain.Fieldf("sql", "not valid UTF-8")
	}
	return strings.TrimSpace(string(b)), err
}

// param reads NAME=VALUE; a value that is a number or null in JSON is one, any
// other is a text.
func param(given string) (name string, value json.RawMessage, err error) {
	name, text, ok := strings.Cut(given, "=")
	if !ok {
		return "", nil, domain.Fieldf("param", "not NAME=VALUE")
	}
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		switch v.(type) {
		case float64, nil:
			return name, json.RawMessage(text), nil
		}
	}
	value, err = json.Marshal(text)
	return name, value, err
}

func visibility(shared bool) string {
	if shared {
		return "shared with every member"
	}
	return "private"
}

func newQueryListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list the stored queries that you may see", Flags: tenantFlags()}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("queries")
		if err != nil {
			return err
		}
		all := actions.QueryListOut{Queries: []actions.QueryInfo{}}
		if err := pages(r, path, func(page actions.QueryListOut) string {
			all.Queries = append(all.Queries, page.Queries...)
			return page.Next
		}); err != nil {
			return err
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, q := range all.Queries {
				rows = append(rows, []string{q.Name, q.Title, string(q.Chart), visibility(q.Shared)})
			}
			table(w, []string{"NAME", "TITLE", "CHART", "SEEN BY"}, rows)
		})
	})
}

func newQueryShowCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "show", Usage: "show a stored query", ArgsUsage: "NAME", Flags: tenantFlags()}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("queries", r.Args().First())
		if err != nil {
			return err
		}
		return ask(r, http.MethodGet, path, nil, nil, func(w io.Writer, q actions.QueryInfo) {
			fmt.Fprintf(w, "%s: %s\n", q.Name, q.Title)
			if q.Description != "" {
				fmt.Fprintln(w, cleanLines(q.Description))
			}
			fmt.Fprintf(w, "%s, %s\n", q.Chart, visibility(q.Shared))
			for _, p := range q.Params {
				fmt.Fprintf(w, "parameter %s, %s if not given\n", p.Name, clean(cmp.Or(string(p.Default), "null")))
			}
			if q.SQL != "" {
				fmt.Fprintln(w, cleanLines(q.SQL))
			}
		})
	})
}

func newQueryRunCommand(std Stdio) *cli.Command {
	flags := tenantFlags(&cli.StringSliceFlag{Name: "param", Usage: "value of a parameter, `NAME=VALUE`; may be repeated"})
	return clientCommand(std, &cli.Command{Name: "run", Usage: "run a stored query", ArgsUsage: "NAME", Flags: flags}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("queries", r.Args().First(), "run")
		if err != nil {
			return err
		}
		in := struct {
			Params map[string]json.RawMessage `json:"params,omitempty"`
		}{map[string]json.RawMessage{}}
		for _, given := range r.StringSlice("param") {
			name, value, err := param(given)
			if err != nil {
				return err
			}
			in.Params[name] = value
		}
		return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.QueryRunOut) {
			printResult(r, w, actions.SQLOut{Columns: out.Columns, Rows: out.Rows})
		})
	})
}

func newQueryRemoveCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "remove", Usage: "remove a stored query", ArgsUsage: "NAME", Flags: tenantFlags()}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("queries", r.Args().First())
		if err != nil {
			return err
		}
		return ask(r, http.MethodDelete, path, nil, nil, func(w io.Writer, out actions.QueryInfo) { fmt.Fprintf(w, "removed %s\n", out.Name) })
	})
}

func newDashboardCommand(std Stdio) *cli.Command {
	return group("dashboard", "lists of shared queries, in the order in which they are shown",
		newDashboardSaveCommand(std), newDashboardListCommand(std), newDashboardShowCommand(std), newDashboardRemoveCommand(std))
}

func newDashboardSaveCommand(std Stdio) *cli.Command {
	flags := tenantFlags(&cli.StringFlag{Name: "title", Usage: "a line for people"})
	return clientCommand(std, &cli.Command{
		Name: "save", Usage: "store a dashboard of shared queries, or change it", ArgsUsage: "NAME QUERY…", Flags: flags,
	}, 2, 1+queries.MaxEntries, func(r *run) error {
		path, err := r.tenantPath("dashboards", r.Args().First())
		if err != nil {
			return err
		}
		in := actions.DashboardSaveIn{Title: r.String("title"), Queries: r.Args().Tail()}
		return ask(r, http.MethodPut, path, nil, in, func(w io.Writer, out actions.DashboardInfo) {
			fmt.Fprintf(w, "stored %s with %d queries\n", out.Name, len(out.Queries))
		})
	})
}

func newDashboardListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "list", Usage: "list the dashboards", Flags: tenantFlags()}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("dashboards")
		if err != nil {
			return err
		}
		all := actions.DashboardListOut{Dashboards: []actions.DashboardInfo{}}
		if err := pages(r, path, func(page actions.DashboardListOut) string {
			all.Dashboards = append(all.Dashboards, page.Dashboards...)
			return page.Next
		}); err != nil {
			return err
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, d := range all.Dashboards {
				rows = append(rows, []string{d.Name, d.Title, fmt.Sprint(len(d.Queries))})
			}
			table(w, []string{"NAME", "TITLE", "QUERIES"}, rows)
		})
	})
}

// newDashboardShowCommand shows a dashboard by running its queries.
func newDashboardShowCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "show", Usage: "run the queries of a dashboard", ArgsUsage: "NAME", Flags: tenantFlags()}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("dashboards", r.Args().First())
		if err != nil {
			return err
		}
		var d actions.DashboardInfo
		if err := r.client.call(r.Context.Context, http.MethodGet, path, nil, nil, &d); err != nil {
			return err
		}
		var results []actions.QueryRunOut
		for _, q := range d.Queries {
			at, err := r.tenantPath("queries", q.Name, "run")
			if err != nil {
				return err
			}
			var out actions.QueryRunOut
			if err := r.client.call(r.Context.Context, http.MethodPost, at, nil, struct{}{}, &out); err != nil {
				return fmt.Errorf("%s: %w", q.Name, err)
			}
			results = append(results, out)
		}
		return r.show(results, func(w io.Writer) {
			fmt.Fprintln(w, d.Title)
			for _, one := range results {
				fmt.Fprintf(w, "\n%s\n", one.Query.Title)
				printResult(r, w, actions.SQLOut{Columns: one.Columns, Rows: one.Rows})
			}
		})
	})
}

func newDashboardRemoveCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "remove", Usage: "remove a dashboard; its queries stay", ArgsUsage: "NAME", Flags: tenantFlags()}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("dashboards", r.Args().First())
		if err != nil {
			return err
		}
		return ask(r, http.MethodDelete, path, nil, nil, func(w io.Writer, out actions.DashboardInfo) { fmt.Fprintf(w, "removed %s\n", out.Name) })
	})
}
