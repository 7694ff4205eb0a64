package inout

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"coffer/tenants/sqlite"
)

func positionText(i int) string { return strconv.Itoa(i + 1) }

// readLine reads one object of JSON Lines; lines without anything are passed over.
func (r *Rows) readLine() (record, error) {
	for {
		r.lines++
		at := Place{File: r.o.File, Line: r.lines}
		line, err := boundedLine(r.in)
		switch {
		case errors.Is(err, errLong):
			return record{}, at.bad("the row is larger than %d bytes", MaxRow)
		case err != nil && (!errors.Is(err, io.EOF) || len(line) == 0):
			return record{}, r.readError(err)
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return record{}, at.bad("not UTF-8")
		}
		return object(at, line)
	}
}

var errLong = errors.New("the line is too long")

// boundedLine reads up to the end of the line, or of the file with io.EOF.
func boundedLine(in interface{ ReadSlice(byte) ([]byte, error) }) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > MaxRow {
			return nil, errLong
		}
		if err == nil || errors.Is(err, io.EOF) {
			return line, err
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// object reads the members of an object in their order.
func object(at Place, line []byte) (record, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	rec := record{at: at}
	bad := func() (record, error) {
		at.Column = int(d.InputOffset()) + 1
		return rec, at.bad("not a JSON object")
	}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return bad()
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return bad()
		}
		if seen[strings.ToLower(name)] {
			return rec, at.bad("the name %.80q stands there twice", name)
		}
		seen[strings.ToLower(name)] = true
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return bad()
		}
		c := cell{name: name}
		if !c.take(raw) {
			return rec, Place{at.File, at.Line, 0, name}.bad("a NUL character, or base64 that is none")
		}
		rec.cells = append(rec.cells, c)
	}
	if _, err := d.Token(); err != nil {
		return bad()
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad()
	}
	return rec, nil
}

// take reads a value: what has no type of SQLite's stays JSON, as text, and
// {"base64": "…"} is bytes.
func (c *cell) take(raw json.RawMessage) bool {
	set := func(v sqlite.Value) { c.value = &v }
	switch raw[0] {
	case 'n':
		c.null = true
	case 't':
		set(sqlite.Int(1))
	case 'f':
		set(sqlite.Int(0))
	case '"':
		c.quoted = true
		if json.Unmarshal(raw, &c.text) != nil || strings.IndexByte(c.text, 0) >= 0 {
			return false
		}
	case '{', '[':
		var b map[string]json.RawMessage
		if raw[0] == '{' && json.Unmarshal(raw, &b) == nil && len(b) == 1 && b["base64"] != nil {
			var s string
			bytes, err := []byte(nil), json.Unmarshal(b["base64"], &s)
			if err == nil {
				bytes, err = base64.StdEncoding.DecodeString(s)
			}
			set(sqlite.Blob(bytes))
			return err == nil
		}
		c.text = string(raw)
	default:
		c.text = string(raw)
		if v, ok := parseNumber(c.text); ok {
			set(v)
		}
	}
	return true
}
