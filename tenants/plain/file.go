package plain

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strconv"
	"unicode/utf8"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// MaxRow bounds the values of a row in bytes: what a request can carry.
const MaxRow = 600_000

// File is an open plain database.
type File struct{ conn *sqlite.Conn }

// Open opens a file for reading and checks every page of it. Nothing else may
// have it open for writing.
func Open(ctx context.Context, path string) (*File, error) {
	if err := wellFormed(path); err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: path, OmitHost: true, RawQuery: "mode=ro&immutable=1"}
	conn, err := sqlite.Open(u.String(), sqlite.Options{})
	if err != nil {
		return nil, domain.Errorf(domain.Invalid, "the file cannot be read: %w", err)
	}
	f := &File{conn}
	if err := f.check(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.conn.Close() }

// wellFormed looks at the file without SQLite.
func wellFormed(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return domain.Fieldf("file", "%v", err)
	}
	head := make([]byte, 16)
	in, err := os.Open(path)
	if err != nil {
		return domain.Fieldf("file", "%v", err)
	}
	defer func() { _ = in.Close() }()
	if _, err := io.ReadFull(in, head); !st.Mode().IsRegular() || err != nil || string(head) != "SQLite format 3\x00" {
		return domain.Fieldf("file", "it is not a SQLite database")
	}
	for _, suffix := range []string{"-wal", "-journal"} {
		if st, err := os.Stat(path + suffix); err == nil && st.Size() > 0 {
			return domain.Fieldf("file", "beside it lies %s, so that it is in use or was not closed", suffix).
				WithHint("end what uses it, or make a copy: sqlite3 FILE '.backup COPY'")
		}
	}
	return nil
}

func (f *File) check(ctx context.Context) error {
	for _, sql := range []string{"PRAGMA cell_size_check = ON", "PRAGMA trusted_schema = OFF", "PRAGMA cache_size = -8192", "PRAGMA mmap_size = 0", "PRAGMA temp_store = MEMORY"} {
		if err := f.conn.Exec(ctx, sql); err != nil {
			return damaged(err)
		}
	}
	rows, err := f.all(ctx, "PRAGMA quick_check(1)")
	if err != nil {
		return damaged(err)
	}
	if len(rows) != 1 || rows[0][0].Raw() != "ok" {
		return domain.Errorf(domain.Invalid, "the file is damaged: quick_check finds faults")
	}
	return nil
}

func damaged(err error) error { return domain.Errorf(domain.Invalid, "the file is damaged: %w", err) }

func (f *File) all(ctx context.Context, sql string, args ...sqlite.Value) (out [][]sqlite.Value, err error) {
	err = f.Each(ctx, sql, args, func(row []sqlite.Value) error {
		out = append(out, append([]sqlite.Value(nil), row...))
		return nil
	})
	return out, err
}

// Each gives the rows of a query.
func (f *File) Each(ctx context.Context, sql string, args []sqlite.Value, each func([]sqlite.Value) error) error {
	st, _, err := f.conn.Prepare(ctx, sql)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	for i, a := range args {
		if err := st.Bind(i+1, a); err != nil {
			return err
		}
	}
	var row []sqlite.Value
	for n := 1; ; n++ {
		more, err := st.Step(ctx)
		if err != nil || !more {
			return err
		}
		row = st.Row(row[:0])
		if err := portable(n, row); err != nil {
			return err
		}
		if err := each(row); err != nil {
			return err
		}
	}
}

// maxDistinct bounds how many different rows Tally tells apart.
const maxDistinct = 200_000

// Tally counts the different rows of a query and gives each once, with its number
// behind its values. It does not sort, as GROUP BY would: a process that may write
// to no file sorts in memory alone.
func (f *File) Tally(ctx context.Context, sql string, args []sqlite.Value, each func([]sqlite.Value) error) error {
	type entry struct {
		row []sqlite.Value
		n   int64
	}
	seen := map[string]*entry{}
	var order []*entry
	var key []byte
	if err := f.Each(ctx, sql, args, func(row []sqlite.Value) error {
		key = key[:0]
		for _, v := range row {
			text := v.Raw()
			switch v.Type() {
			case sqlite.TypeInteger:
				text = strconv.FormatInt(v.Int64(), 10)
			case sqlite.TypeFloat:
				text = strconv.FormatFloat(v.Float64(), 'g', -1, 64)
			}
			key = fmt.Appendf(key, "%d:%d:%s", v.Type(), len(text), text)
		}
		e := seen[string(key)]
		if e == nil {
			if len(order) == maxDistinct {
				return domain.Errorf(domain.Limit, "there are more than %d different values", maxDistinct)
			}
			e = &entry{row: append([]sqlite.Value(nil), row...)}
			seen[string(key)] = e
			order = append(order, e)
		}
		e.n++
		return nil
	}); err != nil {
		return err
	}
	for _, e := range order {
		if err := each(append(e.row, sqlite.Int(e.n))); err != nil {
			return err
		}
	}
	return nil
}

// portable refuses what has no form on the way to a tenant.
func portable(n int, row []sqlite.Value) error {
	size := 0
	for i, v := range row {
		size += v.Size()
		if v.Type() == sqlite.TypeText && !utf8.ValidString(v.Raw()) {
			return domain.Errorf(domain.Invalid, "row %d holds text that is not UTF-8, in column %d of those that are read", n, i+1)
		}
	}
	for i, v := range row {
		if v.Type() == sqlite.TypeFloat && math.IsInf(v.Float64(), 0) {
			return domain.Errorf(domain.Invalid, "row %d holds an infinite number, in column %d of those that are read", n, i+1)
		}
	}
	if size > MaxRow {
		return domain.Errorf(domain.Limit, "row %d is larger than %d bytes", n, MaxRow)
	}
	return nil
}

func quote(s string) string {
	out := `"`
	for _, c := range s {
		if c == '"' {
			out += `"`
		}
		out += string(c)
	}
	return fmt.Sprint(out, `"`)
}
