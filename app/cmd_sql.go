package app

import (
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

func newSQLCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "sql", Usage: "run a statement in the tenant's database; without one, read statements from stdin",
		ArgsUsage: "[SQL [ARGUMENT…]]", Flags: tenantFlags(),
		Description: "Arguments fill the ? of the statement, as text. Without a statement it is a shell at a terminal, see .help there, and else runs the statements of stdin.",
	}, 0, 1+actions.MaxSQLArgs, func(r *run) error {
		path, err := r.tenantPath("sql")
		if err != nil {
			return err
		}
		if r.NArg() == 0 {
			return runShell(r)
		}
		return runStatement(r, path, r.Args().First(), r.Args().Tail())
	})
}

func runStatement(r *run, path, sql string, args []string) error {
	for _, text := range append([]string{sql}, args...) {
		if !utf8.ValidString(text) { // JSON would replace what is not, without a word
			return domain.Fieldf("sql", "the statement or an argument is not valid UTF-8").WithHint("write bytes as x'…'")
		}
	}
	in := struct {
		SQL  string   `json:"sql"`
		Args []string `json:"args,omitempty"`
	}{sql, args}
	return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.SQLOut) { printResult(r, w, out) })
}

func printResult(r *run, w io.Writer, out actions.SQLOut) {
	if len(out.Columns) == 0 {
		r.say("%d rows changed", out.Affected)
		return
	}
	var rows [][]string
	for _, row := range out.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = cell(v.Value())
		}
		rows = append(rows, cells)
	}
	table(w, out.Columns, rows)
}

func cell(v sqlite.Value) string {
	switch v.Type() {
	case sqlite.TypeNull:
		return "NULL"
	case sqlite.TypeBlob:
		return fmt.Sprintf("x'%x'", v.Bytes())
	case sqlite.TypeText:
		return v.Raw()
	case sqlite.TypeInteger:
		return fmt.Sprint(v.Int64())
	}
	return fmt.Sprint(v.Float64())
}
