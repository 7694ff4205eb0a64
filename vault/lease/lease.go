package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// State says how far a lease has come.
type State string

// The states.
const (
	Making   State = "making" // the thing is being made, or was when Coffer stopped
	Live     State = "live"
	Revoking State = "revoking" // it is to be taken back
	Overdue  State = "overdue"  // it could not be taken back for long
)

// Bounds of leases.
const (
	MakeTime  = 2 * time.Minute // after which a thing that is still being made is taken back
	MaxLeases = 100_000         // of a tenant
	MaxData   = 16 << 10        // bytes that a kind remembers
	maxID     = 400
)

// Lease is one thing that was made elsewhere.
type Lease struct {
	ID        string          `json:"id"` // such as database/creds/readonly/…
	Tenant    domain.TenantID `json:"tenant"`
	Kind      string          `json:"kind"`
	Owner     string          `json:"owner,omitempty"` // accessor of the token with which it was asked for, "" for none
	Principal string          `json:"principal"`       // id of who asked
	Issued    time.Time       `json:"issued"`
	Expires   time.Time       `json:"expires"`
	Max       time.Time       `json:"max"` // what renewing never goes past
	TTL       time.Duration   `json:"ttl"` // for which it was made
	Renewable bool            `json:"renewable,omitempty"`
	Renewed   time.Time       `json:"renewed,omitzero"` // last
	State     State           `json:"state"`
	Attempts  int             `json:"attempts,omitempty"` // at taking it back that failed
	Due       time.Time       `json:"due"`                // when it is looked at next
	Data      []byte          `json:"data,omitempty"`     // what its kind needs to renew or revoke
}

// Spec is what to make.
type Spec struct {
	Tenant    domain.TenantID
	Kind      string
	Prefix    string // of the id, such as database/creds/readonly
	Owner     string
	Principal string
	TTL       time.Duration
	MaxTTL    time.Duration // 0 for domain.MaxTTL
	Until     time.Time     // when the owner ends, and it at the latest; zero for no owner
	Renewable bool
}

// Kind makes nothing itself: it lets what was made live longer, and takes it back.
// Both may be done again after a crash, and find done what was done.
type Kind interface {
	Renew(ctx context.Context, l Lease, until time.Time) error
	Revoke(ctx context.Context, l Lease) error
}

var kinds = map[string]Kind{}

// Register makes a kind known, before anything runs.
func Register(name string, k Kind) struct{} {
	if kinds[name] != nil {
		panic("lease: the kind " + name + " stands twice in the registry")
	}
	kinds[name] = k
	return struct{}{}
}

// kindOf finds a lease's kind.
func (l Lease) kind() (Kind, error) {
	if k := kinds[l.Kind]; k != nil {
		return k, nil
	}
	return nil, domain.Errorf(domain.Unavailable, "leases of the kind %s are not known to this Coffer", l.Kind).
		WithHint("start the version of Coffer that made it, or a newer one")
}

// ErrUnknown is the answer to every lease that is not there.
var ErrUnknown = domain.Errorf(domain.NotFound, "there is no such lease").WithHint("see: coffer lease list")

// Begin remembers a lease before what it is for is made.
func Begin(tx *store.Tx, s Spec, now time.Time) (Lease, error) {
	maximum := s.MaxTTL
	if maximum == 0 {
		maximum = domain.MaxTTL
	}
	if s.TTL <= 0 || s.TTL > domain.MaxTTL || maximum < 0 || maximum > domain.MaxTTL || s.Prefix == "" || len(s.Prefix) > maxID || strings.Contains(s.Prefix, "\x00") {
		return Lease{}, domain.Errorf(domain.Internal, "a lease of %q for %v, at most %v", s.Prefix, s.TTL, s.MaxTTL)
	}
	n, err := count(tx, s.Tenant)
	if err != nil {
		return Lease{}, err
	}
	if n >= MaxLeases {
		return Lease{}, domain.Errorf(domain.Limit, "%s has %d leases, and more are not made", s.Tenant, n).
			WithHint("revoke those that are not needed: coffer lease list")
	}
	l := Lease{
		ID: s.Prefix + "/" + strings.ToLower(rand.Text()[:24]), Tenant: s.Tenant, Kind: s.Kind, Owner: s.Owner, Principal: s.Principal,
		Issued: now.UTC(), Expires: now.Add(s.TTL).UTC(), Max: now.Add(maximum).UTC(), TTL: s.TTL, Renewable: s.Renewable,
		State: Making, Due: now.Add(MakeTime).UTC(),
	}
	if !s.Until.IsZero() && s.Until.Before(l.Expires) {
		l.Expires = s.Until.UTC()
	}
	if l.Max.Before(l.Expires) {
		l.Expires = l.Max
	}
	if l.Owner != "" {
		err = tx.Put(bucketOwners, ownerKey(l.Tenant, l.Owner, l.ID), nil)
	}
	return l, errors.Join(err, put(tx, l), setCount(tx, l.Tenant, n+1))
}

// Confirm says that what the lease is for was made, and what its kind remembers. One
// that was revoked meanwhile stays so; one that was taken back before it was made
// is to be taken back again.
func Confirm(tx *store.Tx, l Lease, data []byte) (Lease, error) {
	if len(data) > MaxData {
		return l, domain.Errorf(domain.Internal, "%d bytes to remember with a lease", len(data))
	}
	now, err := read(tx, l.Tenant, l.ID)
	if errors.Is(err, ErrUnknown) {
		l.State, l.Data = Revoking, data
		n, err := count(tx, l.Tenant)
		if err == nil && l.Owner != "" {
			err = tx.Put(bucketOwners, ownerKey(l.Tenant, l.Owner, l.ID), nil)
		}
		return l, errors.Join(err, put(tx, l), setCount(tx, l.Tenant, n+1))
	}
	if err != nil {
		return l, err
	}
	next := now
	if next.Data = data; next.State == Making {
		next.State, next.Due = Live, next.Expires
	}
	return next, move(tx, now, next)
}

// Grant makes something with a lease: it remembers the lease, has make make it, and
// remembers what that says. What make could not finish is taken back.
func Grant(ctx context.Context, db *store.Store, s Spec, now func() time.Time, make func(ctx context.Context, l Lease) (data []byte, err error)) (l Lease, err error) {
	if _, err = db.Update(ctx, func(tx *store.Tx) error {
		l, err = Begin(tx, s, now())
		return err
	}); err != nil {
		return Lease{}, err
	}
	within, cancel := context.WithTimeout(ctx, MakeTime)
	defer cancel()
	data, err := make(within, l)
	after := context.WithoutCancel(ctx)
	if err != nil {
		_, endErr := db.Update(after, func(tx *store.Tx) error { return End(tx, l.Tenant, l.ID, now()) })
		return Lease{}, errors.Join(err, endErr)
	}
	_, err = db.Update(after, func(tx *store.Tx) error {
		l, err = Confirm(tx, l, data)
		return err
	})
	if err == nil && l.State != Live {
		err = domain.Errorf(domain.Conflict, "the lease was revoked while it was made")
	}
	return l, err
}

// Find gives a lease that lives.
func Find(tx *store.Tx, tenant domain.TenantID, id string, now time.Time) (Lease, error) {
	l, err := Any(tx, tenant, id)
	if err == nil && (l.State != Live || !now.Before(l.Expires)) {
		return Lease{}, ErrUnknown
	}
	return l, err
}

// Any gives a lease in any state, also one that an order has revoked.
func Any(tx *store.Tx, tenant domain.TenantID, id string) (Lease, error) {
	l, err := read(tx, tenant, id)
	if err != nil {
		return Lease{}, err
	}
	ordered, err := l.ordered(tx)
	if err == nil && ordered && l.State == Live {
		l.State = Revoking
	}
	return l, err
}

// ErrNotRenewable is the answer to who renews a lease that was not made for it.
var ErrNotRenewable = domain.Errorf(domain.Invalid, "lease is not renewable")

// Until is when the lease would end if it were renewed: the increment from now on,
// never after its maximum or its owner.
func (l Lease) Until(increment time.Duration, owner, now time.Time) (time.Time, error) {
	if !l.Renewable {
		return l.Expires, ErrNotRenewable
	}
	if increment <= 0 {
		increment = l.TTL
	}
	until := now.Add(min(increment, domain.MaxTTL)).UTC()
	for _, bound := range []time.Time{l.Max, owner} {
		if !bound.IsZero() && bound.Before(until) {
			until = bound.UTC()
		}
	}
	return until, nil
}

// Extend asks the kind of a lease to let what it is for live until a time.
func (l Lease) Extend(ctx context.Context, until time.Time) error {
	k, err := l.kind()
	if err != nil {
		return err
	}
	return k.Renew(ctx, l, until)
}

// Renew notes that a lease lives until a time.
func Renew(tx *store.Tx, l Lease, until, now time.Time) (Lease, error) {
	was, err := Find(tx, l.Tenant, l.ID, now)
	if err != nil {
		return l, err
	}
	next := was
	next.Expires, next.Due, next.Renewed = until, until, now.UTC()
	return next, move(tx, was, next)
}

// End has a lease taken back as soon as can be.
func End(tx *store.Tx, tenant domain.TenantID, id string, now time.Time) error {
	l, err := read(tx, tenant, id)
	if err != nil || l.State == Revoking || l.State == Overdue {
		return err
	}
	next := l
	next.State, next.Due = Revoking, now.UTC()
	return move(tx, l, next)
}

// Page gives a tenant's leases whose ids begin with the prefix and which keep picks,
// in the order of their ids, from the one after `after` on, at most limit.
func Page(tx *store.Tx, tenant domain.TenantID, prefix, after string, limit int, keep func(Lease) bool) (out []Lease, err error) {
	var from []byte
	if after != "" {
		from = key(tenant, after)
	}
	err = tx.Scan(bucketLeases, key(tenant, prefix), from, func(_, value []byte) error {
		l, err := decode(value)
		if err != nil || !keep(l) {
			return err
		}
		if out = append(out, l); len(out) >= limit {
			return store.ErrStop
		}
		return nil
	})
	return out, err
}
