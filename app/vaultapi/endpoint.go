package vaultapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"coffer/app/authz"
	"coffer/app/domain"
)

// endpoint is one operation on one pattern of paths, below a mount of its kind.
// The segments of a pattern are literal, {name} for any one, or at its end
// {name...} for all that follow, of which there may be none.
type endpoint struct {
	kind    string
	op      op
	pattern string
	action  domain.Action // "" only for what stands in exempt
	also    []domain.Action
	handle  func(ctx context.Context, r *request) (*reply, error)
}

// name is how tests and the list of exempt ones call an endpoint.
func (e endpoint) name() string { return string(e.op) + " " + e.kind + "/" + e.pattern }

// exempt lists, with the reason, the endpoints that have no action.
var exempt = map[string]string{
	"read sys/health": "for supervisors and clients that start; says one word of the appliance",
	"read sys/leader": "whether there is another node; there is none",
	"read sys/init":   "whether the appliance was initialized, which every running one was",
}

// mustDeclare is the rule that every endpoint has an action.
func mustDeclare(e endpoint) {
	_, known := authz.Lookup(e.action)
	if _, free := exempt[e.name()]; known == free {
		panic("vaultapi: " + e.name() + " needs an action of the table, or a place in exempt")
	}
	for _, a := range e.also {
		if _, known := authz.Lookup(a); !known {
			panic("vaultapi: " + e.name() + " names an action that is not in the table")
		}
	}
}

// open says whether no token is looked at: what is in the request proves something,
// or nothing has to be.
func (e endpoint) open() bool {
	if e.action == authz.SealStatus {
		return true // as for the page that asks whether Coffer is sealed
	}
	info, known := authz.Lookup(e.action)
	return !known || info.Stranger
}

// match says whether the path is one of the pattern's, and with which parameters.
func (e endpoint) match(path []string) (params map[string]string, ok bool) {
	params = map[string]string{}
	pattern := e.pattern
	for {
		part, rest, more := strings.Cut(pattern, "/")
		name, isParam := strings.CutPrefix(part, "{")
		switch {
		case part == "":
			return params, len(path) == 0
		case isParam && strings.HasSuffix(name, "...}"):
			params[strings.TrimSuffix(name, "...}")] = strings.Join(path, "/")
			return params, true
		case len(path) == 0:
			return nil, false
		case isParam:
			params[strings.TrimSuffix(name, "}")] = path[0]
		case part != path[0]:
			return nil, false
		}
		if path = path[1:]; !more {
			return params, len(path) == 0
		}
		pattern = rest
	}
}

// find gives the endpoint of a path below a mount. elsewhere says that there is
// one for another operation.
func (a *API) find(kind string, o op, path []string) (e endpoint, params map[string]string, found, elsewhere bool) {
	for _, e := range a.endpoints[kind] {
		params, ok := e.match(path)
		if !ok {
			continue
		}
		if e.op == o {
			return e, params, true, false
		}
		elsewhere = true
	}
	return endpoint{}, nil, false, elsewhere
}

// Endpoint says of one endpoint what tests and documents ask for.
type Endpoint struct {
	Kind, Op, Pattern string
	Action            domain.Action   // "" for an exempt one
	Also              []domain.Action // that the input can make of it
	Open              bool            // no token is looked at
}

// Name is how an endpoint is called: its operation, kind of mount and pattern.
func (e Endpoint) Name() string {
	return endpoint{kind: e.Kind, op: op(e.Op), pattern: e.Pattern}.name()
}

// Endpoints are all that there are, by the kind of their mount.
func (a *API) Endpoints() (out []Endpoint) {
	for _, kind := range slices.Sorted(maps.Keys(a.endpoints)) {
		for _, e := range a.endpoints[kind] {
			out = append(out, Endpoint{kind, string(e.op), e.pattern, e.action, e.also, e.open()})
		}
	}
	return out
}
