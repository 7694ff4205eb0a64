package actions

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"coffer/app/alerts"
	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/migrate"
	"coffer/vault"
	"coffer/vault/lease"
	"coffer/vault/token"
	"coffer/vault/wrap"
)

// Clock is the time by which things end: it never runs backwards.
type Clock interface {
	Now() time.Time     // for what ends
	Trusted() time.Time // for what is erased: a clock set ahead does not move it far
}

// Parts are what an unsealed appliance is made of.
type Parts struct {
	DB    *store.Store
	Vault *vault.Vault
	Log   *audit.Log
	Files *tenants.Pool
	Seal  *Keyholder
	Clock Clock
	Door  Door

	Streams StreamLimits

	Raise func(kind alerts.Kind, tenant domain.TenantID, text string) // an alert; nil for nowhere
}

// Service performs operations on an unsealed appliance.
type Service struct {
	db    *store.Store
	vault *vault.Vault
	log   *audit.Log
	files *tenants.Pool
	seal  *Keyholder
	clock Clock
	door  *door

	overviews overviews
	streams   streams
	leases    *lease.Sweeper
	leaseNews chan struct{} // something is to be taken back at once
	leasing   sync.Mutex    // one sweep of leases works at a time
	raise     func(kind alerts.Kind, tenant domain.TenantID, text string)

	creating sync.Mutex // one tenant is created at a time
	rekeying sync.Mutex // one change of the key table or the root key at a time

	rotating chan struct{} // something to rotate may be there

	migrating sync.RWMutex                // held to read while migrations are applied, to write while the set changes
	set       atomic.Pointer[migrate.Set] // of migrations, for who holds migrating; nil until it is read
	stepping  sync.Mutex                  // one request works at a run of migrations

	mu     sync.Mutex
	done   []audit.IntentID    // changes whose outcome was handed to the log: their markers can go
	claims map[string]struct{} // idempotency keys whose request is under way
}

// New makes the service, tells the log which tenants there are, and completes
// what a crash interrupted.
func New(ctx context.Context, p Parts) (*Service, error) {
	s := &Service{
		db: p.DB, vault: p.Vault, log: p.Log, files: p.Files, seal: p.Seal, clock: p.Clock,
		door: newDoor(p.Door, p.Clock), claims: map[string]struct{}{},
		streams: newStreams(p.Streams), raise: p.Raise, rotating: make(chan struct{}, 1), leaseNews: make(chan struct{}, 1),
	}
	s.leases = s.newSweeper()
	if err := errors.Join(s.registerTenants(ctx), token.Index(ctx, p.DB)); err != nil {
		return nil, err
	}
	return s, s.recover(ctx)
}

// registerTenants makes every tenant's log known, the destroyed ones' too.
func (s *Service) registerTenants(ctx context.Context) error {
	return s.db.View(ctx, func(tx *store.Tx) error {
		return eachTenant(tx, func(r tenants.Record) error { return s.log.Register(r.ID, r.Log) })
	})
}

// Socket says who the local user is. Surfaces call it before Do.
func (s *Service) Socket(ctx context.Context, uid uint32) (authz.Subject, error) {
	return authn.Socket(ctx, s.db, uid, s.clock.Now())
}

// Bearer says for whom a token or session stands. One that does not hold is
// counted in the log with the source it came from.
func (s *Service) Bearer(ctx context.Context, token domain.Secret, source string) (authz.Subject, error) {
	if authn.IsSession(token) {
		return s.Session(ctx, token, source)
	}
	subject, err := authn.Bearer(ctx, s.db, token, s.clock.Now())
	if domain.KindOf(err) == domain.Unauthentic {
		s.log.Unauthenticated(source, "token")
	}
	return subject, err
}

// CrossSite counts a request that a page of another site had sent.
func (s *Service) CrossSite(source string) { s.log.Unauthenticated(source, "cross-site") }

// Session says whose session it is, as Bearer does.
func (s *Service) Session(ctx context.Context, text domain.Secret, source string) (authz.Subject, error) {
	subject, err := authn.Session(ctx, s.db, text, s.clock.Now())
	if domain.KindOf(err) == domain.Unauthentic {
		s.log.Unauthenticated(source, "session")
	}
	return subject, err
}

// holds adds to a person at the socket, or with a session, what the person holds in the tenant that
// the request names. A token's subject knows that already.
func (s *Service) holds(ctx context.Context, subject authz.Subject, tenant domain.TenantID) (authz.Subject, error) {
	if tenant == "" || subject.Token != "" || subject.Principal.Kind != domain.Person {
		return subject, nil
	}
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		subject, err = authn.Again(tx, subject, tenant, s.clock.Now())
		return err
	})
	return subject, err
}

// authorize decides, and turns an appliance-wide role's request about a tenant
// that never was into "not found": only such a role may know.
func (s *Service) authorize(ctx context.Context, who Caller, r authz.Request) (authz.Grant, error) {
	g, err := authz.Authorize(who.Subject, r)
	if err != nil || r.Tenant == "" {
		return g, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		_, err := tenants.Find(tx, r.Tenant)
		return err
	})
	if errors.Is(err, tenants.ErrUnknown) {
		return g, &unknownTenant{authz.Denied{Subject: who.Subject, Request: r, Foreign: true}}
	}
	return g, err
}

// unknownTenant is the refusal for somebody who may know that there is no such
// tenant. It is logged like any other.
type unknownTenant struct{ authz.Denied }

func (*unknownTenant) Error() string { return tenants.ErrUnknown.Error() }
func (*unknownTenant) Unwrap() error { return tenants.ErrUnknown }

// refuse logs a refusal and gives the error that the caller sees.
func (s *Service) refuse(ctx context.Context, who Caller, err error) (audit.Receipt, error) {
	denied, ok := errors.AsType[*authz.Denied](err)
	if unknown, is := errors.AsType[*unknownTenant](err); is {
		denied, ok = &unknown.Denied, true
	}
	if !ok {
		return audit.Receipt{}, err
	}
	receipt, auditErr := s.log.Refuse(ctx, denied, who.Call)
	if auditErr != nil {
		return audit.Receipt{}, auditErr
	}
	return receipt, err
}

// Now is the time by which things end.
func (s *Service) Now() time.Time { return s.clock.Now() }

// Stranger counts a request that showed no credential, or one of a kind that
// nobody has, with the source it came from.
func (s *Service) Stranger(source, reason string) { s.log.Unauthenticated(source, reason) }

// countStranger counts a credential in the input that does not hold.
func (s *Service) countStranger(source string, err error) {
	switch {
	case errors.Is(err, authn.ErrLogin):
		s.Stranger(source, "workload login")
	case errors.Is(err, token.ErrUnknown):
		s.Stranger(source, "unknown token")
	case errors.Is(err, wrap.ErrUnknown):
		s.Stranger(source, "wrapping token")
	}
}

// finished remembers intents whose outcome was handed to the log.
func (s *Service) finished(ids ...audit.IntentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, ids...)
}

// takeSettled gives those of the finished intents whose outcome is durable.
func (s *Service) takeSettled() (settled []audit.IntentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = slices.DeleteFunc(s.done, func(id audit.IntentID) bool {
		if s.log.Settled(id) {
			settled = append(settled, id)
			return true
		}
		return false
	})
	return settled
}

func dropMarkers(tx *store.Tx, ids []audit.IntentID) error {
	for _, id := range ids {
		if err := tx.Delete(bucketIntents, id[:]); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
