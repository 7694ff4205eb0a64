package app

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	keysof "maps"
	"os"
	"slices"
	"strings"

	"coffer/app/domain"
	"coffer/tenants/plain"
	"coffer/tenants/sqlite"
)

// How a table's rows are spread over tenants.
const (
	splitBy     = "split"   // by the column
	splitChain  = "follows" // by a foreign key to one that is split
	splitCopy   = "copied"
	splitEmpty  = "empty" // made everywhere
	splitLeave  = "left out"
	splitRefuse = "refused"
)

// splitTable is what happens to one table.
type splitTable struct {
	Name  string `json:"name"`
	How   string `json:"how"`
	Via   string `json:"via,omitempty"` // the table that it follows
	Rows  int64  `json:"rows"`
	Taken int64  `json:"taken"` // rows in all tenants together; of a copied table in each

	column string           // that says whose a row is, of a table that is split
	key    plain.ForeignKey // of a table that follows
}

// splitTenant is one tenant that is filled.
type splitTenant struct {
	Tenant string           `json:"tenant"`
	Name   string           `json:"name"`
	Values []string         `json:"values"`
	State  string           `json:"state"`
	Rows   map[string]int64 `json:"rows"`
	values []sqlite.Value
}

// splitPlan is all of it.
type splitPlan struct {
	By      string         `json:"by"`
	Tables  []*splitTable  `json:"tables"`
	Tenants []*splitTenant `json:"tenants"`
	Left    []string       `json:"left"` // values that are left out
	Refused []string       `json:"refused"`

	file *plainFile
	left []sqlite.Value
	via  map[string]string // table → column of the foreign key to follow
}

// mapping is a line of the file that says which value goes where.
type mapping struct{ tenant, name string }

const (
	nullName = `\N` // of NULL in a map
	leaveOut = "-"  // in place of a tenant
	maxSplit = 10_000
)

// readMap reads lines of value, tenant and name; a head that says so is passed over.
func readMap(path string) (map[string]mapping, error) {
	out := map[string]mapping{}
	if path == "" {
		return out, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, domain.Fieldf("map", "%v", err)
	}
	defer func() { _ = f.Close() }()
	in := csv.NewReader(f)
	in.FieldsPerRecord = -1
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		line, _ := in.FieldPos(0)
		if err != nil || len(rec) < 2 || len(rec) > 3 {
			return nil, domain.Fieldf("map", "line %d is not value,tenant[,name]", line)
		}
		if line == 1 && rec[0] == "value" && rec[1] == "tenant" {
			continue
		}
		if _, twice := out[rec[0]]; twice {
			return nil, domain.Fieldf("map", "line %d has a value that stood there before", line)
		}
		m := mapping{tenant: rec[1]}
		if len(rec) == 3 {
			m.name = rec[2]
		}
		out[rec[0]] = m
	}
}

// planSplit finds out what goes where. What stands in the way is in Refused.
func planSplit(p *plainFile, by string, maps map[string]mapping, toCopy, leave []string, via map[string]string) (*splitPlan, error) {
	s := &splitPlan{By: by, Refused: p.refusals(), Left: []string{}, Tenants: []*splitTenant{}, file: p, via: via}
	s.chooseTables(toCopy, leave)
	if !slices.ContainsFunc(s.Tables, func(t *splitTable) bool { return t.How == splitBy }) {
		return nil, domain.Fieldf("by", "no table has a column %.80q", by)
	}
	if err := s.spread(maps); err != nil {
		return nil, err
	}
	if err := s.count(); err != nil {
		return nil, err
	}
	if err := s.cross(); err != nil {
		return nil, err
	}
	found, err := p.examine(s.leave())
	s.Refused = append(s.Refused, found...)
	return s, err
}

func (s *splitPlan) chooseTables(toCopy, leave []string) {
	tables := s.file.schema.Tables
	for _, name := range append(slices.Clone(toCopy), leave...) {
		if !slices.ContainsFunc(tables, func(t plain.Table) bool { return t.Name == name }) {
			s.Refused = append(s.Refused, fmt.Sprintf("there is no table %.80q to copy or leave out", name))
		}
	}
	for _, t := range tables {
		if t.Derived {
			continue
		}
		one := &splitTable{Name: t.Name, Rows: t.Rows}
		column := slices.IndexFunc(t.All, func(c string) bool { return strings.EqualFold(c, s.By) })
		switch {
		case slices.Contains(leave, t.Name):
			one.How = splitLeave
		case slices.Contains(toCopy, t.Name):
			one.How = splitCopy
		case column >= 0:
			one.How, one.column = splitBy, t.All[column]
		case t.Rows == 0:
			one.How = splitEmpty
		default:
			one.How = splitRefuse
		}
		s.Tables = append(s.Tables, one)
	}
	for again := true; again; {
		again = false
		for i, one := range s.Tables {
			if one.How == splitRefuse && s.follow(one) {
				s.Tables[i], again = one, true
			}
		}
	}
	for _, one := range s.Tables {
		if one.How == splitRefuse && !s.severalWays(one) {
			s.Refused = append(s.Refused, fmt.Sprintf("the table %.80q has no column %.80q and no foreign key to one that has: name it with --copy or --leave-out", one.Name, s.By))
		}
	}
}

func (s *splitPlan) table(name string) (*splitTable, plain.Table) {
	for _, t := range s.file.schema.Tables {
		for _, one := range s.Tables {
			if strings.EqualFold(t.Name, name) && one.Name == t.Name {
				return one, t
			}
		}
	}
	return nil, plain.Table{}
}

// spread gives each value a tenant.
func (s *splitPlan) spread(maps map[string]mapping) error {
	var values []sqlite.Value
	seen := map[string]bool{}
	for _, t := range s.Tables {
		if t.How != splitBy {
			continue
		}
		found, err := s.file.tally("SELECT " + quoteName(t.column) + " FROM " + quoteName(t.Name))
		if err != nil {
			return err
		}
		for _, row := range found {
			if k := ownerKey(row[0]); !seen[k] {
				seen[k], values = true, append(values, row[0])
			}
		}
	}
	slices.SortFunc(values, func(a, b sqlite.Value) int { return strings.Compare(ownerKey(a), ownerKey(b)) })
	if len(values) > maxSplit {
		return domain.Fieldf("by", "the column has more than %d values", maxSplit)
	}
	used := map[string]bool{} // the number 5 and the text '5' have one line
	for _, v := range values {
		used[s.place(v, maps)] = true
	}
	for _, value := range slices.Sorted(keysof.Keys(maps)) {
		if used[value] {
			continue
		}
		s.Refused = append(s.Refused, fmt.Sprintf("the map names the value %.80q, which no table has", value))
	}
	return nil
}

// place gives a value its tenant, and returns how a map names it.
func (s *splitPlan) place(v sqlite.Value, maps map[string]mapping) (text string) {
	text = cell(v)
	if v.IsNull() {
		text = nullName
	}
	m, mapped := maps[text]
	switch {
	case m.tenant == leaveOut:
		s.Left, s.left = append(s.Left, text), append(s.left, v)
		return text
	case v.IsNull() && !mapped:
		s.Refused = append(s.Refused, fmt.Sprintf("rows have no %.80q (NULL): say in --map where %s goes, or %s to leave them out", s.By, nullName, leaveOut))
		return text
	case m.tenant == "":
		m.tenant = slug(text)
	}
	if _, err := domain.ParseTenantID(m.tenant); err != nil {
		s.Refused = append(s.Refused, fmt.Sprintf("the value %.80q gives no tenant (%.40q: %v): say in --map where it goes", text, m.tenant, err))
		return text
	}
	if m.name == "" {
		m.name = text
	}
	for _, t := range s.Tenants {
		if t.Tenant == m.tenant {
			if !mapped { // several values in one tenant only if somebody says so
				s.Refused = append(s.Refused, fmt.Sprintf("the values %.80q and %.80q both give the tenant %s: say in --map where they go", t.Values[0], text, m.tenant))
			}
			t.Values, t.values = append(t.Values, text), append(t.values, v)
			return text
		}
	}
	s.Tenants = append(s.Tenants, &splitTenant{Tenant: m.tenant, Name: m.name, Values: []string{text}, values: []sqlite.Value{v}, State: "planned", Rows: map[string]int64{}})
	return text
}

// slug makes a tenant's id of a value.
func slug(s string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	id := strings.Trim(b.String(), "-")
	if id != "" && id[0] >= '0' && id[0] <= '9' {
		id = "tenant-" + id
	}
	return id
}

// count finds how many rows of each table each tenant gets, and whether every row
// goes somewhere.
func (s *splitPlan) count() error {
	for _, t := range s.Tables {
		switch t.How {
		case splitCopy:
			t.Taken = t.Rows
			for _, to := range s.Tenants {
				to.Rows[t.Name] = t.Rows
			}
		case splitBy, splitChain:
			if err := s.countSplit(t); err != nil {
				return err
			}
		}
	}
	return nil
}
