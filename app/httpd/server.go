package httpd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/limit"
	"coffer/tenants/fair"
)

// Limits of a request.
const (
	MaxBody     = 1 << 20     // bytes
	requestTime = time.Minute // for an action
)

// methodList is the method with which some clients of Vault list.
const methodList = "LIST"

// Route is one way in: a method and a path, the action that it is for, and what
// answers. The action is "" only for what stands in Exempt.
type Route struct {
	Method string
	Path   string
	Action domain.Action
	Handle fiber.Handler
}

// Surface is a family of routes that answer in one manner.
type Surface interface {
	// Prefix begins the paths for which the surface answers when there is no
	// route: the longest one decides.
	Prefix() string
	// Routes are all routes of the surface.
	Routes() []Route
	// Fail answers a request that ended with an error.
	Fail(c *fiber.Ctx, err error) error
}

// Exempt lists, with the reason, the routes that have no action: they show
// nothing of a tenant, and no event is written for them.
var Exempt = map[string]string{
	"GET /assets/*":            "what every page loads; the same for everybody",
	"GET /trust":               "how to trust the certificate, for who cannot sign in before that",
	"GET /ca.crt":              "the authority's certificate, which stands in every TLS handshake",
	"GET /login":               "the form to sign in with; what is sent with it is session.create",
	"GET /setup":               "the form for the link to an account; looking at a link is link.show",
	"GET /join":                "the form for an invitation; looking at a link is link.show",
	"POST /theme":              "keeps in a cookie whether pages are light or dark",
	"GET /api/v1/openapi.json": "it is the same for every appliance and shows nothing of this one",

	"GET /t/:tenant/v2":             "which versions of the protocol are spoken; clients ask without a token, whatever the tenant",
	"GET /t/:tenant/v3":             "the same",
	"GET /t/:tenant/v3-protobuf":    "the same; it is not",
	"GET /t/:tenant/db/v2":          "the same, at the other form of the address",
	"GET /t/:tenant/db/v3":          "the same",
	"GET /t/:tenant/db/v3-protobuf": "the same",

	"GET /v1/*":    "behind it stand the endpoints of Vault's protocol, each with its action; package vaultapi refuses one without",
	"HEAD /v1/*":   "the same",
	"POST /v1/*":   "the same",
	"PUT /v1/*":    "the same",
	"PATCH /v1/*":  "the same",
	"DELETE /v1/*": "the same",
	"LIST /v1/*":   "the same",

	"GET /healthz":  "for supervisors; says one word of the appliance",
	"HEAD /healthz": "the same",
	"GET /readyz":   "for supervisors; says one word of the appliance",
	"HEAD /readyz":  "the same",
}

// DefaultConns is how many connections a server has at once if nobody says
// otherwise.
const DefaultConns = 1024

// Options of a server.
type Options struct {
	MaxConns int            // connections at once; DefaultConns if 0
	Proxies  []netip.Prefix // whose header X-Forwarded-For is believed; usually none
	HSTS     bool           // tell browsers to come by HTTPS only; see commonHeaders
	Turns    *fair.Queue    // in which large answers are sent; nil for none
	Now      func() time.Time
}

// Failed sign-ins and bad tokens that a source may have before it is asked to
// slow down, and how long it takes until it may have one more.
const (
	failBurst = 30
	failEvery = 2 * time.Second
	failMost  = 10_000 // sources that are remembered
)

// Server answers for its surfaces on any number of listeners.
type Server struct {
	log      *slog.Logger
	app      *fiber.App
	conns    connections
	surfaces []Surface
	proxies  []netip.Prefix
	hsts     bool
	failures *limit.Limiter
	patience patience
	turns    *fair.Queue // see gate; nil for none

	mu        sync.Mutex
	listeners []net.Listener
	stopping  bool
}

// New makes a server of surfaces. A route whose action is not in the table, or
// that has none and is not exempt, is a fault in Coffer and panics.
func New(log *slog.Logger, o Options, surfaces ...Surface) *Server {
	s := &Server{
		log: log, surfaces: surfaces, proxies: o.Proxies, hsts: o.HSTS, patience: usualPatience, turns: o.Turns,
		conns:    connections{open: map[*conn]struct{}{}, most: cmp.Or(o.MaxConns, DefaultConns)},
		failures: limit.New(limit.Options{Burst: failBurst, Every: failEvery, Most: failMost, Now: o.Now}),
	}
	// Time limits are not the framework's business; see conn.
	s.app = fiber.New(fiber.Config{
		AppName: "Coffer", DisableStartupMessage: true, DisableDefaultContentType: true,
		StrictRouting: true, CaseSensitive: true, Immutable: true, DisablePreParseMultipartForm: true,
		BodyLimit: MaxBody, ReadBufferSize: maxHeader + 512, ErrorHandler: s.fail,
		RequestMethods: append(slices.Clone(fiber.DefaultMethods), methodList),
	})
	server := s.app.Server()
	server.ConnState = func(c net.Conn, state fasthttp.ConnState) {
		if of, ok := c.(*conn); ok && state == fasthttp.StateIdle {
			of.answered()
		}
	}
	inner := server.Handler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		of, _ := ctx.Conn().(*conn)
		for _, h := range commonHeaders(s.hsts && of != nil && of.config != nil) {
			ctx.Response.Header.Set(h[0], h[1])
		}
		inner(ctx)
	}
	for _, surface := range surfaces {
		for _, r := range surface.Routes() {
			mustDeclare(r)
			s.app.Add(r.Method, r.Path, s.handler(surface, r.Handle))
		}
	}
	return s
}

// mustDeclare is the rule that every route has an action.
func mustDeclare(r Route) {
	name := r.Method + " " + r.Path
	_, known := authz.Lookup(r.Action)
	if _, exempt := Exempt[name]; known == exempt {
		panic("httpd: " + name + " needs an action of the table, or a place in Exempt")
	}
}

// Serve answers on a listener until Shutdown, and closes it.
func (s *Server) Serve(l net.Listener) error {
	d := &door{Listener: l, server: s}
	if !s.begin(d) {
		return l.Close() // Shutdown came first
	}
	return s.app.Listener(d)
}

// begin remembers a listener, unless the server is stopping. The framework
// itself forgets to stop a server that was asked to before it served.
func (s *Server) begin(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.listeners = append(s.listeners, l)
	}
	return !s.stopping
}

// stopListening lets no further connection in.
func (s *Server) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, l := range s.listeners {
		_ = l.Close() // the framework, which closes it too, hears of a failure
	}
}

// handler runs a route's handler. Its error is answered in the surface's manner;
// a panic becomes an error, so that one request cannot end the process for
// everybody.
func (s *Server) handler(surface Surface, handle fiber.Handler) fiber.Handler {
	safely := func(c *fiber.Ctx) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = domain.Errorf(domain.Internal, "panic: %v at %s", r, debug.Stack())
			}
		}()
		return handle(c)
	}
	return func(c *fiber.Ctx) error {
		if of := connOf(c); of != nil && of.gate != nil {
			of.gate.tenant = c.Params("tenant")
		}
		if err := safely(c); err != nil {
			return surface.Fail(c, s.slowDown(c, err))
		}
		return nil
	}
}

// slowDown counts a credential that did not hold against the source it came
// from. A source that had too many is told to wait instead of why it failed. It
// is asked last: who has a good credential never comes here, from whatever
// source, so nobody can be locked out by somebody else's failures.
func (s *Server) slowDown(c *fiber.Ctx, err error) error {
	key, counted := SourceKey(c)
	if !counted || !errors.Is(err, domain.ErrCredential) {
		return err
	}
	ok, wait := s.failures.Take(key)
	if ok {
		return err
	}
	seconds := int(wait/time.Second) + 1
	c.Set(fiber.HeaderRetryAfter, strconv.Itoa(seconds))
	return domain.Errorf(domain.Limit, "too many credentials that do not hold came from your address").
		WithHint("try again in %d seconds; a good credential is let through at any time", seconds)
}

// fail answers what reached no route, in the manner of the surface at whose
// prefix the path begins.
func (s *Server) fail(c *fiber.Ctx, err error) error {
	var best Surface
	for _, surface := range s.surfaces {
		if strings.HasPrefix(c.Path(), surface.Prefix()) && (best == nil || len(surface.Prefix()) > len(best.Prefix())) {
			best = surface
		}
	}
	if best == nil {
		best = s.surfaces[0]
	}
	return best.Fail(c, err)
}

// Context bounds an action. It does not hang on the connection: what is under
// way when Coffer stops is finished, not cut.
func Context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTime)
}

// LogFailure tells the operator's log what callers do not see.
func LogFailure(log *slog.Logger, c *fiber.Ctx, err error) {
	log.LogAttrs(c.Context(), slog.LevelError, "request failed",
		slog.String("request_id", RequestID(c)),
		slog.String("route", c.Route().Path), slog.String("error", fmt.Sprint(err)))
}
