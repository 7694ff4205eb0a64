package app

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/tenants/plain"
	"coffer/tenants/sqlite"
)

// exportDB writes the whole database into a plain file here: the server never
// writes one.
func (r *run) exportDB(path string) error {
	for _, name := range []string{"table", "sql", "format", "out"} {
		if r.IsSet(name) {
			return domain.Fieldf(name, "--db exports the whole database")
		}
	}
	tenant, err := r.tenant()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil && !r.Bool("force") {
		return domain.Fieldf("db", "%s is there already", path).WithHint("with --force it is replaced")
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".coffer-export-")
	if err != nil {
		return domain.Fieldf("db", "%v", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	ctx := r.Context.Context
	url, err := r.tenantPath("export")
	if err != nil {
		return err
	}
	var noted actions.SQLExportOut
	if err := r.client.call(ctx, http.MethodPost, url, nil, struct{}{}, &noted); err != nil {
		return err
	}
	meter := r.newMeter("exported")
	defer meter.end()
	file := filepath.Join(tmp, "db")
	if err := buildDB(ctx, newSQLStream(r.client, tenant), file, meter); err != nil {
		return err
	}
	if err := moveExport(file, path); err != nil {
		return err
	}
	meter.end()
	out := exported{path, meter.rows}
	return r.show(out, func(io.Writer) { r.say("%d rows exported to %s, which is not encrypted", out.Rows, path) })
}

// moveExport puts a file that is whole in its place, durably.
func moveExport(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return err
	}
	return durable.Rename(from, to)
}

func buildDB(ctx context.Context, s *sqlStream, file string, m *meter) (err error) {
	w, err := plain.Create(ctx, file)
	if err != nil {
		return err
	}
	defer func() {
		if closed := w.Close(); err == nil {
			err = closed
		}
	}()
	counts := map[string]int64{}
	if err := s.inTransaction(ctx, "BEGIN TRANSACTION READONLY", func() error { return copyOut(ctx, s, w, counts, m) }); err != nil {
		return err
	}
	return w.Finish(ctx, counts)
}

// copyOut copies schema and rows: tables, then what shows their rows, then indexes,
// views and triggers.
func copyOut(ctx context.Context, s *sqlStream, w *plain.Writer, counts map[string]int64, m *meter) error {
	objects, err := remoteObjects(ctx, s)
	if err != nil {
		return err
	}
	var rebuild []string
	for _, o := range objects {
		if o.Type != "table" {
			continue
		}
		derived, lost := plain.ContentOf(o.SQL)
		if lost {
			return domain.Errorf(domain.Invalid, "the table %.80q is an index without its texts, which cannot be read", o.Name).WithHint("drop it, or export tables one by one")
		}
		if err := w.Exec(ctx, o.SQL); err != nil {
			return named(o, err)
		}
		if derived {
			rebuild = append(rebuild, o.Name)
			continue
		}
		if counts[o.Name], err = copyTable(ctx, s, w, o.Name, m); err != nil {
			return named(o, err)
		}
	}
	for _, name := range rebuild {
		if err := w.Exec(ctx, "INSERT INTO "+quoteName(name)+" ("+quoteName(name)+") VALUES ('rebuild')"); err != nil {
			return err
		}
	}
	if err := copyNumbers(ctx, s, w); err != nil {
		return err
	}
	for _, o := range objects {
		if o.Type != "table" {
			if err := w.Exec(ctx, o.SQL); err != nil {
				return named(o, err)
			}
		}
	}
	return nil
}

// remoteObjects are the definitions in the order in which they can be made.
func remoteObjects(ctx context.Context, s *sqlStream) (out []plain.Object, err error) {
	list, err := s.one(ctx, "PRAGMA table_list")
	if err != nil {
		return nil, err
	}
	shadow := map[string]bool{}
	name, t := slices.Index(list.Columns, "name"), slices.Index(list.Columns, "type")
	for _, row := range list.Rows {
		shadow[row[name].Raw()] = row[t].Raw() == "shadow"
	}
	rows, err := s.one(ctx, `SELECT type, name, sql, tbl_name FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
	for _, row := range rows.Rows {
		if o := (plain.Object{Type: row[0].Raw(), Name: row[1].Raw(), SQL: row[2].Raw()}); !shadow[o.Name] && !shadow[row[3].Raw()] {
			out = append(out, o)
		}
	}
	order := []string{"table", "index", "view", "trigger"}
	slices.SortStableFunc(out, func(a, b plain.Object) int { return slices.Index(order, a.Type) - slices.Index(order, b.Type) })
	return out, err
}

// copyTable copies a table's rows with their rowids.
func copyTable(ctx context.Context, s *sqlStream, w *plain.Writer, table string, m *meter) (n int64, err error) {
	info, err := s.one(ctx, "SELECT name, pk, hidden, type FROM pragma_table_xinfo(?)", sqlite.Text(table))
	if err != nil {
		return 0, err
	}
	var all, columns []string
	keys, alias := 0, false
	for _, row := range info.Rows {
		if row[2].Int64() != 1 {
			all = append(all, row[0].Raw())
		}
		if row[2].Int64() == 0 {
			columns = append(columns, row[0].Raw())
		}
		if row[1].Int64() > 0 {
			keys, alias = keys+1, strings.EqualFold(row[3].Raw(), "INTEGER")
		}
	}
	_, withoutRowid, err := tableKind(ctx, s, table)
	if err != nil {
		return 0, err
	}
	if rowid := freeRowid(all); rowid != "" && !withoutRowid && (keys != 1 || !alias) {
		columns = append([]string{rowid}, columns...)
	}
	pages, err := tablePages(ctx, s, table, columns)
	if err == nil {
		err = w.Into(ctx, table, columns)
	}
	if err != nil {
		return 0, err
	}
	err = pages.rows(ctx, nil, func(row []sqlite.Value) error {
		n++
		m.add(1)
		return w.Row(ctx, row)
	})
	return n, err
}

// copyNumbers copies where AUTOINCREMENT stands, and the version of the schema.
func copyNumbers(ctx context.Context, s *sqlStream, w *plain.Writer) error {
	version, err := s.one(ctx, "PRAGMA user_version")
	if err != nil {
		return err
	}
	if err := w.Exec(ctx, "PRAGMA user_version = "+version.Rows[0][0].String()); err != nil {
		return err
	}
	there, err := s.one(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'")
	if err != nil || there.Rows[0][0].Int64() == 0 {
		return err
	}
	rows, err := s.one(ctx, "SELECT name, seq FROM sqlite_sequence")
	if err != nil {
		return err
	}
	if err := w.Exec(ctx, "DELETE FROM sqlite_sequence"); err != nil {
		return err
	}
	if err := w.Into(ctx, "sqlite_sequence", []string{"name", "seq"}); err != nil {
		return err
	}
	for _, row := range rows.Rows {
		if err := w.Row(ctx, row); err != nil {
			return err
		}
	}
	return nil
}
