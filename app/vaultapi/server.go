package vaultapi

import (
	"context"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
)

// API is the surface for clients of Vault.
type API struct {
	gate      *actions.Gate
	log       *slog.Logger
	endpoints map[string][]endpoint // by the kind of mount
}

// New makes the surface before a gate. An endpoint without an action is a fault in
// Coffer and panics.
func New(gate *actions.Gate, log *slog.Logger) *API {
	a := &API{gate: gate, log: log, endpoints: map[string][]endpoint{}}
	for _, family := range [][]endpoint{
		a.sys(), a.mounts(), a.kv(), a.tokens(), a.approle(), a.leases(), a.wrapping(), a.policies(), a.transit(),
	} {
		for _, e := range family {
			mustDeclare(e)
			a.endpoints[e.kind] = append(a.endpoints[e.kind], e)
		}
	}
	return a
}

// Prefix begins every path of the surface.
func (a *API) Prefix() string { return prefix }

// Routes is one for each method: what stands behind it has actions of its own.
func (a *API) Routes() (out []httpd.Route) {
	for _, method := range methods {
		out = append(out, httpd.Route{Method: method, Path: prefix + "*", Handle: a.handle})
	}
	return out
}

// handle answers a request.
func (a *API) handle(c *fiber.Ctx) error {
	ctx, cancel := httpd.Context()
	defer cancel()
	path, slash, err := split(string(c.Request().URI().PathOriginal()))
	if err != nil {
		return err
	}
	header := c.Get(NamespaceHeader)
	if header != "" {
		c.Set(NamespaceHeader, printable(header)) // clients show it in their errors
	}
	r := &request{slash: slash, c: c}
	o := operationOf(c.Method(), c.Query("list") == "true")
	e, err := a.admit(ctx, r, header, path, o)
	if err != nil {
		return err
	}
	if o == opPatch && !mergesPatch(c.Get(fiber.HeaderContentType)) {
		return failf(http.StatusUnsupportedMediaType, "PATCH requires Content-Type: application/merge-patch+json")
	}
	wrap, err := a.wrapper(r, e)
	if err != nil {
		return err
	}
	answer, err := e.handle(ctx, r)
	if err == nil && wrap != nil {
		answer, err = wrap(ctx, answer)
	}
	httpd.Receipt(c, r.receipt)
	if err != nil {
		return err
	}
	return answer.send(c)
}

// admit finds the endpoint and who asks. Who presents no good token learns nothing
// of what is there.
func (a *API) admit(ctx context.Context, r *request, header string, path []string, o op) (endpoint, error) {
	open, isOpen := a.openEndpoint(ctx, r, header, path, o)
	if isOpen && exempt[open.name()] != "" || open.action == authz.SealStatus {
		return open, nil // answered sealed or not
	}
	var err error
	if r.service, err = a.gate.Service(); err != nil {
		return open, err
	}
	if r.who, err = caller(ctx, r.c, r.service, isOpen); err != nil || isOpen {
		return open, err
	}
	if r.place, err = a.locate(ctx, header, path, r.who.Subject); err != nil {
		return open, err
	}
	e, params, found, elsewhere := a.find(r.kind, o, r.path)
	r.params = params
	if found {
		r.who.Route = routeOf(r, o)
		return e, nil
	}
	// What is there is for those to know who may do everything.
	if !a.knowing(r.who.Subject, r.tenant) {
		return e, domain.Errorf(domain.Denied, "permission denied")
	}
	if elsewhere {
		return e, failf(http.StatusMethodNotAllowed, unsupported)
	}
	return e, noRoute(strings.Join(path, "/"))
}

// openEndpoint finds the endpoint of a path as somebody without a token sees it, if
// it is one that asks for none.
func (a *API) openEndpoint(ctx context.Context, r *request, header string, path []string, o op) (endpoint, bool) {
	p, err := a.locate(ctx, header, path, authz.Subject{})
	if err != nil {
		return endpoint{}, false
	}
	e, params, found, _ := a.find(p.kind, o, p.path)
	if !found || !e.open() {
		return endpoint{}, false
	}
	r.place, r.params = p, params
	return e, true
}

// knowing says whether a caller may know which paths there are: who may do everything
// in the tenant, in every layer of what it holds, or at the root an operator.
func (a *API) knowing(s authz.Subject, tenant string) bool {
	if tenant == "" {
		return slices.Contains(s.Appliance, domain.Operator)
	}
	layers := s.Tenants[domain.TenantID(tenant)]
	return len(layers) > 0 && !slices.ContainsFunc(layers, func(l authz.Layer) bool { return l.Role != domain.Owner })
}

// mergesPatch says whether a media type is that of RFC 7396.
func mergesPatch(header string) bool {
	kind, _, err := mime.ParseMediaType(header)
	return err == nil && kind == "application/merge-patch+json"
}

// printable leaves of a header what can go back in one.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, clip(s))
}
