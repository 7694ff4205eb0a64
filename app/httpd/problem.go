package httpd

import (
	"cmp"
	"errors"
	"math"
	"strconv"
	"time"

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

// StatusOf is the status code of a kind.
func StatusOf(k domain.Kind) int { return statuses[k] }

// Problem is an error as a caller is told it (RFC 9457).
type Problem struct {
	Type      string `json:"type" doc:"urn:coffer:problem: and the kind"`
	Title     string `json:"title" doc:"what happened, for a person"`
	Status    int    `json:"status" doc:"the status code of the answer"`
	Kind      string `json:"kind" doc:"what the caller can do about it; stable"`
	Hint      string `json:"hint,omitempty" doc:"what to do about it, for a person"`
	Field     string `json:"field,omitempty" doc:"the member, parameter or header that is wrong"`
	RequestID string `json:"request_id,omitempty" doc:"under which the event and the operator's log have it"`

	retry time.Duration
}

// problemType begins the type of every problem.
const problemType = "urn:coffer:problem:"

// Err turns a received problem back into the error that it was.
func (p Problem) Err() *domain.Error {
	return &domain.Error{Kind: domain.ParseKind(p.Kind), Msg: p.Title, Hint: p.Hint, Field: p.Field}
}

// ProblemOf is what a caller is told of an error. The words of one that is not
// meant for callers stay in the operator's log.
func ProblemOf(err error) Problem {
	status := 0
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		err = routeError(e)
		if e.Code == fiber.StatusMethodNotAllowed || e.Code == fiber.StatusRequestEntityTooLarge {
			status = e.Code // more exact than what the kind says
		}
	}
	ours, ok := errors.AsType[*domain.Error](err)
	if !ok || ours.Kind == domain.Internal {
		ours = domain.Errorf(domain.Internal, "something went wrong inside Coffer")
		err = ours.WithHint("the server's log says what; look for the request id")
	}
	return Problem{
		Type: problemType + ours.Kind.String(), Title: ours.Msg, Status: cmp.Or(status, statuses[ours.Kind]),
		Kind: ours.Kind.String(), Hint: domain.HintOf(err), Field: ours.Field, retry: ours.Retry,
	}
}

// Answer sends the problem as application/problem+json, with when to try again
// if that is known.
func (p Problem) Answer(c *fiber.Ctx) error {
	p.RequestID = RequestID(c)
	if p.Status == fiber.StatusUnauthorized {
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	}
	if p.retry > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Status(p.Status)
	if err := c.JSON(p); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	return nil
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
		return domain.Errorf(domain.NotFound, "there is nothing at this path").WithHint("every path stands in /api/v1/openapi.json")
	case fiber.StatusRequestTimeout:
		return domain.Errorf(domain.Unavailable, "the request did not arrive in time, or Coffer is stopping; nothing was done").
			WithHint("send it again")
	case fiber.StatusMethodNotAllowed:
		return domain.Errorf(domain.Invalid, "this path does not take that method").WithHint("the header Allow lists those that it takes")
	case fiber.StatusRequestEntityTooLarge:
		return domain.Errorf(domain.Limit, "the request is larger than %d bytes", MaxBody)
	}
	return domain.Errorf(domain.Invalid, "the request is malformed: %s", e.Message)
}
