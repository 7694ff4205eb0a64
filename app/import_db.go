package app

import (
	"context"
	"fmt"
	"io"
	"strings"

	"coffer/app/domain"
)

// dbPlan is what an import of a plain database would do.
type dbPlan struct {
	Tables  []plannedTable  `json:"tables"`
	Others  []plannedObject `json:"others"`
	Refused []string        `json:"refused"`
}

type plannedTable struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

type plannedObject struct {
	Type string `json:"type"`
	Name string `json:"name"`
}

func (p *plainFile) plan() dbPlan {
	out := dbPlan{Tables: []plannedTable{}, Others: []plannedObject{}, Refused: p.refusals()}
	for _, t := range p.schema.Tables {
		out.Tables = append(out.Tables, plannedTable{t.Name, t.Rows})
	}
	for _, o := range p.schema.Later {
		out.Others = append(out.Others, plannedObject{o.Type, o.Name})
	}
	return out
}

func (d dbPlan) print(w io.Writer) {
	var rows [][]string
	for _, t := range d.Tables {
		rows = append(rows, []string{"table", t.Name, fmt.Sprint(t.Rows)})
	}
	for _, o := range d.Others {
		rows = append(rows, []string{o.Type, o.Name, ""})
	}
	table(w, []string{"KIND", "NAME", "ROWS"}, rows)
	for _, text := range d.Refused {
		fmt.Fprintf(w, "refused: %s\n", clean(text))
	}
}

// refusedError says what stands in the way; nil if nothing does.
func refusedError(list []string) error {
	if len(list) == 0 {
		return nil
	}
	more := ""
	if len(list) > 1 {
		more = fmt.Sprintf(" (and %d more; --plan lists them)", len(list)-1)
	}
	return domain.Errorf(domain.Invalid, "nothing was changed: %.400s%s", list[0], more)
}

// importDB puts a plain database into a tenant's, which must be empty.
func (r *run) importDB(path string) error {
	for _, name := range []string{"table", "create", "types", "header", "no-header", "delimiter", "null"} {
		if r.IsSet(name) {
			return domain.Fieldf(name, "that is for rows, and the file is a database")
		}
	}
	tenant, err := r.tenant()
	if err != nil {
		return err
	}
	ctx := r.Context.Context
	p, err := openPlain(ctx, path)
	if err != nil {
		return err
	}
	defer p.close()
	plan := p.plan()
	found, err := p.examine(nil)
	if err != nil {
		return err
	}
	plan.Refused = append(plan.Refused, found...)
	if r.Bool("plan") {
		return r.show(plan, plan.print)
	}
	if err := refusedError(plan.Refused); err != nil {
		return err
	}
	meter := r.newMeter("imported")
	defer meter.end()
	stream := newSQLStream(r.client, tenant)
	var counts map[string]int64
	if err := stream.inTransaction(ctx, "BEGIN IMMEDIATE", func() (err error) {
		if err := wantEmpty(ctx, stream); err != nil {
			return err
		}
		counts, err = p.fill(ctx, stream, nil, nil, meter)
		return err
	}); err != nil {
		return err
	}
	meter.end()
	return r.show(plan, func(io.Writer) { r.say("%d tables with %d rows imported", len(counts), sum(counts)) })
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// wantEmpty refuses a database in which something is.
func wantEmpty(ctx context.Context, s *sqlStream) error {
	names, err := tablesOf(ctx, s)
	if err == nil && len(names) > 0 {
		err = domain.Errorf(domain.Conflict, "the tenant's database is not empty: it holds %.200s", strings.Join(names, ", ")).
			WithHint("import into a new tenant")
	}
	return err
}

func tablesOf(ctx context.Context, s *sqlStream) (names []string, err error) {
	list, err := s.one(ctx, `SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	for _, row := range list.Rows {
		names = append(names, row[0].Raw())
	}
	return names, err
}
