package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"reflect"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
	"coffer/app/httpd"
)

// maxDepth is how deep a body may be nested.
const maxDepth = 32

// bodyField is the field that errors about a body as a whole name.
const bodyField = "body"

// checkType wants the media type of JSON. A page of another site can send every
// other one without asking the browser's permission, and none at all.
func checkType(header string) error {
	kind, params, err := mime.ParseMediaType(header)
	charset, given := params["charset"]
	if err != nil || kind != fiber.MIMEApplicationJSON || len(params) > 1 || len(params) == 1 && !given || given && !strings.EqualFold(charset, "utf-8") {
		return domain.Fieldf(fiber.HeaderContentType, "the body is not said to be application/json").
			WithHint("send: Content-Type: application/json")
	}
	return nil
}

// checkJSON refuses what decoders read differently: what encoding/json would
// take the last of, or spell otherwise, or replace, another one may not. t is the
// type into which the object will be decoded.
func checkJSON(body []byte, t reflect.Type) error {
	if !httpd.ValidText(body) {
		return domain.Fieldf(bodyField, "not valid UTF-8").WithHint("encode binary values as base64 first")
	}
	w := walker{json.NewDecoder(bytes.NewReader(body))}
	w.dec.UseNumber()
	first, err := w.dec.Token()
	if err == nil && first != json.Delim('{') {
		return domain.Fieldf(bodyField, "not a JSON object")
	}
	if err == nil {
		err = w.object(t, "", 1)
	}
	if err != nil {
		return bodyError(err)
	}
	if _, err := w.dec.Token(); !errors.Is(err, io.EOF) {
		return domain.Fieldf(bodyField, "more follows the JSON object")
	}
	return nil
}

// walker goes through a JSON text token by token.
type walker struct{ dec *json.Decoder }

// object walks the rest of an object. t is nil where any names will do.
func (w walker) object(t reflect.Type, path string, depth int) error {
	seen := map[string]bool{}
	for w.dec.More() {
		token, err := w.dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		at := strings.TrimPrefix(path+"."+clip(name), ".")
		member, known := memberOf(t, name)
		switch {
		case seen[name]:
			return domain.Fieldf(at, "stands twice in the body")
		case !known:
			return domain.Fieldf(at, "not a field of this request")
		}
		seen[name] = true
		if err := w.value(member, at, depth); err != nil {
			return err
		}
	}
	_, err := w.dec.Token() // the closing brace
	return err
}

func (w walker) value(t reflect.Type, path string, depth int) error {
	token, err := w.dec.Token()
	if err != nil {
		return err
	}
	open, is := token.(json.Delim)
	switch {
	case !is:
		return nil
	case depth >= maxDepth:
		return domain.Fieldf(path, "nested deeper than %d levels", maxDepth)
	case open == '{':
		return w.object(t, path, depth+1)
	}
	for w.dec.More() {
		if err := w.value(elementOf(t), path, depth+1); err != nil {
			return err
		}
	}
	_, err = w.dec.Token()
	return err
}

var (
	readsJSON = reflect.TypeFor[json.Unmarshaler]()
	readsText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// plain is the type without pointers, nil if it reads itself.
func plain(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(readsJSON) || reflect.PointerTo(t).Implements(readsText) {
		return nil
	}
	return t
}

// memberOf finds the type of a member. Unlike encoding/json it takes no other
// case for the same letter.
func memberOf(t reflect.Type, name string) (member reflect.Type, known bool) {
	t = plain(t)
	switch {
	case t == nil:
		return nil, true
	case t.Kind() == reflect.Map:
		return t.Elem(), true
	case t.Kind() != reflect.Struct:
		return nil, true // decoding will say what is wanted instead
	}
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name && tag != "-" && tag != "" {
			return f.Type, true
		}
	}
	return nil, false
}

func elementOf(t reflect.Type) reflect.Type {
	if t = plain(t); t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		return t.Elem()
	}
	return nil
}
