package app_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
)

// loader is one client. It asks for one thing after the other, each on what is
// its own, and keeps what came of it.
type loader struct {
	id       int
	rng      *rand.Rand
	round    int
	asked    int
	shared   []*holding // in tenants that all clients work in
	closes   *place     // the tenant that this client suspends and resumes, nil if none
	volatile *holding   // in a tenant that this client makes and destroys, nil if none
	made     int        // tenants of its own so far
	past     []*holding // in destroyed tenants
	sent     []*request // in this round
}

// all are the client's holdings.
func (l *loader) all() []*holding {
	out := append(slices.Clone(l.shared), l.past...)
	if l.volatile != nil {
		out = append(out, l.volatile)
	}
	return out
}

func (l *loader) tag() string {
	l.asked++
	return fmt.Sprintf("crash/%d/%d/%d", l.round, l.id, l.asked)
}

// next chooses what to ask for.
func (l *loader) next() *request {
	var r *request
	switch {
	case l.volatile != nil:
		r = l.lifecycle()
	case l.closes != nil && l.rng.IntN(4) == 0:
		r = l.toggle(l.closes)
	default:
		h := l.shared[l.rng.IntN(len(l.shared))]
		r = l.work(h)
		if h.in.id == closedNow {
			r.tolerates(http.StatusForbidden, http.StatusServiceUnavailable) // somebody suspends it meanwhile
		}
	}
	l.sent = append(l.sent, r)
	return r
}

// request begins a request on a holding's tenant.
func (l *loader) request(h *holding, action, method, path string) *request {
	return &request{tag: l.tag(), log: h.in.id, action: action, method: method, path: path}
}

// work is one request inside a tenant.
func (l *loader) work(h *holding) *request {
	if !h.in.table {
		return l.createTable(h)
	}
	switch n := l.rng.IntN(20); {
	case n < 5:
		return l.put(h)
	case n < 6:
		return l.mark(h)
	case n < 8:
		return l.read(h)
	case n < 12:
		return l.insert(h)
	case n < 13:
		return l.badInsert(h)
	case n < 14:
		return l.selectRows(h)
	case n < 17:
		return l.tokens(h)
	}
	return l.workloads(h)
}

func (l *loader) createTable(h *holding) *request {
	r := l.statement(h, `CREATE TABLE rows(tag TEXT NOT NULL, part INTEGER NOT NULL, v TEXT NOT NULL)`)
	r.effect = func([]byte) { h.in.table = true }
	return r
}

// statement is one that changes something.
func (l *loader) statement(h *holding, sql string, args ...any) *request {
	r := l.request(h, "sql.write", http.MethodPost, tenantURL(h.in.id, "sql"))
	r.change, r.body = true, map[string]any{"sql": sql, "args": args}
	return r
}

// insert adds one to three rows in one statement.
func (l *loader) insert(h *holding) *request {
	parts := 1 + l.rng.IntN(3)
	r := l.statement(h, "")
	sql, args := `INSERT INTO rows(tag, part, v) VALUES `, []any{}
	for part := range parts {
		if part > 0 {
			sql += ", "
		}
		sql += "(?, ?, ?)"
		args = append(args, r.tag, part, valueOf(r.tag))
	}
	r.body = map[string]any{"sql": sql, "args": args}
	r.check = func(b []byte) error {
		if n := fields(b)["affected"]; n != float64(parts) {
			return fmt.Errorf("%v rows, want %d", n, parts)
		}
		return nil
	}
	r.effect = func([]byte) { h.rows[r.tag] = parts }
	return r
}

// badInsert fails at its second row, so that nothing of it may stay.
func (l *loader) badInsert(h *holding) *request {
	r := l.statement(h, "")
	r.body = map[string]any{
		"sql": `INSERT INTO rows(tag, part, v) VALUES (?, 0, ?), (?, 1, NULL)`, "args": []any{r.tag, valueOf(r.tag), r.tag},
	}
	r.want = []int{http.StatusBadRequest, http.StatusConflict}
	r.effect = func([]byte) { h.rows[r.tag] = 1 } // it cannot happen: then the verification says so
	return r
}

// selectRows reads back what one insert wrote.
func (l *loader) selectRows(h *holding) *request {
	r := l.request(h, "sql.query", http.MethodPost, tenantURL(h.in.id, "sql"))
	tag, want := "crash/none", 0
	for tag, want = range h.rows {
		break
	}
	r.body = map[string]any{"sql": `SELECT v FROM rows WHERE tag = ?`, "args": []any{tag}}
	r.check = func(b []byte) error {
		var out struct{ Rows [][]string }
		if err := json.Unmarshal(b, &out); err != nil {
			return err
		}
		for _, row := range out.Rows {
			if row[0] != valueOf(tag) {
				return fmt.Errorf("the row of %s is %.60q", tag, row[0])
			}
		}
		if len(out.Rows) != want {
			return fmt.Errorf("%d rows of %s, want %d", len(out.Rows), tag, want)
		}
		return nil
	}
	if live := h.known(false); len(live) > 0 && l.rng.IntN(2) == 0 {
		if t := live[l.rng.IntN(len(live))]; t.workload == nil {
			r.bearer = t.text
		}
	}
	return r
}

// toggle suspends or resumes a tenant.
func (l *loader) toggle(p *place) *request {
	to, verb := "suspended", "suspend"
	if p.state == "suspended" {
		to, verb = "active", "resume"
	}
	return &request{
		tag: l.tag(), log: p.id, action: "tenant." + verb, change: true,
		method: http.MethodPost, path: tenantURL(p.id, verb), effect: func([]byte) { p.state = to },
	}
}

// lifecycle takes the client's own tenants from creation to destruction.
func (l *loader) lifecycle() *request {
	h := l.volatile
	switch h.in.state {
	case "":
		return l.createTenant(h)
	case "destroyed":
		l.past = append(l.past, h)
		l.made++
		l.volatile = newHolding(&place{id: fmt.Sprintf("own-%d-%d", l.id, l.made)})
		return l.createTenant(l.volatile)
	case "suspended":
		if l.rng.IntN(4) > 0 {
			return l.toggle(h.in)
		}
		return l.destroyTenant(h)
	}
	switch l.rng.IntN(16) {
	case 0:
		return l.toggle(h.in)
	case 1:
		return l.destroyTenant(h)
	}
	return l.work(h)
}

// createTenant makes a tenant.
func (l *loader) createTenant(h *holding) *request {
	r := &request{
		tag: l.tag(), action: "tenant.create", change: true, method: http.MethodPost, path: "/api/v1/tenants",
		body:   map[string]any{"id": h.in.id, "name": "made by " + h.in.id},
		effect: func([]byte) { h.in.state = "active" },
	}
	if h == l.volatile {
		l.withCredentials(r, h)
	}
	return r
}

// withCredentials asks for a workload and a token of it besides, which come with
// the tenant or not at all.
func (l *loader) withCredentials(r *request, h *holding) {
	r.body = map[string]any{
		"id": h.in.id, "name": "made by " + h.in.id, "retention_days": 30 + l.id,
		"workload": map[string]any{"name": "first", "grants": []string{"secret:read:*", "sql:analyst"}, "token_ttl": "24h"},
		"token":    map[string]any{"ttl": "24h"},
	}
	r.effect = func(b []byte) {
		h.in.state = "active"
		var out struct {
			Credentials struct {
				RoleID   string `json:"role_id"`
				SecretID string `json:"secret_id"`
			}
			Token struct{ Token, Accessor string }
		}
		_ = json.Unmarshal(b, &out) // of a lost answer nothing is known
		w := &heldWorkload{name: "first", roleID: out.Credentials.RoleID, secretID: out.Credentials.SecretID, logins: 1}
		h.workloads[w.name] = w
		h.tokens = append(h.tokens, &heldToken{workload: w, text: out.Token.Token, accessor: out.Token.Accessor})
	}
}

func (l *loader) destroyTenant(h *holding) *request {
	r := l.request(h, "tenant.destroy", http.MethodDelete, tenantURL(h.in.id))
	r.change, r.query, r.effect = true, url.Values{"confirm": {h.in.id}}, func([]byte) { h.destroy() }
	return r
}
