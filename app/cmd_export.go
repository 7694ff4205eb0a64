package app

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/inout"
	"coffer/tenants/sqlite"
)

func newExportCommand(std Stdio) *cli.Command {
	flags := tenantFlags(
		&cli.StringFlag{Name: "table", Usage: "`TABLE` to export"},
		&cli.StringFlag{Name: "db", Usage: "plain SQLite `FILE` to write the whole database to; for owners, and it raises an alert"},
		&cli.StringFlag{Name: "sql", Usage: "`QUERY` whose result to export"},
		&cli.StringFlag{Name: "format", Usage: "csv or jsonl; if not given, from the file's name"},
		&cli.StringFlag{Name: "out", Usage: "`FILE` to write, - for stdout", Value: "-"},
		&cli.BoolFlag{Name: "force", Usage: "replace a file that is there"},
	)
	return clientCommand(std, &cli.Command{
		Name: "export", Usage: "write a table or the result of a query as CSV or JSON Lines, or the whole database as a plain SQLite file, as of one moment", Flags: flags,
		Description: "The file is for its owner alone (0600). Bytes are written in base64, whole numbers in full.",
	}, 0, 0, func(r *run) error {
		if r.IsSet("db") {
			return r.exportDB(r.String("db"))
		}
		return r.exportRows()
	})
}

// exported is what an export did.
type exported struct {
	File string `json:"file"`
	Rows int64  `json:"rows"`
}

func (r *run) exportRows() error {
	tenant, err := r.tenant()
	if err != nil {
		return err
	}
	if (r.String("table") == "") == (r.String("sql") == "") {
		return domain.Fieldf("table", "one of --table and --sql is wanted")
	}
	out := r.String("out")
	format, err := formatOf(r, out)
	if err != nil {
		return err
	}
	meter := r.newMeter("exported")
	defer meter.end()
	ctx := r.Context.Context
	write := func(w io.Writer) error {
		writer, err := inout.NewWriter(format, bufio.NewWriterSize(w, 1<<16))
		if err != nil {
			return err
		}
		stream := newSQLStream(r.client, tenant)
		return stream.inTransaction(ctx, "BEGIN TRANSACTION READONLY", func() error {
			pages, err := r.pagesOf(ctx, stream)
			if err != nil {
				return err
			}
			if err := pages.each(ctx, writer, meter); err != nil {
				return err
			}
			return writer.Flush()
		})
	}
	if out == "-" {
		return write(r.std.Out)
	}
	if err := writeExport(out, r.Bool("force"), write); err != nil {
		return err
	}
	meter.end()
	done := exported{out, meter.rows}
	return r.show(done, func(io.Writer) { r.say("%d rows exported to %s", done.Rows, out) })
}

// writeExport writes a file all or not at all.
func writeExport(path string, force bool, write func(io.Writer) error) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return domain.Fieldf("out", "%s is there already", path).WithHint("with --force it is replaced")
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || !st.IsDir() {
		return domain.Fieldf("out", "%s is not in a directory that is there", path)
	}
	var failed error
	err := durable.Fill(path, func(w io.Writer) error {
		failed = write(w)
		return failed
	})
	if failed != nil {
		return failed // what is wrong is not the file
	}
	return err
}

// sqlPages reads a result in parts, each a statement of its own within one
// snapshot: an answer has a bound.
type sqlPages struct {
	stream  *sqlStream
	first   string // query of the first page, takes the number of rows
	next    string // of those behind, takes the key of the last row first
	key     []int  // places of the key in a row; none: pages are counted
	skip    int    // columns at the beginning that are there for the key alone
	perPage int
}

// Pages have about so many bytes: a fraction of what an answer may have.
const (
	firstPage = 500
	maxPage   = 20_000
	pageBytes = 1 << 20
)

func (r *run) pagesOf(ctx context.Context, s *sqlStream) (*sqlPages, error) {
	if query := strings.TrimRight(r.String("sql"), "; \t\r\n"); query != "" {
		q := "SELECT * FROM (\n" + query + "\n) LIMIT ?" // a comment may end the query
		return &sqlPages{stream: s, first: q, next: q + " OFFSET ?", perPage: firstPage}, nil
	}
	return tablePages(ctx, s, r.String("table"), nil)
}

// tablePages reads a table by its rowid, or by its primary key where it has none.
func tablePages(ctx context.Context, s *sqlStream, table string, columns []string) (*sqlPages, error) {
	info, err := s.one(ctx, "SELECT name, pk, hidden FROM pragma_table_xinfo(?)", sqlite.Text(table))
	if err != nil {
		return nil, err
	}
	if len(info.Rows) == 0 {
		return nil, domain.Errorf(domain.NotFound, "there is no table %.80q", table)
	}
	var all []string
	keys := map[int64]string{}
	for _, row := range info.Rows {
		if row[2].Int64() != 1 { // hidden ones are the commands of FTS5
			all = append(all, row[0].Raw())
		}
		if pk := row[1].Int64(); pk > 0 {
			keys[pk] = row[0].Raw()
		}
	}
	if columns == nil {
		columns = all
	}
	kind, withoutRowid, err := tableKind(ctx, s, table)
	if err != nil {
		return nil, err
	}
	p := &sqlPages{stream: s, perPage: firstPage}
	list, from := quoteNames(columns), " FROM "+quoteName(table)
	switch rowid := freeRowid(all); {
	case withoutRowid:
		var pk []string
		for i := range len(keys) {
			pk = append(pk, keys[int64(i+1)])
			p.key = append(p.key, i)
		}
		p.skip = len(pk)
		names := quoteNames(pk)
		p.first = "SELECT " + names + ", " + list + from + " ORDER BY " + names + " LIMIT ?"
		p.next = "SELECT " + names + ", " + list + from + " WHERE (" + names + ") > (" + strings.Repeat("?, ", len(pk)-1) + "?) ORDER BY " + names + " LIMIT ?"
	case kind == "view" || rowid == "":
		p.first = "SELECT " + list + from + " LIMIT ?"
		p.next = p.first + " OFFSET ?"
	default:
		p.key, p.skip = []int{0}, 1
		p.first = "SELECT " + rowid + ", " + list + from + " ORDER BY " + rowid + " LIMIT ?"
		p.next = "SELECT " + rowid + ", " + list + from + " WHERE " + rowid + " > ? ORDER BY " + rowid + " LIMIT ?"
	}
	return p, nil
}

func tableKind(ctx context.Context, s *sqlStream, table string) (kind string, withoutRowid bool, err error) {
	list, err := s.one(ctx, "PRAGMA table_list")
	if err != nil {
		return "", false, err
	}
	at := func(name string) int { return slices.Index(list.Columns, name) }
	name, t, wr := at("name"), at("type"), at("wr")
	for _, row := range list.Rows {
		if name >= 0 && t >= 0 && wr >= 0 && strings.EqualFold(row[name].Raw(), table) {
			return row[t].Raw(), row[wr].Int64() != 0, nil
		}
	}
	return "", false, domain.Errorf(domain.NotFound, "there is no table %.80q", table)
}

// freeRowid is a name of the rowid that no column has.
func freeRowid(columns []string) string {
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if !slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, name) }) {
			return name
		}
	}
	return ""
}

func quoteNames(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = quoteName(n)
	}
	return strings.Join(out, ", ")
}

// each writes all rows.
func (p *sqlPages) each(ctx context.Context, w inout.Writer, m *meter) error {
	head := func(columns []string) error { return w.Head(columns) }
	return p.rows(ctx, head, func(row []sqlite.Value) error {
		m.add(1)
		return w.Row(row)
	})
}

// rows gives the head once, and then all rows.
func (p *sqlPages) rows(ctx context.Context, head func([]string) error, each func([]sqlite.Value) error) error {
	var last []sqlite.Value
	for count := int64(0); ; {
		page, err := p.page(ctx, last, count)
		if err != nil {
			return err
		}
		if count == 0 && head != nil {
			if err := head(page.Columns[p.skip:]); err != nil {
				return err
			}
		}
		size := 0
		for _, row := range page.Rows {
			for _, v := range row {
				size += wireSize(v)
			}
			if err := each(row[p.skip:]); err != nil {
				return err
			}
		}
		asked := p.perPage
		p.adapt(len(page.Rows), size)
		if len(page.Rows) < asked {
			return nil
		}
		last, count = page.Rows[len(page.Rows)-1], count+int64(len(page.Rows))
		head = nil
	}
}

func (p *sqlPages) adapt(rows, size int) {
	if rows > 0 {
		p.perPage = max(1, min(maxPage, 2*p.perPage, pageBytes/(size/rows+1)))
	}
}

// page asks for the rows behind last; fewer where they are too large.
func (p *sqlPages) page(ctx context.Context, last []sqlite.Value, count int64) (sqlResult, error) {
	for {
		sql, args := p.first, []sqlite.Value(nil)
		if last != nil {
			sql = p.next
			for _, i := range p.key {
				args = append(args, last[i])
			}
		}
		args = append(args, sqlite.Int(int64(p.perPage)))
		if last != nil && p.key == nil {
			args = append(args, sqlite.Int(count))
		}
		out, err := p.stream.one(ctx, sql, args...)
		if failed, ok := errors.AsType[*sqlError](err); ok && failed.Code == "RESPONSE_TOO_LARGE" && p.perPage > 1 {
			p.perPage = max(1, p.perPage/4)
			continue
		}
		return out, err
	}
}
