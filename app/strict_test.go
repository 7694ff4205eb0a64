package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"coffer/app/httpd"
)

// TestStrictBodies: what two decoders could read differently is refused with the
// member named, and does nothing.
func TestStrictBodies(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	const base = "/api/v1/tenants/acme"
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for _, tc := range []struct{ method, path, body, field string }{
		{"POST", "/members", `{"name":"eve","role":"viewer","role":"owner"}`, "role"},
		{"POST", "/members", `{"name":"eve","role":"viewer","Role":"owner"}`, "Role"},
		{"POST", "/members", `{"name":"eve","role":"viewer","r\u006fle":"owner"}`, "role"},
		{"POST", "/members", `{"name":"eve","ROLE":"owner"}`, "ROLE"},
		{"POST", "/members", `{"name":"eve","role":"viewer"}{"role":"owner"}`, "body"},
		{"POST", "/members", `{"name":"eve","role":"viewer"} x`, "body"},
		{"POST", "/members", `[{"name":"eve","role":"viewer"}]`, "body"},
		{"POST", "/members", `null`, "body"},
		{"POST", "/members", `"x"`, "body"},
		{"POST", "/members", `{"name":"eve",`, "body"},
		{"POST", "/members", "{\"name\":\"eve\xff\",\"role\":\"viewer\"}", "body"},
		{"POST", "/members", `{"name":"eve\ud800","role":"viewer"}`, "body"},
		{"POST", "/members", `{"name":"eve","role":"viewer","uid":-1}`, "uid"},
		{"POST", "/members", `{"name":"eve","role":"viewer","uid":4294967296}`, "uid"},
		{"POST", "/members", `{"name":"eve","role":"viewer","uid":1.5}`, "uid"},
		{"POST", "/members", `{"name":["eve"],"role":"viewer"}`, "name"},
		{"POST", "/members", `{"name":"Eve","role":"viewer"}`, "name"},
		{"POST", "/tokens", `{"ttl":5}`, "ttl"},
		{"POST", "/tokens", `{"ttl":"x"}`, "ttl"},
		{"POST", "/tokens", `{"grants":["x"]}`, "grants"},
		{"POST", "/workloads", `{"name":"x","grants":["sql:analyst"],"token_ttl":"48h"}`, "token_ttl"},
		{"POST", "/workloads/shop/secret-id", `{"ttl":"9999h"}`, "ttl"},
		{"POST", "/workloads/shop/secret-id", `{"uses":-1}`, "uses"},
		{"PUT", "/secret?path=a", `{"data":{"k":1,"k":2}}`, "data.k"},
		{"PUT", "/secret?path=a", `{"data":{"k":{"x":1,"x":2}}}`, "data.k.x"},
		{"PUT", "/secret?path=a", `{"data":{"k":"\udc00"}}`, "body"},
		{"PUT", "/secret?path=a", `{"data":` + deep + `}`, "data" + strings.Repeat(".a", 31)},
		{"POST", "/sql", `{"sql":"SELECT 1","args":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "args"},
		{"POST", "/sql", `{"sql":"SELECT ?","args":[{"base64":"AA==","base64":"AQ=="}]}`, "args.base64"},
		{"POST", "/sql", `{"sql":"SELECT ?","args":[{"x":1}]}`, "args"},
		{"POST", "/sql", `{"sql":"SELECT :a","named":{"a":1,"a":2}}`, "named.a"},
	} {
		a := r.do("", tc.method, base+tc.path, []byte(tc.body))
		if got := fields(a.body)["field"]; a.status != http.StatusBadRequest || got != tc.field {
			t.Errorf("%.90q: %d %.300s; the field is %v, want %s", tc.body, a.status, a.body, got, tc.field)
		}
	}
	for header, refused := range map[string]bool{
		"application/json": false, "application/json; charset=utf-8": false, `Application/JSON; charset="UTF-8"`: false,
		"": true, "text/plain": true, "application/jsonp": true, "application/json; charset=latin1": true,
		"application/json; charset=utf-8; x=y": true, "application/x-www-form-urlencoded": true, "multipart/form-data": true,
	} {
		a := r.doWith(map[string]string{"Content-Type": header}, "", "POST", base+"/sql", []byte(`{"sql":"SELECT 1"}`))
		if got := fields(a.body)["field"]; refused != (a.status == http.StatusBadRequest) || refused && got != "Content-Type" {
			t.Errorf("%q: %d %s", header, a.status, a.body)
		}
	}
	for path, words := range map[string]string{"/members": "eve", "/tokens": `"ta_`} {
		if a := r.do("", "GET", base+path, nil); strings.Contains(string(a.body), words) {
			t.Errorf("a refused request did something: %s", a.body)
		}
	}
	var value struct{ Data map[string]any }
	r.must("", "PUT", base+"/secret?path=smile", []byte(`{"data":{"k":"\ud83d\ude00","Key":1,"key":"\\ud800"}}`), nil)
	r.must("", "GET", base+"/secret?path=smile", nil, &value)
	if value.Data["k"] != "😀" || value.Data["Key"] != 1.0 || value.Data["key"] != `\ud800` {
		t.Errorf("what is well-formed came back as %v", value.Data)
	}
}

// TestProblems: every answer that says no says it in one form.
func TestProblems(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	for _, tc := range []struct {
		token, method, path string
		body                any
		status              int
		kind                string
	}{
		{"", "GET", "/api/v1/nothing", nil, 404, "not_found"},
		{"", "GET", "/api/v2/tenants", nil, 404, "not_found"},
		{"", "GET", "/api/", nil, 404, "not_found"},
		{"", "PUT", "/api/v1/tenants", object{}, 405, "invalid"},
		{"", "HEAD", "/api/v1/tenants", nil, 405, ""},
		{"", "DELETE", "/api/v1/openapi.json", nil, 405, "invalid"},
		{"", "GET", "/api/v1/tenants?limit=1001", nil, 400, "invalid"},
		{"cft_x", "GET", "/api/v1/tenants", nil, 401, "unauthenticated"},
		{"", "GET", "/api/v1/tenants/nobody", nil, 404, "not_found"},
		{"", "POST", "/api/v1/tenants", object{"id": "acme", "name": "again"}, 409, "conflict"},
	} {
		a := r.do(tc.token, tc.method, tc.path, tc.body)
		p := fields(a.body)
		switch {
		case a.status != tc.status:
			t.Errorf("%s %s: %d %s", tc.method, tc.path, a.status, a.body)
		case tc.method == "HEAD":
		case p["kind"] != tc.kind || p["type"] != "urn:coffer:problem:"+tc.kind || p["request_id"] != a.header.Get("X-Request-Id"):
			t.Errorf("%s %s: %s", tc.method, tc.path, a.body)
		}
		if allow := a.header.Get("Allow"); (tc.status == 405) != (allow != "") {
			t.Errorf("%s %s: Allow is %q", tc.method, tc.path, allow)
		}
		if a.status == 401 && a.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s %s: no WWW-Authenticate", tc.method, tc.path)
		}
	}
	for _, accept := range []string{"text/html", "application/xml;q=1", "*/*", "nonsense"} {
		a := r.doWith(map[string]string{"Accept": accept}, "", "GET", "/api/v1/tenants", nil)
		if a.status != http.StatusOK {
			t.Errorf("Accept: %s: %d %s", accept, a.status, a.body)
		}
	}
}

// TestAttackBrowser: a browser carries a session's cookie along with whatever a
// page of another site has it send. Neither does anything here.
func TestAttackBrowser(t *testing.T) {
	data := shortDir(t)
	r, stop := serveOn(t, data, nil)
	r.tenant("acme")
	token := r.issue("acme", object{})
	const path = "/api/v1/tenants/acme/tokens"
	for _, tc := range []struct {
		headers map[string]string
		refused bool
	}{
		{map[string]string{}, false},
		{map[string]string{"Origin": "http://coffer"}, false},
		{map[string]string{"Origin": "https://coffer", "Sec-Fetch-Site": "same-origin"}, false},
		{map[string]string{"Sec-Fetch-Site": "none"}, false},
		{map[string]string{"Origin": "https://evil.example"}, true},
		{map[string]string{"Origin": "null"}, true},
		{map[string]string{"Origin": "http://coffer.evil.example"}, true},
		{map[string]string{"Origin": "http://coffer:8443"}, true},
		{map[string]string{"Sec-Fetch-Site": "cross-site"}, true},
		{map[string]string{"Sec-Fetch-Site": "same-site"}, true},
		{map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "http://coffer"}, true},
	} {
		for _, who := range []string{"", token} {
			a := r.doWith(tc.headers, who, "POST", path, object{})
			if tc.refused != (a.status == http.StatusForbidden) || tc.refused && !strings.Contains(string(a.body), "another site") {
				t.Errorf("%v: %d %s", tc.headers, a.status, a.body)
			}
		}
	}
	if a := r.doWith(map[string]string{"Origin": "https://evil.example"}, token, "GET", path, nil); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("another site may read the answer")
	}
	// On the socket who asks is known; a cookie neither helps nor stands for a token.
	for _, name := range []string{"__Host-coffer", "coffer"} {
		a := r.doWith(map[string]string{"Cookie": name + "=" + token, "Authorization": "Bearer cft_" + strings.Repeat("a", 52)}, "", "GET", path, nil)
		if a.status != http.StatusUnauthorized {
			t.Errorf("a cookie was a credential: %d %s", a.status, a.body)
		}
	}
	stop() // which writes down what was counted
	r, stop = serveOn(t, data, nil)
	defer stop()
	if log := r.do("", "GET", "/api/v1/audit?limit=1000", nil); !strings.Contains(string(log.body), "cross-site") {
		t.Errorf("the refusals are not in the log: %s", log.body)
	}
}

// TestTooLarge: what is announced as too large is refused before it is sent.
func TestTooLarge(t *testing.T) {
	r := serveTemp(t)
	conn, err := net.Dial("unix", filepath.Join(r.data, "run", "coffer.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /api/v1/tenants HTTP/1.1\r\nHost: coffer\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", httpd.MaxBody+1)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || fields(b)["kind"] != "limit" {
		t.Errorf("%d %s, %v", resp.StatusCode, b, err)
	}
	if err := promised("POST", "/api/v1/tenants", resp.StatusCode, resp.Header, b); err != nil {
		t.Error(err)
	}
}
