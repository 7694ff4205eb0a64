package httpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long is waited for the other side of a connection.
type patience struct {
	handshake time.Duration // for TLS to be agreed on
	first     time.Duration // for the first request to begin
	idle      time.Duration // for the next request of a connection to begin
	head      time.Duration // for a whole head to arrive
	slack     time.Duration // that a body or an answer may lag behind minRate
	linger    time.Duration // for a client to read why it was refused
}

var usualPatience = patience{
	handshake: 10 * time.Second, first: 20 * time.Second, idle: 2 * time.Minute,
	head: 10 * time.Second, slack: 20 * time.Second, linger: time.Second,
}

// minRate is how fast a body or an answer must get through at least, in bytes a
// second, once the slack is used up.
const minRate = 8 << 10

// readStep is how much is read at once.
const readStep = 8 << 10

// maxLinger bounds what is read and thrown away after a refusal, in bytes.
const maxLinger = 4 << 20

// conn is a connection as the framework sees it: what comes out of Read are
// whole, unambiguous requests and nothing else. It keeps the time limits itself
// and answers by itself what never becomes a request. The framework is given one
// request at a time, so that both always agree on where one ends.
type conn struct {
	net.Conn // what requests are read from: the accepted connection, or TLS over it
	raw      net.Conn
	server   *Server
	config   *tls.Config    // nil without TLS
	local    *syscall.Ucred // the peer at the local socket
	peer     netip.Addr     // else the address of the peer
	source   string         // its key, see limit.Source

	// These belong to the goroutine that serves the connection.
	begun   bool
	over    bool // nothing is read any more, and what is written goes nowhere
	served  int  // requests that were handed on
	in      []byte
	pass    int // bytes of in that were looked at and may be handed on
	place   place
	left    int64 // of a body with a length
	chunks  chunks
	lagging time.Duration // by how much the current body or answer lags behind
	gate    *gate         // for large answers; nil without TLS

	vouched  atomic.Bool  // a good credential was seen
	waiting  atomic.Int64 // since when a request is waited for, in Unix nanoseconds; 0 while one is answered
	deadline sync.Mutex
	stopped  bool // the server stops: nothing is waited for; under deadline
	closing  sync.Once
	closeErr error
}

// place is where in a request the reading is.
type place int

const (
	between place = iota
	inBody
	inChunks
)

// Read gives the framework the next bytes of a request. The only error is EOF:
// whatever else happened was answered here.
func (c *conn) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		c.over = !c.begin()
	}
	if !c.over && c.pass == 0 {
		c.over = !c.more()
	}
	if c.over {
		return 0, io.EOF
	}
	n := copy(p, c.in[:c.pass])
	c.in, c.pass = c.in[n:], c.pass-n
	return n, nil
}

// more makes more bytes ready to be handed on.
func (c *conn) more() bool {
	switch c.place {
	case inBody:
		if !c.fillBody() {
			return false
		}
		c.pass = int(min(c.left, int64(len(c.in))))
		c.left -= int64(c.pass)
		c.ends(c.left == 0)
	case inChunks:
		if !c.fillBody() {
			return false
		}
		n, no := c.chunks.follow(c.in)
		if no != nil {
			return c.refuse(no)
		}
		c.pass = n
		c.ends(c.chunks.at == afterChunks)
	default:
		return c.nextHead()
	}
	return true
}

// ends notes whether the request that is read has arrived whole.
func (c *conn) ends(whole bool) {
	if whole {
		c.place = between
		c.lagging = 0
		c.waiting.Store(0)
	}
}

// nextHead waits for a whole head and looks at it.
func (c *conn) nextHead() bool {
	now := time.Now()
	c.waiting.Store(now.UnixNano())
	wait := c.server.patience.idle
	if c.served == 0 {
		wait = c.server.patience.first
	}
	until := now.Add(wait)
	for looked := 0; ; {
		if i := bytes.Index(c.in[looked:], []byte("\r\n\r\n")); i >= 0 {
			return c.accept(looked + i + 4)
		}
		looked = max(0, len(c.in)-3)
		if no := c.hopeless(); no != nil {
			return c.refuse(no)
		}
		if began := len(c.in) > 0; began {
			until = minTime(until, time.Now().Add(c.server.patience.head))
			if err := c.fill(until); err != nil {
				return c.refuseLate(err)
			}
		} else if err := c.fill(until); err != nil {
			return false // it was silent: there is nobody to answer
		}
	}
}

// hopeless is why the head that has not ended cannot become one.
func (c *conn) hopeless() *refusal {
	if len(c.in) > 0 && c.in[0] == recordHandshake { // no method begins so: the client speaks TLS where there is none
		return bad("this port speaks plain HTTP, not TLS")
	}
	if !bytes.Contains(c.in, crlf) && len(c.in) > maxTarget+maxMethod+len("  HTTP/1.1") {
		return checkTarget("/" + string(make([]byte, maxTarget)))
	}
	if len(c.in) >= maxHeader {
		return headTooLong()
	}
	return nil
}

func headTooLong() *refusal {
	return &refusal{status: http.StatusRequestHeaderFieldsTooLarge, title: "the head of the request is too long"}
}

// accept looks at a whole head of so many bytes.
func (c *conn) accept(size int) bool {
	if size > maxHeader {
		return c.refuse(headTooLong())
	}
	h, no := parseHead(c.in[:size])
	if no != nil {
		no.target = h.target
		return c.refuse(no)
	}
	if c.config != nil && c.Conn == c.raw {
		return c.answerPlain(h)
	}
	c.served++
	c.pass, c.lagging = size, 0
	switch {
	case h.length == chunkedRun:
		c.place, c.chunks = inChunks, chunks{}
	case h.length > 0:
		c.place, c.left = inBody, h.length
	default:
		c.ends(true)
	}
	return true
}

// fill waits for more bytes.
func (c *conn) fill(until time.Time) error {
	c.setReadDeadline(until)
	if cap(c.in)-len(c.in) < readStep/4 {
		c.in = append(make([]byte, 0, len(c.in)+readStep), c.in...)
	}
	n, err := c.Conn.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	return err
}

// fillBody waits for bytes of a body unless some are there.
func (c *conn) fillBody() bool {
	if len(c.in) > 0 {
		return true
	}
	began := time.Now()
	err := c.fill(began.Add(c.server.patience.slack - c.lagging))
	c.lag(time.Since(began), len(c.in))
	if err != nil {
		return c.refuseLate(err)
	}
	return true
}

// lag notes how long some bytes took.
func (c *conn) lag(took time.Duration, n int) {
	c.lagging = max(0, c.lagging+took-time.Duration(n)*time.Second/minRate)
}

// writeStep is how much is written at once: the largest record of TLS.
const writeStep = 16 << 10

// Write sends a part of an answer, unless the reader is too slow for it.
func (c *conn) Write(p []byte) (n int, err error) {
	if len(p) >= largeAnswer && c.gate.enter() {
		defer c.gate.leave()
	}
	for n < len(p) && err == nil && !c.over {
		step := min(len(p)-n, writeStep)
		c.gate.pace()
		began := time.Now()
		if err := c.raw.SetWriteDeadline(began.Add(c.server.patience.slack - c.lagging)); err != nil {
			return n, err
		}
		var wrote int
		wrote, err = c.Conn.Write(p[n : n+step])
		n += wrote
		c.lag(time.Since(began), wrote)
	}
	if err != nil {
		c.over = true
		return n, err
	}
	return len(p), nil
}

// refuse answers what is no request, and ends the connection. It is always false.
func (c *conn) refuse(no *refusal) bool {
	c.lagging = 0                                               // of the request; the answer may take its own time
	_, _ = c.Write(no.answer(c.server.hsts && c.Conn != c.raw)) // the client may be gone
	c.hangUp()
	return false
}

// hangUp ends the connection so that the client can read what was written: a
// connection that is closed while bytes of the client are unread is reset, and
// with it goes the answer.
func (c *conn) hangUp() {
	c.over = true
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.setReadDeadline(time.Now().Add(c.server.patience.linger))
		_, _ = io.Copy(io.Discard, io.LimitReader(c.raw, maxLinger))
	}
}

// refuseLate answers a request that did not arrive whole.
func (c *conn) refuseLate(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false // the client went away
	}
	if c.stopping() {
		return c.refuse(&refusal{
			status: http.StatusServiceUnavailable, title: "Coffer is stopping, and the request had not arrived; nothing was done",
			hint: "send it again",
		})
	}
	return c.refuse(&refusal{
		status: http.StatusRequestTimeout, title: "the request did not arrive in time; nothing was done", hint: "send it again",
	})
}

func (c *conn) stopping() bool {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	return c.stopped
}

// setReadDeadline bounds the next read, which does not wait at all when the
// server stops.
func (c *conn) setReadDeadline(t time.Time) {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if c.stopped {
		t = past
	}
	_ = c.raw.SetReadDeadline(t) // a connection that is closed needs none
}

var past = time.Unix(1, 0)

// stop ends every wait for a request. One that was read is answered.
func (c *conn) stop() {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.stopped = true
	_ = c.raw.SetReadDeadline(past)
}

// SetDeadline does nothing: the connection keeps its own time limits.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing; see SetDeadline.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing; see SetDeadline.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// answered is called when an answer was written. A request of which the
// framework left something unread is not followed by another.
func (c *conn) answered() {
	c.over = c.over || c.place != between || c.pass > 0
	c.lagging = 0
}

// Close ends the connection.
func (c *conn) Close() error {
	c.closing.Do(func() {
		c.server.conns.remove(c)
		_ = c.raw.SetWriteDeadline(time.Now().Add(time.Second)) // for the end of TLS
		if c.Conn != c.raw {
			_ = c.Conn.Close()
		}
		c.closeErr = c.raw.Close()
	})
	return c.closeErr
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
