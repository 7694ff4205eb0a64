package httpd

import (
	"github.com/gofiber/fiber/v2"
)

// Health is the surface for supervisors: whether the process serves, and whether
// it is open.
type Health struct{ open func() bool }

// NewHealth makes the surface; open says whether Coffer is unsealed.
func NewHealth(open func() bool) Health { return Health{open} }

// Prefix is a path of the surface: it answers for no other.
func (Health) Prefix() string { return "/healthz" }

// Routes are /healthz, which is fine while the process serves, and /readyz,
// which is while it is open too. Both say "open" or "sealed" and nothing else.
func (h Health) Routes() []Route {
	var out []Route
	for _, method := range []string{fiber.MethodGet, fiber.MethodHead} {
		out = append(out,
			Route{Method: method, Path: "/healthz", Handle: h.answer(fiber.StatusOK)},
			Route{Method: method, Path: "/readyz", Handle: h.answer(fiber.StatusServiceUnavailable)})
	}
	return out
}

// answer says whether Coffer is open; sealed is the status while it is not.
func (h Health) answer(sealed int) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
		c.Set(fiber.HeaderCacheControl, "no-store")
		if h.open() {
			return c.SendString("open\n")
		}
		return c.Status(sealed).SendString("sealed\n")
	}
}

// Fail answers what no supervisor asks for.
func (Health) Fail(c *fiber.Ctx, err error) error {
	p := ProblemOf(err)
	return c.Status(p.Status).SendString(p.Title + "\n")
}
