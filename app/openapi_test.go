package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"coffer/app/api"
)

// promises are the schemas of the API's document.
type promises struct {
	root     map[string]any
	paths    map[string]any
	patterns map[string]*regexp.Regexp // by path of the document

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
}

const promisesURL = "https://coffer.invalid/openapi.json"

var theDocument = sync.OnceValue(func() *promises {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(api.Document()))
	if err != nil {
		panic(err)
	}
	root := doc.(map[string]any)
	// Answers may get new members some day; today they have these.
	closed(root["components"].(map[string]any)["schemas"])
	p := &promises{
		root: root, paths: root["paths"].(map[string]any), patterns: map[string]*regexp.Regexp{},
		compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{},
	}
	p.compiler.AssertFormat()
	if err := p.compiler.AddResource(promisesURL, doc); err != nil {
		panic(err)
	}
	parameter := regexp.MustCompile(`\\\{[a-z_]+\\\}`)
	for path := range p.paths {
		p.patterns[path] = regexp.MustCompile("^" + parameter.ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$")
	}
	return p
})

// closed lets no object have members that are not named.
func closed(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, named := v["properties"].(map[string]any); named && v["additionalProperties"] == nil {
			v["additionalProperties"] = false
		}
		for _, part := range v {
			closed(part)
		}
	case []any:
		for _, part := range v {
			closed(part)
		}
	}
}

// promised says how an answer differs from what the document promises.
func promised(method, target string, status int, header http.Header, body []byte) error {
	u, err := url.Parse(target)
	if err != nil || !strings.HasPrefix(u.Path, "/api/") {
		return err
	}
	p := theDocument()
	pointer, media := "#/components/schemas/Problem", "application/problem+json"
	switch operation := p.operation(method, u.EscapedPath()); {
	case operation == "" && status < 400:
		return fmt.Errorf("status %d, and there is no such operation", status)
	case operation == "":
	case status < 400:
		media = "application/json"
		pointer = fmt.Sprintf("%s/responses/%d/content/application~1json/schema", operation, status)
	default:
		if p.at(fmt.Sprintf("%s/responses/%d", operation, status)) == nil {
			return fmt.Errorf("status %d is not promised", status)
		}
		pointer = fmt.Sprintf("#/components/responses/problem-%d/content/application~1problem+json/schema", status)
	}
	if got := header.Get("Content-Type"); got != media {
		return fmt.Errorf("the type is %q", got)
	}
	if header.Get("X-Request-Id") == "" && u.Path != "/api/v1/openapi.json" {
		return errors.New("no X-Request-Id")
	}
	if method == http.MethodHead {
		return nil // it has no body
	}
	return p.validate(pointer, body)
}

// asked says how a request differs from what the document knows.
func asked(method, target string, body []byte) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	p := theDocument()
	operation := p.operation(method, u.EscapedPath())
	known := map[string]bool{}
	parameters, _ := p.at(operation + "/parameters").([]any)
	for _, v := range parameters {
		parameter := v.(map[string]any)
		known[fmt.Sprint(parameter["in"], " ", parameter["name"])] = true
	}
	for name := range u.Query() {
		if !known["query "+name] {
			return fmt.Errorf("%q is no parameter", name)
		}
	}
	if len(body) == 0 {
		return nil
	}
	if p.at(operation+"/requestBody") == nil {
		return errors.New("it has no body")
	}
	return p.validate(operation+"/requestBody/content/application~1json/schema", body)
}

// operation is the JSON pointer of an operation, "" for none.
func (p *promises) operation(method, path string) string {
	best := ""
	for name, pattern := range p.patterns {
		ops := p.paths[name].(map[string]any)
		if ops[strings.ToLower(method)] != nil && pattern.MatchString(path) && (best == "" || strings.Count(name, "{") < strings.Count(best, "{")) {
			best = name
		}
	}
	if best == "" {
		return ""
	}
	return "#/paths/" + escape(best) + "/" + strings.ToLower(method)
}

// at finds what a pointer names, nil if it names nothing.
func (p *promises) at(pointer string) any {
	var v any = p.root
	for _, part := range strings.Split(strings.TrimPrefix(pointer, "#/"), "/") {
		m, _ := v.(map[string]any)
		v = m[strings.NewReplacer("~1", "/", "~0", "~", "%7B", "{", "%7D", "}").Replace(part)]
	}
	return v
}

// escape makes a name a part of a pointer in a URL.
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name)
}

func (p *promises) validate(pointer string, body []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.compiled[pointer]
	if s == nil {
		var err error
		if s, err = p.compiler.Compile(promisesURL + pointer); err != nil {
			return err
		}
		p.compiled[pointer] = s
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// TestDoctoredAnswers: the check that every answer of these tests goes through
// finds what is wrong.
func TestDoctoredAnswers(t *testing.T) {
	const good = `{"id":"acme","name":"Acme","state":"active","created":"2026-11-26T09:00:00Z","changed":"2026-11-26T09:00:00Z","log_slot":1,"retention_days":90,"secret_bytes":1,"isolation":"shared","file_bytes":1}`
	const problem = `{"type":"urn:coffer:problem:denied","title":"no","status":403,"kind":"denied","request_id":"r_x"}`
	header := http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {"r_x"}}
	failed := http.Header{"Content-Type": {"application/problem+json"}, "X-Request-Id": {"r_x"}}
	for _, tc := range []struct {
		what, method, path string
		status             int
		header             http.Header
		body               string
		ok                 bool
	}{
		{"good", "GET", "/api/v1/tenants/acme", 200, header, good, true},
		{"a member more", "GET", "/api/v1/tenants/acme", 200, header, strings.Replace(good, `"id"`, `"secret":1,"id"`, 1), false},
		{"a member less", "GET", "/api/v1/tenants/acme", 200, header, strings.Replace(good, `"log_slot":1`, `"x":1`, 1), false},
		{"another type", "GET", "/api/v1/tenants/acme", 200, header, strings.Replace(good, `:1}`, `:"1"}`, 1), false},
		{"another state", "GET", "/api/v1/tenants/acme", 200, header, strings.Replace(good, `active`, `asleep`, 1), false},
		{"no time", "GET", "/api/v1/tenants/acme", 200, header, strings.Replace(good, `2026-11-26T`, ``, 1), false},
		{"no JSON", "GET", "/api/v1/tenants/acme", 200, header, good[1:], false},
		{"no request id", "GET", "/api/v1/tenants/acme", 200, http.Header{"Content-Type": {"application/json"}}, good, false},
		{"another media type", "GET", "/api/v1/tenants/acme", 200, failed, good, false},
		{"a status that is not promised", "GET", "/api/v1/tenants/acme", 201, header, good, false},
		{"a path that is not", "GET", "/api/v1/tenant/acme", 200, header, good, false},
		{"a problem", "GET", "/api/v1/tenants/acme", 403, failed, problem, true},
		{"a problem of another kind", "GET", "/api/v1/tenants/acme", 403, failed, strings.Replace(problem, `"denied"`, `"invalid"`, 1), false},
		{"a problem that says another status", "GET", "/api/v1/tenants/acme", 404, failed, problem, false},
		{"a problem without a type", "GET", "/api/v1/nothing", 404, failed, strings.Replace(problem, `"type"`, `"typ"`, 1), false},
	} {
		if err := promised(tc.method, tc.path, tc.status, tc.header, []byte(tc.body)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
}

// TestDocumentIsServed: to anybody, and it is the one that was checked.
func TestDocumentIsServed(t *testing.T) {
	r := serveTemp(t)
	a := r.do("cft_nobody", http.MethodGet, "/api/v1/openapi.json", nil)
	if a.status != http.StatusOK || !bytes.Equal(a.body, api.Document()) || a.receipt != "" {
		t.Errorf("%d, %d bytes, receipt %q", a.status, len(a.body), a.receipt)
	}
	var doc struct{ Paths map[string]any }
	if err := json.Unmarshal(a.body, &doc); err != nil || len(doc.Paths) == 0 {
		t.Error(err)
	}
}

// TestDoctoredRequests: the check of requests finds what is wrong, too.
func TestDoctoredRequests(t *testing.T) {
	for _, tc := range []struct {
		method, path, body string
		ok                 bool
	}{
		{"POST", "/api/v1/tenants", `{"id":"acme","name":"Acme"}`, true},
		{"POST", "/api/v1/tenants", `{"id":"acme","nme":"Acme"}`, false},
		{"POST", "/api/v1/tenants", `{"id":"acme","name":1}`, false},
		{"POST", "/api/v1/tenants?x=1", `{"id":"acme","name":"Acme"}`, false},
		{"GET", "/api/v1/tenants?limit=1", ``, true},
		{"GET", "/api/v1/tenants", `{}`, false},
		{"POST", "/api/v1/tenants/acme/tokens", `{"ttl":"15m"}`, true},
		{"POST", "/api/v1/tenants/acme/tokens", `{"ttl":"15 minutes"}`, false},
	} {
		if err := asked(tc.method, tc.path, []byte(tc.body)); (err == nil) != tc.ok {
			t.Errorf("%s %s %s: %v", tc.method, tc.path, tc.body, err)
		}
	}
}

// TestDocumentIsWhole: what it refers to is there, every schema is one, and each
// parameter of a path is declared.
func TestDocumentIsWhole(t *testing.T) {
	p := theDocument()
	schemas := 0
	var walk func(pointer string, v any)
	walk = func(pointer string, v any) {
		switch v := v.(type) {
		case []any:
			for i, part := range v {
				walk(fmt.Sprintf("%s/%d", pointer, i), part)
			}
		case map[string]any:
			if ref, is := v["$ref"].(string); is && p.at(ref) == nil {
				t.Errorf("%s: %s is missing", pointer, ref)
			}
			for name, part := range v {
				at := pointer + "/" + escape(name)
				walk(at, part)
				if name != "schema" {
					continue
				}
				schemas++
				if _, err := p.compiler.Compile(promisesURL + at); err != nil {
					t.Errorf("%s: %v", at, err)
				}
			}
		}
	}
	walk("#", p.root)
	if schemas < 100 {
		t.Errorf("%d schemas", schemas)
	}
	parameter := regexp.MustCompile(`\{([a-z_]+)\}`)
	for path, ops := range p.paths {
		for method, op := range ops.(map[string]any) {
			declared, _ := json.Marshal(op.(map[string]any)["parameters"]) // it was JSON before
			for _, name := range parameter.FindAllStringSubmatch(path, -1) {
				if !strings.Contains(string(declared), fmt.Sprintf(`"in":"path","name":"%s","required":true`, name[1])) {
					t.Errorf("%s %s: %s is not declared", method, path, name[1])
				}
			}
		}
	}
}
