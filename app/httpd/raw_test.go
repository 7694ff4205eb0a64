package httpd_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"coffer/app/httpd"
)

// hostile are requests that are refused, with the status. Behind each follows a
// second request, which must never be answered.
var hostile = map[string]struct {
	text   string
	status int
}{
	"both lengths":             {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"both lengths, other way":  {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
	"two lengths":              {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello", 400},
	"two equal lengths":        {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello", 400},
	"a list of lengths":        {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nhello", 400},
	"a signed length":          {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello", 400},
	"a negative length":        {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\nhello", 400},
	"a hexadecimal length":     {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello", 400},
	"a length with a blank":    {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\nhello", 400},
	"an empty length":          {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nhello", 400},
	"a length beyond 63 bits":  {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551621\r\n\r\nhello", 400},
	"two codings":              {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"a list of codings":        {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
	"identity":                 {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", 400},
	"a coding with a tab":      {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400},
	"a blank before the colon": {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
	"coding in HTTP/1.0":       {"POST /body HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"a folded header":          {"POST /body HTTP/1.1\r\nHost: h\r\nX-A: b\r\n Content-Length: 5\r\n\r\nhello", 400},
	"a folded first header":    {"POST /body HTTP/1.1\r\n Host: h\r\n\r\n", 400},
	"a bare line feed":         {"GET /here HTTP/1.1\r\nHost: h\nX-A: b\r\n\r\n", 400},
	"a bare carriage return":   {"GET /here HTTP/1.1\r\nHost: h\r\nX-A: b\rContent-Length: 5\r\n\r\n", 400},
	"a NUL in a header":        {"GET /here HTTP/1.1\r\nHost: h\r\nX-A: a\x00b\r\n\r\n", 400},
	"a NUL in a name":          {"GET /here HTTP/1.1\r\nHost: h\r\nX\x00A: ab\r\n\r\n", 400},
	"a header without colon":   {"GET /here HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", 400},
	"a header without name":    {"GET /here HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400},
	"a body of GET":            {"GET /here HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 400},
	"chunks of GET":            {"GET /here HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"no host":                  {"GET /here HTTP/1.1\r\n\r\n", 400},
	"an empty host":            {"GET /here HTTP/1.1\r\nHost:\r\n\r\n", 400},
	"two hosts":                {"GET /here HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400},
	"a host with a path":       {"GET /here HTTP/1.1\r\nHost: h/x\r\n\r\n", 400},
	"a host with a user":       {"GET /here HTTP/1.1\r\nHost: a@h\r\n\r\n", 400},
	"a host with a comma":      {"GET /here HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
	"a host with a bad port":   {"GET /here HTTP/1.1\r\nHost: h:x\r\n\r\n", 400},
	"two authorizations":       {"GET /here HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", 400},
	"another server's path":    {"GET http://other/here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"the same server's path":   {"GET http://h/here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"an authority":             {"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"an asterisk":              {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a path without scheme":    {"GET //other/here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a doubled slash":          {"GET /x//here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"dots":                     {"GET /x/../here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"dots at the end":          {"GET /here/.. HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a dot":                    {"GET /./here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"encoded dots":             {"GET /x/%2e%2E/here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"half encoded dots":        {"GET /x/.%2e/here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"an encoded slash":         {"GET /x%2fhere HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"an encoded backslash":     {"GET /x%5chere HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a backslash":              {"GET /x\\here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"an encoded NUL":           {"GET /here%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"an encoded line end":      {"GET /here%0d%0aX:y HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a broken encoding":        {"GET /here%4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"no encoding":              {"GET /here%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a NUL in the path":        {"GET /he\x00re HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"an umlaut in the path":    {"GET /hère HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a fragment":               {"GET /here#x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a tab as blank":           {"GET\t/here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"two blanks":               {"GET  /here HTTP/1.1\r\nHost: h\r\n\r\n", 505},
	"no version":               {"GET /here\r\nHost: h\r\n\r\n", 400},
	"HTTP/0.9":                 {"GET /here HTTP/0.9\r\nHost: h\r\n\r\n", 505},
	"HTTP/2":                   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	"HTTP/1.2":                 {"GET /here HTTP/1.2\r\nHost: h\r\n\r\n", 505},
	"an empty line before":     {"\r\nGET /here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"a compressed body":        {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", 415},
	"a body deflated":          {"POST /body HTTP/1.1\r\nHost: h\r\ncontent-encoding: DEFLATE\r\nContent-Length: 5\r\n\r\nhello", 415},
	"identity as compression":  {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", 415},
	"another expectation":      {"POST /body HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\nContent-Length: 5\r\n\r\nhello", 417},
	"a chunk extension":        {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", 400},
	"a chunk without size":     {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", 400},
	"a chunk with a sign":      {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", 400},
	"a chunk in 0x":            {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400},
	"a chunk with a blank":     {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", 400},
	"a chunk that is longer":   {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", 400},
	"a chunk ended by LF":      {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", 400},
	"a chunk beyond 32 bits":   {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100000005\r\nhello\r\n0\r\n\r\n", 400},
	"a trailer":                {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: other\r\n\r\n", 400},
	"a chunk too large":        {fmt.Sprintf("POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", httpd.MaxBody+1), 413},
	"a body too large":         {fmt.Sprintf("POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", httpd.MaxBody+1), 413},
	"a body far too large":     {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775807\r\n\r\n", 413},
	"a path too long":          {"GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
	"a path without end":       {"GET /" + strings.Repeat("a", 64<<10), 414},
	"a header too long":        {"GET /here HTTP/1.1\r\nHost: h\r\nX-A: " + strings.Repeat("a", 17<<10) + "\r\n\r\n", 431},
	"a header without end":     {"GET /here HTTP/1.1\r\nHost: h\r\nX-A: " + strings.Repeat("a", 128<<10), 431},
	"too many headers":         {"GET /here HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("a:b\r\n", 101) + "\r\n", 431},
	"a method too long":        {strings.Repeat("G", 17) + " /here HTTP/1.1\r\nHost: h\r\n\r\n", 400},
}

// TestHostileRequests: each is refused, over TLS and at the socket, and nothing
// that follows it is taken for a request.
func TestHostileRequests(t *testing.T) {
	d := serveTLS(t, httpd.Options{})
	for name, h := range hostile {
		for way, dial := range map[string]func() net.Conn{"tls": func() net.Conn { return d.dial() }, "socket": d.socket} {
			got := say(t, dial(), h.text+"GET /here HTTP/1.1\r\nHost: h\r\n\r\n", 0)
			if len(got) != 1 || got[0].status != h.status {
				t.Errorf("%s over %s: %+v, want one %d", name, way, got, h.status)
				continue
			}
			if ct := got[0].header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("%s: %v", name, got[0].header)
			}
		}
	}
}

// TestRefusedPathsReachNothing: what is not a route's own spelling is none.
func TestRefusedPathsReachNothing(t *testing.T) {
	d := serveTLS(t, httpd.Options{})
	for _, path := range []string{"/HERE", "/Here", "/here/", "/here;x=y", "/here;", "/%68ere", "/here%20", "/here.json", "/here&x", "/he%72e"} {
		got := say(t, d.dial(), "GET "+path+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 0)
		if len(got) != 1 || got[0].status != 404 {
			t.Errorf("%s: %+v", path, got)
		}
	}
	for _, path := range []string{"/here?", "/here?x=//y/../z%00", "/here?x=%2f"} {
		got := say(t, d.dial(), "GET "+path+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 0)
		if len(got) != 1 || got[0].status != 200 {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// TestRequestsInARow: what is well formed is answered in order, however it is cut.
func TestRequestsInARow(t *testing.T) {
	d := serveTLS(t, httpd.Options{})
	text := "GET /here HTTP/1.1\r\nHost: h\r\n\r\n" +
		"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" +
		"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n" +
		"DELETE /body HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nme" +
		"POST /body HTTP/1.1\r\nHost: [::1]:8443\r\nContent-Length: 0\r\n\r\n" +
		"POST /body HTTP/1.1\r\nHost: h\r\n\r\n" +
		"GET /here HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	want := []string{"here", "POST hello", "POST hello0123456789", "DELETE me", "POST ", "POST ", "here"}
	for name, dial := range map[string]func() net.Conn{
		"tls": func() net.Conn { return d.dial() }, "socket": d.socket,
		"cut": func() net.Conn { return bytewise{d.dial()} },
	} {
		got := say(t, dial(), text, 0)
		if len(got) != len(want) {
			t.Fatalf("%s: %d answers", name, len(got))
		}
		for i, a := range got {
			if a.status != 200 || a.body != want[i] {
				t.Errorf("%s: %d: %+v", name, i, a)
			}
		}
	}
	whole := strings.Repeat("x", httpd.MaxBody)
	got := say(t, d.dial(), fmt.Sprintf("POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(whole), whole), 0)
	if len(got) != 1 || got[0].body != "POST "+whole {
		t.Errorf("the largest body: %d answers", len(got))
	}
	got = say(t, d.dial(), "POST /body HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", 0)
	if len(got) != 2 || got[0].status != 100 || got[1].body != "POST hi" {
		t.Errorf("100-continue: %+v", got)
	}
}

// bytewise sends each byte by itself.
type bytewise struct{ net.Conn }

func (b bytewise) Write(p []byte) (n int, err error) {
	for i := range p {
		if _, err := b.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestCommonHeaders: every answer has them, whoever gives it.
func TestCommonHeaders(t *testing.T) {
	for _, hsts := range []bool{false, true} {
		d := serveTLS(t, httpd.Options{HSTS: hsts})
		for _, text := range []string{
			"GET /here HTTP/1.1", "GET /nothing HTTP/1.1", "GET /panic HTTP/1.1", "GET /signed HTTP/1.1", "GET /../ HTTP/1.1", "PUT /here HTTP/1.1", "BREW /here HTTP/1.1", "GET /healthz HTTP/1.1",
		} {
			got := say(t, d.dial(), text+"\r\nHost: h\r\nConnection: close\r\n\r\n", 0)
			if len(got) != 1 {
				t.Fatalf("%s: %+v", text, got)
			}
			h := got[0].header
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
				"Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY", "Server": "",
			} {
				if h.Get(name) != want {
					t.Errorf("%s: %s is %q", text, name, h.Get(name))
				}
			}
			if (h.Get("Strict-Transport-Security") != "") != hsts {
				t.Errorf("%s: Strict-Transport-Security is %q", text, h.Get("Strict-Transport-Security"))
			}
			if strings.Contains(got[0].body, "secret words") {
				t.Errorf("%s: %s", text, got[0].body)
			}
		}
	}
}

// TestPlainHTTP: on the TLS port it is sent on or told what is wrong.
func TestPlainHTTP(t *testing.T) {
	d := serveTLS(t, httpd.Options{})
	for _, method := range []string{"GET", "HEAD"} {
		got := say(t, d.plain(), method+" /here?a=b HTTP/1.1\r\nHost: coffer.example:8443\r\n\r\n", 0)
		if len(got) != 1 || got[0].status != 308 || got[0].header.Get("Location") != "https://coffer.example:8443/here?a=b" {
			t.Errorf("%s: %+v", method, got)
		}
	}
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"a POST":             {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 400},
		"no host in 1.0":     {"GET /here HTTP/1.0\r\n\r\n", 400},
		"a host with a path": {"GET /here HTTP/1.1\r\nHost: evil/x?\r\n\r\n", 400},
		"a host with a user": {"GET /here HTTP/1.1\r\nHost: good@evil\r\n\r\n", 400},
		"an absolute path":   {"GET http://evil/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a path for a host":  {"GET //evil/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a line end":         {"GET /%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"nothing of HTTP":    {"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400},
		"too long":           {"GET /" + strings.Repeat("a", 20<<10), 414},
	} {
		got := say(t, d.plain(), c.text, 0)
		if len(got) != 1 || got[0].status != c.status || got[0].header.Get("Location") != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestHealth(t *testing.T) {
	d := serveTLS(t, httpd.Options{})
	for _, dial := range []func() net.Conn{func() net.Conn { return d.dial() }, d.socket} {
		for path, want := range map[string]int{"/healthz": 200, "/readyz": 503} {
			got := say(t, dial(), "GET "+path+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 0)
			if len(got) != 1 || got[0].status != want || got[0].body != "sealed\n" {
				t.Errorf("%s: %+v", path, got)
			}
		}
	}
}

// FuzzHead: whatever a head holds is refused or has one meaning, and never a
// panic.
func FuzzHead(f *testing.F) {
	for _, h := range hostile {
		f.Add(h.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		status, length := httpd.ParseHead([]byte(text + "\r\n\r\n"))
		if status == 0 && (length < -1 || length > httpd.MaxBody) || status != 0 && (status < 400 || status > 505) {
			t.Errorf("%q: %d, %d", text, status, length)
		}
	})
}
