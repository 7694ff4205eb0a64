package app_test

import (
	"encoding/base64"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"

	"coffer/app/actions"
	"coffer/app/api"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
)

// inputs are good inputs for the routes that need some, by "METHOD path".
var inputs = map[string]struct {
	query string
	body  any
}{
	"POST /api/v1/seal/unseal":                          {body: object{"kind": "recovery", "secret": "x"}},
	"POST /api/v1/seal/slots":                           {body: object{"kind": "passphrase", "secret": "long enough to be one", "name": "p"}},
	"POST /api/v1/seal/recovery/confirm":                {body: object{"characters": "x"}},
	"POST /api/v1/login/workload":                       {body: object{"role_id": "w_x", "secret_id": "x"}},
	"PUT /api/v1/tenants/:tenant/queries/:name":         {body: object{"sql": "SELECT 1 AS one", "shared": true}},
	"POST /api/v1/tenants/:tenant/queries/:name/run":    {body: object{}},
	"PUT /api/v1/tenants/:tenant/dashboards/:name":      {body: object{"queries": []string{"shop"}}},
	"POST /api/v1/token/lookup":                         {body: object{"token": "x"}},
	"POST /api/v1/wrapping/lookup":                      {body: object{"token": "x"}},
	"POST /api/v1/wrapping/unwrap":                      {body: object{"token": "x"}},
	"POST /api/v1/wrapping/rewrap":                      {body: object{"token": "x"}},
	"POST /api/v1/tenants/:tenant/leases/lookup":        {body: object{"id": "auth/token/create/ta_none"}},
	"POST /api/v1/tenants/:tenant/leases/renew":         {body: object{"id": "auth/token/create/ta_none"}},
	"POST /api/v1/tenants/:tenant/leases/revoke":        {body: object{"id": "auth/token/create/ta_none"}},
	"POST /api/v1/tenants/:tenant/leases/revoke-prefix": {body: object{"prefix": "nowhere/"}},
	"POST /api/v1/tenants/:tenant/leases/revoke-all":    {body: object{"token": "ta_none"}},
	"POST /api/v1/tenants/:tenant/wrap":                 {body: object{"data": object{"k": "v"}}},
	"POST /api/v1/token/revoke":                         {body: object{"token": "x"}},
	"POST /api/v1/token/renew":                          {body: object{"token": "x"}},
	"POST /api/v1/tenants": {body: object{
		"id": "initech", "name": "Initech", "retention_days": 30, "workload": object{"name": "shop", "grants": []string{"sql:analyst"}}, "token": object{},
	}},
	"DELETE /api/v1/tenants/:tenant":                         {query: "confirm=:tenant"},
	"POST /api/v1/tenants/:tenant/break-glass":               {body: object{"reason": "the walk"}},
	"POST /api/v1/tenants/:tenant/isolate":                   {body: object{"isolation": "process"}},
	"POST /api/v1/tenants/:tenant/members":                   {body: object{"name": "alice", "role": "viewer"}},
	"PATCH /api/v1/tenants/:tenant/members/:name":            {body: object{"role": "viewer"}},
	"GET /api/v1/tenants/:tenant/secret":                     {query: "path=stripe/live"},
	"PUT /api/v1/tenants/:tenant/secret":                     {query: "path=stripe/live", body: object{"data": object{"key": "v"}}},
	"DELETE /api/v1/tenants/:tenant/secret":                  {query: "path=stripe/live"},
	"GET /api/v1/tenants/:tenant/secret/versions":            {query: "path=stripe/live"},
	"POST /api/v1/tenants/:tenant/secret/undelete":           {query: "path=stripe/live"},
	"POST /api/v1/tenants/:tenant/secret/destroy":            {query: "path=stripe/live"},
	"PUT /api/v1/tenants/:tenant/policies/acl/:name":         {body: object{"policy": `path "secret/data/x" { capabilities = ["read"] }`}},
	"POST /api/v1/tenants/:tenant/policies/explain":          {body: object{"role": "owner", "path": "secret/data/x"}},
	"POST /api/v1/tenants/:tenant/policies/self":             {body: object{"paths": []string{"secret/data/x"}}},
	"POST /api/v1/tenants/:tenant/transit/:name":             {body: object{}},
	"PATCH /api/v1/tenants/:tenant/transit/:name":            {body: object{}},
	"POST /api/v1/tenants/:tenant/transit/:name/trim":        {body: object{"min_available_version": 1}},
	"POST /api/v1/tenants/:tenant/transit/:name/encrypt":     {body: object{"items": []object{{"plaintext": "AAAA"}}}},
	"POST /api/v1/tenants/:tenant/transit/:name/decrypt":     {body: object{"items": []object{{"ciphertext": "vault:v1:AAAA"}}}},
	"POST /api/v1/tenants/:tenant/transit/:name/rewrap":      {body: object{"items": []object{{"ciphertext": "vault:v1:AAAA"}}}},
	"POST /api/v1/tenants/:tenant/transit/:name/datakey":     {body: object{}},
	"POST /api/v1/tenants/:tenant/transit/:name/sign":        {body: object{"items": []object{{"input": "AAAA"}}}},
	"POST /api/v1/tenants/:tenant/transit/:name/verify":      {body: object{"items": []object{{"input": "AAAA", "hmac": "vault:v1:AAAA"}}}},
	"POST /api/v1/tenants/:tenant/transit/:name/hmac":        {body: object{"items": []object{{"input": "AAAA"}}}},
	"POST /api/v1/tenants/:tenant/workloads":                 {body: object{"name": "shop", "grants": []string{"sql:analyst"}}},
	"POST /api/v1/tenants/:tenant/workloads/:name/secret-id": {body: object{}},
	"POST /api/v1/tenants/:tenant/tokens":                    {body: object{}},
	"POST /api/v1/tenants/:tenant/sql":                       {body: object{"sql": "SELECT 1"}},
	"POST /api/v1/tenants/:tenant/invitations":               {body: object{"role": "viewer"}},
	"POST /api/v1/links/show":                                {body: object{"token": "cfi_x"}},
	"PUT /api/v1/migrations":                                 {body: object{"files": []object{{"name": "0001_a.sql", "sql": "CREATE TABLE a(x)"}}}},
	"POST /api/v1/migrations/plan":                           {body: object{"files": []object{{"name": "0001_a.sql", "sql": "CREATE TABLE a(x)"}}}},
	"POST /api/v1/migrations/run":                            {body: object{"canaries": 1}},
	"POST /api/v1/migrations/run/continue":                   {body: object{"run": "mr_none"}},
	"POST /api/v1/tenants/:tenant/migrations/apply":          {body: object{}},
	"POST /api/v1/tenants/:tenant/migrations/restore":        {query: "confirm=:tenant", body: object{"snapshot": "000001-0000"}},
	"POST /api/v1/links/accept":                              {body: object{"token": "cfi_x", "name": "mallory", "password": "correct horse battery"}},
	"POST /api/v1/links/join":                                {body: object{"token": "cfi_x"}},
	"POST /api/v1/sessions":                                  {body: object{"name": "mallory", "password": "correct horse battery"}},
	"POST /api/v1/sessions/issue":                            {body: object{}},
	"POST /api/v1/sessions/passkey":                          {body: object{"handle": "ch_x", "response": object{}}},
	"POST /api/v1/sessions/step-up":                          {body: object{"code": "000000"}},
	"POST /api/v1/sessions/step-up/passkey":                  {body: object{"handle": "ch_x", "response": object{}}},
	"POST /api/v1/account/totp":                              {body: object{"code": "000000"}},
	"POST /api/v1/account/passkeys":                          {body: object{"handle": "ch_x", "name": "key", "response": object{}}},
	"POST /api/v1/account/password":                          {body: object{"old": "x", "new": "correct horse battery"}},
	"POST /api/v1/rotations":                                 {body: object{"kind": "control"}},
	"POST /api/v1/tenants/:tenant/rotations":                 {body: object{"kind": "kek"}},
	"PUT /api/v1/tenants/:tenant/client-key": {body: object{
		"form": "keyfile", "key": walkKey, "confirm": ":tenant", "words": actions.ClientKeyWords,
	}},
	"POST /api/v1/tenants/:tenant/client-key/open": {body: object{"form": "keyfile", "key": walkKey}},
	"DELETE /api/v1/tenants/:tenant/client-key":    {query: "confirm=:tenant"},
	"PATCH /api/v1/people/:name":                   {body: object{"roles": []string{}}},
}

// walkKey is a key file of 32 bytes.
var walkKey = base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv"))

// onSocketOnly are routes that judge the peer and not a token.
var onSocketOnly = map[domain.Action]bool{authz.SealStatus: true, authz.SealUnseal: true}

func (r *running) walk(token, tenant string, route httpd.Route) answer {
	id := "li_none"
	if strings.Contains(route.Path, "alerts") {
		id = "al_none"
	}
	if strings.Contains(route.Path, "passkeys") {
		id = "pk_none"
	}
	if strings.Contains(route.Path, "alerts") {
		id = "al_none"
	}
	accessor := "ta_none"
	if strings.Contains(route.Path, "sessions") {
		accessor = "us_none"
	}
	path := strings.NewReplacer(":tenant", tenant, ":name", "shop", ":accessor", accessor, ":slot", "none", ":id", id).Replace(route.Path)
	in := inputs[route.Method+" "+route.Path]
	if in.query != "" {
		path += "?" + strings.ReplaceAll(in.query, ":tenant", tenant)
	}
	if o, ok := in.body.(object); ok && o["confirm"] == ":tenant" {
		o = maps.Clone(o)
		o["confirm"], in.body = tenant, o
	}
	return r.do(token, route.Method, path, in.body)
}

// TestWalk tries every route with every role, in the token's own tenant, in a
// foreign one and in one that does not exist.
func TestWalk(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	for _, role := range domain.TenantRoles() {
		token := r.issue("acme", object{"role": role})
		for _, route := range api.New(nil, slog.New(slog.DiscardHandler)).Routes() {
			info, known := authz.Lookup(route.Action)
			if _, exempt := httpd.Exempt[route.Method+" "+route.Path]; exempt {
				continue
			}
			if !known {
				t.Fatalf("%s %s: the action %q is not in the table", route.Method, route.Path, route.Action)
			}
			if onSocketOnly[route.Action] {
				continue
			}
			own := r.walk(token, "acme", route)
			may := info.Permits(role) || info.PermitsOwn(role)
			switch {
			case info.Scope == authz.Open:
			case info.Scope == authz.Appliance && own.status != http.StatusForbidden:
				t.Errorf("%s by a token of %s: %d %s", route.Action, role, own.status, own.body)
			case info.Scope == authz.Appliance:
			case !may && own.status != http.StatusForbidden:
				t.Errorf("%s by %s: %d %s", route.Action, role, own.status, own.body)
			case may && own.status == http.StatusForbidden && role != domain.Viewer:
				t.Errorf("%s by %s is refused: %s", route.Action, role, own.body)
			}
			if !strings.Contains(route.Path, ":tenant") {
				continue
			}
			foreign, unknown := r.walk(token, "globex", route), r.walk(token, "nobody", route)
			if foreign.status != http.StatusForbidden || foreign.status != unknown.status || foreign.words() != unknown.words() {
				t.Errorf("%s by %s: foreign %d %s, unknown %d %s", route.Action, role, foreign.status, foreign.body, unknown.status, unknown.body)
			}
			if foreign.receipt == "" || unknown.receipt == "" {
				t.Errorf("%s by %s: a refusal without a receipt", route.Action, role)
			}
		}
	}
}

// TestEveryActionHasARoute: what the table promises can be done.
func TestEveryActionHasARoute(t *testing.T) {
	routed := map[domain.Action]bool{
		authz.SQLWrite:    true, // with sql.query, by the text
		authz.SQLRollback: true, // nobody asks for it
		authz.LeaseEnd:    true,

		authz.TokenOrphan: true, authz.TokenRevokeAlone: true, // with those without the word, by the input
	}
	for _, route := range api.New(nil, slog.New(slog.DiscardHandler)).Routes() {
		routed[route.Action] = true
	}
	for _, info := range authz.Actions() {
		if !routed[info.Action] {
			t.Errorf("%s has no route", info.Action)
		}
	}
}

// TestNoCredential: what is not a token opens nothing, and is not a local user.
func TestNoCredential(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	for _, header := range []string{"Bearer cft_" + strings.Repeat("a", 52), "Bearer ", "bearer x", "Basic cm9vdDpyb290", "Bearer\x00"} {
		req, err := http.NewRequest("GET", "http://coffer/api/v1/tenants/acme/secret?path=stripe/live", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Authorization"] = []string{header}
		resp, err := r.client.Do(req)
		if err != nil {
			continue // the client itself refuses such a header
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %d", header, resp.StatusCode)
		}
	}
}

// TestBadRequests: each is refused with the field named, and changes nothing.
func TestBadRequests(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	const base = "/api/v1/tenants/acme"
	for _, tc := range []struct {
		method, path string
		body         any
		status       int
		words        string
	}{
		{"PUT", base + "/secret?path=../x", object{"data": object{"k": "v"}}, 400, "path"},
		{"PUT", base + "/secret?path=a&path=b", object{"data": object{"k": "v"}}, 400, "path"},
		{"PUT", base + "/secret?path=a&pth=b", object{"data": object{"k": "v"}}, 400, "pth"},
		{"PUT", base + "/secret?path=a", object{"data": object{"k": "v"}, "ttl": 1}, 400, "ttl"},
		{"PUT", base + "/secret?path=a", object{"data": []int{1}}, 400, "data"},
		{"PUT", base + "/secret?path=a", object{"data": object{}}, 400, "data"},
		{"PUT", base + "/secret?path=a", object{"data": object{"k": strings.Repeat("x", domain.MaxSecretValue)}}, 400, "data"},
		{"PUT", base + "/secret?path=" + strings.Repeat("a", 600), object{"data": object{"k": "v"}}, 400, "path"},
		{"PUT", base + "/secret?path=a", object{"cas": "one", "data": object{"k": "v"}}, 400, "cas"},
		{"PUT", base + "/secret?path=a", object{"cas": -1, "data": object{"k": "v"}}, 400, "cas"},
		{"GET", base + "/secret?path=stripe/live&version=x", nil, 400, "version"},
		{"GET", base + "/secret?path=stripe/live&version=-1", nil, 400, "version"},
		{"POST", base + "/tokens", object{"ttl": "25h"}, 400, "ttl"},
		{"POST", base + "/tokens", object{"ttl": 5}, 400, "duration"},
		{"POST", base + "/tokens", object{"role": "king"}, 400, "role"},
		{"POST", base + "/workloads", object{"name": "x", "grants": []string{}}, 400, "grant"},
		{"POST", base + "/workloads", object{"name": "X Y", "grants": []string{"sql:analyst"}}, 400, "name"},
		{"POST", base + "/sql", object{"sql": ""}, 400, "sql"},
		{"POST", base + "/sql", object{"sql": "SELECT 1", "args": []any{object{"x": 1}}}, 400, "argument"},
		{"POST", base + "/sql", object{"sql": "SELECT 1; SELECT 2"}, 400, "sql"},
		{"POST", "/api/v1/tenants", object{"id": "Bad_Id", "name": "x"}, 400, "tenant"},
		{"POST", "/api/v1/tenants", object{"id": "sys", "name": "x"}, 400, "tenant"},
		{"DELETE", base + "?confirm=other", nil, 400, "confirm"},
		{"GET", base + "/", nil, 404, "nothing"},
		{"GET", "/api/v1/TENANTS", nil, 404, "nothing"},
		{"GET", "/api/v1/tenants/acme%2f..%2fglobex", nil, 400, "path"},
	} {
		a := r.do("", tc.method, tc.path, tc.body)
		if a.status != tc.status || !strings.Contains(string(a.body), tc.words) {
			t.Errorf("%s %.60s: %d %.200s, want %d with %q", tc.method, tc.path, a.status, a.body, tc.status, tc.words)
		}
		if field, _ := fields(a.body)["field"].(string); field == "" && tc.status == http.StatusBadRequest {
			t.Errorf("%s %.60s names no field: %.200s", tc.method, tc.path, a.body)
		}
	}
	var list struct {
		Secrets []any `json:"secrets"`
	}
	r.must("", "GET", base+"/secrets", nil, &list)
	if len(list.Secrets) != 1 {
		t.Errorf("bad requests left %d secrets", len(list.Secrets))
	}
}
