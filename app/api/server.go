package api

import (
	"context"
	"log/slog"
	"reflect"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/audit"
)

// CodeHeader carries a code of the second factor, for one request.
const CodeHeader = "Coffer-Code"

// API is the native API, a surface of httpd.
type API struct {
	gate *actions.Gate
	log  *slog.Logger
}

// New makes the API before a gate.
func New(gate *actions.Gate, log *slog.Logger) *API { return &API{gate: gate, log: log} }

// Prefix begins every path of the API.
func (a *API) Prefix() string { return "/api/" }

// route is a route with what the document says of it.
type route struct {
	httpd.Route
	in, out reflect.Type
	also    domain.Action // the other action that the input can make of it
	creates bool          // takes an idempotency key
}

// on makes a route from an operation. There is no other way to make one, but for
// the two of the gate and the document.
func on[In, Out any](a *API, method, path string, op actions.Operation[In, Out]) route {
	return bare[In, Out](method, path, op.Action(), func(c *fiber.Ctx) error {
		ctx, cancel := httpd.Context()
		defer cancel()
		service, err := a.gate.Service()
		if err != nil {
			return err
		}
		who, err := a.caller(ctx, c, service, op.Action())
		if err != nil {
			return err
		}
		if who.Once, err = key(c); err != nil {
			return err
		}
		var in In
		if err := decode(c, &in); err != nil {
			return err
		}
		if large, ok := any(&in).(interface{ AsJSON() }); ok {
			large.AsJSON()
		}
		out, receipt, err := op.Do(ctx, service, who, in)
		return answer(c, out, receipt, err)
	}).takes(op.Also(), op.Creates())
}

// bare makes a route that is handled by hand.
func bare[In, Out any](method, path string, action domain.Action, handle fiber.Handler) route {
	return route{
		Route: httpd.Route{Method: method, Path: path, Action: action, Handle: handle},
		in:    reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
	}
}

func (r route) takes(also domain.Action, creates bool) route {
	r.also, r.creates = also, creates
	return r
}

// Routes is the whole API.
func (a *API) Routes() []httpd.Route {
	var out []httpd.Route
	for _, r := range a.routes() {
		guarded := r.Route
		guarded.Handle = a.guarded(r)
		out = append(out, guarded)
	}
	return out
}

func answer(c *fiber.Ctx, out any, receipt audit.Receipt, err error) error {
	httpd.Receipt(c, receipt)
	if err != nil {
		return err
	}
	httpd.RequestID(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	large, ok := out.(interface {
		JSON() ([][]byte, error)
		Done()
	})
	if !ok {
		return c.JSON(out)
	}
	pieces, err := large.JSON()
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	httpd.Send(c, pieces, large.Done)
	return nil
}

// caller finds out who asks.
func (a *API) caller(ctx context.Context, c *fiber.Ctx, service *actions.Service, action domain.Action) (who actions.Caller, err error) {
	if info, _ := authz.Lookup(action); info.Stranger { // what is in the request itself proves something, or nothing does
		who = actions.Caller{Subject: authz.Subject{Principal: domain.Principal{Kind: domain.Nobody, ID: "stranger"}}, Call: httpd.Call(c)}
	} else {
		who, err = httpd.Caller(ctx, c, service)
	}
	who.Code = domain.SecretString(c.Get(CodeHeader))
	return who, err
}

// Fail answers an error as problem details.
func (a *API) Fail(c *fiber.Ctx, err error) error {
	p := httpd.ProblemOf(err)
	if p.Ours() {
		httpd.LogFailure(a.log, c, err)
	}
	return p.Answer(c)
}
