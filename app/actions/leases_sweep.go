package actions

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"coffer/app/alerts"
	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/vault/lease"
	"coffer/vault/token"
)

// newSweeper makes what takes leases back, each with an event of its own.
func (s *Service) newSweeper() *lease.Sweeper {
	return &lease.Sweeper{
		DB: s.db, Now: s.clock.Now, Event: s.leaseEvent, Overdue: s.leaseOverdue, Jitter: jitter,
		Alive: func(tx *store.Tx, tenant domain.TenantID, owner string) (bool, error) {
			_, err := token.Held(tx, tenant, owner, s.clock.Now())
			if domain.KindOf(err) == domain.NotFound {
				return false, nil
			}
			return err == nil, err
		},
	}
}

// jitter is a random part of a time.
func jitter(most time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(max(most, 1)))
}

// leaseEvent records in the tenant's log that a lease is taken back, and what became
// of that.
func (s *Service) leaseEvent(ctx context.Context, l lease.Lease, do func(ctx context.Context) error) error {
	grant := authz.ForSystem(authz.Request{Action: authz.LeaseEnd, Tenant: l.Tenant, Resource: l.ID})
	p, err := s.log.Begin(ctx, grant, audit.Call{Source: "timer", Client: "coffer", Auth: "system"})
	if err != nil {
		return err
	}
	defer p.Abort() // of no effect after Finish
	detail := audit.Detail{"kind": l.Kind, "principal": l.Principal, "attempt": l.Attempts + 1, "ended": l.State != lease.Revoking && l.State != lease.Overdue}
	if _, err := p.Intent(ctx, detail); err != nil {
		return err
	}
	outcome := audit.OK
	err = do(ctx)
	if err != nil {
		outcome, detail["error"] = audit.Failed, domain.KindOf(err).String()
	}
	_, finishErr := p.Finish(context.WithoutCancel(ctx), outcome, detail)
	return errors.Join(err, finishErr)
}

// leaseOverdue raises an alert: something in another system outlives its time.
func (s *Service) leaseOverdue(l lease.Lease, err error) {
	if s.raise != nil {
		s.raise(alerts.Lease, l.Tenant, "the lease "+l.ID+" could not be taken back, and what it is for still works: "+domain.KindOf(err).String()+
			"; see whether the other system can be reached, it is tried again until it goes")
	}
}

// LeaseNews can be received from once something is to be taken back at once.
func (s *Service) LeaseNews() <-chan struct{} { return s.leaseNews }

func (s *Service) wakeLeases() {
	select {
	case s.leaseNews <- struct{}{}:
	default:
	}
}

// SweepLeases takes back what is due. One call works at a time.
func (s *Service) SweepLeases(ctx context.Context) error {
	s.leasing.Lock()
	defer s.leasing.Unlock()
	_, err := s.leases.Run(ctx)
	return err
}

// endDeadStreams ends the streams of a tenant whose tokens do not live any more.
func (s *Service) endDeadStreams(ctx context.Context, tenant domain.TenantID) {
	s.streams.mu.Lock()
	var all []*stream
	for _, st := range s.streams.open {
		if st.tenant == tenant && st.who.Token != "" {
			all = append(all, st)
		}
	}
	s.streams.mu.Unlock()
	for _, st := range all {
		err := s.db.View(ctx, func(tx *store.Tx) error {
			_, err := authn.Again(tx, st.who, tenant, s.clock.Now())
			return err
		})
		if errors.Is(err, token.ErrUnknown) {
			s.expire(st, "its token was revoked")
		}
	}
}
