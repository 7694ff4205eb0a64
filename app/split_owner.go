package app

import (
	"fmt"
	"slices"
	"strings"

	"coffer/tenants/plain"
	"coffer/tenants/sqlite"
)

// ways are the foreign keys of a table that lead to one that is split. It waits
// while there is a parent that may turn out to be another way.
func (s *splitPlan) ways(one *splitTable) (ways []plain.ForeignKey, waits bool) {
	_, t := s.table(one.Name)
	for _, k := range t.Foreign {
		parent, definition := s.table(k.Table)
		if parent == nil || parent == one || (s.via[one.Name] != "" && !slices.Contains(k.From, s.via[one.Name])) {
			continue
		}
		if len(k.To) == 0 {
			k.To = definition.Key
		}
		if len(k.To) != len(k.From) {
			continue
		}
		switch parent.How {
		case splitBy, splitChain:
			ways = append(ways, k)
		case splitRefuse:
			waits = waits || s.leads(parent, map[string]bool{one.Name: true})
		}
	}
	return ways, waits
}

// leads reports whether any foreign key leads from a table to one that is split.
func (s *splitPlan) leads(one *splitTable, seen map[string]bool) bool {
	if one.How == splitBy || one.How == splitChain {
		return true
	}
	if one.How != splitRefuse || seen[one.Name] {
		return false
	}
	seen[one.Name] = true
	_, t := s.table(one.Name)
	return slices.ContainsFunc(t.Foreign, func(k plain.ForeignKey) bool {
		parent, _ := s.table(k.Table)
		return parent != nil && s.leads(parent, seen)
	})
}

// follow decides a table that has one way. Which of several is meant is not for a
// program to guess: whose a row is depends on it.
func (s *splitPlan) follow(one *splitTable) bool {
	ways, waits := s.ways(one)
	if len(ways) != 1 || waits {
		return false
	}
	parent, _ := s.table(ways[0].Table)
	one.How, one.Via, one.key = splitChain, parent.Name, ways[0]
	return true
}

// severalWays refuses a table with more ways than one.
func (s *splitPlan) severalWays(one *splitTable) bool {
	ways, _ := s.ways(one)
	if len(ways) < 2 {
		return false
	}
	var choices []string
	for _, k := range ways {
		choices = append(choices, one.Name+"="+k.From[0])
	}
	s.Refused = append(s.Refused, fmt.Sprintf("the table %.80q has %d foreign keys to tables that are split: choose one with --via %s", one.Name, len(ways), strings.Join(choices, " or --via ")))
	return true
}

// owner is an expression for whose a row is, for a row of the table under an
// alias.
func (s *splitPlan) owner(one *splitTable, alias string) string {
	if one.How == splitBy {
		return alias + "." + quoteName(one.column)
	}
	parent, _ := s.table(one.key.Table)
	up := alias + "x"
	return "(SELECT " + s.owner(parent, up) + " FROM " + quoteName(parent.Name) + " AS " + up + " WHERE " + joined(one.key, alias, up) + ")"
}

func joined(k plain.ForeignKey, child, parent string) string {
	var parts []string
	for i := range k.From {
		parts = append(parts, parent+"."+quoteName(k.To[i])+" = "+child+"."+quoteName(k.From[i]))
	}
	return strings.Join(parts, " AND ")
}

// condition is a table's WHERE for the nth argument. Values are compared by their
// bytes and class, whatever collation and affinity the column has in this table:
// a row that fits two values would go to two tenants.
func (s *splitPlan) condition(one *splitTable, alias string, n int) string {
	if one.How == splitBy {
		column := alias + "." + quoteName(one.column)
		return fmt.Sprintf("(%s COLLATE BINARY IS ?%d AND typeof(%s) = typeof(?%d))", column, n, column, n)
	}
	parent, _ := s.table(one.key.Table)
	up := alias + "x"
	return "EXISTS (SELECT 1 FROM " + quoteName(parent.Name) + " AS " + up + " WHERE " + joined(one.key, alias, up) + " AND " + s.condition(parent, up, n) + ")"
}

// reaches is an expression for whether a row has a way to the column at all.
func (s *splitPlan) reaches(one *splitTable, alias string) string {
	if one.How == splitBy {
		return "1"
	}
	parent, _ := s.table(one.key.Table)
	up := alias + "x"
	return "EXISTS (SELECT 1 FROM " + quoteName(parent.Name) + " AS " + up + " WHERE " + joined(one.key, alias, up) + " AND " + s.reaches(parent, up) + ")"
}

func ownerKey(v sqlite.Value) string { return v.Type().String() + ":" + cell(v) }

// owners are the tenants by value; the one of what is left out is "-".
func (s *splitPlan) owners() map[string]*splitTenant {
	out := map[string]*splitTenant{}
	for _, t := range s.Tenants {
		for _, v := range t.values {
			out[ownerKey(v)] = t
		}
	}
	nobody := &splitTenant{Tenant: leaveOut}
	for _, v := range s.left {
		out[ownerKey(v)] = nobody
	}
	return out
}

// countSplit counts a table's rows by whose they are, in one pass.
func (s *splitPlan) countSplit(t *splitTable) error {
	groups, err := s.file.tally("SELECT " + s.owner(t, "t") + ", " + s.reaches(t, "t") + " FROM " + quoteName(t.Name) + " AS t")
	if err != nil {
		return err
	}
	owners, none := s.owners(), int64(0)
	for _, g := range groups {
		n := g[2].Int64()
		switch to := owners[ownerKey(g[0])]; {
		case to == nil || g[1].Int64() == 0:
			none += n
		case to.Tenant != leaveOut:
			to.Rows[t.Name] += n
			t.Taken += n
		}
	}
	if none > 0 {
		s.Refused = append(s.Refused, fmt.Sprintf("of the table %.80q %d rows of %d belong to no tenant", t.Name, none, t.Rows))
	}
	return nil
}

// cross refuses what no tenant's database could keep: rows that refer to another
// tenant's, to what is left out, and copied ones that refer to what is split.
func (s *splitPlan) cross() error {
	for _, one := range s.Tables {
		_, t := s.table(one.Name)
		if one.How == splitLeave || one.How == splitRefuse || one.Rows == 0 {
			continue
		}
		for _, k := range t.Foreign {
			parent, definition := s.table(k.Table)
			if parent == nil || parent.How == splitCopy || parent.How == splitRefuse {
				continue
			}
			if len(k.To) == 0 {
				k.To = definition.Key
			}
			if len(k.To) != len(k.From) {
				continue // foreign_key_check has said so
			}
			if err := s.crossing(one, parent, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *splitPlan) crossing(one, parent *splitTable, k plain.ForeignKey) error {
	from := " FROM " + quoteName(one.Name) + " AS t JOIN " + quoteName(parent.Name) + " AS p ON " + joined(k, "t", "p")
	divided := func(t *splitTable) bool { return t.How == splitBy || t.How == splitChain }
	wrong, what := int64(0), "of another tenant"
	if divided(one) && divided(parent) {
		pairs, err := s.file.tally("SELECT " + s.owner(one, "t") + ", " + s.owner(parent, "p") + from)
		if err != nil {
			return err
		}
		owners := s.owners()
		for _, g := range pairs {
			a, b := owners[ownerKey(g[0])], owners[ownerKey(g[1])]
			if a != b && a != nil && a.Tenant != leaveOut {
				wrong += g[2].Int64()
			}
		}
	} else {
		n, err := s.file.all("SELECT count(*)" + from)
		if err != nil {
			return err
		}
		wrong = n[0][0].Int64()
		if what = "that are left out"; parent.How != splitLeave {
			what = "of which each tenant gets a part only"
		}
	}
	if wrong > 0 {
		s.Refused = append(s.Refused, fmt.Sprintf("of the table %.80q %d rows refer to rows of %.80q %s", one.Name, wrong, parent.Name, what))
	}
	return nil
}
