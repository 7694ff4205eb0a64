package httpd_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
)

// surface has routes that say what arrived.
type surface struct{ echo }

func (surface) Routes() []httpd.Route {
	route := func(method, path string, handle fiber.Handler) httpd.Route {
		return httpd.Route{Method: method, Path: path, Action: authz.ActionList, Handle: handle}
	}
	body := func(c *fiber.Ctx) error { return c.SendString(c.Method() + " " + string(c.Body())) }
	return []httpd.Route{
		route("GET", "/here", func(c *fiber.Ctx) error { return c.SendString("here") }),
		route("HEAD", "/here", func(c *fiber.Ctx) error { return nil }),
		route("GET", "/who", func(c *fiber.Ctx) error { return c.SendString(httpd.Source(c)) }),
		route("POST", "/body", body), route("DELETE", "/body", body),
		route("GET", "/large", func(c *fiber.Ctx) error { return c.Send(make([]byte, 64<<20)) }),
		route("GET", "/pieces", func(c *fiber.Ctx) error {
			sent := pieces(c.QueryInt("n"))
			httpd.Send(c, sent, func() {
				for _, piece := range sent {
					clear(piece) // as if it were used again
				}
			})
			return nil
		}),
		route("GET", "/panic", func(c *fiber.Ctx) error { panic("secret words") }),
		route("GET", "/signed", func(c *fiber.Ctx) error {
			if c.Get("Authorization") != "Bearer good" {
				return domain.BadCredential("no")
			}
			httpd.Vouch(c)
			return c.SendString("welcome")
		}),
	}
}

// served is a server that runs for a test.
type served struct {
	t     *testing.T
	s     *httpd.Server
	addr  string
	unix  string // path of its socket
	roots *x509.CertPool
}

var pair = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
})

// serveTLS runs a server on a TLS port and a local socket.
func serveTLS(t *testing.T, o httpd.Options, change ...func(*httpd.Server)) *served {
	t.Helper()
	if o.MaxConns == 0 {
		o.MaxConns = 100
	}
	s := httpd.New(slog.New(slog.DiscardHandler), o, surface{}, httpd.NewHealth(func() bool { return false }))
	for _, c := range change {
		c(s)
	}
	cert, roots := pair()
	l, path := listen(t), filepath.Join(t.TempDir(), "s")
	local, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() {
		done <- s.Serve(httpd.TLS(l, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }))
	}()
	go func() { done <- s.Serve(httpd.Peers(local)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("stopping took %v", took)
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		// The framework's workers close their connections after it says that it has stopped.
		for end := time.Now().Add(10 * time.Second); s.Open() != 0; runtime.Gosched() {
			if time.Now().After(end) {
				t.Errorf("%d connections are left", s.Open())
				break
			}
		}
	})
	return &served{t: t, s: s, addr: l.Addr().String(), unix: path, roots: roots}
}

// dial opens a TLS connection.
func (d *served) dial() *tls.Conn {
	d.t.Helper()
	c, err := tls.Dial("tcp", d.addr, &tls.Config{RootCAs: d.roots})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

// plain opens a connection without TLS.
func (d *served) plain() net.Conn {
	d.t.Helper()
	c, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (d *served) socket() net.Conn {
	d.t.Helper()
	c, err := net.Dial("unix", d.unix)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

// answered is one answer.
type answered struct {
	status int
	header http.Header
	body   string
}

// say writes bytes and reads every answer until the server ends the connection,
// or, with keep, so many answers.
func say(t *testing.T, c net.Conn, text string, keep int) (out []answered) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(c, text) }() // it may hang up in the middle
	r := bufio.NewReader(c)
	for keep == 0 || len(out) < keep {
		method := "GET"
		if strings.HasPrefix(text, "HEAD ") {
			method = "HEAD"
		}
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return out
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("reading an answer: %v", err)
		}
		_ = resp.Body.Close()
		out = append(out, answered{resp.StatusCode, resp.Header, string(b)})
	}
	return out
}
