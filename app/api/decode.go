package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
)

// decode fills an operation's input from the request: fields tagged path from
// the route, fields tagged query from the query string, the rest from the JSON
// body. What is not expected is refused by name.
func decode[In any](c *fiber.Ctx, in *In) error {
	query := map[string]string{}
	var twice string
	c.Context().QueryArgs().VisitAll(func(k, v []byte) {
		if _, seen := query[string(k)]; seen {
			twice = string(k)
		}
		query[string(k)] = string(v)
	})
	if twice != "" {
		return domain.Fieldf(clip(twice), "given twice")
	}
	if err := decodeBody(c, in); err != nil {
		return err
	}
	if err := decodeTagged(reflect.ValueOf(in).Elem(), c, query); err != nil {
		return err
	}
	for name := range query {
		return domain.Fieldf(clip(name), "not a parameter of this request")
	}
	return nil
}

// decodeTagged sets path and query fields and removes from query what it used.
func decodeTagged(v reflect.Value, c *fiber.Ctx, query map[string]string) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			if err := decodeTagged(v.Field(i), c, query); err != nil {
				return err
			}
			continue
		}
		if name := field.Tag.Get("path"); name != "" {
			if text := c.Params(name); text != "" {
				v.Field(i).SetString(text)
			}
		}
		if name := field.Tag.Get("query"); name != "" {
			text, given := query[name]
			delete(query, name)
			if !given {
				continue
			}
			if err := setField(v.Field(i), name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func setField(v reflect.Value, name, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return domain.Fieldf(name, "%.40q is not a whole number", text)
		}
		v.SetInt(int64(n))
	default:
		return domain.Errorf(domain.Internal, "a query field of kind %v", v.Kind())
	}
	return nil
}

// decodeBody reads the JSON object of requests that have one.
func decodeBody[In any](c *fiber.Ctx, in *In) error {
	body := c.Body()
	if len(body) == 0 {
		return nil
	}
	if c.Method() == fiber.MethodGet || c.Method() == fiber.MethodDelete {
		return domain.Errorf(domain.Invalid, "a %s request has no body", c.Method())
	}
	if ct := string(c.Request().Header.ContentType()); ct != "" && !strings.HasPrefix(ct, fiber.MIMEApplicationJSON) {
		return domain.Errorf(domain.Invalid, "the body is not application/json")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(in); err != nil {
		return bodyError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return domain.Errorf(domain.Invalid, "more follows the JSON object in the body")
	}
	return nil
}

// bodyError names the field without quoting what stood in it.
func bodyError(err error) error {
	if ours, ok := errors.AsType[*domain.Error](err); ok {
		return ours
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return domain.Fieldf(wrong.Field, "wants a %s, not a %s", wantedType(wrong.Type), wrong.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return domain.Fieldf(clip(strings.Trim(name, `"`)), "not a field of this request")
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return domain.Errorf(domain.Invalid, "the body is not JSON: at byte %d", syntax.Offset)
	}
	return domain.Errorf(domain.Invalid, "the body is not a JSON object of this request")
}

func wantedType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	}
	return "number"
}

// clip bounds a name that came from outside.
func clip(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return strings.Trim(fmt.Sprintf("%q", s), `"`)
}
