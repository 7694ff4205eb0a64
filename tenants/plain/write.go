package plain

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"coffer/tenants/sqlite"
)

// Writer fills a new plain database. What is asked of it is done in one
// transaction, which Close ends.
type Writer struct {
	conn   *sqlite.Conn
	insert *sqlite.Stmt
}

// Create makes a file that only its owner may read; one that is there is an error.
func Create(ctx context.Context, path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: path, OmitHost: true}
	conn, err := sqlite.Open(u.String(), sqlite.Options{Mode: sqlite.ReadWrite})
	if err != nil {
		return nil, err
	}
	w := &Writer{conn: conn}
	// Nobody reads the file before it is whole, and whoever made it syncs it then.
	for _, sql := range []string{"PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA foreign_keys = OFF", "BEGIN"} {
		if err := conn.Exec(ctx, sql); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return w, nil
}

// Exec runs a definition.
func (w *Writer) Exec(ctx context.Context, sql string) error { return w.conn.Exec(ctx, sql) }

// Into begins to insert into a table.
func (w *Writer) Into(ctx context.Context, table string, columns []string) (err error) {
	if err := w.done(); err != nil {
		return err
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quote(c)
	}
	w.insert, _, err = w.conn.Prepare(ctx, "INSERT INTO "+quote(table)+" ("+strings.Join(names, ", ")+") VALUES ("+strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")+")")
	return err
}

// Row inserts a row.
func (w *Writer) Row(ctx context.Context, values []sqlite.Value) error {
	for i, v := range values {
		if err := w.insert.Bind(i+1, v); err != nil {
			return err
		}
	}
	if _, err := w.insert.Step(ctx); err != nil {
		return err
	}
	return w.insert.Reset()
}

func (w *Writer) done() error {
	st := w.insert
	if w.insert = nil; st != nil {
		return st.Close()
	}
	return nil
}

// Finish commits, and checks what is in the file: every page, and the number of
// rows of each table.
func (w *Writer) Finish(ctx context.Context, rows map[string]int64) error {
	if err := w.done(); err != nil {
		return err
	}
	if err := w.conn.Exec(ctx, "COMMIT"); err != nil {
		return err
	}
	f := &File{w.conn}
	if err := f.check(ctx); err != nil {
		return err
	}
	for table, want := range rows {
		n, err := f.all(ctx, "SELECT count(*) FROM "+quote(table))
		if err != nil {
			return err
		}
		if got := n[0][0].Int64(); got != want {
			return fmt.Errorf("the table %q has %d rows in the file and %d in the tenant", table, got, want)
		}
	}
	return nil
}

// Close closes the file.
func (w *Writer) Close() error {
	_ = w.done()
	return w.conn.Close()
}

// ContentOf says of a table's definition whether it is an index of full text whose
// texts stand in another table (derived), or nowhere (lost).
func ContentOf(sql string) (derived, lost bool) {
	m := fromContent.FindStringSubmatch(sql)
	if m == nil || !virtual(sql) {
		return false, false
	}
	return true, strings.Trim(m[1], ` '"`) == ""
}
