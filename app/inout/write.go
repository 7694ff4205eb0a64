package inout

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// Writer writes rows to a file.
type Writer interface {
	Head(columns []string) error
	Row(values []sqlite.Value) error
	Flush() error
}

// NewWriter makes one for a format, csv or jsonl.
func NewWriter(format string, out *bufio.Writer) (Writer, error) {
	switch format {
	case "csv":
		return &csvWriter{out: out}, nil
	case "jsonl":
		return &jsonlWriter{out: out}, nil
	}
	return nil, domain.Fieldf("format", "%.20q is neither csv nor jsonl", format)
}

// csvWriter writes what Rows reads again: NULL as an empty cell, an empty text
// in quotes, bytes in base64.
type csvWriter struct {
	out *bufio.Writer
	buf []byte
}

func (w *csvWriter) Head(columns []string) error {
	row := make([]sqlite.Value, len(columns))
	for i, c := range columns {
		row[i] = sqlite.Text(c)
	}
	return w.Row(row)
}

func (w *csvWriter) Row(values []sqlite.Value) error {
	w.buf = w.buf[:0]
	for i, v := range values {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		switch v.Type() {
		case sqlite.TypeInteger:
			w.buf = strconv.AppendInt(w.buf, v.Int64(), 10)
		case sqlite.TypeFloat:
			w.buf = appendFloat(w.buf, v.Float64())
		case sqlite.TypeBlob:
			if len(v.Raw()) == 0 {
				w.buf = append(w.buf, `""`...)
			}
			w.buf = base64.StdEncoding.AppendEncode(w.buf, v.Bytes())
		case sqlite.TypeText:
			w.buf = appendCell(w.buf, v.Raw())
		}
	}
	if len(values) == 1 && len(w.buf) == 0 {
		// A row of one NULL would be an empty line, which readers pass over.
		return domain.Errorf(domain.Invalid, "a single column that is NULL cannot be written as CSV").WithHint("use --format jsonl")
	}
	w.buf = append(w.buf, '\n')
	_, err := w.out.Write(w.buf)
	return err
}

func (w *csvWriter) Flush() error { return w.out.Flush() }

func appendCell(b []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, "\",\r\n;\t\ufeff") && strings.TrimSpace(s) == s {
		return append(b, s...)
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(s, `"`, `""`)...)
	return append(b, '"')
}

// appendFloat writes the shortest number that is read as the same float and not
// as a whole number.
func appendFloat(b []byte, f float64) []byte {
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if !strings.ContainsAny(string(b[start:]), ".eIN") {
		b = append(b, '.', '0')
	}
	return b
}

// jsonlWriter writes an object a line. Whole numbers stand there in full.
type jsonlWriter struct {
	out   *bufio.Writer
	names [][]byte
	buf   []byte
}

func (w *jsonlWriter) Head(columns []string) error {
	seen := map[string]bool{}
	for _, c := range columns {
		if seen[c] {
			return domain.Fieldf("sql", "two columns are called %.80q", c).WithHint("give one another name with AS")
		}
		seen[c] = true
		b, err := json.Marshal(c)
		if err != nil {
			return err
		}
		w.names = append(w.names, b)
	}
	return nil
}

func (w *jsonlWriter) Row(values []sqlite.Value) error {
	w.buf = append(w.buf[:0], '{')
	for i, v := range values {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(append(w.buf, w.names[i]...), ':')
		w.buf = appendJSON(w.buf, v)
	}
	w.buf = append(w.buf, '}', '\n')
	_, err := w.out.Write(w.buf)
	return err
}

func (w *jsonlWriter) Flush() error { return w.out.Flush() }

func appendJSON(b []byte, v sqlite.Value) []byte {
	switch v.Type() {
	case sqlite.TypeInteger:
		return strconv.AppendInt(b, v.Int64(), 10)
	case sqlite.TypeFloat:
		if math.IsInf(v.Float64(), 0) || math.IsNaN(v.Float64()) {
			return append(b, "null"...)
		}
		return appendFloat(b, v.Float64())
	case sqlite.TypeText:
		if utf8.ValidString(v.Raw()) {
			text, err := json.Marshal(v.Raw())
			if err == nil {
				return append(b, text...)
			}
		}
		fallthrough
	case sqlite.TypeBlob:
		b = append(b, `{"base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, `"}`...)
	}
	return append(b, "null"...)
}
