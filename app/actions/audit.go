package actions

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

// AuditQuery asks for events of a tenant's log, or with the system operations of
// the appliance's own.
type AuditQuery struct {
	Tenant    string `path:"tenant" json:"-"`
	Last      int    `query:"last" json:"-" doc:"only the newest so many, and no other condition" schema:"minimum=1,maximum=1000"`
	From      string `query:"from" json:"-" doc:"first moment" schema:"format=date-time"`
	To        string `query:"to" json:"-" doc:"last moment" schema:"format=date-time"`
	Actor     string `query:"actor" json:"-" doc:"who, as it stands in events: person:p_…"`
	Action    string `query:"action" json:"-" doc:"what, as in /api/v1/actions"`
	Resource  string `query:"resource" json:"-" doc:"on what"`
	Outcome   string `query:"outcome" json:"-" doc:"what became of it" schema:"enum=ok|failed|refused|unknown"`
	RequestID string `query:"request_id" json:"-" doc:"the X-Request-Id of an answer"`
	Page
}

// Event is one record of the log, opened.
type Event struct {
	Seq       uint64          `json:"seq"`
	Type      string          `json:"type"`
	Time      time.Time       `json:"time"`
	Actor     string          `json:"actor,omitempty"`
	Role      string          `json:"role,omitempty"`
	Action    string          `json:"action,omitempty"`
	Resource  string          `json:"resource,omitempty"`
	Outcome   string          `json:"outcome,omitempty"`
	RequestID string          `json:"request_id,omitempty"`
	Source    string          `json:"source,omitempty"`
	Client    string          `json:"client,omitempty"`
	Auth      string          `json:"auth,omitempty"`
	Intent    *uint64         `json:"intent,omitempty" doc:"of an outcome: seq of its intent"`
	Detail    json.RawMessage `json:"detail,omitempty"`
	Leaf      string          `json:"leaf" doc:"hash of the record, hexadecimal"`
}

// Events is a page of a log; Next is the cursor of the one after it.
type Events struct {
	Events []Event `json:"events"`
	Next   string  `json:"next,omitempty"`
}

func (q AuditQuery) filter() (f audit.Filter, err error) {
	if err := q.Page.check(); err != nil {
		return f, err
	}
	if q.Last < 0 || q.Last > MaxPage {
		return f, domain.Fieldf("last", "%d is not between 1 and %d", q.Last, MaxPage)
	}
	f = audit.Filter{
		Actor: q.Actor, Action: domain.Action(q.Action), Resource: q.Resource, Outcome: audit.Outcome(q.Outcome), RequestID: q.RequestID,
		Limit: q.Page.size() + 2, // one tells that there is more, one may be the cursor's own
	}
	if q.Last > 0 && (q.Actor != "" || q.Action != "" || q.Resource != "" || q.Outcome != "" || q.RequestID != "" || q.From != "" || q.To != "" || q.After != "") {
		return f, domain.Fieldf("last", "cannot be combined with other conditions")
	}
	if f.From, err = parseTime("from", q.From); err != nil {
		return f, err
	}
	if f.To, err = parseTime("to", q.To); err != nil {
		return f, err
	}
	f.After, err = parseCursor(q.After)
	return f, err
}

func parseTime(field, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, domain.Fieldf(field, "%.40q is not a time", s).WithHint("write it like 2026-01-31T15:04:05Z")
	}
	return t, nil
}

// AuditRead reads a tenant's log; an operator sees what operators did.
var AuditRead = Operation[AuditQuery, Events]{
	action: authz.AuditRead,
	ask: func(_ context.Context, _ *Service, in AuditQuery) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err == nil {
			_, err = in.filter()
		}
		return authz.Request{Tenant: tenant}, err
	},
	act: readLog,
}

// AuditSystem reads the appliance's own log.
var AuditSystem = Operation[AuditQuery, Events]{
	action: authz.AuditSystem,
	ask: func(_ context.Context, _ *Service, in AuditQuery) (authz.Request, error) {
		_, err := in.filter()
		return authz.Request{Resource: "read"}, err
	},
	act: readLog,
}

func readLog(ctx context.Context, c *call, in AuditQuery) (Events, error) {
	f, err := in.filter()
	if err != nil {
		return Events{}, err
	}
	if c.permit.Grant().OwnOnly() {
		f.Actor = c.who.Subject.Principal.String()
	}
	out := Events{Events: []Event{}}
	if in.Last > 0 {
		out.Events, err = c.lastEvents(ctx, f, in.Last)
	} else {
		err = c.log.Query(ctx, c.permit.Tenant(), f, func(e audit.Entry) error {
			if in.After == "" || e.Header.Seq > f.After {
				out.Events = append(out.Events, eventOf(e))
			}
			return nil
		})
		if size := in.Page.size(); len(out.Events) > size {
			out.Events = out.Events[:size]
			out.Next = cursor(out.Events[size-1].Seq)
		}
	}
	c.detail["count"] = len(out.Events)
	return out, err
}

// lastEvents gives the newest events, oldest first; of one actor only if the
// filter names one.
func (c *call) lastEvents(ctx context.Context, f audit.Filter, n int) ([]Event, error) {
	entries, err := c.log.Tail(ctx, c.permit.Tenant(), n)
	out := []Event{}
	for _, e := range entries {
		if f.Actor == "" || f.Actor == e.Event.Actor {
			out = append(out, eventOf(e))
		}
	}
	return out, err
}

func eventOf(e audit.Entry) Event {
	out := Event{
		Seq: e.Header.Seq, Type: e.Header.Type.String(), Time: e.Header.Time(), Leaf: hex.EncodeToString(e.Leaf[:]),
		Actor: e.Event.Actor, Role: e.Event.Role, Action: e.Event.Action, Resource: e.Event.Resource,
		Outcome: e.Event.Outcome, RequestID: e.Event.RequestID, Source: e.Event.Source, Client: e.Event.Client,
		Auth: e.Event.Auth, Intent: e.Event.Intent, Detail: e.Event.Detail,
	}
	if e.Body != nil {
		out.Detail = e.Body
	}
	return out
}

// Verified says what was verified: every record from the first to the head.
type Verified struct {
	Tenant  domain.TenantID `json:"tenant,omitempty"`
	Records uint64          `json:"records"`
	Head    string          `json:"head" doc:"hash of the last record, hexadecimal"`
	First   time.Time       `json:"first"`
	Last    time.Time       `json:"last"`
}

// AuditVerify verifies a tenant's log from its first record.
var AuditVerify = Operation[TenantRef, Verified]{action: authz.AuditVerify, ask: askTenant, act: verifyLog[TenantRef]}

// AuditVerifySystem verifies the appliance's own log.
var AuditVerifySystem = Operation[Nothing, Verified]{
	action: authz.AuditSystem,
	ask: func(context.Context, *Service, Nothing) (authz.Request, error) {
		return authz.Request{Resource: "verify"}, nil
	},
	act: verifyLog[Nothing],
}

func verifyLog[In any](ctx context.Context, c *call, _ In) (Verified, error) {
	s, err := c.log.Verify(ctx, c.permit.Tenant())
	if err != nil {
		return Verified{}, err
	}
	c.detail["records"] = s.Records
	return Verified{Tenant: c.permit.Tenant(), Records: s.Records, Head: hex.EncodeToString(s.Leaf[:]), First: s.First, Last: s.Last}, nil
}
