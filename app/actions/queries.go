package actions

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/queries"
	"coffer/app/store"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// QuerySaveIn is a query as it is to be stored. Its owner is who stores it first.
type QuerySaveIn struct {
	Tenant      string          `path:"tenant" json:"-"`
	Name        string          `path:"name" json:"-"`
	Title       string          `json:"title,omitempty" doc:"a line for people; the name if absent" schema:"maxLength=128"`
	Description string          `json:"description,omitempty" schema:"maxLength=1000"`
	SQL         string          `json:"sql" doc:"one statement that only reads" schema:"minLength=1,maxLength=20000"`
	Params      []queries.Param `json:"params,omitempty" doc:"named parameters of the SQL and their defaults; those that are not listed are null" schema:"maxItems=20"`
	Chart       queries.Chart   `json:"chart,omitempty" doc:"how the result is drawn" schema:"enum=table|number|line|bar|pie,default=table"`
	X           string          `json:"x,omitempty" doc:"column of the labels; the first if absent"`
	Y           []string        `json:"y,omitempty" doc:"columns of the values; all others if absent" schema:"maxItems=8"`
	Refresh     int             `json:"refresh,omitempty" doc:"seconds after which a page asks again, 5 to 86400; never if 0" schema:"minimum=0,maximum=86400,default=0"`
	Shared      bool            `json:"shared,omitempty" doc:"every member may see and run it, viewers too"`
}

func (in QuerySaveIn) query() queries.Query {
	q := queries.Query{
		Name: in.Name, Title: in.Title, Description: in.Description, SQL: in.SQL, Params: in.Params, Chart: in.Chart,
		X: in.X, Y: in.Y, Refresh: uint32(max(0, in.Refresh)), Shared: in.Shared,
	}
	if q.Title == "" {
		q.Title = q.Name
	}
	if q.Chart == "" {
		q.Chart = queries.Table
	}
	return q
}

// QueryInfo is a stored query. Its SQL is shown to who may write SQL of the own.
type QueryInfo struct {
	Name        string          `json:"name"`
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	SQL         string          `json:"sql,omitempty"`
	Params      []queries.Param `json:"params,omitempty"`
	Chart       queries.Chart   `json:"chart"`
	X           string          `json:"x,omitempty"`
	Y           []string        `json:"y,omitempty"`
	Refresh     int             `json:"refresh,omitempty" doc:"seconds"`
	Shared      bool            `json:"shared"`
	By          string          `json:"by" doc:"id of the person whose it is"`
	Changed     time.Time       `json:"changed"`
}

// queryInfo is what the caller may see of a query.
func (c *call) queryInfo(q queries.Query) QueryInfo {
	out := QueryInfo{
		Name: q.Name, Title: q.Title, Description: q.Description, Params: q.Params, Chart: q.Chart, X: q.X, Y: q.Y,
		Refresh: int(q.Refresh), Shared: q.Shared, By: q.By, Changed: q.Changed,
	}
	if c.may(authz.Request{Action: authz.SQLQuery, Tenant: c.permit.Tenant()}) {
		out.SQL = q.SQL
	}
	return out
}

func (c *call) may(r authz.Request) bool {
	_, err := authz.Authorize(c.who.Subject, r)
	return err == nil
}

// sees says whether the caller may see and run a query: a shared one, the own,
// and any that the caller could change.
func (c *call) sees(q queries.Query) bool {
	return q.Shared || c.may(authz.Request{Action: authz.QuerySave, Tenant: c.permit.Tenant(), OwnedBy: q.By})
}

// queryOwner finds whose a query is; nobody's if there is none yet.
func queryOwner(tx *store.Tx, tenant, name string) (string, error) {
	q, err := queries.Find(tx, domain.TenantID(tenant), name)
	if errors.Is(err, queries.ErrNoQuery) {
		return "", nil
	}
	return q.By, err
}

// QuerySave stores a query, or changes it. Its SQL is compiled as a reader's, so
// that one which does more than read is refused here and not when somebody looks.
var QuerySave = Operation[QuerySaveIn, QueryInfo]{
	action: authz.QuerySave,
	ask: func(_ context.Context, _ *Service, in QuerySaveIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if most := int(queries.MaxRefresh / time.Second); err == nil && (in.Refresh < 0 || in.Refresh > most) {
			err = domain.Fieldf("refresh", "not between 0 and %d seconds", most)
		}
		if err == nil {
			err = in.query().Check()
		}
		if err == nil {
			err = checkDefaults(in.Params)
		}
		return authz.Request{Tenant: tenant, Resource: in.Name}, err
	},
	owner: func(tx *store.Tx, in QuerySaveIn) (string, error) { return queryOwner(tx, in.Tenant, in.Name) },
	act: func(ctx context.Context, c *call, in QuerySaveIn) (QueryInfo, error) {
		q := in.query()
		c.detail["shared"], c.detail["chart"] = q.Shared, string(q.Chart)
		if err := c.begin(ctx); err != nil {
			return QueryInfo{}, err
		}
		if err := c.compile(ctx, &q); err != nil {
			return QueryInfo{}, err
		}
		q.By = c.who.Subject.Principal.ID
		q.Created = c.clock.Now().UTC()
		q.Changed = q.Created
		err := c.change(ctx, func(tx *store.Tx) (err error) {
			q, err = queries.Save(tx, c.permit.Tenant(), q)
			return err
		})
		return c.queryInfo(q), err
	},
}

// checkDefaults refuses a default that could not be bound, as a number too large
// is: the query would fail whenever somebody looks.
func checkDefaults(params []queries.Param) error {
	for _, p := range params {
		var v SQLValue
		if len(p.Default) > 0 && json.Unmarshal(p.Default, &v) != nil {
			return domain.Fieldf("params", "the default of %s is neither null, a number nor a string", p.Name)
		}
	}
	return nil
}

// compile checks a query against the database as it is now, and fills in what the
// chart draws.
func (c *call) compile(ctx context.Context, q *queries.Query) error {
	if !guard.OnlyReads(q.SQL) {
		return domain.Fieldf("sql", "a stored query only reads").WithHint("begin with SELECT, VALUES or WITH")
	}
	d, err := c.files.Describe(ctx, c.permit, q.SQL)
	if err != nil {
		return err
	}
	c.describe(d.Report)
	switch {
	case !d.ReadOnly || d.Explain:
		return domain.Fieldf("sql", "a stored query only reads")
	case len(d.Columns) == 0:
		return domain.Fieldf("sql", "it gives no columns")
	}
	if err := fillParams(q, d.Params); err != nil {
		return err
	}
	return fillColumns(q, d.Columns)
}

// fillParams adds the parameters of the SQL that were not listed.
func fillParams(q *queries.Query, params []string) error {
	known := map[string]bool{}
	for _, name := range params {
		if name == "" || name[0] == '?' {
			return domain.Fieldf("params", "a parameter of a stored query has a name").WithHint("write :name for ?")
		}
		name = name[1:]
		known[name] = true
		if !slices.ContainsFunc(q.Params, func(p queries.Param) bool { return p.Name == name }) {
			q.Params = append(q.Params, queries.Param{Name: name})
		}
	}
	for _, p := range q.Params {
		if !known[p.Name] {
			return domain.Fieldf("params", "the SQL has no parameter %s", p.Name)
		}
	}
	return q.Check()
}

// fillColumns chooses what a chart draws where nobody said.
func fillColumns(q *queries.Query, columns []sqlite.Column) error {
	has := func(name string) bool {
		return slices.ContainsFunc(columns, func(c sqlite.Column) bool { return c.Name == name })
	}
	for _, name := range append([]string{q.X}, q.Y...) {
		if name != "" && !has(name) {
			return domain.Fieldf("x", "the result has no column of that name").WithHint("name columns with AS")
		}
	}
	if q.Chart == queries.Table || q.Chart == queries.Number {
		return nil
	}
	if len(columns) < 2 {
		return domain.Fieldf("chart", "a %s needs a column of labels and one of values", q.Chart)
	}
	if q.X == "" {
		q.X = columns[0].Name
	}
	if len(q.Y) > 0 {
		return nil
	}
	for _, column := range columns {
		if len(q.Y) < queries.MaxColumns && column.Name != q.X && !slices.Contains(q.Y, column.Name) {
			q.Y = append(q.Y, column.Name)
		}
	}
	return q.Check()
}

// QueryRef names a query.
type QueryRef struct {
	Tenant string `path:"tenant" json:"-"`
	Name   string `path:"name" json:"-"`
}

func askQuery(_ context.Context, _ *Service, in QueryRef) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(in.Tenant)
	if err == nil {
		_, err = domain.ParseName("name", in.Name)
	}
	return authz.Request{Tenant: tenant, Resource: in.Name}, err
}

// findQuery reads a query that the caller may see.
func (c *call) findQuery(ctx context.Context, name string) (q queries.Query, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) (err error) {
		q, err = queries.Find(tx, c.permit.Tenant(), name)
		return err
	})
	if err == nil && !c.sees(q) {
		return queries.Query{}, queries.ErrNoQuery
	}
	return q, err
}

// QueryShow shows a stored query.
var QueryShow = Operation[QueryRef, QueryInfo]{
	action: authz.QueryList,
	ask:    askQuery,
	act: func(ctx context.Context, c *call, in QueryRef) (QueryInfo, error) {
		q, err := c.findQuery(ctx, in.Name)
		if err != nil {
			return QueryInfo{}, err
		}
		return c.queryInfo(q), nil
	},
}

// QueryListOut is a page of stored queries, by name.
type QueryListOut struct {
	Queries []QueryInfo `json:"queries"`
	Next    string      `json:"next,omitempty"`
}

// QueryList lists the queries that the caller may see.
var QueryList = Operation[TenantPage, QueryListOut]{
	action: authz.QueryList,
	ask:    askTenantPage,
	act: func(ctx context.Context, c *call, in TenantPage) (out QueryListOut, err error) {
		out.Queries = []QueryInfo{}
		err = c.db.View(ctx, func(tx *store.Tx) error {
			out.Queries = out.Queries[:0]
			return queries.Each(tx, c.permit.Tenant(), in.After, func(q queries.Query) error {
				if !c.sees(q) {
					return nil
				}
				if out.Queries = append(out.Queries, c.queryInfo(q)); len(out.Queries) > in.size() {
					return store.ErrStop
				}
				return nil
			})
		})
		out.Queries, out.Next = cut(out.Queries, in.size(), func(q QueryInfo) string { return q.Name })
		c.detail["count"] = len(out.Queries)
		return out, err
	},
}

// QueryRemove removes a stored query that stands on no dashboard.
var QueryRemove = Operation[QueryRef, QueryInfo]{
	action: authz.QueryRemove,
	ask:    askQuery,
	owner:  func(tx *store.Tx, in QueryRef) (string, error) { return queryOwner(tx, in.Tenant, in.Name) },
	act: func(ctx context.Context, c *call, in QueryRef) (QueryInfo, error) {
		var q queries.Query
		err := c.change(ctx, func(tx *store.Tx) (err error) {
			q, err = queries.Remove(tx, c.permit.Tenant(), in.Name)
			return err
		})
		return c.queryInfo(q), err
	},
}

// QueryRunIn runs a stored query.
type QueryRunIn struct {
	Tenant string              `path:"tenant" json:"-"`
	Name   string              `path:"name" json:"-"`
	Params map[string]SQLValue `json:"params,omitempty" doc:"values of its parameters; the defaults for those that are absent"`
}

// QueryRunOut is the query and its result.
type QueryRunOut struct {
	Query   QueryInfo    `json:"query"`
	Columns []string     `json:"columns"`
	Rows    [][]SQLValue `json:"rows"`
}

// QueryRun runs a stored query on a connection that can only read, whoever runs
// it.
var QueryRun = Operation[QueryRunIn, QueryRunOut]{
	action: authz.QueryRun,
	ask: func(ctx context.Context, s *Service, in QueryRunIn) (authz.Request, error) {
		if len(in.Params) > queries.MaxParams {
			return authz.Request{}, domain.Fieldf("params", "%d are more than %d", len(in.Params), queries.MaxParams)
		}
		return askQuery(ctx, s, QueryRef{in.Tenant, in.Name})
	},
	act: func(ctx context.Context, c *call, in QueryRunIn) (QueryRunOut, error) {
		out := QueryRunOut{Columns: []string{}, Rows: [][]SQLValue{}}
		q, err := c.findQuery(ctx, in.Name)
		if err != nil {
			return out, err
		}
		request := guard.Request{SQL: q.SQL, ReadOnly: true}
		for _, p := range q.Params {
			v, given := in.Params[p.Name]
			if !given && len(p.Default) > 0 {
				if err := json.Unmarshal(p.Default, &v); err != nil {
					return out, err
				}
			}
			request.Named = append(request.Named, guard.Named{Name: p.Name, Value: v.v})
		}
		for name := range in.Params {
			if !slices.ContainsFunc(q.Params, func(p queries.Param) bool { return p.Name == name }) {
				return out, domain.Fieldf("params", "the query has no parameter %.40q", name)
			}
		}
		done, err := c.files.Query(ctx, c.permit, request, collect(&out.Columns, &out.Rows))
		c.describe(done.Report)
		out.Query = c.queryInfo(q)
		return out, err
	},
}

// collect is a sink that keeps columns and rows as the native API shows them.
func collect(columns *[]string, rows *[][]SQLValue) guard.Sink {
	return guard.Sink{
		Columns: func(cols []sqlite.Column) error {
			for _, col := range cols {
				*columns = append(*columns, col.Name)
			}
			return nil
		},
		Row: func(row []sqlite.Value) error {
			values := make([]SQLValue, len(row))
			for i, v := range row {
				values[i] = SQLValue{v}
			}
			*rows = append(*rows, values)
			return nil
		},
	}
}
