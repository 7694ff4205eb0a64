package api

import (
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"testing"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

// FuzzDecode: whatever a request holds, decoding it ends in an input or in an
// error that a caller may see, never in a panic or a fault of ours.
func FuzzDecode(f *testing.F) {
	f.Add("path=a&cas=1", `{"data":{"k":"v"},"cas":1}`)
	f.Add("", `{"sql":"SELECT ?","args":[1,"a",null,true,1e3,{"base64":"AA=="}],"named":{"x":2}}`)
	f.Add("version=x", `{"ttl":"15m","grants":["sql:analyst"]}`)
	f.Add("limit=1&limit=2", `{"a":1}{"b":2}`)
	server := fiber.New(fiber.Config{DisableStartupMessage: true, Immutable: true})
	var failed error
	try := func(err error) {
		if err != nil && (domain.KindOf(err) != domain.Invalid || err.Error() == "") {
			failed = errors.Join(failed, err)
		}
	}
	server.Post("/:tenant/:name", func(c *fiber.Ctx) error {
		var put actions.SecretPutIn
		try(decode(c, &put))
		var sql actions.SQLIn
		try(decode(c, &sql))
		var token actions.TokenIssueIn
		try(decode(c, &token))
		var member actions.MemberIn
		try(decode(c, &member))
		var query actions.AuditQuery
		try(decode(c, &query))
		return nil
	})
	f.Fuzz(func(t *testing.T, query, body string) {
		failed = nil
		request := httptest.NewRequest("POST", "/acme/shop", bytes.NewReader([]byte(body)))
		request.URL.RawQuery = query
		request.RequestURI = request.URL.RequestURI()
		request.Header.Set("Content-Type", "application/json")
		answer, err := server.Test(request, -1)
		if err != nil {
			return // the request could not be sent: not one that arrives
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if failed != nil {
			t.Fatalf("%q %q: %v", query, body, failed)
		}
	})
}
