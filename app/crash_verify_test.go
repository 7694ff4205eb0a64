package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"coffer/app/actions"
)

// verify compares everything that the last round touched, or all there is, with
// what the clients know.
func (c *campaign) verify(all bool) {
	c.readLogs()
	c.settle()
	if c.t.Failed() {
		return // the model is not to be trusted from here on
	}
	c.reopen()
	c.compareTenants()
	var group sync.WaitGroup
	for _, p := range c.live() {
		group.Go(func() { c.compareTenant(p) })
		c.compareNote(p)
	}
	for _, l := range c.loaders {
		group.Go(func() { c.compareHoldings(l, all) })
	}
	group.Wait()
	for _, id := range append([]string{""}, ids(c.live())...) {
		if err := c.post(logURL(id, "verify"), nil, &actions.Verified{}); err != nil {
			c.t.Errorf("verifying the log of %q: %v", id, err)
		}
	}
	if all {
		c.doctor()
	}
}

// doctor has the appliance check everything on disk.
func (c *campaign) doctor() {
	var out actions.CheckOut
	if err := c.post("/api/v1/check", actions.Nothing{}, &out); err != nil {
		c.t.Errorf("checking the stores: %v", err)
	}
	for _, p := range out.Parts {
		if !p.OK {
			c.t.Errorf("%s: %s", p.Part, p.Problem)
		}
	}
}

// live are the tenants that are there and were not destroyed.
func (c *campaign) live() []*place {
	out := slices.Clone(c.places)
	for _, l := range c.loaders {
		if l.volatile != nil && l.volatile.in.state != "" && l.volatile.in.state != "destroyed" {
			out = append(out, l.volatile.in)
		}
	}
	return out
}

func ids(places []*place) (out []string) {
	for _, p := range places {
		out = append(out, p.id)
	}
	return out
}

// reopen resumes the tenant that may have been left suspended, once it was seen
// that it stayed closed.
func (c *campaign) reopen() {
	for _, l := range c.loaders {
		if p := l.closes; p != nil && p.state == "suspended" {
			c.expect(&request{
				tag: "verify", method: http.MethodGet, path: tenantURL(p.id, "secrets"), want: []int{http.StatusForbidden},
			})
			r := l.toggle(p)
			l.sent = append(l.sent, r)
			c.expect(r)
		}
	}
}

// readLogs reads on in every log that the API shows whole. The last record that
// is known is read again.
func (c *campaign) readLogs() {
	for _, id := range append([]string{""}, ids(c.live())...) {
		l := c.ledgers[id]
		if l == nil {
			l = newLedger(id)
			c.ledgers[id] = l
		}
		if err := c.readOn(l); err != nil && c.stateOf(id) != "destroyed" {
			c.t.Errorf("reading the log of %q: %v", id, err)
		}
	}
}

// stateOf asks for a tenant's state.
func (c *campaign) stateOf(id string) string {
	var info actions.TenantInfo
	if err := c.get(tenantURL(id), nil, &info); err != nil {
		return ""
	}
	return string(info.State)
}

func (c *campaign) readOn(l *ledger) error {
	query := url.Values{"limit": {strconv.Itoa(actions.MaxPage)}}
	known := len(l.all)
	if known > 1 {
		query.Set("after", strconv.Itoa(known-2))
	}
	for {
		var page actions.Events
		if err := c.get(logURL(l.tenant), query, &page); err != nil {
			return err
		}
		for _, e := range page.Events {
			if e.Seq < uint64(known) {
				if e.Leaf != l.all[e.Seq].leaf {
					return fmt.Errorf("record %d is another one than before the crash", e.Seq)
				}
				continue
			}
			if err := l.add(line{
				seq: e.Seq, leaf: e.Leaf, kind: e.Type, action: e.Action, client: e.Client, outcome: e.Outcome, intent: e.Intent,
			}); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return l.settled()
		}
		query.Set("after", page.Next)
	}
}

// settle finds out from the logs what became of each request of the round, and
// brings the model up to date with those whose answer was lost.
//
// The log of a destroyed tenant is no longer shown whole. Whether it was
// destroyed is known from its state; that log is read at the end.
func (c *campaign) settle() {
	for _, l := range c.loaders {
		gone := map[string]bool{}
		for _, h := range l.all() {
			gone[h.in.id] = h.in.state == "destroyed" || h == l.volatile && c.stateOf(h.in.id) == "destroyed"
		}
		for _, r := range l.sent {
			c.sent[r.log] = append(c.sent[r.log], r)
			happened, err := gone[r.log] && r.action == "tenant.destroy", error(nil)
			if !gone[r.log] {
				happened, err = c.ledgers[r.log].verdict(r)
			}
			if err != nil {
				c.t.Error(err)
			}
			if happened && r.status == 0 && r.effect != nil {
				r.effect(nil)
			}
		}
		l.sent = nil
	}
}

// compareTenants compares the list of tenants with the model.
func (c *campaign) compareTenants() {
	want, got := map[string]string{}, map[string]string{}
	for _, p := range c.places {
		want[p.id] = p.state
	}
	for _, l := range c.loaders {
		for _, h := range l.all() {
			if h.in.state != "" {
				want[h.in.id] = h.in.state
			}
		}
	}
	c.pages("/api/v1/tenants", func(query url.Values) (next string, err error) {
		var page actions.TenantListOut
		err = c.get("/api/v1/tenants", query, &page)
		for _, i := range page.Tenants {
			got[string(i.ID)] = string(i.State)
		}
		return page.Next, err
	})
	c.same("tenants", want, got)
}

// pages reads a list to its end.
func (c *campaign) pages(what string, read func(query url.Values) (next string, err error)) {
	query := url.Values{"limit": {strconv.Itoa(actions.MaxPage)}}
	for {
		next, err := read(query)
		if err != nil {
			c.t.Fatalf("reading %s: %v", what, err)
		}
		if next == "" {
			return
		}
		query.Set("after", next)
	}
}

// compareTenant compares what all clients together have in one tenant: each row
// exactly once, each token, each workload, and nothing else.
func (c *campaign) compareTenant(p *place) {
	if p.state != "active" {
		return // closed, which compareHoldings looks at
	}
	rows, tokens, workloads := map[string]string{}, map[string]string{}, map[string]string{}
	for _, l := range c.loaders {
		for _, h := range l.all() {
			if h.in != p {
				continue
			}
			for tag, parts := range h.rows {
				for part := range parts {
					rows[fmt.Sprintf("%s#%d", tag, part)] = "once"
				}
			}
			for _, t := range h.tokens {
				if t.name != "" && !t.revoked {
					tokens[t.name] = "issued"
				}
			}
			for _, w := range h.workloads {
				if !w.removed {
					workloads[w.name] = fmt.Sprintf("%d logins", w.logins)
				}
			}
		}
	}
	if p.table {
		c.same("rows of "+p.id, rows, c.rows(p.id))
	}
	gotTokens, gotWorkloads := c.credentials(p.id)
	c.same("tokens of "+p.id, tokens, gotTokens)
	c.same("workloads of "+p.id, workloads, gotWorkloads)
}

// compareNote wants the log of a tenant to begin with the note of its creation,
// once, whenever a crash came.
func (c *campaign) compareNote(p *place) {
	l := c.ledgers[p.id]
	if l == nil { // that it was created was found out only now
		l = newLedger(p.id)
		if err := c.readOn(l); err != nil {
			c.t.Errorf("reading the log of %q: %v", p.id, err)
		}
	}
	var noted, first uint64
	for _, e := range l.all {
		if e.kind == "event" && e.action == "tenant.created" {
			noted++
		}
		if noted == 0 && (e.kind == "event" || e.kind == "intent") {
			first++
		}
	}
	if noted != 1 || first != 0 {
		c.t.Errorf("the log of %s has %d notes of its creation, after %d other events", p.id, noted, first)
	}
}

// rows reads the whole table, a part at a time.
func (c *campaign) rows(id string) map[string]string {
	const part = 500
	got := map[string]string{}
	for after := 0.0; ; {
		var out struct{ Rows [][]any }
		if err := c.post(tenantURL(id, "sql"), map[string]any{
			"sql": `SELECT rowid, tag, part, v FROM rows WHERE rowid > ? ORDER BY rowid LIMIT ?`, "args": []any{after, part},
		}, &out); err != nil {
			c.t.Errorf("reading the rows of %s: %v", id, err)
			return got
		}
		for _, row := range out.Rows {
			after, _ = row[0].(float64)
			tag, _ := row[1].(string)
			name, state := fmt.Sprintf("%s#%v", tag, row[2]), "once"
			if row[3] != valueOf(tag) {
				state = "with another value"
			}
			if got[name] != "" {
				state = "more than once"
			}
			got[name] = state
		}
		if len(out.Rows) < part {
			return got
		}
	}
}

// credentials lists tokens by the tag that made them, and workloads with the
// number of their logins.
func (c *campaign) credentials(id string) (tokens, workloads map[string]string) {
	tokens, workloads = map[string]string{}, map[string]string{}
	var list actions.TokenListOut
	var made actions.WorkloadListOut
	c.pages(tenantURL(id, "tokens"), func(query url.Values) (next string, err error) {
		var page actions.TokenListOut
		err = c.get(tenantURL(id, "tokens"), query, &page)
		list.Tokens = append(list.Tokens, page.Tokens...)
		return page.Next, err
	})
	c.pages(tenantURL(id, "workloads"), func(query url.Values) (next string, err error) {
		var page actions.WorkloadListOut
		err = c.get(tenantURL(id, "workloads"), query, &page)
		made.Workloads = append(made.Workloads, page.Workloads...)
		return page.Next, err
	})
	logins := map[string]int{}
	for _, t := range list.Tokens {
		if t.Name != "" {
			tokens[t.Name] = "issued"
		} else {
			logins[t.Principal]++
		}
	}
	for _, w := range made.Workloads {
		workloads[w.Name] = fmt.Sprintf("%d logins", logins["workload:"+w.RoleID])
		delete(logins, "workload:"+w.RoleID)
	}
	for principal, n := range logins {
		c.t.Errorf("%s: %d tokens of %s, which is not there", id, n, principal)
	}
	return tokens, workloads
}

// compareHoldings compares one client's secrets and tokens.
func (c *campaign) compareHoldings(l *loader, all bool) {
	for _, h := range l.all() {
		for path := range h.secrets {
			if h.in.state == "active" && (all || h.touched[path]) {
				c.compareSecret(h, path)
				delete(h.touched, path)
			}
		}
		for _, t := range h.tokens {
			if t.text != "" && (all || !t.checked) {
				c.expect(lookUp(&request{tag: "verify", method: http.MethodPost}, t))
				t.checked = true
			}
		}
		if h.in.state == "suspended" || h.in.state == "destroyed" && all {
			c.expect(&request{
				tag: "verify", method: http.MethodGet, path: tenantURL(h.in.id, "secrets"), want: []int{http.StatusForbidden},
			})
		}
	}
}

// compareSecret compares the list of versions and every version's value.
func (c *campaign) compareSecret(h *holding, path string) {
	var got struct {
		Versions []struct {
			Version            int
			Deleted, Destroyed *json.RawMessage
		}
	}
	if err := c.get(tenantURL(h.in.id, "secret", "versions"), url.Values{"path": {path}}, &got); err != nil {
		c.t.Errorf("%s: versions of %s: %v", h.in.id, path, err)
		return
	}
	want, have := map[string]string{}, map[string]string{}
	for n := kept(h.secrets[path]) + 1; n <= len(h.secrets[path]); n++ {
		v := h.secrets[path][n-1]
		want[strconv.Itoa(n)] = fmt.Sprint(v.deleted, v.destroyed)
		c.expect(readVersion(&request{tag: "verify", method: http.MethodGet}, h, path, n))
	}
	for _, v := range got.Versions {
		have[strconv.Itoa(v.Version)] = fmt.Sprint(v.Deleted != nil, v.Destroyed != nil)
	}
	c.same("versions of "+path+" in "+h.in.id, want, have)
}

// same reports how two maps differ.
func (c *campaign) same(what string, want, got map[string]string) {
	c.checks.Add(int64(len(want)))
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if want[k] != got[k] {
			c.t.Errorf("%s: %s is %q, want %q", what, k, got[k], want[k])
		}
	}
}

// expect makes a request that has to go right.
func (c *campaign) expect(r *request) {
	c.checks.Add(1)
	if lost, wrong := r.send(c.t.Context(), c.client); lost != nil || wrong != nil {
		c.t.Errorf("after a crash: %v %v", lost, wrong)
	}
}

func (c *campaign) get(path string, query url.Values, out any) error {
	return c.call(&request{tag: "verify", method: http.MethodGet, path: path, query: query}, out)
}

func (c *campaign) post(path string, in, out any) error {
	return c.call(&request{tag: "verify", method: http.MethodPost, path: path, body: in}, out)
}

func (c *campaign) call(r *request, out any) error {
	r.check = func(b []byte) error { return json.Unmarshal(b, out) }
	lost, wrong := r.send(c.t.Context(), c.client)
	if lost != nil {
		return lost
	}
	return wrong
}
