package ui

import "github.com/gofiber/fiber/v2"

// policy is the content security policy of every page. The only trusted type is
// the one that lets htmx put HTML into the page; it makes no script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types default"

// setHeaders sets what stands in every answer. There is no
// Strict-Transport-Security: it would hold for every port of the host, and who
// does not trust the certificate yet could not come to the page that explains it.
func setHeaders(c *fiber.Ctx) {
	c.Set(fiber.HeaderContentSecurityPolicy, policy)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	// Not "no-referrer": browsers then send "Origin: null" with forms, and the
	// check of the origin would have less to go by.
	c.Set(fiber.HeaderReferrerPolicy, "same-origin")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	c.Set(fiber.HeaderCacheControl, "no-store")
}
