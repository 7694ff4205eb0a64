package httpd_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/app/httpd"
)

const (
	ask    = "GET /here HTTP/1.1\r\nHost: h\r\n\r\n"
	signed = "GET /signed HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n"
	forged = "GET /signed HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer bad\r\n\r\n"
)

// TestSlowClients: each manner of being slow is cut, in a time that does not
// depend on the client.
func TestSlowClients(t *testing.T) {
	const limit = 200 * time.Millisecond
	d := serveTLS(t, httpd.Options{}, func(s *httpd.Server) { s.Hurry(limit, limit, limit) })
	trickle := func(c net.Conn, text string) {
		for i := 0; ; i++ {
			if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
				return
			}
			time.Sleep(limit / 20) // it is the slowness that is tested
		}
	}
	secure := func() net.Conn { return d.dial() }
	for name, c := range map[string]struct {
		dial   func() net.Conn
		first  string
		drip   string
		status int // of the answer, 0 for none
	}{
		"silent before TLS":     {d.plain, "", "", 0},
		"slow in the handshake": {d.plain, "\x16\x03\x01", "\x00", 0},
		"silent after TLS":      {secure, "", "", 0},
		"silent at the socket":  {d.socket, "", "", 0},
		"a slow head":           {secure, "GET /here HTTP/1.1\r\n", "a:b\r\n", 408},
		"a slow request line":   {secure, "GET /", "a", 408},
		"a slow body":           {secure, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", "x", 408},
		"slow chunks":           {secure, "POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 408},
		"a head that stops":     {d.socket, "GET /here HTTP/1.1\r\n", "", 408},
		"a body that stops":     {d.socket, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhi", "", 408},
		"plain and slow":        {d.plain, "GET /here HTTP/1.1\r\n", "a:b\r\n", 408},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began, conn := time.Now(), c.dial()
			if _, err := io.WriteString(conn, c.first); err != nil {
				t.Fatal(err)
			}
			if c.drip != "" {
				go trickle(conn, c.drip)
			}
			got := say(t, conn, "", 0)
			if c.status == 0 && len(got) != 0 || c.status != 0 && (len(got) != 1 || got[0].status != c.status) {
				t.Errorf("%+v", got)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestSlowReader: who does not read a large answer is cut off, and one that does
// gets all of it.
func TestSlowReader(t *testing.T) {
	d := serveTLS(t, httpd.Options{}, func(s *httpd.Server) {
		s.Hurry(5*time.Second, time.Second, time.Second)
	})
	c := d.dial()
	if _, err := io.WriteString(c, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); d.s.Open() > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is still open")
		}
	}
	got := say(t, d.dial(), "GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 0)
	if len(got) != 1 || len(got[0].body) != 64<<20 {
		t.Errorf("%d answers", len(got))
	}
}

// TestFloodLocksNobodyOut: thousands of silent connections push out each other,
// not the one that is known, and newcomers are served.
func TestFloodLocksNobodyOut(t *testing.T) {
	const most = 20
	d := serveTLS(t, httpd.Options{MaxConns: most})
	known := d.dial()
	if got := say(t, known, signed, 1); len(got) != 1 || got[0].status != 200 {
		t.Fatal(got)
	}
	var flood []net.Conn
	for i := range 20 * most {
		c := d.plain()
		flood = append(flood, c)
		if i%2 == 0 {
			_, _ = io.WriteString(c, "GET /he") // some begin a request, which counts for nothing
		}
		if i%most == 0 {
			if got := say(t, d.dial(), ask, 1); len(got) != 1 || got[0].status != 200 {
				t.Fatalf("a newcomer after %d: %+v", i, got)
			}
		}
		if n := d.s.Open(); n > most {
			t.Fatalf("%d connections", n)
		}
	}
	if got := say(t, known, signed, 1); len(got) != 1 || got[0].status != 200 {
		t.Error("the known one was pushed out:", got)
	}
	for _, c := range flood {
		_ = c.Close()
	}
}

// TestKnownOnesMakeRoomLast: when all are known and idle, the one that waits
// longest goes.
func TestKnownOnesMakeRoomLast(t *testing.T) {
	const most = 5
	d := serveTLS(t, httpd.Options{MaxConns: most})
	var known []*tls.Conn
	for i := range most {
		c := d.dial()
		if got := say(t, c, signed, 1); len(got) != 1 {
			t.Fatal(got)
		}
		known = append(known, c)
		// It waits a moment after its answer was read, and the order is what counts.
		for d.s.Waiting() <= i {
			runtime.Gosched()
		}
	}
	if got := say(t, d.dial(), ask, 1); len(got) != 1 || got[0].status != 200 {
		t.Fatal("no room:", got)
	}
	if got := say(t, known[0], signed, 1); len(got) != 0 {
		t.Error("the one that waited longest is there:", got)
	}
	for _, c := range known[1:] {
		if got := say(t, c, signed, 1); len(got) != 1 {
			t.Error("another one is gone")
		}
	}
}

// TestFailuresSlowDownFailuresOnly: a source with many bad credentials is told
// to wait, and its good ones pass.
func TestFailuresSlowDownFailuresOnly(t *testing.T) {
	now := time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)
	d := serveTLS(t, httpd.Options{Now: func() time.Time { return now }, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	c := d.dial()
	fail := func(from string, n int) (last answered) {
		for range n {
			got := say(t, c, strings.Replace(forged, "\r\n\r\n", "\r\nX-Forwarded-For: "+from+"\r\n\r\n", 1), 1)
			if len(got) != 1 {
				t.Fatal("no answer")
			}
			last = got[0]
		}
		return last
	}
	if last := fail("192.0.2.1", httpd.FailBurst); last.status != 401 {
		t.Fatal(last)
	}
	last := fail("192.0.2.1", 1)
	if last.status != 429 || last.header.Get("Retry-After") == "" || last.header.Get("Retry-After") == "0" {
		t.Errorf("%+v", last)
	}
	good := strings.Replace(signed, "\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", 1)
	if got := say(t, c, good, 1); len(got) != 1 || got[0].status != 200 {
		t.Error("a good credential was locked out:", got)
	}
	if last := fail("192.0.2.2", 1); last.status != 401 {
		t.Error("another source pays for it:", last)
	}
	if last := fail("2001:db8::1", httpd.FailBurst); last.status != 401 {
		t.Error(last)
	}
	if last := fail("2001:db8::ffff:1", 1); last.status != 429 {
		t.Error("another address of the same network begins anew:", last)
	}
	for range 2 * httpd.FailBurst {
		if got := say(t, d.socket(), forged, 1); len(got) != 1 || got[0].status != 401 {
			t.Fatal("the local socket is counted:", got)
		}
	}
	if now = now.Add(time.Hour); fail("192.0.2.1", 1).status != 401 {
		t.Error("it lasts for ever")
	}
}

func TestClientBehindProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:f::/48")}
	for _, c := range []struct {
		peer, header, want string
	}{
		{"192.0.2.1", "", "192.0.2.1"},
		{"192.0.2.1", "203.0.113.9", "192.0.2.1"}, // nobody believes a stranger
		{"192.0.2.1", "10.0.0.1", "192.0.2.1"},
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "203.0.113.9", "203.0.113.9"},
		{"10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"}, // what the client wrote itself
		{"10.0.0.1", "1.1.1.1, 203.0.113.9, 10.2.3.4", "203.0.113.9"},
		{"10.0.0.1", "10.9.9.9, 203.0.113.9, 10.2.3.4", "203.0.113.9"},
		{"10.0.0.1", "10.9.9.9, 10.2.3.4", "10.9.9.9"},
		{"10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"},
		{"10.0.0.1", "203.0.113.9, unknown, 10.2.3.4", "10.2.3.4"},
		{"10.0.0.1", "203.0.113.9,", "10.0.0.1"},
		{"10.0.0.1", "203.0.113.9:4711", "203.0.113.9"},
		{"10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"},
		{"10.0.0.1", "[2001:db8::1]", "2001:db8::1"},
		{"10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"},
		{"10.0.0.1", "203.0.113.9, ::ffff:10.0.0.3", "203.0.113.9"},
		{"2001:db8:f::1", "203.0.113.9", "203.0.113.9"},
		{"2001:db8:e::1", "203.0.113.9", "2001:db8:e::1"},
		{"10.0.0.1", "fe80::1%eth0", "fe80::1"},
	} {
		var forwarded []string
		if c.header != "" {
			forwarded = strings.Split(c.header, ",")
		}
		if got := httpd.Client(netip.MustParseAddr(c.peer), forwarded, trusted); got.String() != c.want {
			t.Errorf("%s with %q is %s, want %s", c.peer, c.header, got, c.want)
		}
	}
}

// TestSourceIsNotSpoofed: without trusted proxies no header says who asks, and
// with them two headers are one list.
func TestSourceIsNotSpoofed(t *testing.T) {
	who := "GET /who HTTP/1.1\r\nHost: h\r\n%s\r\n"
	headers := []string{"X-Forwarded-For: 203.0.113.9\r\n", "Forwarded: for=203.0.113.9\r\n", "X-Real-IP: 203.0.113.9\r\n", "CF-Connecting-IP: 203.0.113.9\r\n"}
	d := serveTLS(t, httpd.Options{})
	for _, h := range headers {
		if got := say(t, d.dial(), fmt.Sprintf(who, h), 1); len(got) != 1 || got[0].body != "127.0.0.1" {
			t.Errorf("%q: %+v", h, got)
		}
	}
	if got := say(t, d.socket(), fmt.Sprintf(who, headers[0]), 1); len(got) != 1 || !strings.HasPrefix(got[0].body, "socket uid=") {
		t.Errorf("%+v", got)
	}
	d = serveTLS(t, httpd.Options{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for _, h := range slices.Concat([]string{headers[0], "X-Forwarded-For: 1.1.1.1\r\n" + headers[0], "x-forwarded-for: 1.1.1.1, 203.0.113.9,127.0.0.7\r\n"}) {
		if got := say(t, d.dial(), fmt.Sprintf(who, h), 1); len(got) != 1 || got[0].body != "203.0.113.9" {
			t.Errorf("%q: %+v", h, got)
		}
	}
	for _, h := range headers[1:] {
		if got := say(t, d.dial(), fmt.Sprintf(who, h), 1); len(got) != 1 || got[0].body != "127.0.0.1" {
			t.Errorf("%q: %+v", h, got)
		}
	}
}

// TestStopsAtOnce: silent, idle and half-sent connections hold nothing up. What
// serveTLS does at the end measures it.
func TestStopsAtOnce(t *testing.T) {
	d := serveTLS(t, httpd.Options{})
	d.plain()
	d.dial()
	d.socket()
	say(t, d.dial(), ask, 1)
	say(t, d.socket(), ask, 1)
	for _, c := range []net.Conn{d.plain(), d.dial(), d.socket()} {
		if _, err := io.WriteString(c, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nh"); err != nil {
			t.Fatal(err)
		}
	}
	c := d.dial()
	if _, err := io.WriteString(c, "GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close() // it goes away without reading
}
