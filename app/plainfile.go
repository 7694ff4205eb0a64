package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"coffer/app/domain"
	"coffer/app/inout"
	"coffer/tenants/plain"
	"coffer/tenants/sqlite"
)

// maxLine bounds a line from the process that reads a database: a row of
// plain.MaxRow as JSON at its longest.
const maxLine = 8 << 20

// plainFile is a plain database that another process reads.
type plainFile struct {
	name   string
	schema plain.Schema
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
}

func openPlain(ctx context.Context, path string) (_ *plainFile, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	p := &plainFile{name: filepath.Base(path), cmd: exec.CommandContext(ctx, self, "read-db", "--", path)}
	p.cmd.Env = []string{} // it needs nothing of this process
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	p.out.Buffer(nil, maxLine)
	a, err := p.answer()
	if err == nil && a.Schema == nil {
		err = p.gone()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	p.schema = *a.Schema
	return p, nil
}

// close ends the process.
func (p *plainFile) close() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *plainFile) gone() error {
	return domain.Errorf(domain.Invalid, "%s cannot be read: the process that reads it ended or reached its limits", p.name)
}

func (p *plainFile) answer() (a readAnswer, err error) {
	if !p.out.Scan() || json.Unmarshal(p.out.Bytes(), &a) != nil {
		return a, p.gone()
	}
	if a.Error != "" {
		return a, domain.Errorf(domain.Invalid, "%s: %.500s", p.name, clean(a.Error)).WithHint("%s", a.Hint)
	}
	return a, nil
}

// query asks for rows; next gives them, io.EOF behind the last. One query must be
// read to its end before the next.
func (p *plainFile) query(sql string, args ...sqlite.Value) (next func() (inout.Row, error), err error) {
	return p.ask(readQuery{SQL: sql, Args: []wireValue{}}, args...)
}

func (p *plainFile) ask(q readQuery, args ...sqlite.Value) (next func() (inout.Row, error), err error) {
	for _, a := range args {
		q.Args = append(q.Args, toWire(a))
	}
	if err := json.NewEncoder(p.in).Encode(q); err != nil {
		return nil, p.gone()
	}
	n := 0
	return func() (row inout.Row, err error) {
		a, err := p.answer()
		if err != nil {
			return row, err
		}
		if a.End {
			return row, io.EOF
		}
		n++
		row.At = inout.Place{File: p.name, Line: n}
		row.Values = make([]sqlite.Value, len(a.Row))
		for i, v := range a.Row {
			if row.Values[i], err = v.value(); err != nil {
				return row, err
			}
		}
		return row, nil
	}, nil
}

// examine looks at every value before anything is changed, and says which tables
// have some that cannot be taken.
func (p *plainFile) examine(leave map[string]bool) (refused []string, err error) {
	for _, t := range p.schema.Tables {
		if t.Derived || leave[t.Name] || len(t.Columns) == 0 {
			continue
		}
		q := readQuery{SQL: "SELECT " + quoteNames(t.Columns) + " FROM " + quoteName(t.Name), Args: []wireValue{}, Quiet: true}
		if err := json.NewEncoder(p.in).Encode(q); err != nil {
			return nil, p.gone()
		}
		if a, err := p.answer(); err != nil && a.Error == "" {
			return nil, err
		} else if a.Error != "" {
			refused = append(refused, fmt.Sprintf("table %.80q: %.300s", t.Name, a.Error))
		}
	}
	return refused, nil
}

// all gives the rows of a query that has few.
func (p *plainFile) all(sql string, args ...sqlite.Value) (out [][]sqlite.Value, err error) {
	return collect(p.query(sql, args...))
}

// tally gives the different rows of a query, each with its number behind it.
func (p *plainFile) tally(sql string) ([][]sqlite.Value, error) {
	return collect(p.ask(readQuery{SQL: sql, Args: []wireValue{}, Tally: true}))
}

func collect(next func() (inout.Row, error), err error) (out [][]sqlite.Value, _ error) {
	for err == nil {
		var row inout.Row
		if row, err = next(); err == nil {
			out = append(out, row.Values)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return out, err
}

// part says which rows of a table go into one tenant.
type part struct {
	where string // "" for all
	args  []sqlite.Value
}

// fill puts the schema and rows into an empty database, in the transaction of a
// stream. parts has the tables of which not all rows go; leave those left out.
func (p *plainFile) fill(ctx context.Context, s *sqlStream, parts map[string]part, leave map[string]bool, m *meter) (counts map[string]int64, err error) {
	if _, err := s.one(ctx, "PRAGMA defer_foreign_keys = ON"); err != nil {
		return nil, err
	}
	counts = map[string]int64{}
	for _, t := range p.schema.Tables {
		if _, err := s.one(ctx, t.SQL); err != nil {
			return nil, named(t.Object, err)
		}
	}
	for _, t := range p.schema.Tables {
		if t.Derived || leave[t.Name] {
			continue
		}
		if counts[t.Name], err = p.fillTable(ctx, s, t, parts[t.Name], m); err != nil {
			return nil, err
		}
	}
	return counts, p.finish(ctx, s, leave)
}

func (p *plainFile) fillTable(ctx context.Context, s *sqlStream, t plain.Table, only part, m *meter) (int64, error) {
	if len(t.Columns) == 0 {
		return 0, nil
	}
	sql := "SELECT " + quoteNames(t.Columns) + " FROM " + quoteName(t.Name) + " AS t"
	if only.where != "" {
		sql += " WHERE " + only.where
	}
	next, err := p.query(sql, only.args...)
	if err != nil {
		return 0, err
	}
	n, err := newLoader(s, t.Name, t.Columns, m).load(ctx, func() (inout.Row, error) {
		row, err := next()
		row.At.File = p.name + ", table " + t.Name
		return row, err
	})
	return n, err
}

// finish makes what comes behind the rows, and looks at the foreign keys.
func (p *plainFile) finish(ctx context.Context, s *sqlStream, leave map[string]bool) error {
	for _, name := range p.schema.Rebuild {
		if _, err := s.one(ctx, "INSERT INTO "+quoteName(name)+" ("+quoteName(name)+") VALUES ('rebuild')"); err != nil {
			return err
		}
	}
	for _, seq := range p.schema.Sequences {
		if leave[seq.Table] {
			continue
		}
		for _, sql := range []string{"DELETE FROM sqlite_sequence WHERE name = ?1 AND ?2 = ?2", "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)"} {
			if _, err := s.one(ctx, sql, sqlite.Text(seq.Table), sqlite.Int(seq.N)); err != nil {
				return err
			}
		}
	}
	for _, o := range p.schema.Later {
		if _, err := s.one(ctx, o.SQL); err != nil {
			return named(o, err)
		}
	}
	if v := p.schema.UserVersion; v != 0 {
		if _, err := s.one(ctx, "PRAGMA user_version = "+sqlite.Int(v).String()); err != nil {
			return err
		}
	}
	bad, err := s.one(ctx, "PRAGMA foreign_key_check")
	if err == nil && len(bad.Rows) > 0 {
		err = domain.Errorf(domain.Conflict, "%d rows would point nowhere by their foreign keys, the first in the table %.80q", len(bad.Rows), bad.Rows[0][0].Raw())
	}
	return err
}

func named(o plain.Object, err error) error {
	return domain.Errorf(domain.KindOf(err), "%s %.80q: %w", o.Type, o.Name, err)
}

// refusals stop an import before anything is changed.
func (p *plainFile) refusals() []string {
	out := append([]string{}, p.schema.Refused...)
	if n := p.schema.Dangling; n > 0 {
		out = append(out, sqlite.Int(n).String()+" rows have a foreign key that points nowhere")
	}
	return out
}
