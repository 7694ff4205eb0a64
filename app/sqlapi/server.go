package sqlapi

import (
	"context"
	"log/slog"
	"slices"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/httpd"
)

// API is the surface for clients of libSQL.
type API struct {
	gate   *actions.Gate
	log    *slog.Logger
	budget budget
}

// New makes the surface before a gate.
func New(gate *actions.Gate, log *slog.Logger) *API { return &API{gate: gate, log: log} }

// Prefix begins every path of the surface.
func (a *API) Prefix() string { return "/t/" }

// Routes are those of the protocol, twice: clients that resolve a URL as a
// browser does drop the last part of one without a slash at its end, others
// append to what they have.
func (a *API) Routes() (out []httpd.Route) {
	action := actions.SQLStream.Action()
	for _, base := range []string{"/t/:tenant/", "/t/:tenant/db/"} {
		out = append(out,
			httpd.Route{Method: fiber.MethodGet, Path: base + "v2", Handle: there},
			httpd.Route{Method: fiber.MethodGet, Path: base + "v3", Handle: there},
			httpd.Route{Method: fiber.MethodGet, Path: base + "v3-protobuf", Handle: notThere},
			httpd.Route{Method: fiber.MethodPost, Path: base + "v2/pipeline", Action: action, Handle: a.pipeline},
			httpd.Route{Method: fiber.MethodPost, Path: base + "v3/pipeline", Action: action, Handle: a.pipeline},
			httpd.Route{Method: fiber.MethodPost, Path: base + "v3/cursor", Action: action, Handle: a.cursor},
		)
	}
	return out
}

// there says that a version of the protocol is spoken.
func there(c *fiber.Ctx) error { return c.SendStatus(fiber.StatusOK) }

// notThere says that an encoding is not: clients that ask go on with JSON.
func notThere(*fiber.Ctx) error {
	return domain.Errorf(domain.NotFound, "the protocol is spoken in JSON, not in Protobuf")
}

// begin finds out who asks, before the body is looked at.
func (a *API) begin(ctx context.Context, c *fiber.Ctx) (*actions.Service, actions.Caller, error) {
	service, err := a.gate.Service()
	if err != nil {
		return nil, actions.Caller{}, err
	}
	who, err := httpd.Caller(ctx, c, service)
	return service, who, err
}

// pipeline answers any number of requests on a stream at once.
func (a *API) pipeline(c *fiber.Ctx) error {
	ctx, cancel := httpd.Context()
	defer cancel()
	service, who, err := a.begin(ctx, c)
	if err != nil {
		return err
	}
	var p pipeline
	if err := decode(c.BodyRaw(), &p); err != nil {
		return err
	}
	texts, err := p.check()
	if err != nil {
		return err
	}
	results := answer{budget: &a.budget}
	defer results.release()
	out, receipt, err := actions.SQLStream.Do(ctx, service, who, actions.SQLStreamIn{
		Tenant: c.Params("tenant"), Baton: text(p.Baton), Texts: texts.sql, Stored: texts.stored,
		Run: func(ctx context.Context, s *actions.Stream) error { return p.run(ctx, s, &results) },
	})
	httpd.Receipt(c, receipt)
	switch {
	case actions.StreamCode(err) == expired && p.onlyCloses():
		p.closed(&results) // what was asked for is so
	case err != nil:
		return err
	}
	httpd.RequestID(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	var head answer
	head.raw(`{"baton":`)
	head.baton(out.Baton)
	head.raw(`,"base_url":null,"results":[`)
	body := c.Response().BodyWriter()
	for _, part := range [][]byte{head.buf, results.buf, []byte(`]}`)} {
		if _, err := body.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// expired is the code of a stream that is not there any more.
const expired = "STREAM_EXPIRED"

// onlyCloses says whether nothing is asked for but to close the stream.
func (p pipeline) onlyCloses() bool {
	return len(p.Requests) > 0 && !slices.ContainsFunc(p.Requests, func(r streamRequest) bool { return r.Type != "close" })
}

// closed answers that the stream is closed.
func (p pipeline) closed(a *answer) {
	for i := range p.Requests {
		if i > 0 {
			a.raw(`,`)
		}
		a.raw(`{"type":"ok","response":{"type":"close"}}`)
	}
}

// text is what a pointer points to, "" for none.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// cursorIn is a request to the cursor, checked.
type cursorIn struct {
	stream actions.SQLStreamIn
	batch  batch
}

func parseCursor(c *fiber.Ctx) (in cursorIn, err error) {
	var r cursorRequest
	if err := decode(c.BodyRaw(), &r); err != nil {
		return in, err
	}
	if r.Batch == nil {
		return in, protocolError("batch", "missing")
	}
	var t texts
	if err := r.Batch.check(&t); err != nil {
		return in, err
	}
	in.batch = *r.Batch
	in.stream = actions.SQLStreamIn{Tenant: c.Params("tenant"), Baton: text(r.Baton), Texts: t.sql, Stored: t.stored}
	return in, nil
}
