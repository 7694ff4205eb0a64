package queries_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/app/queries"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func query(name string) queries.Query {
	return queries.Query{Name: name, Title: name, SQL: "SELECT 1", Chart: queries.Table, Shared: true, By: "p_1", Created: now, Changed: now}
}

func save(t *testing.T, db *store.Store, tenant domain.TenantID, q queries.Query) error {
	t.Helper()
	_, err := storetest.Change(t, db, func(tx *store.Tx) (queries.Query, error) { return queries.Save(tx, tenant, q) })
	return err
}

func names(t *testing.T, db *store.Store, tenant domain.TenantID, after string) (out []string) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) error {
		out = nil
		return queries.Each(tx, tenant, after, func(q queries.Query) error {
			out = append(out, q.Name)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestQueries: a query is its tenant's, keeps who made it, and is kept as long as
// a dashboard shows it.
func TestQueries(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	for _, name := range []string{"b", "a", "c"} {
		if err := save(t, db, "acme", query(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := save(t, db, "acme-2", query("z")); err != nil { // no part of acme
		t.Fatal(err)
	}
	if got := fmt.Sprint(names(t, db, "acme", ""), names(t, db, "acme", "a"), names(t, db, "globex", "")); got != "[a b c] [b c] []" {
		t.Error(got)
	}
	other := query("a")
	other.By, other.Title, other.Created = "p_2", "New", now.Add(time.Hour)
	if err := save(t, db, "acme", other); err != nil {
		t.Fatal(err)
	}
	_ = db.View(t.Context(), func(tx *store.Tx) error {
		q, err := queries.Find(tx, "acme", "a")
		if err != nil || q.By != "p_1" || q.Title != "New" || !q.Created.Equal(now) {
			t.Errorf("%+v %v", q, err)
		}
		return nil
	})

	d := queries.Dashboard{Name: "main", Title: "Main", Queries: []string{"b", "a"}, By: "p_1", Created: now, Changed: now}
	change := func(fn func(tx *store.Tx) error) error {
		_, err := storetest.Change(t, db, func(tx *store.Tx) (int, error) { return 0, fn(tx) })
		return err
	}
	put := func(tx *store.Tx) error { _, err := queries.SaveDashboard(tx, "acme", d); return err }
	if err := change(put); err != nil {
		t.Fatal(err)
	}
	private := query("a")
	private.Shared = false
	if err := save(t, db, "acme", private); domain.KindOf(err) != domain.Conflict {
		t.Errorf("made private: %v", err)
	}
	remove := func(tx *store.Tx) error { _, err := queries.Remove(tx, "acme", "a"); return err }
	if err := change(remove); domain.KindOf(err) != domain.Conflict {
		t.Errorf("removed: %v", err)
	}
	if err := change(func(tx *store.Tx) error { _, err := queries.RemoveDashboard(tx, "acme", "main"); return err }); err != nil {
		t.Error(err)
	}
	if err := errors.Join(change(remove), save(t, db, "acme", private)); err != nil {
		t.Error(err)
	}
	if err := change(put); domain.KindOf(err) != domain.Invalid {
		t.Errorf("a dashboard of a private query: %v", err)
	}
	if err := change(func(tx *store.Tx) error { return queries.RemoveTenant(tx, "acme") }); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(names(t, db, "acme", ""), names(t, db, "acme-2", "")); got != "[] [z]" {
		t.Error(got)
	}
}

// TestBounds: what cannot be stored is refused by the name of the field.
func TestBounds(t *testing.T) {
	for field, change := range map[string]func(q *queries.Query){
		"name":        func(q *queries.Query) { q.Name = "A b" },
		"title":       func(q *queries.Query) { q.Title = "a\x1b[2J" },
		"description": func(q *queries.Query) { q.Description = strings.Repeat("x", queries.MaxDescription+1) },
		"sql":         func(q *queries.Query) { q.SQL = strings.Repeat("x", queries.MaxSQL+1) },
		"chart":       func(q *queries.Query) { q.Chart = "cake" },
		"refresh":     func(q *queries.Query) { q.Refresh = 1 },
		"x":           func(q *queries.Query) { q.X = "\x00" },
		"y":           func(q *queries.Query) { q.Y = make([]string, queries.MaxColumns+1) },
		"params":      func(q *queries.Query) { q.Params = []queries.Param{{Name: "a", Default: json.RawMessage(`{}`)}} },
	} {
		q := query("a")
		change(&q)
		e, _ := errors.AsType[*domain.Error](q.Check())
		if e == nil || e.Kind != domain.Invalid || e.Field != field {
			t.Errorf("%s: %v", field, e)
		}
	}
	for _, bad := range []queries.Dashboard{
		{Name: "x", Title: "x"},
		{Name: "x", Title: "x", Queries: []string{"a", "a"}},
		{Name: "x", Title: "x", Queries: []string{"A B"}},
		{Name: "x", Title: "", Queries: []string{"a"}},
		{Name: "x", Title: "x", Queries: make([]string, queries.MaxEntries+1)},
	} {
		if domain.KindOf(bad.Check()) != domain.Invalid {
			t.Errorf("%+v is stored", bad)
		}
	}
}

// TestVectors: each row decodes, and encodes to the same bytes, for ever; anything
// else is refused.
func TestVectors(t *testing.T) {
	for name, recode := range map[string]func([]byte) ([]byte, error){"rows": queries.RecodeQuery, "dashboards": queries.RecodeDashboard} {
		rows, err := os.ReadFile("testdata/v1/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		for row := range bytes.Lines(rows) {
			row = bytes.TrimSpace(row)
			again, err := recode(row)
			if err != nil || !bytes.Equal(again, row) {
				t.Errorf("%s: %s, %v", row, again, err)
			}
			for _, bad := range [][]byte{append(bytes.Clone(row), ' '), row[:len(row)-1], bytes.Replace(row, []byte(`"name"`), []byte(`"Name"`), 1), bytes.Replace(row, []byte(`{"version":1,`), []byte(`{"version":1,"x":1,`), 1)} {
				if _, err := recode(bad); domain.KindOf(err) != domain.Tampered {
					t.Errorf("%s: %v", bad, err)
				}
			}
		}
	}
}
