package app_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/app/sqlapi"
)

// hrana is the answer of a pipeline, as far as tests look at it.
type hrana struct {
	Baton   *string `json:"baton"`
	Results []struct {
		Type     string `json:"type"`
		Response struct {
			Type   string `json:"type"`
			Result struct {
				Rows        [][]map[string]any `json:"rows"`
				StepResults []*struct {
					Rows [][]map[string]any `json:"rows"`
				} `json:"step_results"`
				StepErrors []*hranaError `json:"step_errors"`
			} `json:"result"`
			Autocommit *bool `json:"is_autocommit"`
		} `json:"response"`
		Error hranaError `json:"error"`
	} `json:"results"`
}

type hranaError struct {
	Message string `json:"message"`
	Code    string `json:"code"`
	Error   string `json:"error"`
}

// execute makes the request of statements.
func execute(baton string, sql ...string) object {
	requests := []object{}
	for _, one := range sql {
		requests = append(requests, object{"type": "execute", "stmt": object{"sql": one}})
	}
	if baton == "" {
		return object{"requests": requests}
	}
	return object{"baton": baton, "requests": requests}
}

// pipeline runs statements; each answer is the first value or the error's code.
func (r *running) pipeline(token, tenant, baton string, sql ...string) (values []string, next string) {
	r.tb.Helper()
	a := r.do(token, "POST", "/t/"+tenant+"/v3/pipeline", execute(baton, sql...))
	if a.status != 200 {
		r.tb.Fatalf("%q: %d %s", sql, a.status, a.body)
	}
	var h hrana
	if err := json.Unmarshal(a.body, &h); err != nil {
		r.tb.Fatal(err)
	}
	for _, result := range h.Results {
		value := result.Error.Code
		if rows := result.Response.Result.Rows; len(rows) > 0 {
			value = fmt.Sprint(rows[0][0]["value"])
		}
		values = append(values, value)
	}
	if h.Baton != nil {
		next = *h.Baton
	}
	return values, next
}

func (r *running) wantPipeline(token, tenant, baton string, sql []string, want ...string) string {
	r.tb.Helper()
	got, next := r.pipeline(token, tenant, baton, sql...)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.tb.Errorf("%q: %q, want %q", sql, got, want)
	}
	return next
}

// failed checks an answer that is an error: the three members, and nothing but
// the bare content type, which one client insists on.
func (a answer) failed(tb testing.TB, status int, code string) {
	tb.Helper()
	var e hranaError
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	err := dec.Decode(&e)
	if err != nil || a.status != status || e.Code != code || e.Message == "" || e.Message != e.Error || a.header.Get("Content-Type") != "application/json" {
		tb.Errorf("%d %q %s, want %d %s: %v", a.status, a.header.Get("Content-Type"), a.body, status, code, err)
	}
}

// TestSQLWalk tries every route of the protocol with every role, in the token's
// own tenant, in a foreign one and in one that does not exist.
func TestSQLWalk(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	body := object{"batch": object{"steps": []object{{"stmt": object{"sql": "SELECT 1"}}}}, "requests": execute("", "SELECT 1")["requests"]}
	tokens := map[domain.Role]string{}
	for _, role := range domain.TenantRoles() {
		tokens[role] = r.issue("acme", object{"role": role})
	}
	for _, route := range sqlapi.New(nil, slog.New(slog.DiscardHandler)).Routes() {
		at := func(tenant string) string { return strings.ReplaceAll(route.Path, ":tenant", tenant) }
		if _, exempt := httpd.Exempt[route.Method+" "+route.Path]; exempt {
			a, b := r.do("", route.Method, at("acme"), nil), r.do("", route.Method, at("nobody"), nil)
			if a.status != b.status || !bytes.Equal(a.body, b.body) || (a.status == 200) == strings.HasSuffix(route.Path, "protobuf") {
				t.Errorf("%s: %d, of an unknown tenant %d", route.Path, a.status, b.status)
			}
			continue
		}
		info, _ := authz.Lookup(route.Action)
		for role, token := range tokens {
			own := r.do(token, route.Method, at("acme"), body)
			if may := info.Permits(role); may != (own.status == 200) || !may && own.status != 403 || own.receipt == "" {
				t.Errorf("%s by %s: %d %s", route.Path, role, own.status, own.body)
			}
			foreign, unknown := r.do(token, route.Method, at("globex"), body), r.do(token, route.Method, at("nobody"), body)
			foreign.failed(t, 403, "AUTH_DENIED")
			if foreign.words() != unknown.words() || foreign.status != unknown.status || foreign.receipt == "" {
				t.Errorf("%s by %s: foreign %s, unknown %s", route.Path, role, foreign.body, unknown.body)
			}
		}
	}
}

// TestSQLErrors: an error of a statement stands in the answer, one of the request
// is the answer, in the shape that every client reads.
func TestSQLErrors(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner, analyst := r.issue("acme", object{"role": "owner"}), r.issue("acme", object{"role": "analyst"})
	const at = "/t/acme/db/v2/pipeline"
	for _, c := range []struct {
		token, method, path string
		body                any
		status              int
		code                string
	}{
		{"cft_" + strings.Repeat("a", 52), "POST", at, execute("", "SELECT 1"), 401, "AUTH_INVALID"},
		{analyst, "POST", at, execute("", "DELETE FROM t"), 403, "AUTH_DENIED"},
		{owner, "POST", at, []byte(`{`), 400, "PROTOCOL_ERROR"},
		{owner, "POST", at, []byte(`{"requests":[{"type":"x"}]}`), 400, "PROTOCOL_ERROR"},
		{owner, "POST", at, execute("bm9uZQ", "SELECT 1"), 400, "STREAM_EXPIRED"},
		{owner, "POST", "/t/acme/v3/cursor", []byte(`{}`), 400, "PROTOCOL_ERROR"},
		{owner, "POST", "/t/acme/v3/cursor", []byte(`{"baton":"x","batch":{"steps":[]}}`), 400, "STREAM_EXPIRED"},
		{owner, "POST", "/t/Bad_Id/v3/pipeline", execute("", "SELECT 1"), 400, "PROTOCOL_ERROR"},
		{owner, "GET", at, nil, 405, "PROTOCOL_ERROR"},
		{owner, "POST", "/t/acme/v4/pipeline", nil, 404, "NOT_FOUND"},
		{owner, "GET", "/t/acme/v3-protobuf", nil, 404, "NOT_FOUND"},
	} {
		r.do(c.token, c.method, c.path, c.body).failed(t, c.status, c.code)
	}
	r.wantPipeline(owner, "acme", "", []string{
		"INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (1, 'b')", "SELEC", "SELECT 1; SELECT 2", "", "SELECT ?", "SELECT * FROM __coffer_applied",
		"SELECT load_extension('x')", "ATTACH 'x' AS y", "COMMIT", "SELECT b FROM t",
	}, "", "SQLITE_CONSTRAINT", "SQLITE_ERROR", "SQL_MANY_STATEMENTS", "SQL_NO_STATEMENT", "ARGS_INVALID", "BLOCKED", "SQLITE_ERROR", "SQLITE_AUTH", "SQLITE_ERROR", "a")
	a := r.do(owner, "POST", at, []byte(`{"baton":"gone","requests":[{"type":"close"}]}`))
	if a.status != 200 || !strings.Contains(string(a.body), `"type":"close"`) {
		t.Errorf("closing what is gone: %d %s", a.status, a.body)
	}
}

// TestSQLAnswersAreBounded: an answer that would be too large is an error of its
// statement, and what follows runs.
func TestSQLAnswersAreBounded(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	const large = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 40) SELECT hex(zeroblob(200000)) FROM n"
	r.wantPipeline("", "acme", "", []string{large, "SELECT 1"}, "RESPONSE_TOO_LARGE", "1")
	half := object{"stmt": object{"sql": strings.ReplaceAll(large, "40", "15")}}
	a := r.do("", "POST", "/t/acme/v3/cursor", object{"batch": object{"steps": []object{half, half, {"stmt": object{"sql": "DELETE FROM t"}}}}})
	lines := bytes.Split(bytes.TrimSpace(a.body), []byte("\n"))
	if last := string(lines[len(lines)-1]); a.status != 200 || len(a.body) > 11<<20 || !strings.Contains(last, `{"type":"error"`) || !strings.Contains(last, "RESPONSE_TOO_LARGE") {
		t.Errorf("%d, %d bytes, last %.200s", a.status, len(a.body), last)
	}
}

// TestSQLTransactions: a transaction goes on over several requests, for the token
// that began it alone; once that is revoked, it is gone.
func TestSQLTransactions(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	token, other := r.issue("acme", object{"role": "owner"}), r.issue("acme", object{"role": "owner"})
	b := r.wantPipeline(token, "acme", "", []string{"BEGIN", "INSERT INTO t VALUES (1, 'a')"}, "", "")
	r.do(other, "POST", "/t/acme/v3/pipeline", execute(b, "COMMIT")).failed(t, 400, "STREAM_EXPIRED")
	b = r.wantPipeline(token, "acme", b, []string{"COMMIT", "BEGIN IMMEDIATE", "INSERT INTO t VALUES (2, 'b')"}, "", "", "")
	r.must(token, "POST", "/api/v1/token/revoke", object{"token": token}, nil)
	r.do(token, "POST", "/t/acme/v3/pipeline", execute(b, "COMMIT")).failed(t, 401, "AUTH_INVALID")
	r.wantPipeline(other, "acme", "", []string{"SELECT count(*) FROM t"}, "1")
}

// TestSQLCursor: a batch comes line by line, the receipt first.
func TestSQLCursor(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	a := r.do("", "POST", "/t/acme/v3/cursor", object{"batch": object{"steps": []object{
		{"stmt": object{"sql": "BEGIN"}},
		{"stmt": object{"sql": "INSERT INTO t VALUES (1, 'a'), (2, 'b')"}},
		{"stmt": object{"sql": "INSERT INTO t VALUES (1, 'c')"}},
		{"stmt": object{"sql": "SELECT 1"}, "condition": object{"type": "ok", "step": 2}},
		{"stmt": object{"sql": "SELECT a, b FROM t"}, "condition": object{"type": "error", "step": 2}},
	}}})
	if a.status != 200 || a.receipt == "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var kinds []string
	var first struct {
		Baton string `json:"baton"`
	}
	for s := bufio.NewScanner(bytes.NewReader(a.body)); s.Scan(); {
		var line struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if kinds == nil {
			if err := json.Unmarshal(s.Bytes(), &first); err != nil {
				t.Fatal(err)
			}
		}
		kinds = append(kinds, line.Type)
	}
	want := []string{"", "step_begin", "step_end", "step_begin", "step_end", "step_error", "step_begin", "row", "row", "step_end"}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", kinds, want)
	}
	r.wantPipeline("", "acme", "", []string{"SELECT count(*) FROM t"}, "0")
	r.wantPipeline("", "acme", first.Baton, []string{"SELECT count(*) FROM t", "COMMIT"}, "2", "")
	r.wantPipeline("", "acme", "", []string{"SELECT count(*) FROM t"}, "2")
}
