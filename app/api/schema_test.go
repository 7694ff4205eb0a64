package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/tenants"
	"coffer/vault/seal"
)

// schema is a JSON Schema (2020-12), or another part of the document.
type schema = map[string]any

// reflector makes schemas of the operations' types: by their json tags, with
// what the tags doc (a phrase) and schema (bounds) say besides.
type reflector struct {
	components schema
	types      map[string]reflect.Type // of the components
}

func newReflector() reflector { return reflector{schema{}, map[string]reflect.Type{}} }

// special are the types that write and read themselves.
var special = map[reflect.Type]schema{
	reflect.TypeFor[time.Time]():         {"type": "string", "format": "date-time"},
	reflect.TypeFor[actions.Duration]():  {"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, "examples": []string{"15m"}},
	reflect.TypeFor[domain.Secret]():     {"type": "string", "format": "password"},
	reflect.TypeFor[domain.Disclosure](): {"type": "string"},
	reflect.TypeFor[domain.JSON]():       {"type": "object"},
	reflect.TypeFor[json.RawMessage]():   {},
	reflect.TypeFor[authz.Capability]():  {"type": "string", "maxLength": authz.MaxCapabilityText, "examples": []string{"secret:read:stripe/*"}},
	reflect.TypeFor[domain.TenantID]():   {"type": "string", "pattern": "^[a-z][a-z0-9-]{1,38}[a-z0-9]$"},
	reflect.TypeFor[domain.SecretPath](): {"type": "string", "maxLength": domain.MaxSecretPath},
	reflect.TypeFor[domain.Role]():       {"type": "string", "enum": append(domain.TenantRoles(), domain.ApplianceRoles()...)},
	reflect.TypeFor[authz.Scope]():       {"type": "string", "enum": []authz.Scope{authz.Appliance, authz.Tenant, authz.Open}},
	reflect.TypeFor[seal.Kind]():         {"type": "string", "enum": []seal.Kind{seal.TPM, seal.Passphrase, seal.Keyfile, seal.Recovery}},
	reflect.TypeFor[tenants.State](): {"type": "string", "enum": []tenants.State{
		tenants.Active, tenants.Suspended, tenants.Destroying, tenants.Destroyed,
	}},
}

// shared are those that are long: they become components.
var shared = map[reflect.Type]schema{
	reflect.TypeFor[actions.SQLValue](): {
		"type":        []string{"null", "number", "string", "boolean", "object"},
		"description": "a blob, and text that is not UTF-8, is {\"base64\": …}; in arguments true and false are 1 and 0",
		"properties":  schema{"base64": schema{"type": "string", "contentEncoding": "base64"}},
		"required":    []string{"base64"}, "additionalProperties": false,
	},
}

// of makes the schema of a type. Structs of answers become components; those of
// requests stand where they are, closed.
func (r reflector) of(t reflect.Type, in bool) schema {
	if known, ok := special[t]; ok {
		return maps.Clone(known)
	}
	if long, ok := shared[t]; ok {
		r.components[t.Name()] = long
		return reference(t.Name())
	}
	switch t.Kind() {
	case reflect.Pointer:
		return r.of(t.Elem(), in)
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return schema{"type": "integer"}
	case reflect.Uint32:
		return schema{"type": "integer", "minimum": 0, "maximum": math.MaxUint32}
	case reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return schema{"type": "number"}
	case reflect.Slice:
		return schema{"type": "array", "items": r.of(t.Elem(), in)}
	case reflect.Array:
		return schema{"type": "array", "items": r.of(t.Elem(), in), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": r.of(t.Elem(), in)}
	case reflect.Struct:
		if in {
			return r.object(t, true, nil)
		}
		return r.component(t)
	}
	panic(fmt.Sprintf("a type without a schema: %v; say in special how it is written", t))
}

func (r reflector) component(t reflect.Type) schema {
	name := t.Name()
	switch other, known := r.types[name]; {
	case !known:
		r.types[name] = t // first: it may hold itself
		r.components[name] = r.object(t, false, nil)
	case other != t:
		panic(fmt.Sprintf("%v and %v would be one component", t, other))
	}
	return reference(name)
}

func reference(name string) schema { return schema{"$ref": "#/components/schemas/" + name} }

// object makes the schema of a struct's JSON. skip says which fields stand
// elsewhere in the request. Requests are closed; answers get new members some
// day.
func (r reflector) object(t reflect.Type, in bool, skip func(reflect.StructField) bool) schema {
	properties, required := schema{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" || name == "" || skip != nil && skip(f) {
			continue
		}
		properties[name] = r.field(f, in)
		if !strings.Contains(options, "omit") || must(f) {
			required = append(required, name)
		}
	}
	s := schema{"type": "object", "properties": properties}
	if in {
		s["additionalProperties"] = false
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// field is a field's schema with what its tags say.
func (r reflector) field(f reflect.StructField, in bool) schema {
	s := r.of(f.Type, in)
	if text := f.Tag.Get("doc"); text != "" {
		s["description"] = text
	}
	for _, rule := range rules(f) {
		key, value, _ := strings.Cut(rule, "=")
		switch n, err := strconv.Atoi(value); {
		case key == "required":
		case key == "enum":
			s[key] = strings.Split(value, "|")
		case err == nil:
			s[key] = n
		default:
			s[key] = value
		}
	}
	return s
}

func rules(f reflect.StructField) []string {
	if tag := f.Tag.Get("schema"); tag != "" {
		return strings.Split(tag, ",")
	}
	return nil
}

// must says whether a field that Go may leave out is needed.
func must(f reflect.StructField) bool { return slices.Contains(rules(f), "required") }
