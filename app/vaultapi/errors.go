package vaultapi

import (
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
	"coffer/app/httpd"
)

// answers is the one table from kinds of errors to statuses, and to the texts that
// clients and people search for. An empty text stands for the error's own.
var answers = map[domain.Kind]struct {
	status int
	text   string
}{
	domain.Internal:    {http.StatusInternalServerError, "internal error"},
	domain.Tampered:    {http.StatusInternalServerError, "internal error"},
	domain.Invalid:     {http.StatusBadRequest, ""},
	domain.Conflict:    {http.StatusBadRequest, ""},
	domain.Denied:      {http.StatusForbidden, "permission denied"},
	domain.Unauthentic: {http.StatusForbidden, "permission denied"},
	domain.StepUp:      {http.StatusForbidden, "permission denied"},
	domain.NotFound:    {http.StatusNotFound, ""},
	domain.Limit:       {http.StatusTooManyRequests, ""},
	domain.Sealed:      {http.StatusServiceUnavailable, "Vault is sealed"},
	domain.Unavailable: {http.StatusServiceUnavailable, ""},
}

// fault is an error with a status and texts of its own. One without texts has an
// empty list, which clients take for nothing found.
type fault struct {
	status int
	texts  []string
	reply  *reply // in place of the list: some refusals carry an envelope
	cause  error  // what it stands for, nil for nothing else
}

// Unwrap gives the cause.
func (f *fault) Unwrap() error { return f.cause }

func (f *fault) Error() string {
	if len(f.texts) == 0 {
		return http.StatusText(f.status)
	}
	return f.texts[0]
}

// failf makes an error with a status.
func failf(status int, text string) error { return &fault{status: status, texts: []string{text}} }

// noRoute is the answer where there is no mount.
func noRoute(path string) error {
	return failf(http.StatusNotFound, "no handler for route "+strconv.Quote(clip(path))+". route entry not found.")
}

// missing is the answer for what is not there, and for an empty list.
func missing() error { return &fault{status: http.StatusNotFound} }

// clip bounds what is said of a path.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Fail answers an error with a list of texts.
func (a *API) Fail(c *fiber.Ctx, err error) error {
	status, texts := a.explain(c, err)
	if f, ok := errors.AsType[*fault](err); ok && f.reply != nil {
		f.reply.status = status
		return f.reply.send(c)
	}
	httpd.RequestID(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Status(status)
	return c.JSON(struct {
		Errors []string `json:"errors"`
	}{texts})
}

// explain gives status and texts of an error.
func (a *API) explain(c *fiber.Ctx, err error) (status int, texts []string) {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.status, append([]string{}, f.texts...)
	}
	p := httpd.ProblemOf(err)
	kind := domain.ParseKind(p.Kind)
	known := answers[kind]
	status, text := known.status, known.text
	if text == "" {
		text = p.Title
		if p.Hint != "" {
			text += "; " + p.Hint
		}
	}
	switch {
	case p.Status == http.StatusMethodNotAllowed:
		return p.Status, []string{unsupported}
	case p.Status == http.StatusRequestEntityTooLarge:
		return p.Status, []string{text}
	case kind == domain.NotFound:
		return status, []string{}
	case kind == domain.StepUp:
		return status, []string{text, p.Title + "; " + p.Hint}
	case kind == domain.Limit || kind == domain.Unavailable:
		wait := 1
		if ours, ok := errors.AsType[*domain.Error](err); ok && ours.Retry > 0 {
			wait = int(math.Ceil(ours.Retry.Seconds()))
		}
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(wait))
	}
	if p.Ours() {
		httpd.LogFailure(a.log, c, err)
	}
	return status, []string{text}
}

// unsupported is said where a path has other operations.
const unsupported = "unsupported operation"
