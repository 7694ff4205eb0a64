package actions

import (
	"context"
	"encoding/json"
	"errors"

	"coffer/app/domain"
	"coffer/app/once"
	"coffer/app/store"
)

// checkKey refuses an idempotency key where nothing is created: there it would
// promise what is not kept.
func (o Operation[In, Out]) checkKey(who Caller) error {
	if who.Once.Given() && !o.creates {
		return ErrKeyNotTaken
	}
	return nil
}

// ErrKeyNotTaken is the answer to an idempotency key on a request that creates
// nothing.
var ErrKeyNotTaken = domain.Fieldf(once.Header, "this request creates nothing and takes no key").
	WithHint("send it without; keys are for requests that create something")

// once acts under the caller's idempotency key: what was done under it is
// answered again and not done again.
func (o Operation[In, Out]) once(ctx context.Context, c *call, in In) (out Out, err error) {
	if c.claim, err = c.newClaim(); err != nil {
		return out, err
	}
	if !c.hold(c.claim) {
		return out, once.ErrUnderWay
	}
	defer c.release(c.claim)
	found := false
	err = c.db.View(ctx, func(tx *store.Tx) (err error) {
		found, err = once.Find(tx, *c.claim, c.clock.Trusted(), &out)
		return err
	})
	switch {
	case err != nil:
		return out, err
	case found:
		return out, c.replay(ctx)
	}
	out, err = o.act(ctx, c, in)
	if err == nil {
		c.keepAnswer(ctx, out)
	}
	return out, err
}

// newClaim binds the key to who asks, and to all that allows it.
func (c *call) newClaim() (*once.Claim, error) {
	s := c.who.Subject
	standing, err := json.Marshal([]any{s.Appliance, s.Tenants[c.request.Tenant]})
	if err != nil {
		return nil, err
	}
	claim, err := c.who.Once.For(s.Principal, standing)
	return &claim, err
}

// replay records that an answer is given again. That is an event of its own,
// under the same rules as the request: who may not do it any more may not see it
// again. It changes nothing but the mark of its intent, from which a start after
// a crash finds its outcome.
func (c *call) replay(ctx context.Context) error {
	c.claim, c.detail["replay"] = nil, true
	return c.change(ctx, func(*store.Tx) error { return nil })
}

// mark notes in the transaction of a change that it is done under the caller's
// key.
func (c *call) mark(tx *store.Tx) error {
	if c.claim == nil {
		return nil
	}
	return once.Begin(tx, *c.claim, c.intent, c.clock.Trusted())
}

// keepAnswer keeps the answer for a replay. If it cannot, the request was still
// done and is answered; only a replay will say that its answer was lost.
func (c *call) keepAnswer(ctx context.Context, out any) {
	_, err := c.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return once.Answer(tx, *c.claim, out) })
	if err != nil {
		c.detail["answer_kept"] = false
	}
}

// changeSeal is change for the seal file, which is no part of the control store:
// the mark of the caller's key is put before, and taken back if nothing came of
// it.
func (c *call) changeSeal(ctx context.Context, fn func() error) error {
	if c.claim == nil {
		return fn()
	}
	if _, err := c.db.Update(ctx, c.mark); err != nil {
		return err
	}
	err := fn()
	if err != nil && !c.seal.Changed(c.intent) {
		_, dropErr := c.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return once.Drop(tx, *c.claim) })
		err = errors.Join(err, dropErr)
	}
	return err
}

// hold takes the claim for one request; false if another has it.
func (s *Service) hold(c *once.Claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, held := s.claims[c.Name()]; held {
		return false
	}
	s.claims[c.Name()] = struct{}{}
	return true
}

func (s *Service) release(c *once.Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claims, c.Name())
}

// sweepKeys forgets idempotency keys that ended.
func (s *Service) sweepKeys(ctx context.Context) error {
	now, due := s.clock.Trusted(), false
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		due, err = once.AnyEnded(tx, now)
		return err
	})
	if err != nil || !due {
		return err
	}
	_, err = s.db.Update(ctx, func(tx *store.Tx) error { return once.Sweep(tx, now, sweepMost) })
	return err
}
