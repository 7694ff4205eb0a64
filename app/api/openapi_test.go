package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/app/once"
)

var update = flag.Bool("update", false, "write generated documents again")

// TestDocument keeps openapi.json what the routes and their types say.
func TestDocument(t *testing.T) {
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(generate(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(want.Bytes(), document) {
		t.Error("openapi.json is not what the routes say; run: make docs")
	}
}

// TestBoundsInTheDocument: the bounds that stand as text in tags are those that
// the code keeps.
func TestBoundsInTheDocument(t *testing.T) {
	for _, tc := range []struct {
		in   any
		name string
		key  string
		want int
	}{
		{actions.Page{}, "Limit", "maximum", actions.MaxPage},
		{actions.Page{}, "Limit", "default", actions.DefaultPage},
		{actions.AuditQuery{}, "Last", "maximum", actions.MaxPage},
		{actions.SQLIn{}, "SQL", "maxLength", actions.MaxSQLText},
		{actions.SQLIn{}, "Args", "maxItems", actions.MaxSQLArgs},
		{actions.SecretRef{}, "Path", "maxLength", domain.MaxSecretPath},
		{actions.SecretPutIn{}, "Path", "maxLength", domain.MaxSecretPath},
		{actions.SecretPutIn{}, "Data", "maxProperties", domain.MaxSecretKeys},
		{actions.TokenIssueIn{}, "Grants", "maxItems", authz.MaxCapabilities},
		{actions.WorkloadCreateIn{}, "Grants", "maxItems", authz.MaxCapabilities},
		{actions.TenantCreateIn{}, "Name", "maxLength", domain.MaxDisplayName},
		{actions.BreakGlassIn{}, "Reason", "maxLength", domain.MaxReason},
	} {
		f, _ := reflect.TypeOf(tc.in).FieldByName(tc.name)
		if got := newReflector().field(f, true)[tc.key]; got != tc.want {
			t.Errorf("%T.%s: %s is %v, want %d", tc.in, tc.name, tc.key, got, tc.want)
		}
	}
}

// generate makes the document of all routes.
func generate(t *testing.T) schema {
	r := newReflector()
	paths, ids := schema{}, map[string]bool{}
	for _, rt := range New(nil, slog.New(slog.DiscardHandler)).routes() {
		var path []string
		for _, part := range strings.Split(rt.Path, "/") {
			if name, is := strings.CutPrefix(part, ":"); is {
				part = "{" + name + "}"
			}
			path = append(path, part)
		}
		key := strings.Join(path, "/")
		if paths[key] == nil {
			paths[key] = schema{}
		}
		paths[key].(schema)[strings.ToLower(rt.Method)] = r.operation(t, rt, ids)
	}
	problem := r.component(reflect.TypeFor[httpd.Problem]())
	kinds := []string{}
	for _, k := range domain.Kinds() {
		kinds = append(kinds, k.String())
	}
	r.components["Problem"].(schema)["properties"].(schema)["kind"].(schema)["enum"] = kinds
	return schema{
		"openapi": "3.1.0",
		"info": schema{
			"title": "Coffer", "version": "v1",
			"description": "The native API. docs/api.md says in one page how to use it. On the local socket of the appliance a request without a bearer is the local user's. Answers may get further members; ignore what you do not know.",
		},
		"servers": []schema{{"url": "/"}},
		"paths":   paths,
		"components": schema{
			"schemas": r.components, "responses": problems(problem), "headers": headers,
			"parameters": schema{"IdempotencyKey": keyParameter}, "securitySchemes": securitySchemes,
		},
	}
}

var headers = schema{
	"Coffer-Audit": schema{
		"description": "receipt of the event in the log: <sequence>:<leaf hash>",
		"schema":      schema{"type": "string", "pattern": "^[0-9]+:[0-9a-f]{64}$"},
	},
	"X-Request-Id": schema{
		"description": "under which the event can be found", "required": true,
		"schema": schema{"type": "string", "pattern": "^r_[a-z2-7]{26}$"},
	},
	"Retry-After": schema{
		"description": "seconds after which the same request may work, where that is known",
		"schema":      schema{"type": "integer", "minimum": 1},
	},
}

var keyParameter = schema{
	"name": once.Header, "in": "header",
	"description": "a fresh random UUID (version 4) or the like, visible ASCII; sent again with the same request within 24 hours it gives the same answer, and nothing is done twice",
	"schema":      schema{"type": "string", "minLength": once.MinKey, "maxLength": once.MaxKey + 2},
}

var securitySchemes = schema{
	"token":   schema{"type": "http", "scheme": "bearer", "bearerFormat": "cft_…", "description": "a short-lived token of one tenant"},
	"session": schema{"type": "http", "scheme": "bearer", "bearerFormat": "cfu_…", "description": "a person's session"},
}

func headerRefs(names ...string) schema {
	out := schema{}
	for _, n := range names {
		out[n] = schema{"$ref": "#/components/headers/" + n}
	}
	return out
}

// problems are the components for answers that say no, by status.
func problems(problem schema) schema {
	kinds := map[int][]string{405: {domain.Invalid.String()}, 413: {domain.Limit.String()}}
	for _, k := range domain.Kinds() {
		kinds[httpd.StatusOf(k)] = append(kinds[httpd.StatusOf(k)], k.String())
	}
	out := schema{}
	for status, names := range kinds {
		out["problem-"+strconv.Itoa(status)] = schema{
			"description": "a problem of kind " + strings.Join(names, " or "),
			"headers":     headerRefs("Coffer-Audit", "X-Request-Id", "Retry-After"),
			"content": schema{"application/problem+json": schema{"schema": schema{
				"allOf": []schema{problem, {"properties": schema{"kind": schema{"enum": names}, "status": schema{"const": status}}}},
			}}},
		}
	}
	return out
}

// operation describes one route.
func (r reflector) operation(t *testing.T, rt route, ids map[string]bool) schema {
	op := schema{"operationId": operationID(t, rt, ids), "security": []schema{{"token": []string{}}, {"session": []string{}}}}
	audited := headerRefs("Coffer-Audit", "X-Request-Id")
	info, known := authz.Lookup(rt.Action)
	if known {
		describe(op, rt, info)
	} else {
		op["summary"], op["tags"] = "this document", []string{"openapi"}
	}
	if rt.Action == "" || info.Stranger || rt.Action == authz.SealStatus || rt.Action == authz.SealUnseal {
		op["security"] = []schema{}
	}
	if rt.Action == "" {
		audited = schema{}
	}
	op["parameters"] = r.parameters(rt)
	statuses := []int{400, 401, 403, 404, 409, 429, 500, 503}
	if body := r.body(rt); body != nil {
		op["requestBody"] = schema{"required": body["required"] != nil, "content": schema{"application/json": schema{"schema": body}}}
		statuses = append(statuses, 413)
	}
	responses := schema{"200": schema{
		"description": "done", "headers": audited,
		"content": schema{"application/json": schema{"schema": r.of(rt.out, false)}},
	}}
	for _, s := range statuses {
		responses[strconv.Itoa(s)] = schema{"$ref": "#/components/responses/problem-" + strconv.Itoa(s)}
	}
	op["responses"] = responses
	return op
}

// operationID is the action's name, for further routes of an action with the
// last word of the path.
func operationID(t *testing.T, rt route, ids map[string]bool) string {
	id := string(rt.Action)
	if id == "" || ids[id] {
		id = strings.TrimPrefix(id+"."+strings.TrimSuffix(rt.Path[strings.LastIndex(rt.Path, "/")+1:], ".json"), ".")
	}
	if ids[id] {
		t.Errorf("%s %s: an operation %q is there already", rt.Method, rt.Path, id)
	}
	ids[id] = true
	return id
}

func describe(op schema, rt route, info authz.Info) {
	tag, _, _ := strings.Cut(string(info.Action), ".")
	op["summary"], op["tags"] = info.Meaning, []string{tag}
	op["x-coffer-action"], op["x-coffer-scope"] = info.Action, info.Scope
	for key, roles := range map[string][]domain.Role{"x-coffer-roles": info.Roles, "x-coffer-own-roles": info.Own} {
		if len(roles) > 0 {
			op[key] = roles
		}
	}
	if info.Cap != "" {
		op["x-coffer-capability"] = info.Cap
	}
	if info.StepUp {
		op["x-coffer-step-up"] = true
	}
	if other, known := authz.Lookup(rt.also); known {
		op["description"] = fmt.Sprintf("By its input it may be the action %s instead: %s; roles %v, capability %v.", other.Action, other.Meaning, other.Roles, other.Cap)
	}
}

// body is the schema of a route's body, nil for none.
func (r reflector) body(rt route) schema {
	if rt.Method == get || rt.Method == remove {
		return nil
	}
	body := r.object(rt.in, true, func(f reflect.StructField) bool { return inPath(rt, f) })
	if len(body["properties"].(schema)) == 0 {
		return nil
	}
	return body
}

func inPath(rt route, f reflect.StructField) bool {
	name := f.Tag.Get("path")
	return name != "" && slices.Contains(strings.Split(rt.Path, "/"), ":"+name)
}

func (r reflector) parameters(rt route) []schema {
	out := []schema{}
	for _, f := range reflect.VisibleFields(rt.in) {
		p := schema{"in": "path", "required": true, "name": f.Tag.Get("path")}
		if !inPath(rt, f) {
			if p = (schema{"in": "query", "required": must(f), "name": f.Tag.Get("query")}); p["name"] == "" {
				continue
			}
		}
		s := r.field(f, true)
		if p["name"] == "tenant" {
			s = r.of(reflect.TypeFor[domain.TenantID](), true)
		}
		if text := s["description"]; text != nil {
			p["description"] = text
			delete(s, "description")
		}
		p["schema"] = s
		out = append(out, p)
	}
	if rt.creates {
		out = append(out, schema{"$ref": "#/components/parameters/IdempotencyKey"})
	}
	return out
}
