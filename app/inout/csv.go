package inout

import (
	"bufio"
	"errors"
	"io"
	"unicode/utf8"
)

// MaxRow bounds a row of a file, in bytes: what a statement takes with room for
// how it is written.
const MaxRow = 900_000

// field is one cell of a CSV file.
type field struct {
	text   string
	quoted bool
	at     Place
}

// csvReader reads RFC 4180 with what is common besides: a BOM, line ends of one
// or two characters, another delimiter. Unlike encoding/csv it tells an empty
// cell from a quoted empty one, and where a cell stands.
type csvReader struct {
	in        *bufio.Reader
	delimiter rune
	file      string
	line, col int // of the next character
	size      int // bytes of the row so far
	cell      []byte
}

func newCSVReader(in *bufio.Reader, file string, delimiter rune) *csvReader {
	return &csvReader{in: in, file: file, delimiter: delimiter, line: 1, col: 1}
}

// skipBOM passes over the mark with which some programs begin UTF-8.
func skipBOM(in *bufio.Reader) error {
	b, err := in.Peek(3)
	if err == nil && string(b) == "\ufeff" {
		_, err = in.Discard(3)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (r *csvReader) place() Place { return Place{File: r.file, Line: r.line, Column: r.col} }

// next reads a character, and refuses what no text has.
func (r *csvReader) next() (rune, error) {
	c, size, err := r.in.ReadRune()
	switch {
	case err != nil:
		return 0, err
	case c == utf8.RuneError && size == 1:
		return 0, r.place().bad("not UTF-8")
	case c == 0:
		return 0, r.place().bad("a NUL byte")
	}
	if r.size += size; r.size > MaxRow {
		return 0, Place{File: r.file, Line: r.line}.bad("the row is larger than %d bytes", MaxRow)
	}
	if c == '\n' {
		r.line, r.col = r.line+1, 1
	} else {
		r.col++
	}
	return c, nil
}

// read gives the cells of the next row, io.EOF behind the last. Lines without
// anything are passed over.
func (r *csvReader) read(fields []field) ([]field, error) {
	for {
		r.size = 0
		fields, err := r.row(fields[:0])
		if err != nil {
			return nil, err
		}
		if len(fields) != 1 || fields[0].text != "" || fields[0].quoted {
			return fields, nil
		}
	}
}

func (r *csvReader) row(fields []field) ([]field, error) {
	for {
		f, end, err := r.one()
		if errors.Is(err, io.EOF) && len(fields) == 0 {
			return nil, io.EOF
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		fields = append(fields, f)
		if end {
			return fields, nil
		}
	}
}

// one reads a cell; end says that it was the last of its row. With io.EOF the
// cell is empty, and there is nothing behind it.
func (r *csvReader) one() (f field, end bool, err error) {
	f.at = r.place()
	r.cell = r.cell[:0]
	for first := true; ; first = false {
		c, err := r.next()
		if errors.Is(err, io.EOF) {
			f.text = string(r.cell)
			if first {
				return f, true, io.EOF
			}
			return f, true, nil
		}
		if err != nil {
			return f, false, err
		}
		switch {
		case c == '"' && first:
			return r.quoted(f)
		case c == '"':
			at := r.place()
			at.Column--
			return f, false, at.bad("a quote within a cell that does not begin with one")
		case c == r.delimiter:
			f.text = string(r.cell)
			return f, false, nil
		case c == '\n':
			f.text = string(r.cell)
			return f, true, nil
		case c == '\r':
			f.text = string(r.cell)
			return f, true, r.lineFeed()
		}
		r.cell = utf8.AppendRune(r.cell, c)
	}
}

// quoted reads the rest of a cell that began with a quote.
func (r *csvReader) quoted(f field) (field, bool, error) {
	f.quoted = true
	for {
		c, err := r.next()
		if errors.Is(err, io.EOF) {
			return f, false, f.at.bad("the quote is never closed")
		}
		if err != nil {
			return f, false, err
		}
		if c != '"' {
			r.cell = utf8.AppendRune(r.cell, c)
			continue
		}
		at := r.place()
		c, err = r.next()
		switch {
		case errors.Is(err, io.EOF), err == nil && c == '\n':
			f.text = string(r.cell)
			return f, true, nil
		case err != nil:
			return f, false, err
		case c == '"':
			r.cell = append(r.cell, '"')
		case c == r.delimiter:
			f.text = string(r.cell)
			return f, false, nil
		case c == '\r':
			f.text = string(r.cell)
			return f, true, r.lineFeed()
		default:
			return f, false, at.bad("something stands between the closing quote and the end of the cell")
		}
	}
}

// lineFeed takes the second half of a line end of two characters.
func (r *csvReader) lineFeed() error {
	if b, err := r.in.Peek(1); err == nil && b[0] == '\n' {
		_, err = r.next()
		return err
	}
	r.line, r.col = r.line+1, 1 // old Macs
	return nil
}
