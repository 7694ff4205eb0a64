package httpd

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"coffer/app/domain"
)

// tlsListener marks the connections of a listener as such that speak TLS.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

// TLS makes a listener's connections speak TLS with the certificate that is
// given at each handshake. The handshake takes place when a connection is read
// for the first time, not when it is accepted: nobody waits for a slow one.
func TLS(l net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) net.Listener {
	return &tlsListener{l, &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"http/1.1"},
	}}
}

// recordHandshake begins every TLS connection (RFC 8446 section 5.1).
const recordHandshake = 22

// begin agrees on TLS if the connection is to speak it. false means that it is
// over.
func (c *conn) begin() bool {
	if c.config == nil {
		return true
	}
	until := time.Now().Add(c.server.patience.handshake)
	if err := c.fill(until); err != nil {
		return false
	}
	if c.in[0] != recordHandshake {
		return true // plain HTTP, which answerPlain answers once its head is there
	}
	c.setReadDeadline(until)
	_ = c.raw.SetWriteDeadline(until) // one that failed fails the handshake too
	under := &replayed{Conn: c.raw, first: bytes.NewReader(c.in)}
	secure := tls.Server(under, c.config)
	if err := secure.Handshake(); err != nil {
		return false // TLS itself told the client
	}
	c.Conn, c.in = secure, nil
	if fd, ok := c.raw.(syscall.Conn); ok && c.server.turns != nil {
		if raw, err := fd.SyscallConn(); err == nil {
			c.gate = &gate{turns: c.server.turns, fd: raw}
			under.gate = c.gate
		}
	}
	return true
}

// replayed is a connection of which something was read already.
type replayed struct {
	net.Conn
	first *bytes.Reader
	gate  *gate
}

// Write sends what TLS made.
func (r *replayed) Write(p []byte) (int, error) {
	if r.gate == nil || r.gate.turn == nil {
		return r.Conn.Write(p)
	}
	return r.gate.write(p)
}

func (r *replayed) Read(p []byte) (int, error) {
	if r.first.Len() > 0 {
		return r.first.Read(p)
	}
	return r.Conn.Read(p)
}

// CloseWrite ends the writing half.
func (r *replayed) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return io.ErrClosedPipe
}

// answerPlain answers plain HTTP on a port that speaks TLS: a reader is sent on,
// everything else is told what is wrong, since a body or a token would have
// crossed the network in clear once more.
func (c *conn) answerPlain(h head) bool {
	if (h.method == http.MethodGet || h.method == http.MethodHead) && h.host != "" {
		return c.refuse(&refusal{status: http.StatusPermanentRedirect, title: "this port speaks HTTPS", hint: "https://" + h.host + h.target})
	}
	return c.refuse(&refusal{status: http.StatusBadRequest, title: "this port speaks HTTPS, and the request came without it; nothing was done"})
}

// answer is the whole answer to what is no request. For a redirect the hint is
// where to.
func (no *refusal) answer(hsts bool) []byte {
	id := domain.NewID("r_")
	body, media := no.body(id)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", no.status, http.StatusText(no.status))
	for _, h := range commonHeaders(hsts) {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if no.status == http.StatusPermanentRedirect {
		fmt.Fprintf(&b, "Location: %s\r\n", no.hint)
	}
	fmt.Fprintf(&b, "%s: %s\r\n", RequestIDHeader, id)
	fmt.Fprintf(&b, "Date: %s\r\nCache-Control: no-store\r\nConnection: close\r\n", time.Now().UTC().Format(http.TimeFormat))
	fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", media, len(body), body)
	return b.Bytes()
}

// body says what was wrong: to clients of Vault in the only form that they read, to
// all others as problem details.
func (no *refusal) body(id string) (body []byte, media string) {
	var say any = Problem{
		Type: problemType + kindOfStatus(no.status).String(), Title: no.title, Status: no.status, Kind: kindOfStatus(no.status).String(), Hint: no.hint, Field: no.field, RequestID: id,
	}
	media = "application/problem+json"
	if strings.HasPrefix(no.target, "/v1/") {
		say, media = map[string][]string{"errors": {no.title}}, "application/json"
	}
	body, err := json.Marshal(say)
	if err != nil {
		return nil, media
	}
	return body, media
}

func kindOfStatus(status int) domain.Kind {
	switch status {
	case http.StatusRequestTimeout, http.StatusServiceUnavailable:
		return domain.Unavailable
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return domain.Limit
	}
	return domain.Invalid
}

// commonHeaders are those of every answer.
//
// Strict-Transport-Security comes with a certificate that others vouch for
// alone. With Coffer's own it would do harm: it holds for every port of a host,
// localhost too, and after a restore on another machine, with another CA,
// browsers would not let anybody past it for a year.
func commonHeaders(hsts bool) [][2]string {
	h := [][2]string{
		{"X-Content-Type-Options", "nosniff"},
		{"Referrer-Policy", "no-referrer"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
		{"Cross-Origin-Opener-Policy", "same-origin"},
		{"X-Frame-Options", "DENY"},
		{"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"}, // pages have their own
	}
	if hsts {
		h = append(h, [2]string{"Strict-Transport-Security", "max-age=31536000"})
	}
	return h
}
