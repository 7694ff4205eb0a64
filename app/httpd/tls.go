package httpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	handshakeTime = 10 * time.Second
	plainTime     = 5 * time.Second // for somebody who speaks plain HTTP
	maxPlainHead  = 4 << 10         // bytes of such a request that are looked at
	recordTLS     = 0x16            // a handshake record begins so (RFC 8446, section 5.1)
)

// TLS wraps a listener: what comes in speaks TLS 1.2 or later, and who speaks
// plain HTTP by mistake is told. certificate gives what a handshake shows.
func TLS(l net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) net.Listener {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"http/1.1"},
	}
	return tlsListener{patient{l}, config}
}

// Plain wraps a listener that speaks plain HTTP.
func Plain(l net.Listener) net.Listener { return patient{l} }

// patient is a listener that survives a want of descriptors: fasthttp would stop
// serving.
type patient struct{ net.Listener }

func (l patient) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) {
			time.Sleep(acceptPause)
			continue
		}
		return conn, err
	}
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

// Accept does not wait for the handshake, which is made with the first read.
func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tlsConn{Conn: tls.Server(&sniffer{Conn: conn}, l.config)}, nil
}

// tlsConn is a connection whose handshake has a time of its own, shorter than
// that for a request.
type tlsConn struct {
	*tls.Conn
	once sync.Once
	err  error
}

// Handshake makes the handshake, once.
func (c *tlsConn) Handshake() error {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
		defer cancel()
		c.err = c.HandshakeContext(ctx)
	})
	return c.err
}

// Read makes the handshake first.
func (c *tlsConn) Read(b []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// sniffer looks at the first byte that comes. If that begins no TLS it answers
// in plain HTTP and ends the connection.
type sniffer struct {
	net.Conn
	looked bool
	first  []byte
}

var errPlain = errors.New("plain HTTP on the TLS port")

// Read gives what the client sent.
func (s *sniffer) Read(b []byte) (int, error) {
	if !s.looked {
		var one [1]byte
		if n, err := io.ReadFull(s.Conn, one[:]); err != nil {
			return n, err
		}
		s.looked = true
		if one[0] != recordTLS {
			s.answerPlain(one[0])
			return 0, errPlain
		}
		s.first = one[:]
	}
	if len(s.first) > 0 && len(b) > 0 {
		b[0] = s.first[0]
		s.first = nil
		return 1, nil
	}
	return s.Conn.Read(b)
}

// answerPlain tells who speaks plain HTTP where TLS is spoken: a redirect for
// what can be asked again without harm, else one sentence. A request that
// changes something has been sent in clear already; it is not sent on.
func (s *sniffer) answerPlain(first byte) {
	_ = s.SetDeadline(time.Now().Add(plainTime))
	head := io.LimitReader(io.MultiReader(bytes.NewReader([]byte{first}), s.Conn), maxPlainHead)
	req, err := http.ReadRequest(bufio.NewReader(head))
	if err != nil {
		_, _ = io.WriteString(s.Conn, plainAnswer(http.StatusBadRequest, "", "This port speaks HTTPS only."))
		return
	}
	location, ok := secureURL(req)
	if !ok {
		_, _ = io.WriteString(s.Conn, plainAnswer(http.StatusBadRequest, "",
			"This port speaks HTTPS only: write https:// instead of http://. What was sent came over the network unencrypted; nothing was done."))
		return
	}
	_, _ = io.WriteString(s.Conn, plainAnswer(http.StatusPermanentRedirect, location, "This port speaks HTTPS only."))
}

func plainAnswer(status int, location, text string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	if location != "" {
		fmt.Fprintf(&b, "Location: %s\r\n", location)
	}
	fmt.Fprintf(&b, "Content-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", len(text)+1, text)
	return b.String()
}

// secureURL is the same address over TLS, for a request that only reads and whose
// Host is nothing but a host.
func secureURL(req *http.Request) (string, bool) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return "", false
	}
	if !plainHost(req.Host) || req.URL.Host != "" || !strings.HasPrefix(req.URL.Path, "/") || strings.HasPrefix(req.URL.Path, "//") {
		return "", false
	}
	return "https://" + req.Host + req.URL.EscapedPath(), true
}

// plainHost says whether a Host header is a host name or an address with or
// without a port, and nothing that could mean more in a URL.
func plainHost(s string) bool {
	if _, err := netip.ParseAddrPort(s); err == nil {
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return true
	}
	return s != "" && len(s) <= 260 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") == "" && strings.Count(s, ":") <= 1
}
