package sqlapi

import (
	"cmp"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/tenants/guard"
)

// codes are for errors that have no code of their own.
var codes = map[domain.Kind]string{
	domain.Internal: "INTERNAL_ERROR", domain.Invalid: "PROTOCOL_ERROR", domain.Denied: "AUTH_DENIED",
	domain.NotFound: "NOT_FOUND", domain.Conflict: "SQLITE_ERROR", domain.Sealed: "SEALED", domain.Unavailable: "UNAVAILABLE",
	domain.Limit: "LIMIT", domain.Tampered: "SQLITE_CORRUPT", domain.Unauthentic: "AUTH_INVALID", domain.StepUp: "AUTH_STEP_UP",
}

// words are the text and the code of an error, for a client. SQLite's own texts
// stand behind the words that clients of libSQL know.
func words(err error) (message, code string) {
	p := httpd.ProblemOf(err)
	code = cmp.Or(guard.Code(err), codes[domain.ParseKind(p.Kind)])
	message = strings.TrimSuffix(p.Title, " ("+code+")")
	if strings.HasPrefix(code, "SQLITE_") {
		message = "SQLite error: " + strings.TrimPrefix(message, "sql: ")
	}
	if p.Hint != "" {
		message += "; " + p.Hint
	}
	return message, code
}

// whole says whether an error ends the request and not a statement alone: what
// is the matter has nothing to do with the statement.
func whole(err error) bool {
	switch domain.KindOf(err) {
	case domain.Internal, domain.Tampered, domain.Sealed, domain.Unauthentic, domain.StepUp:
		return true
	}
	return guard.Code(err) == ""
}

// retryAfter is the usual time after which to come again, in seconds.
const retryAfter = 1

// Fail answers with the three members of which each client reads another.
func (a *API) Fail(c *fiber.Ctx, err error) error {
	p := httpd.ProblemOf(err)
	if p.Ours() {
		httpd.LogFailure(a.log, c, err)
	}
	httpd.RequestID(c)
	message, code := words(err)
	switch p.Status {
	case fiber.StatusUnauthorized:
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	case fiber.StatusTooManyRequests, fiber.StatusServiceUnavailable:
		wait := retryAfter
		if ours, ok := errors.AsType[*domain.Error](err); ok && ours.Retry > 0 {
			wait = int(math.Ceil(ours.Retry.Seconds()))
		}
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(wait))
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Status(p.Status)
	return c.JSON(struct {
		Message string `json:"message"`
		Code    string `json:"code"`
		Error   string `json:"error"`
	}{message, code, message})
}
