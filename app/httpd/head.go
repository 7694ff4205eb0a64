package httpd

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// Bounds of a request's head.
const (
	maxTarget  = 8 << 10  // bytes of path and query
	maxHeader  = 16 << 10 // bytes of the whole head
	maxFields  = 100      // header lines
	maxHost    = 255      // bytes of the Host header
	maxMethod  = 16       // bytes of the method
	chunkedRun = -1       // head.length of a body in chunks
)

// head is what of a request's head decides where the request ends and to whom it
// goes. It is read more strictly than HTTP demands, before the framework sees a
// byte: whatever two servers could read in two ways is refused, so that no proxy
// in front of Coffer can disagree with it about where a request ends.
type head struct {
	method string
	target string
	minor  int // of HTTP/1.x
	host   string
	length int64 // of the body; chunkedRun for chunks
}

// refusal is the answer to what is no request.
type refusal struct {
	status int
	title  string
	hint   string
	field  string // of the request, if one is wrong
	target string // of the request, as far as it is known
}

func bad(title string) *refusal { return &refusal{status: http.StatusBadRequest, title: title} }

// once are the headers of which two would be two opinions.
var once = map[string]bool{
	"host": true, "content-length": true, "transfer-encoding": true, "content-type": true, "expect": true,
	"authorization": true, "origin": true, "sec-fetch-site": true, "coffer-code": true,
	"idempotency-key": true, "x-vault-token": true, "x-vault-namespace": true,
}

// parseHead reads a head, its last empty line included.
func parseHead(b []byte) (head, *refusal) {
	line, rest, _ := bytes.Cut(b, crlf)
	h, no := parseRequestLine(line)
	if no != nil {
		return h, no
	}
	seen := map[string]string{}
	for n := 0; ; n++ {
		line, rest, _ = bytes.Cut(rest, crlf)
		if len(line) == 0 {
			break
		}
		if n == maxFields {
			return h, &refusal{status: http.StatusRequestHeaderFieldsTooLarge, title: "the request has more than " + strconv.Itoa(maxFields) + " headers"}
		}
		name, value, no := parseField(line)
		if no != nil {
			return h, no
		}
		if _, twice := seen[name]; twice && once[name] {
			return h, bad("the request has the header " + name + " twice")
		}
		seen[name] = value
	}
	return h, h.judge(seen)
}

var crlf = []byte("\r\n")

func parseRequestLine(line []byte) (h head, no *refusal) {
	method, rest, ok := strings.Cut(string(line), " ")
	target, version, ok2 := strings.Cut(rest, " ")
	switch {
	case !ok || !ok2 || !isToken(method) || len(method) > maxMethod:
		return h, bad("the request line is malformed")
	case version == "HTTP/1.1":
		h.minor = 1
	case version != "HTTP/1.0":
		return h, &refusal{status: http.StatusHTTPVersionNotSupported, title: "this is neither HTTP/1.1 nor HTTP/1.0"}
	}
	h.method, h.target = method, target
	if no = checkTarget(target); no != nil {
		no.field = "path"
	}
	return h, no
}

// checkTarget lets only a path with an optional query through, and no path that
// means another one after decoding or cleaning.
func checkTarget(target string) *refusal {
	switch {
	case len(target) > maxTarget:
		return &refusal{status: http.StatusRequestURITooLong, title: "the path and query have more than " + strconv.Itoa(maxTarget) + " bytes"}
	case !strings.HasPrefix(target, "/"):
		return &refusal{
			status: http.StatusBadRequest, title: "the request names a server in its path",
			hint: "Coffer is no proxy: ask for the path alone",
		}
	case strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }):
		return bad("the path holds characters that no path has")
	}
	path, _, _ := strings.Cut(target, "?")
	if strings.Contains(path, "//") || strings.Contains(path, `\`) {
		return bad("the path holds an empty part or a backslash")
	}
	for segment := range strings.SplitSeq(path, "/") {
		decoded, ok := unescape(segment)
		switch {
		case !ok:
			return bad("the path holds a percent sign that is not followed by two hexadecimal digits")
		case decoded == "." || decoded == "..":
			return bad("the path holds a part that is . or ..")
		case strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f || r == '/' || r == '\\' }):
			return bad("the path holds an encoded slash or control character")
		}
	}
	return nil
}

// unescape decodes a part of a path.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+3 > len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil || s[i+1] == '+' {
			return "", false
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), true
}

// parseField reads one header line; the name is in lower case.
func parseField(line []byte) (name, value string, no *refusal) {
	if line[0] == ' ' || line[0] == '\t' {
		return "", "", bad("a header is folded over two lines")
	}
	name, value, ok := strings.Cut(string(line), ":")
	if !ok || !isToken(name) {
		return "", "", bad("a header line is malformed")
	}
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "", "", bad("a header holds a control character")
		}
	}
	return strings.ToLower(name), value, nil
}

// isToken is the token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// judge decides from the headers where the request ends.
func (h *head) judge(fields map[string]string) *refusal {
	host, given := fields["host"]
	switch {
	case !given && h.minor == 1:
		return bad("the request has no Host header")
	case given && !isHost(host):
		return bad("the Host header is not the name of a host")
	}
	h.host = host
	if _, given := fields["content-encoding"]; given { // the framework would decompress it
		return &refusal{
			status: http.StatusUnsupportedMediaType, title: "compressed requests are not read",
			hint: "send the body as it is",
		}
	}
	if expect, given := fields["expect"]; given && !strings.EqualFold(expect, "100-continue") {
		return &refusal{status: http.StatusExpectationFailed, title: "the expectation in the Expect header is unknown"}
	}
	return h.frame(fields)
}

// frame finds the length of the body (RFC 9112 section 6.3, without its
// leniencies).
func (h *head) frame(fields map[string]string) *refusal {
	length, sized := fields["content-length"]
	coding, coded := fields["transfer-encoding"]
	switch {
	case sized && coded:
		return bad("the request has both a Content-Length and a Transfer-Encoding")
	case coded && h.minor == 0:
		return bad("HTTP/1.0 has no Transfer-Encoding")
	case coded && !strings.EqualFold(coding, "chunked"):
		return &refusal{status: http.StatusNotImplemented, title: "the only Transfer-Encoding that is read is chunked"}
	case coded:
		h.length = chunkedRun
	case sized:
		n, err := strconv.ParseUint(length, 10, 63)
		if err != nil || strings.Trim(length, "0123456789") != "" {
			return bad("the Content-Length is not a number")
		}
		h.length = int64(n)
	}
	switch {
	case h.length > MaxBody:
		return tooLarge()
	case h.length != 0 && (h.method == http.MethodGet || h.method == http.MethodHead):
		return bad("a " + h.method + " request has no body")
	}
	return nil
}

func tooLarge() *refusal {
	return &refusal{status: http.StatusRequestEntityTooLarge, title: "the request is larger than " + strconv.Itoa(MaxBody) + " bytes"}
}

// isHost says whether a Host header is a name or address with an optional port,
// and nothing that means something in another place, such as a Location header.
func isHost(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	name, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		name, port = s[:i], s[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strings.Trim(port, "0123456789") != "" {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && inner != "" && strings.Trim(inner, "0123456789abcdefABCDEF:.") == ""
	}
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return name != "" && strings.Trim(name, allowed) == ""
}
