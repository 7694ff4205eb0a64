package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Payload is what an event, intent or outcome says. Fields that do not apply
// are empty and left out.
type Payload struct {
	Actor     string          `json:"actor,omitempty"`      // kind:id, e.g. person:p-…; ids say nothing about a person
	Role      string          `json:"role,omitempty"`       // what allowed it
	Action    string          `json:"action,omitempty"`     // e.g. secret.read
	Resource  string          `json:"resource,omitempty"`   // on what, e.g. stripe/live
	Outcome   string          `json:"outcome,omitempty"`    // ok, failed, refused, unknown; empty in an intent
	RequestID string          `json:"request_id,omitempty"` // ties the record to a line of another log
	Source    string          `json:"source,omitempty"`     // network address or "local"
	Client    string          `json:"client,omitempty"`     // program that asked
	Auth      string          `json:"auth,omitempty"`       // how the actor proved who it is
	Intent    *uint64         `json:"intent,omitempty"`     // in an outcome: the seq of its intent in the same log
	Detail    json.RawMessage `json:"detail,omitempty"`     // a JSON object; never a secret
}

// encode makes the JSON text, which decodePayload accepts: the fields that are
// not empty, in the order above. It stands in for encoding/json, which takes
// several times as long, on the path of every request.
func (p Payload) encode(t Type) ([]byte, error) {
	if err := p.check(t); err != nil {
		return nil, err
	}
	if len(p.Detail) > 0 {
		if err := CheckDetail(p.Detail); err != nil {
			return nil, fmt.Errorf("encoding the payload: %w", err)
		}
	}
	b := make([]byte, 1, 512+len(p.Detail))
	b[0] = '{'
	for _, f := range [...]struct{ name, value string }{
		{"actor", p.Actor},
		{"role", p.Role},
		{"action", p.Action},
		{"resource", p.Resource},
		{"outcome", p.Outcome},
		{"request_id", p.RequestID},
		{"source", p.Source},
		{"client", p.Client},
		{"auth", p.Auth},
	} {
		if f.value == "" {
			continue
		}
		var err error
		if b, err = appendJSONString(appendName(b, f.name), f.value); err != nil {
			return nil, fmt.Errorf("encoding the payload: %w", err)
		}
	}
	if p.Intent != nil {
		b = strconv.AppendUint(appendName(b, "intent"), *p.Intent, 10)
	}
	if len(p.Detail) > 0 {
		b = append(appendName(b, "detail"), p.Detail...)
	}
	return append(b, '}'), nil
}

// appendName appends a member's name and what stands around it.
func appendName(b []byte, name string) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), name...), `":`...)
}

// appendJSONString appends a text as a JSON string.
func appendJSONString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := encodeJSON(s)
			return append(b, quoted...), err
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}

func decodePayload(t Type, text []byte) (Payload, error) {
	var p Payload
	if err := walkObject(text, p.set); err != nil {
		return Payload{}, err
	}
	if err := p.check(t); err != nil {
		return Payload{}, err
	}
	return p, nil
}

// set takes one field. It stands in for encoding/json, which takes five times
// as long and accepts names in any case; a log is verified record by record.
func (p *Payload) set(key, value []byte) (err error) {
	switch string(key) {
	case "actor":
		p.Actor, err = jsonString(value)
	case "role":
		p.Role, err = jsonString(value)
	case "action":
		p.Action, err = jsonString(value)
	case "resource":
		p.Resource, err = jsonString(value)
	case "outcome":
		p.Outcome, err = jsonString(value)
	case "request_id":
		p.RequestID, err = jsonString(value)
	case "source":
		p.Source, err = jsonString(value)
	case "client":
		p.Client, err = jsonString(value)
	case "auth":
		p.Auth, err = jsonString(value)
	case "intent":
		var seq uint64
		if seq, err = strconv.ParseUint(string(value), 10, 64); err != nil {
			return fmt.Errorf("%w: intent %.20q", ErrFormat, value)
		}
		p.Intent = &seq
	case "detail":
		p.Detail = bytes.Clone(value)
	default:
		return errUnknown(key)
	}
	return err
}

func (p Payload) check(t Type) error {
	if (t == Outcome) != (p.Intent != nil) {
		return fmt.Errorf("%w: an outcome names its intent, nothing else does", ErrFormat)
	}
	if len(p.Detail) > 0 && p.Detail[0] != '{' {
		return fmt.Errorf("%w: detail is not a JSON object", ErrFormat)
	}
	return nil
}

// fieldNames lists the JSON names of a struct.
func fieldNames(v any) map[string]bool {
	names := map[string]bool{}
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}
