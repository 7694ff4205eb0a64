package httpd

import (
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
	"coffer/audit"
)

// AuditHeader carries the receipt of the event that was logged.
const AuditHeader = "Coffer-Audit"

// RequestIDHeader carries the id under which the event can be found.
const RequestIDHeader = "X-Request-Id"

// Peer is the local user at the other end of the socket, as the kernel says;
// false for a connection that came over the network.
func Peer(c *fiber.Ctx) (uid uint32, local bool) {
	peer, local := c.Context().Conn().(peerConn)
	return peer.cred.Uid, local
}

// RequestID is the request's id, which the answer carries too.
func RequestID(c *fiber.Ctx) string {
	if id := c.Response().Header.Peek(RequestIDHeader); len(id) > 0 {
		return string(id)
	}
	id := domain.NewID("r_")
	c.Set(RequestIDHeader, id)
	return id
}

// Call says how the request came.
func Call(c *fiber.Ctx) audit.Call {
	return audit.Call{RequestID: RequestID(c), Source: Source(c), Client: printable(c.Get(fiber.HeaderUserAgent))}
}

// Source says where the request came from.
func Source(c *fiber.Ctx) string {
	if peer, local := c.Context().Conn().(peerConn); local {
		return peer.source()
	}
	return c.Context().RemoteAddr().String()
}

// Receipt puts the receipt of the request's event into the answer, if there is
// one.
func Receipt(c *fiber.Ctx, r audit.Receipt) {
	if r != (audit.Receipt{}) {
		c.Set(AuditHeader, r.String())
	}
}

// printable bounds what a client says of itself.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 80)]
}
