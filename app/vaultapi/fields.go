package vaultapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/httpd"
)

// fields are the members of a body by their exact names. Clients send many that
// nobody asked for; those are not looked at.
type fields map[string]json.RawMessage

// maxDepth is how deep a body may be nested.
const maxDepth = 32

// parseFields reads a body. None, and null, are no fields. A name that stands twice
// is refused wherever it stands: decoders differ in which of the two they take.
func parseFields(body []byte) (fields, error) {
	if body = bytes.TrimSpace(body); len(body) == 0 || string(body) == "null" {
		return fields{}, nil
	}
	if !httpd.ValidText(body) {
		return nil, badJSON("it is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if body[0] != '{' {
		return nil, badJSON("it is not an object")
	}
	if err := walk(d, 0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badJSON("more follows the object")
	}
	var f fields
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, badJSON("it is malformed")
	}
	return f, nil
}

// badJSON is the error of a body, in the words that clients know. What it holds
// stays out of them.
func badJSON(why string) error {
	return domain.Fieldf("body", "failed to decode JSON input: %s", why)
}

// walk goes through one value and refuses names that stand twice.
func walk(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return badJSON("it is malformed")
	}
	open, ok := token.(json.Delim)
	switch {
	case !ok:
		return nil
	case depth >= maxDepth:
		return badJSON("it is nested deeper than " + strconv.Itoa(maxDepth) + " levels")
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			text, _ := name.(string)
			if err != nil {
				return badJSON("it is malformed")
			}
			if seen[text] {
				return badJSON("a name stands twice in one object")
			}
			seen[text] = true
		}
		if err := walk(d, depth+1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return badJSON("it is malformed")
	}
	return nil
}

// has says whether a field is there and not null.
func (f fields) has(name string) bool {
	raw, ok := f[name]
	return ok && string(raw) != "null"
}

// wrong is the error of a field.
func wrong(name, what string) error { return domain.Fieldf(name, "not %s", what) }

// text is a field that is a string, "" if it is not there. Numbers and booleans are
// taken as they are written, as Vault does.
func (f fields) text(name string) (string, error) {
	if !f.has(name) {
		return "", nil
	}
	var s string
	if json.Unmarshal(f[name], &s) == nil {
		return s, nil
	}
	if raw := string(f[name]); raw[0] != '{' && raw[0] != '[' {
		return raw, nil
	}
	return "", wrong(name, "a string")
}

// secret is text that must not be seen.
func (f fields) secret(name string) (domain.Secret, error) {
	s, err := f.text(name)
	return domain.SecretString(s), err
}

// flag is a field that is a boolean, also as a string; otherwise is what it is if it
// is not there.
func (f fields) flag(name string, otherwise bool) (bool, error) {
	s, err := f.text(name)
	if err != nil || s == "" {
		return otherwise, err
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, wrong(name, "a boolean")
	}
	return b, nil
}

// number is a field that is an integer, also as a string, 0 if it is not there.
func (f fields) number(name string) (int, error) {
	s, err := f.text(name)
	if err != nil || s == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, wrong(name, "an integer")
	}
	return int(n), nil
}

// numbers is a field that is a list of integers, or one, each also as a string.
func (f fields) numbers(name string) ([]int, error) {
	texts, err := f.list(name)
	if err != nil {
		return nil, err
	}
	out := make([]int, 0, len(texts))
	for _, s := range texts {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return nil, wrong(name, "a list of integers")
		}
		out = append(out, int(n))
	}
	return out, nil
}

// list is a field that is a list of strings, or a string with commas.
func (f fields) list(name string) ([]string, error) {
	if !f.has(name) {
		return nil, nil
	}
	var each []json.RawMessage
	if json.Unmarshal(f[name], &each) == nil {
		out := make([]string, 0, len(each))
		for _, raw := range each {
			s, err := fields{name: raw}.text(name)
			if err != nil || string(raw) == "null" {
				return nil, wrong(name, "a list of strings")
			}
			out = append(out, s)
		}
		return out, nil
	}
	s, err := f.text(name)
	if err != nil {
		return nil, wrong(name, "a list of strings")
	}
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out, nil
}

// object is a field that is an object, no fields if it is not there.
func (f fields) object(name string) (inner fields, err error) {
	if !f.has(name) {
		return fields{}, nil
	}
	if json.Unmarshal(f[name], &inner) != nil {
		return nil, wrong(name, "an object")
	}
	return inner, nil
}

// pairs is a field that is an object of strings, nil if it is not there.
func (f fields) pairs(name string) (map[string]string, error) {
	if !f.has(name) {
		return nil, nil
	}
	var inner fields
	if json.Unmarshal(f[name], &inner) != nil {
		return nil, wrong(name, "an object of strings")
	}
	out := make(map[string]string, len(inner))
	for key := range inner {
		s, err := inner.text(key)
		if err != nil {
			return nil, wrong(name, "an object of strings")
		}
		out[key] = s
	}
	return out, nil
}

// maxDuration is more than any duration may be.
const maxDuration = 100 * 365 * 24 * time.Hour

// duration is a field in seconds, or such as "72h" or "1h0m0s"; 0 if it is not there.
func (f fields) duration(name string) (time.Duration, error) {
	s, err := f.text(name)
	if err != nil {
		return 0, err
	}
	d, ok := parseDuration(s)
	if !ok {
		return 0, wrong(name, "a duration, such as 300 or 1h30m")
	}
	return d, nil
}

// parseDuration reads a number of seconds or Go's form, with d for days; "" is none.
func parseDuration(s string) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Duration(n) * time.Second, n >= 0 && n <= int64(maxDuration/time.Second)
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		return time.Duration(n) * 24 * time.Hour, err == nil && n >= 0 && n <= int64(maxDuration/(24*time.Hour))
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0 && d <= maxDuration
}
