package app

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

func newSQLCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "sql", Usage: "run a statement in the tenant's database; without one, read statements from stdin",
		ArgsUsage: "[SQL [ARGUMENT…]]", Flags: tenantFlags(),
		Description: "Arguments fill the ? of the statement, as text. Without a statement a line that ends in ';' ends one.",
	}, 0, 1+actions.MaxSQLArgs, func(r *run) error {
		path, err := r.tenantPath("sql")
		if err != nil {
			return err
		}
		if r.NArg() == 0 {
			return sqlShell(r, path)
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

// sqlShell reads statements that end in a semicolon at the end of a line. At a
// terminal an error is printed and the shell goes on; in a script it ends.
func sqlShell(r *run, path string) error {
	f, ok := r.std.In.(*os.File)
	interactive := ok && term.IsTerminal(int(f.Fd()))
	lines := bufio.NewScanner(r.std.In)
	lines.Buffer(nil, actions.MaxSQLText)
	var statement strings.Builder
	ask := func() {
		if interactive {
			fmt.Fprint(r.std.Err, r.String("tenant")+map[bool]string{true: "> ", false: ". "}[statement.Len() == 0])
		}
	}
	for ask(); lines.Scan(); ask() {
		line := strings.TrimSpace(lines.Text())
		if statement.Len() == 0 && (line == "" || strings.HasPrefix(line, "--")) {
			continue
		}
		if statement.Len() == 0 && (line == ".quit" || line == ".exit") {
			return nil
		}
		statement.WriteString(lines.Text() + "\n")
		if !strings.HasSuffix(line, ";") {
			continue
		}
		err := runStatement(r, path, statement.String(), nil)
		statement.Reset()
		if err != nil && !interactive {
			return err
		}
		if err != nil {
			report(r.std.Err, err)
		}
	}
	if err := lines.Err(); err != nil {
		return domain.Errorf(domain.Invalid, "reading statements: %w", err)
	}
	if statement.Len() > 0 {
		return runStatement(r, path, statement.String(), nil)
	}
	return nil
}
