package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

// Limits of a request.
const (
	MaxBody     = 1 << 20          // bytes
	maxHeader   = 16 << 10         // bytes of all headers together
	readTime    = 30 * time.Second // for a whole request to arrive
	idleTime    = 2 * time.Minute  // between requests of a connection
	requestTime = time.Minute      // for an action
)

// AuditHeader carries the receipt of the event that was logged.
const AuditHeader = "Coffer-Audit"

// RequestIDHeader carries the id under which the event can be found.
const RequestIDHeader = "X-Request-Id"

// Server answers the native API.
type Server struct {
	gate  *actions.Gate
	log   *slog.Logger
	app   *fiber.App
	conns connections
}

// New makes a server before a gate.
func New(gate *actions.Gate, log *slog.Logger) *Server {
	s := &Server{gate: gate, log: log, conns: connections{open: map[net.Conn]struct{}{}}}
	s.app = fiber.New(fiber.Config{
		AppName: "Coffer", DisableStartupMessage: true, DisableDefaultContentType: true,
		StrictRouting: true, CaseSensitive: true, Immutable: true,
		BodyLimit: MaxBody, ReadBufferSize: maxHeader, ReadTimeout: readTime, IdleTimeout: idleTime,
		ErrorHandler: func(c *fiber.Ctx, err error) error { return s.fail(c, err) },
	})
	s.app.Server().ConnState = s.conns.note
	for _, r := range s.routes() {
		s.app.Add(r.Method, r.Path, recovered(r.handle))
	}
	return s
}

// Serve answers on a listener until Shutdown.
func (s *Server) Serve(l net.Listener) error { return s.app.Listener(l) }

// Route is one way into the API, for tests and documents.
type Route struct {
	Method string
	Path   string
	Action domain.Action
	handle fiber.Handler
}

// on makes a route from an operation. There is no other way to make one, but for
// the three of the gate.
func on[In, Out any](s *Server, method, path string, op actions.Operation[In, Out]) Route {
	return Route{method, path, op.Action(), func(c *fiber.Ctx) error {
		ctx, cancel := requestContext()
		defer cancel()
		service, err := s.gate.Service()
		if err != nil {
			return err
		}
		who, err := s.caller(ctx, c, service, op.Action())
		if err != nil {
			return err
		}
		var in In
		if err := decode(c, &in); err != nil {
			return err
		}
		out, receipt, err := op.Do(ctx, service, who, in)
		return s.answer(c, out, receipt, err)
	}}
}

// requestContext bounds an action. It does not hang on the connection: what is
// under way when Coffer stops is finished, not cut.
func requestContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTime)
}

// recovered turns a panic of a handler into an error, so that one request cannot
// end the process for everybody.
func recovered(handle fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = domain.Errorf(domain.Internal, "panic: %v at %s", r, debug.Stack())
			}
		}()
		return handle(c)
	}
}

func (s *Server) answer(c *fiber.Ctx, out any, receipt audit.Receipt, err error) error {
	if receipt != (audit.Receipt{}) {
		c.Set(AuditHeader, receipt.String())
	}
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(out)
}

// caller finds out who asks.
func (s *Server) caller(ctx context.Context, c *fiber.Ctx, service *actions.Service, action domain.Action) (actions.Caller, error) {
	who := actions.Caller{Call: s.call(c)}
	var err error
	peer, local := c.Context().Conn().(peerConn)
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
		who.Subject, err = service.Socket(ctx, peer.cred.Uid)
	default:
		err = domain.Errorf(domain.Unauthentic, "no token was presented").WithHint("send: Authorization: Bearer cft_…")
	}
	return who, err
}

// call says how the request came.
func (s *Server) call(c *fiber.Ctx) audit.Call {
	id := domain.NewID("r_")
	c.Set(RequestIDHeader, id)
	source := c.Context().RemoteAddr().String()
	if peer, ok := c.Context().Conn().(peerConn); ok {
		source = peer.source()
	}
	return audit.Call{RequestID: id, Source: source, Client: printable(c.Get(fiber.HeaderUserAgent))}
}

// printable bounds what a client says of itself.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 80)]
}

// fail answers an error and tells the operator's log what callers do not see.
func (s *Server) fail(c *fiber.Ctx, err error) error {
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		err = routeError(e)
	}
	p := problemOf(err)
	if p.Status >= fiber.StatusInternalServerError && p.Kind != domain.Sealed.String() {
		s.log.LogAttrs(c.Context(), slog.LevelError, "request failed",
			slog.String("request_id", string(c.Response().Header.Peek(RequestIDHeader))),
			slog.String("route", c.Route().Path), slog.String("error", fmt.Sprint(err)))
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

// routeError gives the framework's own refusals our words.
func routeError(e *fiber.Error) error {
	switch e.Code {
	case fiber.StatusNotFound:
		return domain.Errorf(domain.NotFound, "there is nothing at this path").WithHint("see /api/v1 in the documentation")
	case fiber.StatusRequestTimeout:
		return domain.Errorf(domain.Unavailable, "the request did not arrive in time, or Coffer is stopping; nothing was done").
			WithHint("send it again")
	case fiber.StatusMethodNotAllowed:
		return domain.Errorf(domain.Invalid, "this path does not take that method")
	case fiber.StatusRequestEntityTooLarge:
		return domain.Errorf(domain.Limit, "the request is larger than %d bytes", MaxBody)
	}
	return domain.Errorf(domain.Invalid, "the request is malformed: %s", e.Message)
}
