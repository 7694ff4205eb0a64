package api

import (
	"context"
	"log/slog"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/audit"
)

// API is the native API, a surface of httpd.
type API struct {
	gate *actions.Gate
	log  *slog.Logger
}

// New makes the API before a gate.
func New(gate *actions.Gate, log *slog.Logger) *API { return &API{gate: gate, log: log} }

// Prefix begins every path of the API.
func (a *API) Prefix() string { return "/api/" }

// on makes a route from an operation. There is no other way to make one, but for
// the two of the gate.
func on[In, Out any](a *API, method, path string, op actions.Operation[In, Out]) httpd.Route {
	return httpd.Route{Method: method, Path: path, Action: op.Action(), Handle: func(c *fiber.Ctx) error {
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
		var in In
		if err := decode(c, &in); err != nil {
			return err
		}
		out, receipt, err := op.Do(ctx, service, who, in)
		return answer(c, out, receipt, err)
	}}
}

func answer(c *fiber.Ctx, out any, receipt audit.Receipt, err error) error {
	httpd.Receipt(c, receipt)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(out)
}

// caller finds out who asks.
func (a *API) caller(ctx context.Context, c *fiber.Ctx, service *actions.Service, action domain.Action) (actions.Caller, error) {
	who := actions.Caller{Call: httpd.Call(c)}
	var err error
	uid, local := httpd.Peer(c)
	header := c.Get(fiber.HeaderAuthorization)
	text, bearer := strings.CutPrefix(header, "Bearer ")
	switch {
	case action == authz.WorkloadLogin:
		who.Subject, who.Call.Auth = authz.Subject{Principal: domain.Principal{Kind: domain.Nobody, ID: "login"}}, "approle"
	case bearer:
		who.Call.Auth = "token"
		who.Subject, err = service.Bearer(ctx, domain.SecretString(text), who.Call.Source)
	case header != "":
		err = domain.Errorf(domain.Unauthentic, "the Authorization header is not a bearer token").
			WithHint("send: Authorization: Bearer cft_…")
	case local:
		who.Call.Auth = "socket"
		who.Subject, err = service.Socket(ctx, uid)
	default:
		err = domain.Errorf(domain.Unauthentic, "no token was presented").WithHint("send: Authorization: Bearer cft_…")
	}
	if err == nil && who.Call.Auth == "token" {
		httpd.Vouch(c)
	}
	return who, err
}

// Fail answers an error as problem details.
func (a *API) Fail(c *fiber.Ctx, err error) error {
	p := httpd.ProblemOf(err)
	if p.Ours() {
		httpd.LogFailure(a.log, c, err)
	}
	if p.Status == fiber.StatusUnauthorized {
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Status(p.Status)
	if err := c.JSON(p); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	return nil
}
