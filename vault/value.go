package vault

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"

	"coffer/app/domain"
)

// Value is one version's content: a JSON object, kept as the bytes that came
// in. It prints as "[redacted]".
type Value struct{ json domain.Secret }

// ParseValue checks a secret's content: one JSON object with at least one and
// at most domain.MaxSecretKeys names, none twice, within domain.MaxSecretValue
// bytes. Errors name the field and never quote a value.
func ParseValue(raw domain.Secret) (Value, error) {
	b := raw.Reveal()
	switch {
	case len(b) > domain.MaxSecretValue:
		return Value{}, domain.Fieldf("data", "%d bytes are more than the %d that a secret may have", len(b), domain.MaxSecretValue).
			WithHint("keep files in the tenant's database, and their keys here")
	case !utf8.Valid(b):
		return Value{}, domain.Fieldf("data", "not valid UTF-8").WithHint("encode binary values as base64 first")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return Value{}, domain.Fieldf("data", "not a JSON object of names and values")
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return Value{}, domain.Fieldf("data", "not a JSON object of names and values")
		}
		if err := checkKey(name, seen); err != nil {
			return Value{}, err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return Value{}, domain.Fieldf("data", "the value of %q is not valid JSON", name)
		}
	}
	if _, err := dec.Token(); err != nil {
		return Value{}, domain.Fieldf("data", "not a JSON object of names and values")
	}
	if _, err := dec.Token(); err != io.EOF {
		return Value{}, domain.Fieldf("data", "more follows the JSON object")
	}
	if len(seen) == 0 {
		return Value{}, domain.Fieldf("data", "a secret needs at least one name and value").WithHint("for example key=sk_live_1")
	}
	return Value{raw}, nil
}

func checkKey(name string, seen map[string]bool) error {
	switch {
	case name == "" || len(name) > domain.MaxSecretKey:
		return domain.Fieldf("data", "a name has 1 to %d bytes", domain.MaxSecretKey)
	case seen[name]:
		return domain.Fieldf("data", "the name %q stands twice", name)
	case len(seen) >= domain.MaxSecretKeys:
		return domain.Fieldf("data", "more than %d names", domain.MaxSecretKeys)
	}
	seen[name] = true
	return nil
}

// merged is the value with a merge patch applied (RFC 7396).
func (v Value) merged(patch domain.Secret) (Value, error) {
	was, err := decodeAny(v.json)
	if err != nil {
		return Value{}, tampered("a secret's value")
	}
	change, err := decodeAny(patch)
	if _, is := change.(map[string]any); err != nil || !is {
		return Value{}, domain.Fieldf("data", "not a JSON object of names and values")
	}
	b, err := json.Marshal(merge(was, change))
	if err != nil {
		return Value{}, err
	}
	return ParseValue(domain.NewSecret(b))
}

// decodeAny reads JSON and leaves numbers as they are written.
func decodeAny(s domain.Secret) (out any, err error) {
	d := json.NewDecoder(bytes.NewReader(s.Reveal()))
	d.UseNumber()
	err = d.Decode(&out)
	return out, err
}

// merge is MergePatch of RFC 7396, section 2.
func merge(target, patch any) any {
	changes, is := patch.(map[string]any)
	if !is {
		return patch
	}
	object, is := target.(map[string]any)
	if !is {
		object = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = merge(object[name], value)
		}
	}
	return object
}

// JSON is the object's bytes.
func (v Value) JSON() domain.Secret { return v.json }

func (v Value) String() string { return v.json.String() }
