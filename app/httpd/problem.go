package httpd

import (
	"errors"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
)

// statuses is the one table from kinds of errors to HTTP status codes.
var statuses = map[domain.Kind]int{
	domain.Internal:    fiber.StatusInternalServerError,
	domain.Invalid:     fiber.StatusBadRequest,
	domain.Denied:      fiber.StatusForbidden,
	domain.NotFound:    fiber.StatusNotFound,
	domain.Conflict:    fiber.StatusConflict,
	domain.Sealed:      fiber.StatusServiceUnavailable,
	domain.Unavailable: fiber.StatusServiceUnavailable,
	domain.Limit:       fiber.StatusTooManyRequests,
	domain.Tampered:    fiber.StatusInternalServerError,
	domain.Unauthentic: fiber.StatusUnauthorized,
	domain.StepUp:      fiber.StatusForbidden,
}

// Problem is an error as a caller is told it (RFC 9457).
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Kind   string `json:"kind"`
	Hint   string `json:"hint,omitempty"`
	Field  string `json:"field,omitempty"`
}

// Err turns a received problem back into the error that it was.
func (p Problem) Err() *domain.Error {
	return &domain.Error{Kind: domain.ParseKind(p.Kind), Msg: p.Title, Hint: p.Hint, Field: p.Field}
}

// ProblemOf is what a caller is told of an error. The words of one that is not
// meant for callers stay in the operator's log.
func ProblemOf(err error) Problem {
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		err = routeError(e)
	}
	ours, ok := errors.AsType[*domain.Error](err)
	if !ok || ours.Kind == domain.Internal {
		return Problem{
			Title: "something went wrong inside Coffer", Status: fiber.StatusInternalServerError,
			Kind: domain.Internal.String(), Hint: "the server's log says what; look for the request id",
		}
	}
	return Problem{Title: ours.Msg, Status: statuses[ours.Kind], Kind: ours.Kind.String(), Hint: domain.HintOf(err), Field: ours.Field}
}

// Ours says whether the problem is a fault of Coffer or its machine, which the
// operator's log should hold.
func (p Problem) Ours() bool {
	return p.Status >= fiber.StatusInternalServerError && p.Kind != domain.Sealed.String()
}

// routeError gives the framework's own refusals our words.
func routeError(e *fiber.Error) error {
	switch e.Code {
	case fiber.StatusNotFound:
		return domain.Errorf(domain.NotFound, "there is nothing at this path").WithHint("see /api/v1 in the documentation")
	case fiber.StatusRequestTimeout:
		return domain.Errorf(domain.Unavailable, "the request did not arrive in time, or Coffer is stopping; nothing was done").
			WithHint("send it again")
	case fiber.StatusMethodNotAllowed:
		return domain.Errorf(domain.Invalid, "this path does not take that method")
	case fiber.StatusRequestEntityTooLarge:
		return domain.Errorf(domain.Limit, "the request is larger than %d bytes", MaxBody)
	}
	return domain.Errorf(domain.Invalid, "the request is malformed: %s", e.Message)
}
