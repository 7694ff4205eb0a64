package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	f.Add("=0", `{"":1}`)
	f.Add("", `{"role":"viewer","role":"owner"}`)
	f.Add("", `{"role":"viewer","Role":"owner"}`)
	f.Add("", `{"data":{"k":{"x":1,"x":2}}}`)
	f.Add("", `{"name":"\ud800","uid":1e999}`)
	f.Add("", `{"args":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}`)
	f.Add("", "{\"name\":\"\xff\"}")
	server := fiber.New(fiber.Config{DisableStartupMessage: true, Immutable: true})
	var failed error
	try := func(err error) {
		if err != nil && (domain.KindOf(err) != domain.Invalid || err.Error() == "" || fieldOf(err) == "") {
			failed = errors.Join(failed, err)
		}
	}
	server.Post("/:tenant/:name", func(c *fiber.Ctx) error {
		var put actions.SecretPutIn
		err := decode(c, &put)
		try(err)
		if err == nil && len(c.Body()) > 0 && twice(c.Body()) {
			failed = errors.Join(failed, fmt.Errorf("read although a name stands twice: %s", c.Body()))
		}
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

// twice says in another way than the code whether a name stands twice in an
// object: reading it and writing it again makes it shorter.
func twice(body []byte) bool {
	names := func(b []byte) (n int) {
		dec := json.NewDecoder(bytes.NewReader(b))
		for {
			if _, err := dec.Token(); err != nil {
				return n
			}
			n++
		}
	}
	var v any
	if json.Unmarshal(body, &v) != nil {
		return false
	}
	again, err := json.Marshal(v)
	return err == nil && names(again) < names(body)
}

func fieldOf(err error) string {
	e, _ := errors.AsType[*domain.Error](err)
	return e.Field
}
