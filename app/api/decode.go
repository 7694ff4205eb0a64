package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
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
		return domain.Fieldf(bodyField, "a %s request has none", c.Method())
	}
	if err := checkType(string(c.Request().Header.ContentType())); err != nil {
		return err
	}
	if err := checkJSON(body, reflect.TypeFor[In]()); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(in); err != nil {
		return naming[In](body, bodyError(err))
	}
	return nil
}

// bodyError names the field without quoting what stood in it.
func bodyError(err error) *domain.Error {
	if ours, ok := errors.AsType[*domain.Error](err); ok {
		return ours
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		wanted := wantedType(wrong.Type)
		got, value, _ := strings.Cut(wrong.Value, " ")
		if value != "" && wanted == got {
			return domain.Fieldf(cmp.Or(wrong.Field, bodyField), "wants a smaller number, or one without a fraction")
		}
		return domain.Fieldf(cmp.Or(wrong.Field, bodyField), "wants a %s, not a %s", wanted, got)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return domain.Fieldf(clip(strings.Trim(name, `"`)), "not a field of this request")
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return domain.Fieldf(bodyField, "not JSON: at byte %d", syntax.Offset)
	}
	return domain.Fieldf(bodyField, "not a JSON object of this request")
}

// naming gives an error of a type that reads itself the member in which it
// arose: such a type does not know.
func naming[In any](body []byte, err *domain.Error) error {
	var members map[string]json.RawMessage
	if err.Field != "" || json.Unmarshal(body, &members) != nil {
		return err
	}
	for name, value := range members {
		b, _ := json.Marshal(map[string]json.RawMessage{name: value}) // it was JSON before
		var in In
		if again := json.Unmarshal(b, &in); again != nil && again.Error() == err.Error() {
			return domain.Fieldf(clip(name), "%s", err.Msg).WithHint("%s", err.Hint)
		}
	}
	return err
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

// clip bounds a name that came from outside, and makes the empty one visible.
func clip(s string) string {
	if s == "" {
		return `""`
	}
	if len(s) > 40 {
		s = s[:40]
	}
	return strings.Trim(fmt.Sprintf("%q", s), `"`)
}
