package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

func (l *loader) path() string { return fmt.Sprintf("c%d/s%d", l.id, l.rng.IntN(pathsEach)) }

// put writes a new version.
func (l *loader) put(h *holding) *request {
	path := l.path()
	r := l.request(h, "secret.put", http.MethodPut, tenantURL(h.in.id, "secret"))
	want := len(h.secrets[path]) + 1
	r.change, r.query = true, url.Values{"path": {path}}
	r.body = map[string]any{"data": map[string]string{"v": valueOf(r.tag)}}
	r.check = func(b []byte) error {
		if n := fields(b)["version"]; n != float64(want) {
			return fmt.Errorf("version %v, want %d", n, want)
		}
		return nil
	}
	r.effect = func([]byte) {
		h.secrets[path] = append(h.secrets[path], &version{value: valueOf(r.tag)})
		h.touched[path] = true
	}
	return r
}

// some chooses a version that is kept, 0 if there is none.
func (l *loader) some(h *holding, path string) int {
	all := h.secrets[path]
	if len(all) == 0 {
		return 0
	}
	return 1 + kept(all) + l.rng.IntN(len(all)-kept(all))
}

// read reads one version and compares it.
func (l *loader) read(h *holding) *request {
	path := l.path()
	return readVersion(l.request(h, "secret.read", http.MethodGet, ""), h, path, l.some(h, path))
}

// readVersion makes the request to read a version, with the answer that the
// model gives.
func readVersion(r *request, h *holding, path string, number int) *request {
	r.path, r.query = tenantURL(h.in.id, "secret"), url.Values{"path": {path}, "version": {strconv.Itoa(number)}}
	if number == 0 || number <= kept(h.secrets[path]) || !h.secrets[path][number-1].live() {
		r.want = []int{http.StatusNotFound}
		return r
	}
	want := h.secrets[path][number-1].value
	r.check = func(b []byte) error {
		var out struct {
			Version int
			Data    map[string]string
		}
		if err := json.Unmarshal(b, &out); err != nil {
			return err
		}
		if out.Version != number || len(out.Data) != 1 || out.Data["v"] != want {
			return fmt.Errorf("version %d of %s is %d: %.60q, want %.60q", number, path, out.Version, out.Data["v"], want)
		}
		return nil
	}
	return r
}

func (v *version) live() bool { return !v.deleted && !v.destroyed }

// mark deletes, brings back or destroys a version.
func (l *loader) mark(h *holding) *request {
	path := l.path()
	number := l.some(h, path)
	if number == 0 {
		return l.put(h)
	}
	v := h.secrets[path][number-1]
	r := l.request(h, "", http.MethodPost, tenantURL(h.in.id, "secret"))
	r.change, r.query = true, url.Values{"path": {path}, "version": {strconv.Itoa(number)}}
	var change func()
	switch l.rng.IntN(4) {
	case 0, 1:
		r.action, r.method, change = "secret.delete", http.MethodDelete, func() { v.deleted = true }
	case 2:
		r.action, r.path, change = "secret.undelete", r.path+"/undelete", func() { v.deleted = false }
	default:
		r.action, r.path, change = "secret.destroy", r.path+"/destroy", func() { v.destroyed = true }
	}
	if v.destroyed {
		r.want = []int{http.StatusConflict}
	}
	r.effect = func([]byte) {
		change()
		h.touched[path] = true
	}
	return r
}

// tokens issues, looks up, revokes or discards a token.
func (l *loader) tokens(h *holding) *request {
	live, n := h.known(false), l.rng.IntN(8)
	if len(live) == 0 || n < 4 {
		return l.issue(h)
	}
	t := live[l.rng.IntN(len(live))]
	switch n {
	case 4, 5:
		return lookUp(l.request(h, "token.lookup", http.MethodPost, ""), t)
	case 6:
		r := l.request(h, "token.revoke", http.MethodDelete, tenantURL(h.in.id, "tokens", t.accessor))
		r.change, r.effect = true, func([]byte) { h.revoke(t) }
		return r
	}
	r := l.request(h, "token.discard", http.MethodPost, "/api/v1/token/revoke")
	r.change, r.body, r.effect = true, map[string]any{"token": t.text}, func([]byte) { h.revoke(t) }
	return r
}

func (l *loader) issue(h *holding) *request {
	r := l.request(h, "token.issue", http.MethodPost, tenantURL(h.in.id, "tokens"))
	r.change, r.body = true, map[string]any{"role": "analyst", "ttl": "24h", "name": r.tag}
	r.effect = func(b []byte) {
		t := &heldToken{name: r.tag}
		t.text, _ = fields(b)["token"].(string)
		t.accessor, _ = fields(b)["accessor"].(string)
		h.tokens = append(h.tokens, t)
	}
	return r
}

// lookUp asks for a token by its text. One that was revoked is not found.
func lookUp(r *request, t *heldToken) *request {
	r.path, r.body = "/api/v1/token/lookup", map[string]any{"token": t.text}
	if t.revoked {
		r.want = []int{http.StatusNotFound}
		return r
	}
	r.check = func(b []byte) error {
		if got := fields(b)["accessor"]; got != t.accessor {
			return fmt.Errorf("accessor %v, want %s", got, t.accessor)
		}
		return nil
	}
	return r
}

// workloads creates a workload, logs in as one or removes one.
func (l *loader) workloads(h *holding) *request {
	var usable []*heldWorkload
	for _, w := range h.workloads {
		if !w.removed && w.secretID != "" {
			usable = append(usable, w)
		}
	}
	n := l.rng.IntN(8)
	if len(usable) == 0 || n < 2 {
		return l.createWorkload(h)
	}
	w := usable[l.rng.IntN(len(usable))]
	if n < 7 {
		return l.logIn(h, w)
	}
	r := l.request(h, "workload.remove", http.MethodDelete, tenantURL(h.in.id, "workloads", w.name))
	r.change, r.effect = true, func([]byte) { h.remove(w) }
	return r
}

func (l *loader) createWorkload(h *holding) *request {
	r := l.request(h, "workload.create", http.MethodPost, tenantURL(h.in.id, "workloads"))
	name := fmt.Sprintf("w%d-%d-%d", l.id, l.round, l.asked)
	r.change, r.body = true, map[string]any{"name": name, "grants": []string{"secret:read:*", "sql:analyst"}, "token_ttl": "24h"}
	r.effect = func(b []byte) {
		w := &heldWorkload{name: name}
		w.roleID, _ = fields(b)["role_id"].(string)
		w.secretID, _ = fields(b)["secret_id"].(string)
		h.workloads[name] = w
	}
	return r
}

func (l *loader) logIn(h *holding, w *heldWorkload) *request {
	r := l.request(h, "workload.login", http.MethodPost, "/api/v1/login/workload")
	r.change, r.body = true, map[string]any{"role_id": w.roleID, "secret_id": w.secretID}
	r.effect = func(b []byte) {
		t := &heldToken{workload: w}
		t.text, _ = fields(b)["token"].(string)
		t.accessor, _ = fields(b)["accessor"].(string)
		h.tokens = append(h.tokens, t)
		w.logins++
	}
	return r
}
