package httpd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"coffer/app/authz"
	"coffer/app/domain"
)

// Limits of a request.
const (
	MaxBody     = 1 << 20          // bytes
	maxHeader   = 16 << 10         // bytes of all headers together
	readTime    = 30 * time.Second // for a whole request to arrive
	idleTime    = 2 * time.Minute  // between requests of a connection
	requestTime = time.Minute      // for an action
)

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
	"GET /api/v1/openapi.json": "it is the same for every appliance and shows nothing of this one",
}

// Options of a server.
type Options struct {
	Proxies []netip.Prefix // peers that are believed when they say for whom they ask
}

// Server answers for its surfaces on any number of listeners.
type Server struct {
	log      *slog.Logger
	options  Options
	app      *fiber.App
	conns    connections
	surfaces []Surface

	mu        sync.Mutex
	listeners []net.Listener
	stopping  bool
}

// New makes a server of surfaces. A route whose action is not in the table, or
// that has none and is not exempt, is a fault in Coffer and panics.
func New(log *slog.Logger, o Options, surfaces ...Surface) *Server {
	s := &Server{log: log, options: o, conns: connections{open: map[net.Conn]struct{}{}}, surfaces: surfaces}
	s.app = fiber.New(fiber.Config{
		AppName: "Coffer", DisableStartupMessage: true, DisableDefaultContentType: true,
		StrictRouting: true, CaseSensitive: true, Immutable: true,
		BodyLimit: MaxBody, ReadBufferSize: maxHeader, ReadTimeout: readTime, IdleTimeout: idleTime,
		ErrorHandler: s.fail,
	})
	s.app.Server().ConnState = s.conns.note
	for _, surface := range surfaces {
		for _, r := range surface.Routes() {
			mustDeclare(r)
			s.app.Add(r.Method, r.Path, handler(surface, r.Handle))
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
	once := &closeOnce{Listener: l}
	if !s.begin(once) {
		return l.Close() // Shutdown came first
	}
	return s.app.Listener(once)
}

// closeOnce is a listener that both the framework and Shutdown may close.
type closeOnce struct {
	net.Listener
	once sync.Once
	err  error
}

// Close closes the listener the first time.
func (l *closeOnce) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
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
func handler(surface Surface, handle fiber.Handler) fiber.Handler {
	safely := func(c *fiber.Ctx) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = domain.Errorf(domain.Internal, "panic: %v at %s", r, debug.Stack())
			}
		}()
		return handle(c)
	}
	return func(c *fiber.Ctx) error {
		if err := safely(c); err != nil {
			return surface.Fail(c, err)
		}
		return nil
	}
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
