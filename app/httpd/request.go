package httpd

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
	"coffer/app/limit"
	"coffer/audit"
)

// AuditHeader carries the receipt of the event that was logged.
const AuditHeader = "Coffer-Audit"

// RequestIDHeader carries the id under which the event can be found.
const RequestIDHeader = "X-Request-Id"

// connOf is the connection of a request, nil in a test of the framework's.
func connOf(c *fiber.Ctx) *conn {
	of, _ := c.Context().Conn().(*conn)
	return of
}

// Peer is the local user at the other end of the socket, as the kernel says;
// false for a connection that came over the network.
func Peer(c *fiber.Ctx) (uid uint32, local bool) {
	if of := connOf(c); of != nil && of.local != nil {
		return of.local.Uid, true
	}
	return 0, false
}

// Encrypted says whether the request came over TLS.
func Encrypted(c *fiber.Ctx) bool {
	of := connOf(c)
	return of != nil && of.config != nil
}

// Vouch notes that the request carried a good credential: its connection is not
// closed to make room for those of strangers.
func Vouch(c *fiber.Ctx) {
	if of := connOf(c); of != nil {
		of.vouched.Store(true)
	}
}

// Call says how the request came, under a new request id, which the answer
// carries too.
func Call(c *fiber.Ctx) audit.Call {
	id := domain.NewID("r_")
	c.Set(RequestIDHeader, id)
	return audit.Call{RequestID: id, Source: Source(c), Client: printable(c.Get(fiber.HeaderUserAgent))}
}

// Source says where the request came from: an address, or who at the local
// socket.
func Source(c *fiber.Ctx) string {
	of := connOf(c)
	switch {
	case of == nil:
		return "unknown"
	case of.local != nil:
		return fmt.Sprintf("socket uid=%d pid=%d", of.local.Uid, of.local.Pid)
	}
	return of.client(c).String()
}

// SourceKey is the key under which failures of a request's source are counted;
// false for the local socket, whose users are known.
func SourceKey(c *fiber.Ctx) (key string, counted bool) {
	of := connOf(c)
	if of == nil || of.local != nil {
		return "", false
	}
	return limit.Source(of.client(c)), true
}

// client is the address that the request came from, before trusted proxies.
func (c *conn) client(ctx *fiber.Ctx) netip.Addr {
	trusted := c.server.proxies
	if len(trusted) == 0 {
		return c.peer
	}
	var forwarded []string
	for _, header := range ctx.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		forwarded = append(forwarded, strings.Split(string(header), ",")...)
	}
	return client(c.peer, forwarded, trusted)
}

// parseForwarded reads one address of the header X-Forwarded-For, which some
// proxies write with a port.
func parseForwarded(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return a.Unmap().WithZone(""), err == nil
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
