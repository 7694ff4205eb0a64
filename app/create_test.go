package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"coffer/app/actions"
)

// events are those of a tenant's log with an action.
func (r *running) events(path, action string) []actions.Event {
	r.tb.Helper()
	var out actions.Events
	r.must("", "GET", path+"?action="+action, nil, &out)
	return out.Events
}

// TestCreateWithCredentials: one request makes a tenant that a program can work
// in, and the tenant's own log begins with who got what.
func TestCreateWithCredentials(t *testing.T) {
	r := serveTemp(t)
	var made actions.TenantCreated
	a := r.do("", "POST", "/api/v1/tenants", object{
		"id": "acme", "name": "Acme", "retention_days": 365,
		"workload": object{"name": "shop", "grants": []string{"secret:read:stripe/*", "sql:analyst"}, "secret_id_uses": 1, "token_ttl": "30m"},
		"token":    object{"ttl": "15m"},
	})
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var texts struct {
		Credentials struct {
			RoleID   string `json:"role_id"`
			SecretID string `json:"secret_id"`
		}
		Token struct{ Token string }
	}
	if err := json.Unmarshal(a.body, &made); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(a.body, &texts); err != nil {
		t.Fatal(err)
	}
	if made.RetentionDays != 365 || made.ID != "acme" || made.Owner == "" || made.SecretBytes != 64<<20 || made.FileBytes != 10<<30 {
		t.Errorf("%s", a.body)
	}
	r.must("", "PUT", "/api/v1/tenants/acme/secret?path=stripe/live", object{"data": object{"key": "sk"}}, nil)
	var in actions.Issued
	if a := r.do("", "POST", "/api/v1/login/workload", object{"role_id": texts.Credentials.RoleID, "secret_id": texts.Credentials.SecretID}); a.status != 200 {
		t.Errorf("logging in: %d %s", a.status, a.body)
	} else if err := json.Unmarshal(a.body, &in); err != nil || in.Tenant != "acme" {
		t.Errorf("%s", a.body)
	}
	if a := r.do("", "POST", "/api/v1/login/workload", object{"role_id": texts.Credentials.RoleID, "secret_id": texts.Credentials.SecretID}); a.status != 401 {
		t.Errorf("a second use of one: %d", a.status)
	}
	for path, want := range map[string]int{"stripe/live": 200, "other/live": 403} {
		if a := r.do(texts.Token.Token, "GET", "/api/v1/tenants/acme/secret?path="+path, nil); a.status != want {
			t.Errorf("the token reads %s: %d %s", path, a.status, a.body)
		}
	}
	var log actions.Events
	r.must("", "GET", "/api/v1/tenants/acme/audit?limit=3", nil, &log)
	var note actions.Event
	for _, e := range log.Events {
		if e.Type == "event" || e.Type == "intent" {
			note = e
			break
		}
	}
	if note.Action != "tenant.created" || note.Actor != "system:system" {
		t.Fatalf("the log begins with %+v", note)
	}
	for _, want := range []string{`"owner":"person:p_`, `"by":"person:p_`, `"retention_days":365`, `"secret:read:stripe/*"`, `"workload_name":"shop"`, texts.Credentials.RoleID, made.Token.Accessor, made.Credentials.Accessor} {
		if !strings.Contains(string(note.Detail), want) {
			t.Errorf("the note lacks %s: %s", want, note.Detail)
		}
	}
	if strings.Contains(string(note.Detail), texts.Token.Token) || strings.Contains(string(note.Detail), texts.Credentials.SecretID) {
		t.Error("the note holds a credential")
	}
}

// TestCreateForAnother: the creator gets nothing of a tenant that is another's.
func TestCreateForAnother(t *testing.T) {
	r := serveTemp(t)
	r.tenant("first")
	r.must("", "POST", "/api/v1/tenants/first/members", object{"name": "bob", "role": "viewer"}, nil)
	refused := func(in object, words ...string) {
		t.Helper()
		in["id"], in["name"] = "acme", "Acme"
		a := r.do("", "POST", "/api/v1/tenants", in)
		if a.status != http.StatusBadRequest {
			t.Errorf("%v: %d %s", in, a.status, a.body)
		}
		for _, w := range words {
			if !strings.Contains(string(a.body), w) {
				t.Errorf("%v: %s lacks %q", in, a.body, w)
			}
		}
	}
	workload := object{"name": "shop", "grants": []string{"secret:read:*"}}
	refused(object{"owner": "bob", "workload": workload}, `"field":"workload"`, "bob")
	refused(object{"owner": "bob", "workload": workload, "token": object{}}, `"field":"workload"`)
	refused(object{"owner": "eve"}, `"field":"owner"`, "eve")
	refused(object{"owner": "Not A Name"}, `"field":"owner"`)
	refused(object{"token": object{}}, `"field":"token"`)
	refused(object{"retention_days": 29}, `"field":"retention_days"`)
	refused(object{"retention_days": 3651}, `"field":"retention_days"`)
	refused(object{"workload": object{"name": "shop", "grants": []string{}}}, "grant")
	refused(object{"workload": object{"name": "shop", "grants": []string{"root:*"}}}, "grant")
	refused(object{"workload": workload, "token": object{"ttl": "25h"}}, `"field":"ttl"`)
	refused(object{"secret_bytes": 1}, `"field":"secret_bytes"`)
	refused(object{"file_bytes": -1}, `"field":"file_bytes"`)

	var made actions.TenantCreated
	r.must("", "POST", "/api/v1/tenants", object{"id": "acme", "name": "Acme", "owner": "bob"}, &made)
	if made.Owner != "bob" || made.Credentials != nil || made.Token != nil {
		t.Errorf("%+v", made)
	}
	for _, path := range []string{"/secrets", "/members", "/workloads", "/tokens"} {
		if a := r.do("", "GET", "/api/v1/tenants/acme"+path, nil); a.status != http.StatusForbidden {
			t.Errorf("the creator gets %s of another's tenant: %d %s", path, a.status, a.body)
		}
	}
	if a := r.do("", "POST", "/api/v1/tenants/acme/tokens", object{}); a.status != http.StatusForbidden {
		t.Errorf("the creator issues a token: %d %s", a.status, a.body)
	}
	var mine actions.MineOut
	r.must("", "GET", "/api/v1/mine", nil, &mine)
	if v := overviewOf(t, mine, "acme"); v.Role != "" || v.Members != 1 {
		t.Errorf("%+v", v)
	}
	r.must("", "POST", "/api/v1/check", nil, nil)
	r.must("", "POST", "/api/v1/tenants/acme/break-glass", object{"reason": "to look"}, nil)
	var members actions.MemberListOut
	r.must("", "GET", "/api/v1/tenants/acme/members", nil, &members)
	if len(members.Members) != 2 || members.Members[0].Name != "bob" || members.Members[0].Role != "owner" {
		t.Errorf("%+v", members)
	}
	if n := r.events("/api/v1/tenants/acme/audit", "tenant.created"); len(n) != 1 || !strings.Contains(string(n[0].Detail), members.Members[0].Person) {
		t.Errorf("%+v", n)
	}
	// One's own name is oneself.
	r.must("", "POST", "/api/v1/tenants", object{"id": "globex", "name": "Globex", "owner": members.Members[1].Name, "workload": workload}, &made)
	if made.Credentials == nil {
		t.Errorf("%+v", made)
	}
}

// TestQuotas: neither secrets nor the file grow beyond what the tenant may keep.
func TestQuotas(t *testing.T) {
	data := t.TempDir()
	r, stop := serveOn(t, data, nil)
	r.must("", "POST", "/api/v1/tenants", object{"id": "acme", "name": "Acme", "secret_bytes": 1 << 20, "file_bytes": 1 << 20}, nil)
	big := object{"data": object{"v": strings.Repeat("x", 300_000)}}
	put := func(path string, want int) {
		t.Helper()
		a := r.do("", "PUT", "/api/v1/tenants/acme/secret?path="+path, big)
		if a.status != want || want != 200 && (!strings.Contains(string(a.body), `"kind":"limit"`) || !strings.Contains(string(a.body), "hint")) {
			t.Errorf("%s: %d %s, want %d", path, a.status, a.body, want)
		}
	}
	const limit = http.StatusTooManyRequests
	for _, path := range []string{"a", "a", "b"} {
		put(path, 200)
	}
	put("c", limit)
	put("a", limit)
	stop()
	r, stop = serveOn(t, data, nil)
	defer stop()
	put("c", limit) // also after a restart
	r.must("", "DELETE", "/api/v1/tenants/acme/secret?path=a", nil, nil)
	put("c", limit) // what can be brought back takes its room
	r.must("", "POST", "/api/v1/tenants/acme/secret/destroy?path=a&version=1", nil, nil)
	put("c", 200)
	put("c", limit)

	sql := func(text string) answer { return r.do("", "POST", "/api/v1/tenants/acme/sql", object{"sql": text}) }
	sql("CREATE TABLE t(b)")
	last := answer{status: 200}
	for n := 0; last.status == 200; n++ {
		if last = sql("INSERT INTO t VALUES (randomblob(100000))"); n > 12 {
			t.Fatal("the file grows beyond its quota")
		}
	}
	if last.status != limit || !strings.Contains(string(last.body), "quota") {
		t.Errorf("%d %s", last.status, last.body)
	}
	r.must("", "POST", "/api/v1/tenants/acme/suspend", nil, nil) // closes the file
	r.must("", "POST", "/api/v1/tenants/acme/resume", nil, nil)
	if a := sql("INSERT INTO t VALUES (randomblob(200000))"); a.status != limit {
		t.Errorf("after it was opened again: %d %s", a.status, a.body)
	}
	for _, text := range []string{"DELETE FROM t WHERE rowid < 3", "INSERT INTO t VALUES (randomblob(100000))"} {
		if a := sql(text); a.status != 200 {
			t.Errorf("%s: %d %s", text, a.status, a.body)
		}
	}
	if a := sql("PRAGMA max_page_count = 1000000"); a.status != 403 {
		t.Errorf("a member raises the quota: %d %s", a.status, a.body)
	}
	r.tenant("globex")
	var out actions.SQLOut
	r.must("", "POST", "/api/v1/tenants/globex/sql", object{"sql": "PRAGMA max_page_count"}, nil)
	a := r.do("", "POST", "/api/v1/tenants/globex/sql", object{"sql": "PRAGMA max_page_count"})
	if err := json.Unmarshal(a.body, &out); err != nil || !strings.Contains(string(a.body), "2621440") {
		t.Errorf("the default: %s", a.body)
	}
}
