package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit/record"
)

// Permit allows one request what its grant allows, once, and makes sure that
// it ends as a record. It comes from Log.Begin alone; a nil, zero or finished
// Permit allows nothing. Whoever gets one finishes it on every path:
//
//	p, err := log.Begin(ctx, grant, call)
//	…
//	defer p.Abort()
//	…
//	receipt, err := p.Finish(ctx, audit.OK, nil)
//
// A permit that is dropped all the same ends with outcome "unknown" and an
// alarm once the garbage collector finds it. Do not copy a Permit.
type Permit struct {
	_ noCopy
	c *permit
}

// noCopy makes go vet find copies.
type noCopy struct{}

// Lock and Unlock are what go vet looks for.
func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// permit is the part of a Permit that outlives it until its record is written.
type permit struct {
	log   *Log
	tl    *tenantLog
	grant authz.Grant
	call  Call

	mu       sync.Mutex
	finished bool
	intended bool // the intent is durable
	intent   Receipt
}

// permits are those that are not finished.
type permits struct {
	mu   sync.Mutex
	open map[*permit]struct{}
}

func (ps *permits) add(c *permit) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.open == nil {
		ps.open = map[*permit]struct{}{}
	}
	ps.open[c] = struct{}{}
}

func (ps *permits) remove(c *permit) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.open, c)
}

// abandonAll ends every permit with outcome "unknown".
func (ps *permits) abandonAll() {
	ps.mu.Lock()
	list := make([]*permit, 0, len(ps.open))
	for c := range ps.open {
		list = append(list, c)
	}
	ps.mu.Unlock()
	for _, c := range list {
		c.abandon("the appliance shut down")
	}
}

// Begin opens a permit. It refuses the zero Grant (Internal), a tenant that is
// not registered (Denied, with the words of authz), a tenant whose share of
// the log or a log whose space is used up (Limit), and everything once the log
// cannot be written (Unavailable). It writes nothing yet.
func (l *Log) Begin(ctx context.Context, g authz.Grant, c Call) (*Permit, error) {
	if !g.Valid() {
		return nil, domain.Errorf(domain.Internal, "a permit was asked for without a grant")
	}
	if err := l.queue.usable(); err != nil {
		return nil, err
	}
	t := l.find(g.Tenant())
	if t == nil {
		return nil, errNoTenant()
	}
	if err := l.admit(t, cleansUp(g)); err != nil {
		return nil, err
	}
	// The key is had now, so that what is done can be recorded afterwards.
	if _, err := l.keys.key(ctx, t.tag, t.period(l.o.Now())); err != nil {
		return nil, err
	}
	inner := &permit{log: l, tl: t, grant: g, call: c}
	p := &Permit{c: inner}
	l.permits.add(inner)
	if err := l.queue.usable(); err != nil { // Close may have gone over the permits already
		l.permits.remove(inner)
		return nil, err
	}
	runtime.AddCleanup(p, dropped, inner)
	return p, nil
}

// dropped runs when a Permit is garbage. Its work is left to the keeper.
func dropped(c *permit) {
	c.mu.Lock()
	finished := c.finished
	c.mu.Unlock()
	if finished {
		return
	}
	c.log.keeper.later(func() {
		c.abandon("the permit was dropped")
		c.log.keeper.alarm(Alarm{
			Kind: PermitDropped, Tenant: c.grant.Tenant(),
			Text: fmt.Sprintf("a permit for %s was never finished; its outcome is recorded as unknown", c.grant.Action()),
		})
	})
}

// Check is what a keeper of keys or handles calls before it gives one: the
// permit is open and is for this tenant ("" for the appliance) and, if any are
// named, for one of these actions. Anything else is an Internal error, because
// only a fault in Coffer leads there.
func (p *Permit) Check(tenant domain.TenantID, actions ...domain.Action) error {
	if p == nil || p.c == nil {
		return domain.Errorf(domain.Internal, "no permit")
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.c.check(tenant, actions)
}

func (c *permit) check(tenant domain.TenantID, actions []domain.Action) error {
	switch {
	case c.finished:
		return domain.Errorf(domain.Internal, "the permit for %s is finished", c.grant.Action())
	case c.grant.Tenant() != tenant:
		return domain.Errorf(domain.Internal, "the permit for %s is for another tenant", c.grant.Action())
	case len(actions) > 0 && !slices.Contains(actions, c.grant.Action()):
		return domain.Errorf(domain.Internal, "the permit for %s is for another action", c.grant.Action())
	}
	return nil
}

// CheckChange is Check for a change: the action must be one that changes
// something, and its intent must be durable.
func (p *Permit) CheckChange(tenant domain.TenantID, actions ...domain.Action) error {
	if p == nil || p.c == nil {
		return domain.Errorf(domain.Internal, "no permit")
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if err := p.c.check(tenant, actions); err != nil {
		return err
	}
	if !p.c.grant.Changes() || !p.c.intended {
		return domain.Errorf(domain.Internal, "the permit for %s has no durable intent for a change", p.c.grant.Action())
	}
	return nil
}

// Grant is what the permit was opened with; the zero Grant for no permit.
func (p *Permit) Grant() authz.Grant {
	if p == nil || p.c == nil {
		return authz.Grant{}
	}
	return p.c.grant
}

// Tenant is where the permit allows something, "" for the appliance.
func (p *Permit) Tenant() domain.TenantID {
	if g := p.Grant(); g.Valid() {
		return g.Tenant()
	}
	return ""
}

// Action is what the permit allows, "" for no permit.
func (p *Permit) Action() domain.Action {
	if g := p.Grant(); g.Valid() {
		return g.Action()
	}
	return ""
}

// IntentID names the permit's intent once it is durable.
func (p *Permit) IntentID() (id IntentID, ok bool) {
	if p == nil || p.c == nil {
		return id, false
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return intentID(p.c.tl.tag, p.c.intent.Seq), p.c.intended
}

// Receipt is the intent's, once it is durable: what a streamed answer can show
// before it is complete.
func (p *Permit) Receipt() (r Receipt, ok bool) {
	if p == nil || p.c == nil {
		return r, false
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.c.intent, p.c.intended
}

// Intent records what is about to happen; it is durable when Intent returns
// nil. Changes need it before they happen, and answers that are streamed
// before their first part. It is an error after Finish and a second time.
func (p *Permit) Intent(ctx context.Context, d Detail) (IntentID, error) {
	if p == nil || p.c == nil {
		return IntentID{}, domain.Errorf(domain.Internal, "no permit")
	}
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished || c.intended {
		return IntentID{}, domain.Errorf(domain.Internal, "an intent for %s at the wrong time", c.grant.Action())
	}
	detail, err := d.encode()
	if err != nil {
		return IntentID{}, err
	}
	it, err := c.log.seal(ctx, c.tl, record.Intent, c.payload("", detail))
	if err != nil {
		return IntentID{}, err
	}
	items, err := c.log.append(it)
	if err != nil {
		return IntentID{}, fmt.Errorf("recording the intent of %s: %w", c.grant.Action(), err)
	}
	c.intended, c.intent = true, items[0].receipt
	return intentID(c.tl.tag, c.intent.Seq), nil
}

// Finish ends the permit with what became of the request.
//
// Without an intent it writes one event, which is durable when Finish returns
// nil; only then may the answer leave. After an intent it queues the outcome
// and does not wait, since the intent is durable and the outcome can be found
// again after a crash; the receipt is the intent's. On an error nothing may be
// answered. A change must not end OK without an intent.
func (p *Permit) Finish(ctx context.Context, o Outcome, d Detail) (Receipt, error) {
	return p.finish(ctx, o, d, false)
}

// FinishDurable is Finish for streamed answers: the outcome is durable when it
// returns nil, and the last part may leave. The receipt is the outcome's.
func (p *Permit) FinishDurable(ctx context.Context, o Outcome, d Detail) (Receipt, error) {
	return p.finish(ctx, o, d, true)
}

func (p *Permit) finish(ctx context.Context, o Outcome, d Detail, wait bool) (Receipt, error) {
	if p == nil || p.c == nil {
		return Receipt{}, domain.Errorf(domain.Internal, "no permit")
	}
	c := p.c
	defer runtime.KeepAlive(p)
	if !o.valid() {
		return Receipt{}, domain.Errorf(domain.Internal, "%q is no outcome", string(o))
	}
	detail, err := d.encode()
	if err != nil {
		detail, _ = Detail{"omitted": "the detail could not be recorded"}.encode()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.finished:
		return Receipt{}, domain.Errorf(domain.Internal, "the permit for %s is finished", c.grant.Action())
	case o == OK && c.grant.Changes() && !c.intended:
		return Receipt{}, domain.Errorf(domain.Internal, "the change %s ended without an intent", c.grant.Action())
	}
	c.finished = true
	c.log.permits.remove(c)
	return c.end(ctx, o, detail, wait)
}

// end writes the last record of the permit; c.mu is held.
func (c *permit) end(ctx context.Context, o Outcome, detail json.RawMessage, wait bool) (Receipt, error) {
	kind, payload := record.Event, c.payload(o, detail)
	if c.intended {
		kind, payload.Intent = record.Outcome, &c.intent.Seq
	}
	it, err := c.log.seal(context.WithoutCancel(ctx), c.tl, kind, payload)
	if err != nil {
		return Receipt{}, err
	}
	if c.intended && !wait {
		return c.intent, c.log.appendLater(it)
	}
	items, err := c.log.append(it)
	if err != nil {
		return Receipt{}, fmt.Errorf("recording %s: %w", c.grant.Action(), err)
	}
	return items[0].receipt, nil
}

// Abort ends the permit with outcome "unknown" unless it is finished. It does
// not wait; it is meant for defer, for panics and early returns.
func (p *Permit) Abort() {
	if p == nil || p.c == nil {
		return
	}
	p.c.abandon("the request ended early")
	runtime.KeepAlive(p)
}

// abandon queues a record with outcome "unknown", if the permit is open.
func (c *permit) abandon(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return
	}
	c.finished = true
	c.log.permits.remove(c)
	detail, err := Detail{"reason": why}.encode()
	if err != nil {
		return
	}
	kind, payload := record.Event, c.payload(Unknown, detail)
	if c.intended {
		kind, payload.Intent = record.Outcome, &c.intent.Seq
	}
	it, err := c.log.seal(context.Background(), c.tl, kind, payload)
	if err != nil {
		return // its key was there at Begin; without it nothing was done either
	}
	_ = c.log.appendLater(it) // fails only if the log has failed, which is alarmed
}

// payload is what all records of the permit say.
func (c *permit) payload(o Outcome, detail json.RawMessage) record.Payload {
	p := callPayload(c.call, c.grant.Token())
	p.Actor, p.Role = c.grant.Principal().String(), c.grant.Role()
	p.Action, p.Resource = string(c.grant.Action()), clip(c.grant.Resource(), MaxResource)
	p.Outcome, p.Detail = string(o), detail
	return p
}

// callPayload is what is known about a request whoever makes it. A token is
// named by its accessor.
func callPayload(c Call, token string) record.Payload {
	auth := c.Auth
	if token != "" {
		auth = strings.TrimPrefix(auth+":"+token, ":")
	}
	return record.Payload{
		RequestID: clip(c.RequestID, MaxField), Source: clip(c.Source, MaxField),
		Client: clip(c.Client, MaxField), Auth: clip(auth, MaxField),
	}
}

// clip makes untrusted text fit a record.
func clip(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// encode makes the JSON of a detail, nil for an empty one.
func (d Detail) encode() (json.RawMessage, error) {
	if len(d) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "encoding the detail of an audit record: %w", err)
	}
	if len(b) > MaxDetail {
		return nil, domain.Errorf(domain.Limit, "%d bytes of detail are more than the %d that an audit record takes", len(b), MaxDetail)
	}
	return b, nil
}
