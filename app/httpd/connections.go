package httpd

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"coffer/app/limit"
)

// connections are those that are open, a bounded number.
//
// When there is no room for another, one is closed for it: of those that wait
// for a request and never showed a good credential, one of the source that has
// most of them, and there the one that waited longest. So an outsider who opens
// thousands pushes out his own. Only when there are none of these left, one goes
// that did show a credential and waits for its next request, as any server may
// close between two requests. One whose request is being answered is never
// closed.
type connections struct {
	mu   sync.Mutex
	open map[*conn]struct{}
	most int
	stop bool
}

// add takes a new connection in if there is room or room can be made.
func (cs *connections) add(c *conn) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.stop || len(cs.open) >= cs.most && !cs.evict() {
		return false
	}
	cs.open[c] = struct{}{}
	return true
}

func (cs *connections) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
}

func (cs *connections) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

// makeRoom closes one connection, if there is one that may be closed.
func (cs *connections) makeRoom() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.evict()
}

// evict closes the connection that can be spared most; cs.mu is held. Its
// descriptor is given back at once, and who serves it finds it closed.
func (cs *connections) evict() bool {
	strangers := map[string]int{}
	for c := range cs.open {
		if c.waiting.Load() != 0 && !c.vouched.Load() {
			strangers[c.source]++
		}
	}
	var victim *conn
	rank := func(c *conn) (stranger bool, ofSource int) {
		if c.vouched.Load() {
			return false, 0
		}
		return true, strangers[c.source]
	}
	for c := range cs.open {
		since := c.waiting.Load()
		if since == 0 {
			continue
		}
		if victim == nil {
			victim = c
			continue
		}
		s, n := rank(c)
		vs, vn := rank(victim)
		if s && !vs || s == vs && (n > vn || n == vn && since < victim.waiting.Load()) {
			victim = c
		}
	}
	if victim == nil {
		return false
	}
	delete(cs.open, victim)
	_ = victim.raw.Close() // the framework closes it once more, in vain
	return true
}

// stopReading ends every wait for a request, now and from now on.
func (cs *connections) stopReading() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.stop = true
	for c := range cs.open {
		c.stop()
	}
}

// acceptPause is how long is waited when there is no descriptor for another
// connection.
const acceptPause = 100 * time.Millisecond

// door is a listener whose connections are bounded and give whole requests.
type door struct {
	net.Listener
	server *Server
	once   sync.Once
	err    error
}

// Accept never waits for what a client sends, and outlasts a lack of
// descriptors: the framework would stop serving.
func (d *door) Accept() (net.Conn, error) {
	for {
		raw, err := d.Listener.Accept()
		if err != nil {
			if !transient(err) {
				return nil, err
			}
			if !d.server.conns.makeRoom() {
				time.Sleep(acceptPause)
			}
			continue
		}
		c := &conn{Conn: raw, raw: raw, server: d.server}
		c.waiting.Store(time.Now().UnixNano())
		switch of := raw.(type) {
		case peerConn:
			c.local = &of.cred
			c.vouched.Store(true) // the kernel does
		default:
			if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
				c.peer = a.AddrPort().Addr().Unmap()
				c.source = limit.Source(c.peer)
			}
		}
		if l, ok := d.Listener.(*tlsListener); ok {
			c.config = l.config
		}
		if d.server.conns.add(c) {
			return c, nil
		}
		_ = raw.Close()
	}
}

// transient says whether accepting goes on after an error.
func transient(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPROTO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Close closes the listener the first time: both the framework and Shutdown do.
func (d *door) Close() error {
	d.once.Do(func() { d.err = d.Listener.Close() })
	return d.err
}

// client is the address of who sent a request that came from peer with the
// header X-Forwarded-For. The header counts from a trusted proxy alone, and of
// the addresses in it the right-most that is not a trusted proxy's: what stands
// left of that one anybody could have written.
func client(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	isProxy := func(a netip.Addr) bool {
		for _, p := range trusted {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	for i := len(forwarded) - 1; i >= 0 && isProxy(peer); i-- {
		a, ok := parseForwarded(forwarded[i])
		if !ok {
			break // a proxy that writes no address vouches for none
		}
		peer = a
	}
	return peer
}
