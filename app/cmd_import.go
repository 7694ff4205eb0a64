package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"coffer/app/domain"
	"coffer/app/inout"
	"coffer/tenants/sqlite"
)

func newImportCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "table", Usage: "`TABLE` that the rows go into; if not given, the file's name"},
		&cli.BoolFlag{Name: "create", Usage: "make the table, with types guessed from the first rows"},
		&cli.StringFlag{Name: "types", Usage: "with --create: declared types, as `id=INTEGER,price=REAL`; the others are guessed"},
		&cli.StringFlag{Name: "format", Usage: "csv or jsonl; if not given, from the file's name"},
		&cli.BoolFlag{Name: "no-header", Usage: "the first row of a CSV file is data"},
		&cli.BoolFlag{Name: "header", Usage: "the first row of a CSV file names the columns, which is the default"},
		&cli.StringFlag{Name: "delimiter", Usage: "`CHARACTER` between the cells of a CSV file, tab for a tabulator", Value: ","},
		&cli.StringFlag{Name: "null", Usage: "`TEXT` of a cell without quotes that is NULL; if not given, an empty one"},
		&cli.BoolFlag{Name: "plan", Usage: "for a database: say what would be done, and change nothing"},
	)
	return clientCommand(std, &cli.Command{
		Name: "import", Usage: "put the rows of a CSV or JSON Lines file into a table, or a whole plain SQLite file into an empty database", ArgsUsage: "FILE", Flags: flags,
		Subcommands: []*cli.Command{newSplitCommand(std)},
		Description: "FILE is - for stdin. What does not fit is named by file, line and column, and then nothing is changed.",
	}, 1, 1, func(r *run) error {
		if name := strings.ToLower(r.Args().First()); strings.HasSuffix(name, ".db") || strings.HasSuffix(name, ".sqlite") || strings.HasSuffix(name, ".sqlite3") {
			return r.importDB(r.Args().First())
		}
		if r.IsSet("plan") {
			return domain.Fieldf("plan", "it is for databases: files that end in .db, .sqlite or .sqlite3")
		}
		return r.importRows()
	})
}

// imported is what an import did.
type imported struct {
	Table   string `json:"table"`
	Rows    int64  `json:"rows"`
	Created bool   `json:"created"`
}

func (r *run) importRows() error {
	tenant, err := r.tenant()
	if err != nil {
		return err
	}
	in, size, err := openInput(r, r.Args().First())
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	o, err := r.importOptions()
	if err != nil {
		return err
	}
	table := r.String("table")
	if base := filepath.Base(o.File); table == "" && o.File != "stdin" {
		table = strings.TrimSuffix(base, filepath.Ext(base))
	}
	if table == "" || !utf8.ValidString(table) || strings.IndexByte(table, 0) >= 0 {
		return domain.Fieldf("table", "no table is named").WithHint("add --table TABLE")
	}
	meter := r.newMeter("imported")
	defer meter.end()
	meter.total = size
	rows, err := inout.Open(&countedReader{in, &meter.done}, o)
	if err != nil {
		return err
	}
	create, columns, err := r.newColumns(rows)
	if err != nil {
		return err
	}
	out := imported{Table: table, Created: create}
	ctx := r.Context.Context
	stream := newSQLStream(r.client, tenant)
	if err := stream.inTransaction(ctx, "BEGIN IMMEDIATE", func() (err error) {
		if create {
			_, err = stream.one(ctx, createTable(table, columns))
		} else {
			columns, err = existingColumns(ctx, stream, table, rows.Names())
		}
		if err != nil {
			return err
		}
		rows.Fit(columns)
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = c.Name
		}
		out.Rows, err = newLoader(stream, table, names, meter).load(ctx, rows.Next)
		return err
	}); err != nil {
		return err
	}
	meter.end()
	return r.show(out, func(io.Writer) { r.say("%d rows imported into %s", out.Rows, table) })
}

// countedReader counts what is read.
type countedReader struct {
	io.Reader
	n *atomic.Int64
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// openInput opens the file of an import; its size is 0 if it is not known.
func openInput(r *run, name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(r.std.In), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, domain.Fieldf("file", "%v", err)
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = domain.Fieldf("file", "%s is a directory", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

func (r *run) importOptions() (o inout.Options, err error) {
	o = inout.Options{File: filepath.Base(r.Args().First()), NoHeader: r.Bool("no-header"), Null: r.String("null")}
	if r.Args().First() == "-" {
		o.File = "stdin"
	}
	if r.Bool("header") && o.NoHeader {
		return o, domain.Fieldf("header", "--header and --no-header cannot both be")
	}
	format, err := formatOf(r, o.File)
	if err != nil {
		return o, err
	}
	o.JSONL = format == "jsonl"
	delimiter := r.String("delimiter")
	if delimiter == "tab" || delimiter == `\t` {
		delimiter = "\t"
	}
	c, size := utf8.DecodeRuneInString(delimiter)
	if size != len(delimiter) || size == 0 || c == utf8.RuneError || strings.ContainsRune("\"\r\n\x00", c) {
		return o, domain.Fieldf("delimiter", "it is not one character that can stand between cells")
	}
	o.Delimiter = c
	return o, nil
}

// formatOf is the format that was asked for, or that a file's name says.
func formatOf(r *run, file string) (string, error) {
	format := r.String("format")
	if format == "" {
		switch strings.ToLower(filepath.Ext(file)) {
		case ".csv", ".tsv", ".txt":
			format = "csv"
		case ".jsonl", ".ndjson", ".json":
			format = "jsonl"
		}
	}
	switch format {
	case "csv", "jsonl":
		return format, nil
	case "":
		return "", domain.Fieldf("format", "the name of %.80q does not say it", file).WithHint("add --format csv or --format jsonl")
	}
	return "", domain.Fieldf("format", "%.20q is neither csv nor jsonl", format)
}

// newColumns are those of a table that is to be made.
func (r *run) newColumns(rows *inout.Rows) (create bool, columns []inout.Column, err error) {
	types := map[string]string{}
	if text := r.String("types"); text != "" {
		if !r.Bool("create") {
			return false, nil, domain.Fieldf("types", "they are for --create; a table that is there has its own")
		}
		for part := range strings.SplitSeq(text, ",") {
			name, t, ok := strings.Cut(part, "=")
			if !ok || !plainType(t) {
				return false, nil, domain.Fieldf("types", "%.80q is not like name=INTEGER", part)
			}
			types[strings.TrimSpace(name)] = t
		}
	}
	if !r.Bool("create") {
		return false, nil, nil
	}
	columns, err = rows.Guess(types)
	if err == nil && len(columns) == 0 {
		err = domain.Errorf(domain.Invalid, "the file has no rows from which columns could be guessed")
	}
	return true, columns, err
}

// plainType tells a declared type from other SQL.
func plainType(s string) bool {
	return s != "" && strings.Trim(strings.ToUpper(s), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ") == ""
}

func createTable(table string, columns []inout.Column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = quoteName(c.Name) + " " + c.Type
	}
	return "CREATE TABLE " + quoteName(table) + " (" + strings.Join(parts, ", ") + ")"
}

// existingColumns are the columns of a table into which a file's go: those that
// it names, or all but the generated ones.
func existingColumns(ctx context.Context, s *sqlStream, table string, names []string) (out []inout.Column, err error) {
	info, err := s.one(ctx, "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden = 0", sqlite.Text(table))
	if err != nil {
		return nil, err
	}
	if len(info.Rows) == 0 {
		return nil, domain.Errorf(domain.NotFound, "there is no table %.80q", table).WithHint("with --create it is made")
	}
	for _, row := range info.Rows {
		out = append(out, inout.Column{Name: row[0].Raw(), Type: row[1].Raw()})
	}
	if names == nil {
		return out, nil
	}
	chosen := make([]inout.Column, len(names))
	for i, name := range names {
		at := slices.IndexFunc(out, func(c inout.Column) bool { return strings.EqualFold(c.Name, name) })
		if at < 0 {
			return nil, domain.Errorf(domain.Invalid, "the table %.80q has no column %.80q that could be filled", table, name).
				WithHint("its columns are: %s", columnNames(out))
		}
		chosen[i] = out[at]
	}
	return chosen, nil
}

func columnNames(columns []inout.Column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return fmt.Sprintf("%.400s", strings.Join(names, ", "))
}
