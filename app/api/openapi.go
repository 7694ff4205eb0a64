package api

import (
	_ "embed"

	"github.com/gofiber/fiber/v2"
)

// document is the OpenAPI 3.1 document of the API, generated from its routes by
// a test (make docs).
//
//go:embed openapi.json
var document []byte

// Document is the OpenAPI 3.1 document of the API.
func Document() []byte { return document }

// openAPI shows the document, sealed or not.
func (a *API) openAPI(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	return c.Send(document)
}
