package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/tenants/plain"
	"coffer/tenants/sqlite"
)

func newSplitCommand(std Stdio) *cli.Command {
	flags := clientFlags(
		&cli.StringFlag{Name: "by", Usage: "`COLUMN` that says whose a row is"},
		&cli.StringFlag{Name: "map", Usage: "CSV `FILE` of value,tenant,name for values that should not become the tenant's id by themselves"},
		&cli.StringFlag{Name: "copy", Usage: "`TABLES` that every tenant gets whole, as countries,plans"},
		&cli.StringFlag{Name: "leave-out", Usage: "`TABLES` whose rows no tenant gets"},
		&cli.StringFlag{Name: "via", Usage: "`TABLE=COLUMN`: the foreign key that says whose a row is, where a table has several, as items=order_id,notes=user_id"},
		&cli.BoolFlag{Name: "plan", Usage: "say what would be done, and change nothing"},
	)
	return clientCommand(std, &cli.Command{
		Name: "split", Usage: "make one tenant of each client in a plain SQLite file that all share", ArgsUsage: "FILE", Flags: flags,
		Description: "Each tenant is filled whole or not at all. After a stop the same command goes on with what is missing.",
	}, 1, 1, func(r *run) error { return r.split() })
}

func (r *run) split() error {
	if r.String("by") == "" {
		return domain.Fieldf("by", "no column is named").WithHint("for example --by tenant_id")
	}
	maps, err := readMap(r.String("map"))
	if err != nil {
		return err
	}
	p, err := openPlain(r.Context.Context, r.Args().First())
	if err != nil {
		return err
	}
	defer p.close()
	via, err := viaOf(r.String("via"), p.schema)
	if err != nil {
		return err
	}
	plan, err := planSplit(p, r.String("by"), maps, listOf(r.String("copy")), listOf(r.String("leave-out")), via)
	if err != nil {
		return err
	}
	if r.Bool("plan") {
		return r.show(plan, plan.print)
	}
	if err := refusedError(plan.Refused); err != nil {
		return err
	}
	meter := r.newMeter("imported")
	defer meter.end()
	for _, t := range plan.Tenants {
		if err := r.fillTenant(r.Context.Context, plan, t, meter); err != nil {
			return domain.Errorf(domain.KindOf(err), "tenant %s: %w", t.Tenant, err).
				WithHint("the tenants before it are whole; the same command goes on from here")
		}
	}
	meter.end()
	return r.show(plan, plan.print)
}

// viaOf reads which foreign key each table follows.
func viaOf(s string, schema plain.Schema) (map[string]string, error) {
	out := map[string]string{}
	for _, one := range listOf(s) {
		table, column, ok := strings.Cut(one, "=")
		known := slices.ContainsFunc(schema.Tables, func(t plain.Table) bool {
			return t.Name == table && slices.ContainsFunc(t.Foreign, func(k plain.ForeignKey) bool { return slices.Contains(k.From, column) })
		})
		if !ok || !known {
			return nil, domain.Fieldf("via", "%.80q is not a table with a foreign key on that column", one).WithHint("write it like items=order_id")
		}
		out[table] = column
	}
	return out, nil
}

func listOf(s string) (out []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// fillTenant makes a tenant if it is not there, and fills it if it is empty.
func (r *run) fillTenant(ctx context.Context, plan *splitPlan, t *splitTenant, m *meter) error {
	stream := newSQLStream(r.client, t.Tenant)
	names, err := tablesOf(ctx, stream)
	if closed := stream.close(ctx); err == nil {
		err = closed
	}
	switch kind := domain.KindOf(err); {
	case err != nil && kind != domain.Denied && kind != domain.NotFound:
		return err
	case err != nil:
		if kept, err := r.keptSet(); err != nil {
			return err
		} else if n := len(kept.Migrations); n > 0 {
			return domain.Errorf(domain.Conflict, "it was not made: a new tenant begins with %d migrations, and only an empty one can be filled", n).
				WithHint("split into a Coffer that has no migrations yet, and hand them over afterwards")
		}
		in := actions.TenantCreateIn{ID: t.Tenant, Name: t.Name}
		var out actions.TenantCreated
		if err := r.client.call(ctx, http.MethodPost, "/api/v1/tenants", nil, in, &out); err != nil {
			return err
		}
	case len(names) > 0:
		if err := plan.holds(ctx, newSQLStream(r.client, t.Tenant), t, names); err != nil {
			return err
		}
		t.State = "was there"
		return nil
	}
	stream = newSQLStream(r.client, t.Tenant)
	err = stream.inTransaction(ctx, "BEGIN IMMEDIATE", func() error {
		if err := wantEmpty(ctx, stream); err != nil {
			return err
		}
		counts, err := plan.file.fill(ctx, stream, plan.partsOf(t), plan.leave(), m)
		if err != nil {
			return err
		}
		for name, n := range counts {
			if n != t.Rows[name] {
				return domain.Errorf(domain.Internal, "the table %.80q got %d rows in place of %d", name, n, t.Rows[name])
			}
		}
		return plan.compare(ctx, stream, t)
	})
	if err == nil {
		t.State = "filled"
	}
	return err
}

// partsOf says which rows a tenant gets.
func (s *splitPlan) partsOf(t *splitTenant) map[string]part {
	parts := map[string]part{}
	for _, one := range s.Tables {
		if one.How != splitBy && one.How != splitChain {
			continue
		}
		var wheres []string
		for i := range t.values {
			wheres = append(wheres, s.condition(one, "t", i+1))
		}
		parts[one.Name] = part{strings.Join(wheres, " OR "), t.values}
	}
	return parts
}

func (s *splitPlan) leave() map[string]bool {
	out := map[string]bool{}
	for _, t := range s.Tables {
		out[t.Name] = t.How == splitLeave
	}
	return out
}

// compare counts the rows of a tenant against the plan.
func (s *splitPlan) compare(ctx context.Context, stream *sqlStream, t *splitTenant) error {
	for _, one := range s.Tables {
		n, err := stream.one(ctx, "SELECT count(*) FROM "+quoteName(one.Name))
		if err != nil {
			return err
		}
		if got := n.Rows[0][0].Int64(); got != t.Rows[one.Name] {
			return domain.Errorf(domain.Conflict, "its table %.80q has %d rows, and by the file it should have %d", one.Name, got, t.Rows[one.Name])
		}
	}
	return nil
}

// holds says whether a tenant that is not empty has what this split gave it.
func (s *splitPlan) holds(ctx context.Context, stream *sqlStream, t *splitTenant, names []string) error {
	other := func(err error) error {
		return domain.Errorf(domain.Conflict, "it holds other data: %w", err).WithHint("say in --map under which name this client should be made")
	}
	for _, one := range s.Tables {
		if !slices.Contains(names, one.Name) {
			return other(fmt.Errorf("there is no table %.80q", one.Name))
		}
	}
	err := stream.inTransaction(ctx, "BEGIN TRANSACTION READONLY", func() error {
		if err := s.compare(ctx, stream, t); err != nil {
			return err
		}
		return s.sample(ctx, stream, t)
	})
	if _, lost := errors.AsType[*sqlError](err); err != nil && (lost || domain.KindOf(err) == domain.Conflict) {
		return other(err)
	}
	return err
}

// sample looks whether the rows that are split are those of the tenant's values.
func (s *splitPlan) sample(ctx context.Context, stream *sqlStream, t *splitTenant) error {
	for _, one := range s.Tables {
		if one.How != splitBy {
			continue
		}
		in := strings.TrimSuffix(strings.Repeat(quoteName(s.By)+" IS ? OR ", len(t.values)), " OR ")
		n, err := stream.one(ctx, "SELECT count(*) FROM "+quoteName(one.Name)+" WHERE NOT ("+in+")", slices.Clone[[]sqlite.Value](t.values)...)
		if err != nil {
			return err
		}
		if n.Rows[0][0].Int64() != 0 {
			return domain.Errorf(domain.Conflict, "its table %.80q has rows of others", one.Name)
		}
	}
	return nil
}

// print shows what goes where: tenants in rows, and how it adds up.
func (s *splitPlan) print(w io.Writer) {
	head, sums := []string{"TENANT", "STATE"}, []string{"together", ""}
	source, how := []string{"in the file", ""}, []string{"", ""}
	for _, t := range s.Tables {
		head = append(head, t.Name)
		sums, source = append(sums, fmt.Sprint(t.Taken)), append(source, fmt.Sprint(t.Rows))
		how = append(how, strings.TrimSpace(t.How+" "+t.Via))
	}
	rows := [][]string{how}
	for _, t := range s.Tenants {
		row := []string{t.Tenant, t.State}
		for _, one := range s.Tables {
			row = append(row, fmt.Sprint(t.Rows[one.Name]))
		}
		rows = append(rows, row)
	}
	table(w, head, append(rows, sums, source))
	if len(s.Left) > 0 {
		fmt.Fprintf(w, "left out by the map: %d values\n", len(s.Left))
	}
	for _, text := range s.Refused {
		fmt.Fprintf(w, "refused: %s\n", clean(text))
	}
}
