package inout

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// Row is one row for a table.
type Row struct {
	At     Place
	Values []sqlite.Value // in the order of the columns
}

// Options say how to read a file.
type Options struct {
	File      string // its name, for messages
	JSONL     bool
	Delimiter rune // of CSV; ',' if 0
	NoHeader  bool // the first row of a CSV file is data
	// Null is the text of a cell without quotes that stands for NULL.
	Null string
}

// Rows are the rows of a file, in order.
type Rows struct {
	o       Options
	in      *bufio.Reader
	csv     *csvReader
	lines   int
	names   []string // of the file's columns
	ahead   []record // read for the first look
	columns []Column
	kinds   []kind
	cells   []field
}

// record is one row before its types are known.
type record struct {
	at    Place
	cells []cell
}

// cell is a value of a row as the file has it.
type cell struct {
	name string // of the column in JSON Lines
	col  int
	null bool
	text string
	// quoted is a text of JSON's, whatever it looks like.
	quoted bool
	// value is set for what JSON says more about than a text does.
	value *sqlite.Value
}

// Bounds of the first look at a file, from which types are guessed.
const (
	lookRows  = 1000
	lookBytes = 1 << 20
)

// Open begins to read: the head of a CSV file, or the first rows of JSON Lines,
// whose names are the columns. Types must follow.
func Open(in io.Reader, o Options) (*Rows, error) {
	if o.Delimiter == 0 {
		o.Delimiter = ','
	}
	r := &Rows{o: o, in: bufio.NewReaderSize(in, 1<<16)}
	if err := skipBOM(r.in); err != nil {
		return nil, domain.Errorf(domain.Invalid, "reading %s: %w", o.File, err)
	}
	if o.JSONL {
		return r, r.look(r.addNames)
	}
	r.csv = newCSVReader(r.in, o.File, o.Delimiter)
	if o.NoHeader {
		return r, nil
	}
	head, err := r.csv.read(nil)
	if errors.Is(err, io.EOF) {
		return nil, domain.Errorf(domain.Invalid, "%s is empty", o.File).WithHint("its first row names the columns; with --no-header there is none")
	}
	if err != nil {
		return nil, r.readError(err)
	}
	for _, f := range head {
		name := strings.TrimSpace(f.text)
		if name == "" {
			return nil, f.at.bad("a column has no name")
		}
		if slices.ContainsFunc(r.names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return nil, f.at.bad("two columns are called %.80q", name)
		}
		r.names = append(r.names, name)
	}
	return r, nil
}

func (r *Rows) readError(err error) error {
	if _, ours := errors.AsType[*domain.Error](err); ours || errors.Is(err, io.EOF) {
		return err
	}
	return domain.Errorf(domain.Invalid, "reading %s: %w", r.o.File, err)
}

// Names are the columns that the file names; none without a header.
func (r *Rows) Names() []string { return r.names }

// look reads some rows ahead.
func (r *Rows) look(each func(record) error) error {
	size := 0
	for _, rec := range r.ahead {
		if err := each(rec); err != nil {
			return err
		}
	}
	for len(r.ahead) < lookRows && size < lookBytes {
		rec, err := r.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, c := range rec.cells {
			size += len(c.text)
		}
		r.ahead = append(r.ahead, rec)
		if err := each(rec); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rows) addNames(rec record) error {
	for _, c := range rec.cells {
		if !slices.Contains(r.names, c.name) {
			if slices.ContainsFunc(r.names, func(n string) bool { return strings.EqualFold(n, c.name) }) {
				return rec.at.bad("the name %.80q differs from another in its case only", c.name)
			}
			r.names = append(r.names, c.name)
		}
	}
	return nil
}

// Guess makes columns from a first look at the rows: those without a type in
// types, which has declared types by name.
func (r *Rows) Guess(types map[string]string) ([]Column, error) {
	var kinds []kind
	if err := r.look(func(rec record) error {
		for i, c := range rec.cells {
			if r.o.JSONL {
				i = slices.Index(r.names, c.name)
			}
			for len(kinds) <= i {
				kinds = append(kinds, anything)
			}
			if c.null {
				continue
			}
			kinds[i] = guessCell(kinds[i], c)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if r.names == nil {
		for i := range kinds {
			r.names = append(r.names, "c"+positionText(i))
		}
	}
	columns := make([]Column, len(r.names))
	for i, name := range r.names {
		columns[i] = Column{name, "TEXT"}
		if i < len(kinds) {
			columns[i].Type = kinds[i].declared()
		}
		if t, ok := types[name]; ok {
			columns[i].Type = t
		}
	}
	for name := range types {
		if !slices.Contains(r.names, name) {
			return nil, domain.Fieldf("types", "the file has no column %.80q", name)
		}
	}
	return columns, nil
}

func guessCell(seen kind, c cell) kind {
	if c.quoted {
		return text
	}
	if c.value == nil {
		return guess(seen, c.text)
	}
	switch c.value.Type() {
	case sqlite.TypeInteger:
		if seen == anything || seen == integer {
			return integer
		}
		if seen == real {
			return real
		}
	case sqlite.TypeFloat:
		if seen == anything || seen == integer || seen == real {
			return real
		}
	case sqlite.TypeBlob:
		if seen == anything || seen == blob {
			return blob
		}
	}
	return text
}

// Fit says into which columns the rows go, in the order of the file.
func (r *Rows) Fit(columns []Column) {
	r.columns = columns
	r.kinds = make([]kind, len(columns))
	for i, c := range columns {
		r.kinds[i] = kindOf(c.Type)
	}
}

// Next is the next row, io.EOF behind the last.
func (r *Rows) Next() (Row, error) {
	var rec record
	if len(r.ahead) > 0 {
		rec, r.ahead = r.ahead[0], r.ahead[1:]
	} else {
		var err error
		if rec, err = r.read(); err != nil {
			return Row{}, err
		}
	}
	row := Row{At: rec.at, Values: make([]sqlite.Value, len(r.columns))}
	if !r.o.JSONL && len(rec.cells) != len(r.columns) {
		return row, rec.at.bad("it has %d cells, and there are %d columns", len(rec.cells), len(r.columns))
	}
	for i, c := range rec.cells {
		at := Place{r.o.File, rec.at.Line, c.col, c.name}
		if r.o.JSONL {
			if i = slices.IndexFunc(r.columns, func(col Column) bool { return strings.EqualFold(col.Name, c.name) }); i < 0 {
				return row, at.bad("the table has no such column")
			}
		} else {
			at.Name = r.columns[i].Name
			at.Line = rec.at.Line
		}
		v, ok := r.fit(r.kinds[i], c)
		switch {
		case !ok:
			return row, at.bad("it does not hold %s", r.kinds[i].wants())
		case v.Size() > maxValue:
			return row, at.bad("a value is larger than %d bytes", maxValue)
		}
		row.Values[i] = v
	}
	return row, nil
}

func (r *Rows) fit(k kind, c cell) (sqlite.Value, bool) {
	switch {
	case c.null:
		return sqlite.Value{}, true
	case c.value == nil:
		return k.fromText(c.text)
	}
	v := *c.value
	switch k {
	case integer:
		return v, v.Type() == sqlite.TypeInteger
	case real:
		if v.Type() == sqlite.TypeInteger {
			return k.fromText(c.text)
		}
		return v, v.Type() == sqlite.TypeFloat
	case number, truth:
		return v, v.Type() == sqlite.TypeInteger || v.Type() == sqlite.TypeFloat
	case blob:
		return v, v.Type() == sqlite.TypeBlob
	case text:
		return sqlite.Text(c.text), c.text != "" // a number, as it stands there
	}
	return v, true
}

// read gives the next row as the file has it.
func (r *Rows) read() (record, error) {
	if r.o.JSONL {
		return r.readLine()
	}
	var err error
	if r.cells, err = r.csv.read(r.cells); err != nil {
		return record{}, r.readError(err)
	}
	rec := record{at: Place{File: r.o.File, Line: r.cells[0].at.Line}, cells: make([]cell, len(r.cells))}
	for i, f := range r.cells {
		rec.cells[i] = cell{col: f.at.Column, text: f.text, null: !f.quoted && f.text == r.o.Null}
	}
	return rec, nil
}
