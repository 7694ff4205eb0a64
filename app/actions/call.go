package actions

import (
	"context"
	"errors"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/once"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
)

// bucketIntents holds, for each change of the control store whose outcome is
// not yet in the log, the intent's id. It stands in the transaction of the
// change, so its presence after a crash says that the change happened.
const bucketIntents = "intents"

// call is one run of an operation.
type call struct {
	*Service
	who      Caller
	request  authz.Request // what was authorized
	permit   *audit.Permit
	detail   audit.Detail // what the outcome says besides; never a secret
	intent   audit.IntentID
	begun    bool        // the intent is durable
	changed  bool        // the control store holds a marker of the intent
	streamed bool        // the answer goes out in parts: its last one waits for the outcome
	claim    *once.Claim // the idempotency key, nil for none
}

// open checks that the tenant, if the action has one, may be worked in.
func (c *call) open(ctx context.Context) error {
	if c.permit.Tenant() == "" || worksWhileClosed[c.permit.Action()] {
		return nil
	}
	return c.db.View(ctx, func(tx *store.Tx) error {
		if err := c.checkActive(tx); err != nil {
			return err
		}
		return c.checkLasting(tx)
	})
}

// outlastsBreakGlass are the actions whose effect would outlive a membership
// that an operator opened by breaking the glass.
var outlastsBreakGlass = map[domain.Action]bool{
	authz.MemberAdd: true, authz.MemberRole: true, authz.MemberRemove: true, authz.InvitationCreate: true,
	authz.WorkloadCreate: true, authz.WorkloadSecretID: true, authz.WorkloadRemove: true,
	authz.PolicyPut: true, authz.PolicyRemove: true,
}

// checkLasting refuses those actions to who is a member for an hour only.
func (c *call) checkLasting(tx *store.Tx) error {
	if !outlastsBreakGlass[c.permit.Action()] {
		return nil
	}
	m, found, err := directory.Membership(tx, c.permit.Tenant(), c.who.Subject.Principal.ID, c.clock.Now())
	if err != nil || found && m.Expires == nil {
		return err
	}
	// One that is not found ended since it was authorized: it was for an hour too.
	return domain.Errorf(domain.Denied, "not allowed: %s would outlast the break-glass membership", c.permit.Action()).
		WithHint("ask an owner of %s", c.permit.Tenant())
}

// checkStill refuses a change whose caller lost meanwhile what allowed it: the
// role, the membership or the token. Who asks is found out when a request comes;
// until its change is the one that is committed others may have been.
func (c *call) checkStill(tx *store.Tx) error {
	s, err := authn.Again(tx, c.who.Subject, c.permit.Tenant(), c.clock.Now())
	if err == nil {
		_, err = authz.Authorize(s, c.request)
	}
	return err
}

// worksWhileClosed are the actions that a tenant which is suspended, or closed
// under its client's key, does not stop. None of them needs the tenant's keys
// but to put a snapshot back, which a client's key stops.
var worksWhileClosed = map[domain.Action]bool{
	authz.TenantShow: true, authz.TenantSuspend: true, authz.TenantResume: true, authz.TenantDestroy: true,
	authz.AuditRead: true, authz.AuditVerify: true, authz.MemberList: true, authz.AlertTenant: true,
	authz.InvitationList: true, authz.InvitationRevoke: true,
	authz.MigrationStatus: true, authz.MigrationRestore: true,
	authz.LeaseList: true, authz.LeaseLookup: true, authz.LeaseRevoke: true, authz.LeaseRevokePrefix: true, authz.LeaseRevokeAll: true,
	authz.TokenList: true, authz.TokenShow: true, authz.TokenRevoke: true, authz.TokenRevokeAlone: true, authz.TokenDiscard: true, authz.TokenLookup: true,
	authz.ClientKeyStatus: true, authz.ClientKeyClose: true, authz.RotateTenantStatus: true,
}

func (c *call) checkActive(tx *store.Tx) error {
	r, err := tenants.Find(tx, c.permit.Tenant())
	if err != nil {
		return err
	}
	if r.State != tenants.Active {
		return domain.Errorf(domain.Denied, "%s is %s", r.ID, r.State).
			WithHint("an operator can open it again with: coffer tenant resume -t %s", r.ID)
	}
	if c.permit.Action() == authz.ClientKeyOpen {
		return nil
	}
	return c.vault.CheckClient(r.ID)
}

// begin makes the intent durable. What is in detail by then goes into it.
func (c *call) begin(ctx context.Context) error {
	if c.begun {
		return nil
	}
	id, err := c.permit.Intent(ctx, c.detail)
	if err != nil {
		return err
	}
	c.intent, c.begun = id, true
	return nil
}

// change makes the intent durable, then runs fn in one transaction of the
// control store together with the intent's id and the mark of the caller's
// idempotency key, if there is one.
//
// On the way it drops the markers of changes whose outcome is durable.
func (c *call) change(ctx context.Context, fn func(tx *store.Tx) error) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	stale := c.takeSettled()
	_, err := c.db.Update(ctx, func(tx *store.Tx) error {
		if err := c.checkStill(tx); err != nil {
			return err
		}
		if c.permit.Tenant() != "" && !worksWhileClosed[c.permit.Action()] {
			if err := errors.Join(c.checkActive(tx), c.checkLasting(tx)); err != nil {
				return err
			}
		}
		if err := dropMarkers(tx, stale); err != nil {
			return err
		}
		if err := tx.Put(bucketIntents, c.intent[:], []byte(c.permit.Action())); err != nil {
			return err
		}
		if err := c.mark(tx); err != nil {
			return err
		}
		return fn(tx)
	})
	if err != nil {
		c.finished(stale...)
		return err
	}
	c.changed = true
	c.overviews.changed(c.permit.Tenant())
	return nil
}

// finish closes the permit and gives the error that the caller sees.
func (c *call) finish(ctx context.Context, actErr error) (audit.Receipt, error) {
	if actErr != nil {
		// The words of an error can hold what the input held; its kind cannot.
		c.detail["error"] = domain.KindOf(actErr).String()
	}
	outcome := outcomeOf(actErr)
	if _, open := errors.AsType[*store.UncertainError](actErr); open {
		outcome = audit.Unknown
	}
	if c.changed {
		// It is committed: what failed after that, and is in the detail, did
		// not undo it. A start would derive the same from the marker.
		outcome = audit.OK
	}
	end := c.permit.Finish
	if c.streamed {
		end = c.permit.FinishDurable
	}
	receipt, err := end(ctx, outcome, c.detail)
	if err != nil {
		return audit.Receipt{}, errors.Join(err, actErr)
	}
	if c.changed {
		c.finished(c.intent)
	}
	return receipt, actErr
}

func outcomeOf(err error) audit.Outcome {
	switch {
	case err == nil:
		return audit.OK
	case domain.KindOf(err) == domain.Denied:
		return audit.Refused
	}
	if _, ok := errors.AsType[*tenants.UncertainError](err); ok {
		return audit.Unknown
	}
	return audit.Failed
}
