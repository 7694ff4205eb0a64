package api

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
}

// Problem is an error on the wire (RFC 9457).
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

// problemOf is what a caller is told. The words of an error that is not meant
// for callers stay in the operator's log.
func problemOf(err error) Problem {
	ours, ok := errors.AsType[*domain.Error](err)
	if !ok || ours.Kind == domain.Internal {
		return Problem{
			Title: "something went wrong inside Coffer", Status: fiber.StatusInternalServerError,
			Kind: domain.Internal.String(), Hint: "the server's log says what; look for the request id",
		}
	}
	return Problem{Title: ours.Msg, Status: statuses[ours.Kind], Kind: ours.Kind.String(), Hint: domain.HintOf(err), Field: ours.Field}
}
