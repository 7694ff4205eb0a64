package app_test

import (
	"bufio"
	"cmp"
	"crypto/md5" //nolint:gosec // the format of the scripts names results by it
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSQLLogic runs scripts in the form of sqllogictest
// (https://www.sqlite.org/sqllogictest/doc/trunk/about.wiki) through the protocol
// of libSQL, each in a tenant and on a stream of its own:
//
//	statement ok|error [CODE]     the lines up to an empty one are the SQL
//	query TYPES [nosort|rowsort|valuesort]
//	                              likewise, up to ----, behind which stands what comes
//
// A type is I, R or T. Rows are written value by value or, as in the newer form,
// a row a line with blanks between; NULL, (empty) and N values hashing to MD5 are
// as in the original.
func TestSQLLogic(t *testing.T) {
	files, err := filepath.Glob("testdata/slt/*.test")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	r := serveTemp(t)
	for i, file := range files {
		tenant := fmt.Sprintf("slt-%d", i)
		r.must("", "POST", "/api/v1/tenants", object{"id": tenant, "name": tenant}, nil)
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := &slt{t: t, r: r, tenant: tenant}
			s.run(file)
			if s.records < 10 {
				t.Errorf("%d records", s.records)
			}
		})
	}
}

// slt is a script that runs.
type slt struct {
	t       *testing.T
	r       *running
	tenant  string
	baton   string
	records int
}

func (s *slt) run(file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	for line, block := 1, ""; len(b) > 0 || block != ""; {
		text, rest, _ := strings.Cut(string(b), "\n")
		b = []byte(rest)
		if strings.TrimSpace(text) != "" && !strings.HasPrefix(text, "#") {
			block += text + "\n"
		} else if block != "" && strings.TrimSpace(text) == "" {
			s.record(fmt.Sprintf("%s:%d", file, line), block)
			block = ""
		}
		line++
		if len(b) == 0 && block != "" {
			s.record(fmt.Sprintf("%s:%d", file, line), block)
			block = ""
		}
	}
}

// record runs one record; at names the line behind it.
func (s *slt) record(at, block string) {
	s.records++
	head, body, _ := strings.Cut(block, "\n")
	words := strings.Fields(head)
	sql, want, _ := strings.Cut(body, "----\n")
	got, code := s.execute(strings.TrimSpace(sql))
	switch words[0] {
	case "statement":
		switch {
		case words[1] == "ok" && code != "":
			s.t.Errorf("%s: %s: %s", at, sql, code)
		case words[1] == "error" && (code == "" || len(words) > 2 && code != words[2]):
			s.t.Errorf("%s: %s: %q", at, sql, code)
		}
	case "query":
		if code != "" {
			s.t.Errorf("%s: %s: %s", at, sql, code)
			return
		}
		if diff := compare(got, want, words[1], slices.Index(words, "rowsort") > 0, slices.Index(words, "valuesort") > 0); diff != "" {
			s.t.Errorf("%s: %s: %s", at, sql, diff)
		}
	default:
		s.t.Fatalf("%s: %q is no record", at, head)
	}
}

// execute sends a statement on the script's stream.
func (s *slt) execute(sql string) (rows [][]map[string]any, code string) {
	a := s.r.do("", "POST", "/t/"+s.tenant+"/db/v3/pipeline", execute(s.baton, sql))
	if a.status != 200 {
		s.t.Fatalf("%s: %d %s", sql, a.status, a.body)
	}
	var h hrana
	if err := json.Unmarshal(a.body, &h); err != nil {
		s.t.Fatal(err)
	}
	s.baton = *h.Baton
	return h.Results[0].Response.Result.Rows, h.Results[0].Error.Code
}

// compare says how a result differs from what stands in the script.
func compare(rows [][]map[string]any, want, types string, byRow, byValue bool) string {
	var lines [][]string
	for _, row := range rows {
		if len(row) != len(types) {
			return fmt.Sprintf("%d columns, want %d", len(row), len(types))
		}
		var line []string
		for i, v := range row {
			line = append(line, cellOf(v, types[i]))
		}
		lines = append(lines, line)
	}
	if byRow {
		slices.SortFunc(lines, slices.Compare)
	}
	values := slices.Concat(lines...)
	if byValue {
		slices.Sort(values)
	}
	if n, hash, ok := strings.Cut(strings.TrimSpace(want), " values hashing to "); ok {
		sum := md5.Sum([]byte(strings.Join(values, "\n") + "\n"))
		if strconv.Itoa(len(values)) != n || hex.EncodeToString(sum[:]) != hash {
			return fmt.Sprintf("%d values hashing to %x, want %s", len(values), sum, want)
		}
		return ""
	}
	var wanted []string
	for sc := bufio.NewScanner(strings.NewReader(want)); sc.Scan(); {
		if fields := strings.Split(sc.Text(), "|"); len(fields) == len(types) && len(types) > 1 {
			wanted = append(wanted, fields...)
			continue
		}
		wanted = append(wanted, sc.Text())
	}
	if !slices.Equal(values, wanted) {
		return fmt.Sprintf("%q, want %q", values, wanted)
	}
	return ""
}

// cellOf is a value as scripts write it.
func cellOf(v map[string]any, kind byte) string {
	switch v["type"] {
	case "null":
		return "NULL"
	case "blob":
		return fmt.Sprint("x", v["base64"])
	case "float":
		if f, _ := v["value"].(float64); kind == 'R' {
			return strconv.FormatFloat(f, 'f', 3, 64)
		}
	}
	text := fmt.Sprint(v["value"])
	if kind == 'T' {
		text = strings.Map(func(r rune) rune {
			if r < ' ' {
				return '@'
			}
			return r
		}, text)
	}
	return cmp.Or(text, "(empty)")
}
