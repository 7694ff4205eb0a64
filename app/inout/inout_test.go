package inout_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/inout"
	"coffer/tenants/sqlite"
)

func readAll(t testing.TB, text string, o inout.Options, columns ...inout.Column) (out [][]string, err error) {
	t.Helper()
	o.File = "f"
	r, err := inout.Open(strings.NewReader(text), o)
	if err != nil {
		return nil, err
	}
	if columns == nil {
		if columns, err = r.Guess(nil); err != nil {
			return nil, err
		}
	}
	r.Fit(columns)
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		var texts []string
		for _, v := range row.Values {
			texts = append(texts, v.Type().String()+":"+v.String())
		}
		out = append(out, texts)
	}
}

func TestRefused(t *testing.T) {
	one := inout.Column{Name: "a", Type: "INTEGER"}
	for name, c := range map[string]struct {
		text  string
		jsonl bool
		want  string
	}{
		"nothing":        {"", false, "f is empty"},
		"NUL":            {"a\n1\x00", false, "f, line 2, character 2: a NUL byte"},
		"not UTF-8":      {"a\n\xff", false, "f, line 2, character 1: not UTF-8"},
		"latin in head":  {"a\xe4", false, "f, line 1, character 2: not UTF-8"},
		"huge line":      {"a\n" + strings.Repeat("1", 2_000_000), false, "f, line 2: the row is larger than 900000 bytes"},
		"huge open":      {"a\n\"" + strings.Repeat("1\n", 1_000_000), false, "the row is larger"},
		"quote within":   {"a\n1\"1", false, "f, line 2, character 2: a quote within"},
		"behind quote":   {"a\n\"1\"1", false, "f, line 2, character 4: something stands"},
		"overflow":       {"a\n9223372036854775808", false, `f, line 2, character 1, column "a": it does not hold a whole number`},
		"blank":          {"a\n 1", false, "does not hold"},
		"more cells":     {"a\n1,2", false, "f, line 2: it has 2 cells, and there are 1 columns"},
		"twice":          {"a,A\n1,2", false, "two columns are called"},
		"no name":        {"a,\n1,2", false, "a column has no name"},
		"not an object":  {"[1]", true, "f, line 1, character 2: not a JSON object"},
		"cut":            {"{\"a\":1", true, "not a JSON object"},
		"two objects":    {"{\"a\":1}{}", true, "not a JSON object"},
		"name twice":     {`{"a":1,"A":2}`, true, "stands there twice"},
		"NUL in JSON":    {`{"a":"\u0000"}`, true, "a NUL character"},
		"bad base64":     {`{"a":{"base64":"*"}}`, true, "base64 that is none"},
		"huge JSON":      {`{"a":"` + strings.Repeat("x", 2_000_000), true, "f, line 1: the row is larger"},
		"JSON not UTF-8": {"{\"a\":\"\xff\"}", true, "f, line 1: not UTF-8"},
		"float":          {`{"a":1.5}`, true, "whole number"},
		"other name":     {"{\"a\":1}\n{\"b\":1}", true, `column "b": the table has no such column`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readAll(t, c.text, inout.Options{JSONL: c.jsonl}, one)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	got, err := readAll(t, "\ufeffa,b,c\r\n1,x,0.5\r\n\r\n2,,1\r\n3,\"\",2", inout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	null := "null:" + sqlite.Value{}.String()
	if sqlite.TypeNull.String() != "null" {
		null = sqlite.TypeNull.String() + ":" + sqlite.Value{}.String()
	}
	value := func(v sqlite.Value) string { return v.Type().String() + ":" + v.String() }
	want := [][]string{
		{value(sqlite.Int(1)), value(sqlite.Text("x")), value(sqlite.Float(0.5))},
		{value(sqlite.Int(2)), null, value(sqlite.Float(1))},
		{value(sqlite.Int(3)), value(sqlite.Text("")), value(sqlite.Float(2))},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// FuzzRoundTrip: what is written is read again as it was, and no file brings the
// reader down.
func FuzzRoundTrip(f *testing.F) {
	f.Add("x", []byte{0, 255}, int64(-1), 1.5)
	f.Add("a\r\n\"b\",;\ufeff", []byte{}, int64(1)<<62, 1e300)
	f.Fuzz(func(t *testing.T, s string, b []byte, n int64, r float64) {
		_, _ = readAll(t, s, inout.Options{})
		_, _ = readAll(t, s, inout.Options{JSONL: true})
		if strings.ToValidUTF8(s, "") != s || strings.IndexByte(s, 0) >= 0 || r != r || r-r != 0 || len(s)+len(b) > 100_000 {
			return
		}
		columns := []inout.Column{{Name: "s", Type: "TEXT"}, {Name: "b", Type: "BLOB"}, {Name: "n", Type: "INTEGER"}, {Name: "r", Type: "REAL"}, {Name: "z", Type: "TEXT"}}
		row := []sqlite.Value{sqlite.Text(s), sqlite.Blob(b), sqlite.Int(n), sqlite.Float(r), {}}
		for _, format := range []string{"csv", "jsonl"} {
			var file bytes.Buffer
			w, err := inout.NewWriter(format, bufio.NewWriter(&file))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.Head([]string{"s", "b", "n", "r", "z"}), w.Row(row), w.Flush()); err != nil {
				t.Fatal(err)
			}
			in, err := inout.Open(&file, inout.Options{File: "f", JSONL: format == "jsonl"})
			if err != nil {
				t.Fatal(err)
			}
			in.Fit(columns)
			got, err := in.Next()
			if err != nil {
				t.Fatalf("%s: %v", format, err)
			}
			for i, v := range got.Values {
				if !v.Equal(row[i]) {
					t.Errorf("%s: %v came back as %v", format, row[i], v)
				}
			}
		}
	})
}
