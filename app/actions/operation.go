package actions

import (
	"context"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/once"
	"coffer/app/store"
	"coffer/audit"
)

// Caller is who asks, as a surface found out, and how the request came.
type Caller struct {
	Subject authz.Subject
	Call    audit.Call
	Once    once.Key      // under which the request is done once; zero for none
	Code    domain.Secret // of the second factor, for this request; empty for none
	Route   authz.Route   // the path and what is needed on it, where the surface has some: for ACL policies
}

// Operation is one action with its types. The values are the package's
// variables: SecretPut, TokenIssue and so on.
type Operation[In, Out any] struct {
	action domain.Action
	also   domain.Action // another action that ask may choose from the input, "" for none

	// creates says that it makes something new each time, so that a client which
	// does not know whether it was done needs an idempotency key to ask again.
	creates bool

	// prove finds out from the input itself who asks, where no credential is
	// needed, or what the caller holds besides. It may keep in the input what act
	// needs. Who fails it is counted, and causes no event.
	prove func(ctx context.Context, s *Service, who *Caller, in *In) error

	// answer replaces all that follows, for the one thing that is handed to
	// anybody who asks, shows nothing and changes nothing: a challenge to sign in
	// with. An event for each would let anybody fill the log.
	answer func(ctx context.Context, s *Service, who Caller) (Out, error)

	// ask reads the input: which tenant, which resource, whose. Malformed
	// input ends here, before anything is decided or logged.
	ask func(ctx context.Context, s *Service, in In) (authz.Request, error)

	// owner finds whose the resource is, for roles that may touch their own
	// only; nil if that says nothing here. It is not asked about a tenant in
	// which the caller holds nothing: how long it takes would tell that there is
	// one.
	owner func(tx *store.Tx, in In) (string, error)

	// act does it, with an open permit.
	act func(ctx context.Context, c *call, in In) (Out, error)
}

// Action is what the operation does.
func (o Operation[In, Out]) Action() domain.Action { return o.action }

// Also is the other action that the input can make of it, "" for none.
func (o Operation[In, Out]) Also() domain.Action { return o.also }

// Creates says whether the operation takes an idempotency key.
func (o Operation[In, Out]) Creates() bool { return o.creates }

// Do runs the operation for a caller. The receipt is that of the event that was
// logged, also of a refusal; it is zero when the input was malformed and nothing
// was logged.
func (o Operation[In, Out]) Do(ctx context.Context, s *Service, who Caller, in In) (Out, audit.Receipt, error) {
	var none Out
	if err := o.checkKey(who); err != nil {
		return none, audit.Receipt{}, err
	}
	if o.answer != nil {
		out, err := o.answer(ctx, s, who)
		return out, audit.Receipt{}, err
	}
	if o.prove != nil {
		if err := o.prove(ctx, s, &who, &in); err != nil {
			return none, audit.Receipt{}, err
		}
	}
	request, err := o.ask(ctx, s, in)
	if err != nil {
		s.countStranger(who.Call.Source, err)
		return none, audit.Receipt{}, err
	}
	if request.Action == "" || request.Action != o.also {
		request.Action = o.action
	}
	if who.Route.Path != "" {
		request.Route = who.Route
	}
	if who.Subject, err = s.holds(ctx, who.Subject, request.Tenant); err != nil {
		return none, audit.Receipt{}, err
	}
	if o.owner != nil && len(who.Subject.Tenants[request.Tenant]) > 0 {
		err := s.db.View(ctx, func(tx *store.Tx) (err error) {
			request.OwnedBy, err = o.owner(tx, in)
			return err
		})
		if err != nil {
			return none, audit.Receipt{}, err
		}
	}
	grant, err := s.authorize(ctx, who, request)
	if err == nil {
		err = s.checkProof(ctx, who, request)
	}
	if err != nil {
		receipt, err := s.refuse(ctx, who, err)
		return none, receipt, err
	}
	permit, err := s.log.Begin(ctx, grant, who.Call)
	if err != nil {
		return none, audit.Receipt{}, err
	}
	defer permit.Abort() // of no effect after finish
	c := &call{Service: s, who: who, request: request, permit: permit, detail: audit.Detail{}}
	out, err := o.run(ctx, c, in)
	receipt, err := c.finish(ctx, err)
	if err != nil {
		return none, receipt, err
	}
	return out, receipt, nil
}

func (o Operation[In, Out]) run(ctx context.Context, c *call, in In) (Out, error) {
	if err := c.open(ctx); err != nil {
		var none Out
		return none, err
	}
	if c.who.Once.Given() {
		return o.once(ctx, c, in)
	}
	return o.act(ctx, c, in)
}
