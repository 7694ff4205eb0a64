package app

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/inout"
	"coffer/tenants/sqlite"
)

// Bounds of what a load sends at once: a request has a bound of 1 MiB, and a
// statement of which one row fails is looked at row by row.
const (
	loadBytes      = 900_000 // as sent
	loadRows       = 100     // in a statement
	loadStatements = 60      // in a request
	loadArgs       = 30_000  // in a statement
	keepAlive      = 2 * time.Second
)

// loader puts rows into a table within the transaction of a stream. A source that
// is slow does not lose the transaction to the time for which one may be idle.
type loader struct {
	stream  *sqlStream
	into    string // INSERT INTO … VALUES
	columns int
	meter   *meter
}

func newLoader(s *sqlStream, table string, columns []string, m *meter) *loader {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quoteName(c)
	}
	return &loader{stream: s, columns: len(columns), meter: m, into: "INSERT INTO " + quoteName(table) + " (" + strings.Join(names, ", ") + ") VALUES "}
}

// quoteName quotes a name for SQL.
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// portion is what goes out in one request.
type portion struct {
	rows []inout.Row
	err  error // that ended the source; io.EOF is its end
}

// load takes rows until io.EOF, and gives how many there were.
func (l *loader) load(ctx context.Context, next func() (inout.Row, error)) (n int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	portions := make(chan portion)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for end := false; !end; {
			p := l.gather(next)
			end = p.err != nil
			select {
			case portions <- p:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		cancel()
		select {
		case <-done:
		default: // it waits for a file that gives nothing; the process ends
		}
	}()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		select {
		case p := <-portions:
			if err := l.send(ctx, p.rows); err != nil {
				return n, err
			}
			n += int64(len(p.rows))
			l.meter.add(len(p.rows))
			if errors.Is(p.err, io.EOF) {
				return n, nil
			}
			if p.err != nil {
				return n, p.err
			}
			alive.Reset(keepAlive)
		case <-alive.C:
			if _, err := l.stream.one(ctx, "SELECT 1"); err != nil {
				return n, err
			}
		case <-ctx.Done():
			return n, domain.Errorf(domain.Unavailable, "interrupted: nothing was changed")
		}
	}
}

// gather collects the rows of one request.
func (l *loader) gather(next func() (inout.Row, error)) (p portion) {
	size := 0
	for len(p.rows) < l.most()*loadStatements {
		row, err := next()
		if err != nil {
			p.err = err
			return p
		}
		p.rows = append(p.rows, row)
		for _, v := range row.Values {
			size += wireSize(v)
		}
		if size > loadBytes/2 {
			return p // the next row may be large
		}
	}
	return p
}

// most is the number of rows in a statement.
func (l *loader) most() int { return max(1, min(loadRows, loadArgs/max(1, l.columns))) }

// wireSize bounds the bytes of a value as it is sent.
func wireSize(v sqlite.Value) int {
	const frame = 34
	switch v.Type() {
	case sqlite.TypeText:
		n := frame + len(v.Raw())
		for i := range len(v.Raw()) {
			if c := v.Raw()[i]; c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0xe2 {
				n += 5
			}
		}
		return n
	case sqlite.TypeBlob:
		return frame + (len(v.Raw())+2)/3*4
	}
	return frame + 24
}

// send inserts rows; the error names the row at which it happened.
func (l *loader) send(ctx context.Context, rows []inout.Row) error {
	for len(rows) > 0 {
		var statements []sqlStatement
		var parts [][]inout.Row
		size := 0
		for len(rows) > 0 && len(statements) < loadStatements {
			n, bytes := l.fitting(rows, loadBytes-size)
			if n == 0 && len(statements) > 0 {
				break
			}
			n = max(n, 1) // a row that is too large for itself is refused by the request's bound
			statements, parts = append(statements, l.statement(rows[:n])), append(parts, rows[:n])
			rows, size = rows[n:], size+bytes
		}
		_, errs, err := l.stream.execute(ctx, statements...)
		if err != nil {
			return err
		}
		for i, err := range errs {
			if err != nil {
				return l.blame(ctx, parts[i], err)
			}
		}
	}
	return nil
}

// fitting is how many of the rows go into one statement of so many bytes.
func (l *loader) fitting(rows []inout.Row, room int) (n, bytes int) {
	bytes = len(l.into) + 100
	for n < min(len(rows), l.most()) {
		more := 3 * l.columns
		for _, v := range rows[n].Values {
			more += wireSize(v)
		}
		if bytes+more > room {
			return n, bytes
		}
		n, bytes = n+1, bytes+more
	}
	return n, bytes
}

func (l *loader) statement(rows []inout.Row) sqlStatement {
	one := "(" + strings.Repeat("?,", l.columns-1) + "?)"
	st := sqlStatement{SQL: l.into + strings.Repeat(one+",", len(rows)-1) + one, Quiet: true}
	for _, r := range rows {
		st.Args = append(st.Args, r.Values...)
	}
	return st
}

// blame finds the row for which a statement failed, by inserting them one by one
// in the transaction, which is rolled back afterwards.
func (l *loader) blame(ctx context.Context, rows []inout.Row, failed error) error {
	if !l.stream.open {
		return failed
	}
	for _, row := range rows {
		if _, err := l.stream.one(ctx, l.statement([]inout.Row{row}).SQL, row.Values...); err != nil {
			return domain.Errorf(domain.KindOf(err), "%s: %w", row.At, err)
		}
	}
	return failed
}

// inTransaction runs fn in a transaction that changes all or nothing.
func (s *sqlStream) inTransaction(ctx context.Context, begin string, fn func() error) error {
	if _, err := s.one(ctx, begin); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		_, err = s.one(ctx, "COMMIT")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepAlive)
	defer cancel()
	if closed := s.close(ctx); err == nil {
		err = closed
	}
	return err
}
