package migrate_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/tenants/migrate"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

func file(name, sql string) migrate.File { return migrate.File{Name: name, SQL: sql} }

func parse(tb testing.TB, files ...migrate.File) migrate.Set {
	tb.Helper()
	set, err := migrate.Parse(files)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func TestParse(t *testing.T) {
	set := parse(t, file("0002_b-c.d.sql", "SELECT 2"), file("0001_A.sql", "SELECT 1"))
	if set.Top() != 2 || set[0].Name != "0001_A.sql" || set[1].Sum != migrate.SumOf("SELECT 2") {
		t.Errorf("%+v", set)
	}
	if empty := parse(t); empty.Top() != 0 {
		t.Errorf("%+v", empty)
	}
	for why, files := range map[string][]migrate.File{
		"no number":      {file("customers.sql", "SELECT 1")},
		"three digits":   {file("001_a.sql", "SELECT 1")},
		"five digits":    {file("00001_a.sql", "SELECT 1")},
		"zero":           {file("0000_a.sql", "SELECT 1")},
		"no name":        {file("0001_.sql", "SELECT 1")},
		"a dot first":    {file("0001_.a.sql", "SELECT 1")},
		"a path":         {file("../0001_a.sql", "SELECT 1")},
		"a path inside":  {file("0001_a/b.sql", "SELECT 1")},
		"a line":         {file("0001_a\n.sql", "SELECT 1")},
		"a terminal":     {file("0001_\x1b[2J.sql", "SELECT 1")},
		"another ending": {file("0001_a.SQL", "SELECT 1")},
		"long":           {file("0001_"+strings.Repeat("a", 80)+".sql", "SELECT 1")},
		"a gap":          {file("0001_a.sql", "SELECT 1"), file("0003_a.sql", "SELECT 1")},
		"from two":       {file("0002_a.sql", "SELECT 1")},
		"twice":          {file("0001_a.sql", "SELECT 1"), file("0001_b.sql", "SELECT 1")},
		"empty":          {file("0001_a.sql", " \n")},
		"no UTF-8":       {file("0001_a.sql", "SELECT '\xff'")},
		"a NUL":          {file("0001_a.sql", "SELECT 1\x00; DROP TABLE a")},
		"too long":       {file("0001_a.sql", strings.Repeat("-", migrate.MaxFile+1))},
	} {
		if _, err := migrate.Parse(files); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: %v", why, err)
		}
	}
	var many []migrate.File
	for i := range migrate.MaxSet/migrate.MaxFile + 1 {
		many = append(many, file(fmt.Sprintf("%04d_a.sql", i+1), strings.Repeat("-", migrate.MaxFile)))
	}
	if _, err := migrate.Parse(many); domain.KindOf(err) != domain.Invalid {
		t.Errorf("too much together: %v", err)
	}
}

func TestDirection(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT 1":                                      "false",
		"-- a comment\nSELECT 1":                        "false",
		"-- coffer: foreign_keys=off\nSELECT 1":         "true",
		"--coffer:foreign_keys=off\r\nSELECT 1":         "true",
		"\xef\xbb\xbf-- coffer: foreign_keys=off":       "true",
		"SELECT 1;\n-- coffer: foreign_keys=off":        "false", // the first line alone
		"-- coffer: foreign_keys = off\nSELECT 1":       "error",
		"-- coffer: foreign_keys=off, x\nSELECT 1":      "error",
		"-- coffer: anything\nSELECT 1":                 "error",
		"/* coffer: foreign_keys=off */\nSELECT 1":      "false",
		"-- this is about coffer: foreign_keys=off\n--": "false",
	} {
		m := parse(t, file("0001_a.sql", sql))[0]
		loose, err := m.Loose()
		got := fmt.Sprint(loose)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", sql, got, want)
		}
	}
}

func TestPending(t *testing.T) {
	set := parse(t, file("0001_a.sql", "SELECT 1"), file("0002_b.sql", "SELECT 2"), file("0003_c.sql", "SELECT 3"))
	applied := func(n int) (out []migrate.Applied) {
		for _, m := range set[:n] {
			out = append(out, migrate.Applied{Number: m.Number, Name: m.Name, Sum: m.Sum})
		}
		return out
	}
	for n := range 4 {
		pending, err := set.Pending(applied(n))
		if err != nil || len(pending) != 3-n {
			t.Errorf("with %d applied: %v, %v", n, pending, err)
		}
	}
	if _, err := set.To(2).Pending(applied(3)); domain.KindOf(err) != domain.Conflict {
		t.Errorf("more applied than the set has: %v", err)
	}
	other := applied(2)
	other[1].Sum[5]++
	if _, err := set.Pending(other); domain.KindOf(err) != domain.Conflict || !strings.Contains(err.Error(), "0002_b.sql was changed") {
		t.Errorf("a changed file: %v", err)
	}
	if _, err := set.Pending(applied(3)[1:]); domain.KindOf(err) != domain.Tampered {
		t.Errorf("a gap in the database: %v", err)
	}
}

func TestReplace(t *testing.T) {
	a, b, c := file("0001_a.sql", "SELECT 1"), file("0002_b.sql", "SELECT 2"), file("0003_c.sql", "SELECT 3")
	kept := parse(t, a, b)
	for _, tc := range []struct {
		by      migrate.Set
		applied int
		ok      bool
	}{
		{parse(t, a, b, c), 2, true},
		{parse(t, a, b), 2, true},
		{parse(t, a), 1, true},
		{parse(t, a), 2, false},
		{parse(t), 0, true},
		{parse(t), 1, false},
		{parse(t, a, file("0002_b.sql", "SELECT 9")), 1, true},
		{parse(t, a, file("0002_b.sql", "SELECT 9")), 2, false},
		{parse(t, a, file("0002_x.sql", "SELECT 2")), 2, false},
		{parse(t, file("0001_a.sql", "SELECT 1 "), b), 1, false},
	} {
		if err := kept.Replace(tc.by, tc.applied); (err == nil) != tc.ok {
			t.Errorf("by %d files, %d applied: %v", len(tc.by), tc.applied, err)
		}
	}
}

func change(tb testing.TB, db *store.Store, fn func(tx *store.Tx) error) {
	tb.Helper()
	if _, err := db.Update(context.Background(), fn); err != nil {
		tb.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	a, b, c := file("0001_a.sql", "SELECT '<&>\u2028'"), file("0002_b.sql", "SELECT 2"), file("0003_c.sql", "SELECT 3")
	change(t, db, func(tx *store.Tx) error { return migrate.Save(tx, parse(t, a, b, c), "person:p_1", start) })
	change(t, db, func(tx *store.Tx) error {
		return migrate.Save(tx, parse(t, a, file("0002_b.sql", "SELECT 9")), "person:p_2", start.Add(time.Hour))
	})
	change(t, db, func(tx *store.Tx) error { return migrate.State{Number: 1, Changed: start}.Set(tx, "acme") })
	change(t, db, func(tx *store.Tx) error {
		return migrate.State{Number: 2, Failed: &migrate.Failure{Number: 3, Text: "no", Run: "mr_1"}}.Set(tx, "globex")
	})
	change(t, db, func(tx *store.Tx) error {
		list, err := migrate.List(tx)
		if err != nil {
			return err
		}
		if len(list) != 2 || list[0].By != "person:p_1" || list[1].By != "person:p_2" || list[1].SQL != "SELECT 9" || !list[0].Put.Equal(start) {
			t.Errorf("%+v", list)
		}
		s, err := migrate.Find(tx, "globex")
		if err != nil || s.Failed == nil || s.Failed.Run != "mr_1" {
			t.Errorf("%+v, %v", s, err)
		}
		if most, err := migrate.Highest(tx); err != nil || most != 2 {
			t.Errorf("the highest is %d, %v", most, err)
		}
		return migrate.Forget(tx, "globex")
	})
	change(t, db, func(tx *store.Tx) error {
		if most, err := migrate.Highest(tx); err != nil || most != 1 {
			t.Errorf("the highest is %d, %v", most, err)
		}
		if _, found, err := migrate.Current(tx); found || err != nil {
			t.Errorf("a run: %v, %v", found, err)
		}
		return migrate.Forget(tx, "globex") // twice
	})
	want := migrate.Run{ID: "mr_1", By: "person:p_1", Started: start, Changed: start, To: 2, Canaries: []domain.TenantID{"acme"}, State: migrate.Rest, After: "b"}
	change(t, db, want.Save)
	change(t, db, func(tx *store.Tx) error {
		got, found, err := migrate.Current(tx)
		if diff := cmp.Diff(want, got); diff != "" || !found || !got.Going() {
			t.Error(diff, found)
		}
		return err
	})
	// What the store holds is checked as what somebody hands over is.
	change(t, db, func(tx *store.Tx) error { return tx.Delete("migrations", []byte("0001")) })
	err := db.View(t.Context(), func(tx *store.Tx) error { _, err := migrate.Load(tx); return err })
	if domain.KindOf(err) != domain.Tampered {
		t.Errorf("a set with a gap: %v", err)
	}
}

// row is one of testdata/v1/rows.jsonl: a row of the control store. Kept for ever.
type row struct {
	Bucket string          `json:"bucket"`
	Key    string          `json:"key"`
	JSON   json.RawMessage `json:"json"`
}

func rows(tb testing.TB) (all []row) {
	tb.Helper()
	f, err := os.Open("testdata/v1/rows.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			tb.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestVectors: each record has one form, which stays.
func TestVectors(t *testing.T) {
	for _, r := range rows(t) {
		if again, err := migrate.Recode(r.Bucket, r.JSON); err != nil || !bytes.Equal(again, r.JSON) {
			t.Errorf("%s is written as %s, %v", r.JSON, again, err)
		}
		form := string(r.JSON)
		for why, other := range map[string]string{
			"a blank": form[:1] + " " + form[1:], "trailing data": form + "{}", "cut": form[:len(form)-1], "nothing": "",
			"an unknown member": form[:len(form)-1] + `,"x":1}`, "a member twice": `{"version":1,` + form[1:],
		} {
			if _, err := migrate.Recode(r.Bucket, []byte(other)); domain.KindOf(err) != domain.Tampered {
				t.Errorf("%s with %s: %v", r.Bucket, why, err)
			}
		}
		if _, err := migrate.Recode(r.Bucket, []byte(`{"version":2`+form[len(`{"version":1`):])); domain.KindOf(err) != domain.Unavailable {
			t.Errorf("%s of another version: %v", r.Bucket, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range rows(f) {
		f.Add(r.Bucket, []byte(r.JSON))
	}
	f.Fuzz(func(t *testing.T, bucket string, b []byte) {
		again, err := migrate.Recode(bucket, b)
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%s was accepted, is written as %s", b, again)
		}
	})
}
