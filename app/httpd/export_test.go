package httpd

import (
	"net/netip"
	"time"
)

// Hurry makes the server less patient.
func (s *Server) Hurry(first, head, slack time.Duration) {
	s.patience.handshake, s.patience.first, s.patience.idle = first, first, first
	s.patience.head, s.patience.slack = head, slack
}

// Open is how many connections are open.
func (s *Server) Open() int { return s.conns.count() }

// Client finds the address of a client behind proxies.
func Client(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	return client(peer, forwarded, trusted)
}

// ParseHead says the status with which a head is refused, 0 if it is not.
func ParseHead(b []byte) (status int, length int64) {
	h, no := parseHead(b)
	if no != nil {
		return no.status, 0
	}
	return 0, h.length
}

// IsHost says whether a Host header is taken.
func IsHost(s string) bool { return isHost(s) }

// FailBurst is how many credentials of a source may fail at once.
const FailBurst = failBurst

// Waiting is how many connections wait for a request.
func (s *Server) Waiting() (n int) {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	for c := range s.conns.open {
		if c.waiting.Load() != 0 {
			n++
		}
	}
	return n
}
