package plain

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"coffer/app/domain"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// Schema is what a file holds, as far as a tenant's database takes it.
type Schema struct {
	Tables      []Table  `json:"tables"`
	Later       []Object `json:"later"` // indexes, views, triggers: made once the rows are there
	Rebuild     []string `json:"rebuild,omitempty"`
	Sequences   []Seq    `json:"sequences,omitempty"`
	UserVersion int64    `json:"user_version"`
	Refused     []string `json:"refused"`  // what is not taken, and why
	Dangling    int64    `json:"dangling"` // rows whose foreign key points nowhere
}

// Object is one thing in a schema.
type Object struct {
	Type string `json:"type"`
	Name string `json:"name"`
	SQL  string `json:"sql"`
}

// Table is a table with what it takes to copy its rows.
type Table struct {
	Object
	Columns []string     `json:"columns"` // in which rows are inserted; the rowid first, where it has no other name
	All     []string     `json:"all"`
	Key     []string     `json:"key"`
	Foreign []ForeignKey `json:"foreign,omitempty"`
	Rows    int64        `json:"rows"`
	Derived bool         `json:"derived"` // its rows are made of another table's
}

// ForeignKey points from columns of a table to those of another.
type ForeignKey struct {
	Table string   `json:"table"`
	From  []string `json:"from"`
	To    []string `json:"to"`
}

// Seq is where AUTOINCREMENT of a table stands.
type Seq struct {
	Table string `json:"table"`
	N     int64  `json:"n"`
}

// Bounds of a schema.
const (
	maxObjects = 5000
	maxSchema  = 4 << 20 // bytes of SQL
)

// Read reads the schema, counts rows and tries in memory what a tenant's database
// would take.
func (f *File) Read(ctx context.Context) (s Schema, err error) {
	s.Refused = []string{}
	objects, err := f.objects(ctx)
	if err != nil {
		return s, err
	}
	for _, o := range objects {
		switch o.Type {
		case "table":
			t, err := f.table(ctx, &s, o)
			if err != nil {
				return s, damaged(err)
			}
			s.Tables = append(s.Tables, t)
		case "index", "view", "trigger":
			s.Later = append(s.Later, o)
		}
	}
	order := []string{"index", "view", "trigger"}
	slices.SortStableFunc(s.Later, func(a, b Object) int { return slices.Index(order, a.Type) - slices.Index(order, b.Type) })
	slices.SortStableFunc(s.Tables, func(a, b Table) int { return later(a) - later(b) })
	if err := f.numbers(ctx, &s); err != nil {
		return s, damaged(err)
	}
	return s, s.try(ctx)
}

// later puts virtual tables behind the others, whose rows they may show.
func later(t Table) int {
	if virtual(t.SQL) {
		return 1
	}
	return 0
}

func virtual(sql string) bool { return virtualTable.MatchString(sql) }

var (
	virtualTable = regexp.MustCompile(`(?i)^\s*CREATE\s+VIRTUAL\s`)
	fromContent  = regexp.MustCompile(`(?i)[,(]\s*content\s*=\s*([^,)]*)`)
)

// objects are all but those that SQLite or a virtual table makes by itself.
func (f *File) objects(ctx context.Context) (out []Object, err error) {
	size := 0
	err = f.Each(ctx, `SELECT type, name, sql FROM sqlite_schema AS s WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
		AND NOT EXISTS (SELECT 1 FROM pragma_table_list AS l WHERE l.schema = 'main' AND l.type = 'shadow' AND l.name IN (s.name, s.tbl_name)) ORDER BY s.rowid`, nil,
		func(row []sqlite.Value) error {
			o := Object{row[0].Raw(), row[1].Raw(), row[2].Raw()}
			if size += len(o.SQL); size > maxSchema || len(out) >= maxObjects {
				return domain.Errorf(domain.Limit, "the schema has more than %d parts or %d bytes", maxObjects, maxSchema)
			}
			out = append(out, o)
			return nil
		})
	return out, err
}

func (f *File) table(ctx context.Context, s *Schema, o Object) (t Table, err error) {
	t = Table{Object: o, Columns: []string{}, All: []string{}, Key: []string{}}
	if virtual(o.SQL) {
		if m := fromContent.FindStringSubmatch(o.SQL); m != nil {
			t.Derived = true
			if strings.Trim(m[1], ` '"`) == "" {
				s.Refused = append(s.Refused, fmt.Sprintf("table %.80q: an index without its texts cannot be read", o.Name))
			} else {
				s.Rebuild = append(s.Rebuild, o.Name)
			}
		}
	}
	info, err := f.all(ctx, "SELECT name, pk, hidden, type FROM pragma_table_xinfo(?)", sqlite.Text(o.Name))
	if err != nil {
		return t, err
	}
	alias := false
	keys := map[int64]string{}
	for _, row := range info {
		name := row[0].Raw()
		if row[2].Int64() != 1 {
			t.All = append(t.All, name)
		}
		if row[2].Int64() == 0 {
			t.Columns = append(t.Columns, name)
		}
		if pk := row[1].Int64(); pk > 0 {
			keys[pk] = name
			alias = strings.EqualFold(row[3].Raw(), "INTEGER")
		}
	}
	for i := range len(keys) {
		t.Key = append(t.Key, keys[int64(i+1)])
	}
	list, err := f.all(ctx, "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", sqlite.Text(o.Name))
	if err != nil {
		return t, err
	}
	if len(list) == 1 && list[0][0].Int64() == 0 && (len(t.Key) != 1 || !alias) {
		for _, name := range []string{"rowid", "_rowid_", "oid"} {
			if !slices.ContainsFunc(t.All, func(c string) bool { return strings.EqualFold(c, name) }) {
				t.Columns = append([]string{name}, t.Columns...)
				break
			}
		}
	}
	if t.Derived {
		return t, nil
	}
	if err := f.foreign(ctx, &t); err != nil {
		return t, err
	}
	n, err := f.all(ctx, "SELECT count(*) FROM "+quote(o.Name))
	if err == nil {
		t.Rows = n[0][0].Int64()
	}
	return t, err
}

func (f *File) foreign(ctx context.Context, t *Table) error {
	rows, err := f.all(ctx, `SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq`, sqlite.Text(t.Name)) // SQLite numbers them backwards
	last := int64(-1)
	for _, row := range rows {
		if id := row[0].Int64(); id != last {
			t.Foreign, last = append(t.Foreign, ForeignKey{Table: row[1].Raw()}), id
		}
		k := &t.Foreign[len(t.Foreign)-1]
		k.From = append(k.From, row[2].Raw())
		if !row[3].IsNull() {
			k.To = append(k.To, row[3].Raw())
		}
	}
	return err
}

func (f *File) numbers(ctx context.Context, s *Schema) error {
	rows, err := f.all(ctx, "PRAGMA user_version")
	if err != nil {
		return err
	}
	s.UserVersion = rows[0][0].Int64()
	if rows, err = f.all(ctx, "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"); err != nil {
		return err
	}
	if len(rows) > 0 {
		if rows, err = f.all(ctx, "SELECT name, seq FROM sqlite_sequence"); err != nil {
			return err
		}
		for _, row := range rows {
			s.Sequences = append(s.Sequences, Seq{row[0].Raw(), row[1].Int64()})
		}
	}
	if rows, err = f.all(ctx, "SELECT count(*) FROM pragma_foreign_key_check"); err != nil {
		s.Refused = append(s.Refused, fmt.Sprintf("the foreign keys cannot be checked: %v", err))
		return nil
	}
	s.Dangling = rows[0][0].Int64()
	return nil
}

// try runs the definitions in memory as a tenant's writer: what is refused here
// is refused there.
func (s *Schema) try(ctx context.Context) error {
	conn, err := sqlite.Open("file::memory:", sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	g, err := guard.New(ctx, conn, guard.Writer, guard.Limits{})
	if err != nil {
		return err
	}
	run := func(o Object, sql string) {
		if _, err := g.Stream(ctx, guard.Request{SQL: sql}, guard.Sink{}); err != nil {
			s.Refused = append(s.Refused, fmt.Sprintf("%s %.80q: %v", o.Type, o.Name, err))
		}
	}
	for _, t := range s.Tables {
		run(t.Object, t.SQL)
	}
	for _, o := range s.Later {
		run(o, o.SQL)
	}
	for _, o := range s.Later {
		if o.Type == "view" {
			run(o, "SELECT * FROM "+quote(o.Name)+" LIMIT 0")
		}
	}
	if len(s.Refused) > 0 {
		return nil // what rests on it would only fail for that
	}
	for _, t := range s.Tables {
		for _, sql := range changes(t) {
			if _, err := g.Describe(ctx, sql); err != nil {
				s.Refused = append(s.Refused, fmt.Sprintf("table %.80q could not be written to, for what its triggers, checks or columns call: %v", t.Name, err))
				break
			}
		}
	}
	return nil
}

// changes are statements that compile all that runs when a table changes.
func changes(t Table) []string {
	if virtual(t.SQL) {
		return nil
	}
	name := quote(t.Name)
	out := []string{"INSERT INTO " + name + " DEFAULT VALUES", "DELETE FROM " + name}
	for _, c := range t.Columns {
		out = append(out, "UPDATE "+name+" SET "+quote(c)+" = NULL")
	}
	return out
}
