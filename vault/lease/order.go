package lease

import (
	"errors"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// bucketOrders holds what is to be revoked: tenant NUL what NUL value → when it was
// ordered, 8 bytes ‖ the key of the last lease that was looked at, or nothing.
const bucketOrders = "lease-orders"

// What an order is for.
const (
	byPrefix    = "prefix"    // leases whose ids begin with the value
	byPrincipal = "principal" // those of a principal
	byGone      = "gone"      // those whose owners, the tokens with which they were asked for, do not live any more
)

// stepSize is how many leases one transaction of an order looks at.
var stepSize = 500

// RevokePrefix has a tenant's leases revoked whose ids begin with the prefix; all of
// them for "". It counts from this transaction on for what was made until now.
func RevokePrefix(tx *store.Tx, tenant domain.TenantID, prefix string, now time.Time) error {
	return order(tx, tenant, byPrefix, prefix, now)
}

// RevokePrincipal has the leases of a principal revoked.
func RevokePrincipal(tx *store.Tx, tenant domain.TenantID, id string, now time.Time) error {
	return order(tx, tenant, byPrincipal, id, now)
}

// OwnersGone has those leases revoked whose owners do not live any more. Whoever
// revokes tokens calls it in the same transaction.
func OwnersGone(tx *store.Tx, tenant domain.TenantID, now time.Time) error {
	any := false
	if err := tx.Keys(bucketOwners, key(tenant, ""), nil, func([]byte) error {
		any = true
		return store.ErrStop
	}); err != nil || !any {
		return err
	}
	return order(tx, tenant, byGone, "", now)
}

func order(tx *store.Tx, tenant domain.TenantID, what, value string, now time.Time) error {
	return tx.Put(bucketOrders, key(tenant, what+"\x00"+value), timeKey(now))
}

// ordered says whether an order that is not yet worked off revokes the lease. Who
// looks at a lease whose owner is gone asks about the owner.
func (l Lease) ordered(tx *store.Tx) (is bool, err error) {
	err = tx.Scan(bucketOrders, key(l.Tenant, ""), nil, func(k, at []byte) error {
		o, err := parseOrder(k, at)
		if err == nil && o.what != byGone && o.means(l) {
			is = true
			return store.ErrStop
		}
		return err
	})
	return is, err
}

// orderRow is an order as it is worked off.
type orderRow struct {
	key         []byte
	tenant      domain.TenantID
	what, value string
	at          string // timeKey
	after       []byte
}

func parseOrder(k, v []byte) (orderRow, error) {
	tenant, rest := splitKey(k)
	what, value, ok := strings.Cut(rest, "\x00")
	if !ok || len(v) < 8 {
		return orderRow{}, store.MalformedRecord("an order to revoke leases", errors.New("malformed"))
	}
	return orderRow{k, tenant, what, value, string(v[:8]), v[8:]}, nil
}

// means says whether the order is for the lease.
func (o orderRow) means(l Lease) bool {
	if string(timeKey(l.Issued)) > o.at {
		return false
	}
	switch o.what {
	case byPrefix:
		return strings.HasPrefix(l.ID, o.value)
	case byPrincipal:
		return l.Principal == o.value
	}
	return false
}

// step works at the first order there is, and says whether there was one.
func step(tx *store.Tx, now time.Time, alive func(tx *store.Tx, tenant domain.TenantID, owner string) (bool, error)) (any bool, err error) {
	var o orderRow
	err = tx.Scan(bucketOrders, nil, nil, func(k, v []byte) (err error) {
		any = true
		if o, err = parseOrder(k, v); err != nil {
			return err
		}
		return store.ErrStop
	})
	if err != nil || !any {
		return false, err
	}
	var last []byte
	if o.what == byGone {
		last, err = stepOwners(tx, o, now, alive)
	} else {
		last, err = stepLeases(tx, o, now)
	}
	if err != nil {
		return true, err
	}
	if last == nil {
		return true, tx.Delete(bucketOrders, o.key)
	}
	return true, tx.Put(bucketOrders, o.key, append([]byte(o.at), last...))
}

// stepLeases revokes what an order means among the next leases. It gives the key of
// the last that it looked at, nil for the end.
func stepLeases(tx *store.Tx, o orderRow, now time.Time) (last []byte, err error) {
	prefix := key(o.tenant, "")
	if o.what == byPrefix {
		prefix = key(o.tenant, o.value)
	}
	seen := 0
	var doomed []Lease
	err = tx.Scan(bucketLeases, prefix, o.after, func(k, value []byte) error {
		l, err := decode(value)
		if err != nil {
			return err
		}
		if o.means(l) {
			doomed = append(doomed, l)
		}
		if seen++; seen >= stepSize {
			last = k
			return store.ErrStop
		}
		return nil
	})
	for _, l := range doomed {
		if err == nil {
			err = End(tx, l.Tenant, l.ID, now)
		}
	}
	return last, err
}

// stepOwners revokes the leases of owners that do not live, one owner after another.
func stepOwners(tx *store.Tx, o orderRow, now time.Time, alive func(tx *store.Tx, tenant domain.TenantID, owner string) (bool, error)) (last []byte, err error) {
	after, ended := o.after, 0
	for range stepSize {
		var k []byte
		if err := tx.Keys(bucketOwners, key(o.tenant, ""), after, func(next []byte) error {
			k = next
			return store.ErrStop
		}); err != nil || k == nil {
			return nil, err
		}
		_, rest := splitKey(k)
		owner, _, _ := strings.Cut(rest, "\x00")
		lives, err := alive(tx, o.tenant, owner)
		if err != nil {
			return nil, err
		}
		if !lives {
			n, more, err := endOwner(tx, o.tenant, owner, stepSize-ended, now, after)
			if err != nil {
				return nil, err
			}
			if ended += n; more != nil {
				return more, nil
			}
		}
		after = ownerKey(o.tenant, owner, "\xff") // behind all of this owner
	}
	return after, nil
}

// endOwner revokes the leases of an owner. more is where to go on, nil if it is done.
func endOwner(tx *store.Tx, tenant domain.TenantID, owner string, limit int, now time.Time, after []byte) (n int, more []byte, err error) {
	prefix := ownerKey(tenant, owner, "")
	err = tx.Keys(bucketOwners, prefix, after, func(k []byte) error {
		if n >= limit {
			return store.ErrStop
		}
		n++
		more = k
		return End(tx, tenant, string(k[len(prefix):]), now)
	})
	if n < limit {
		more = nil
	}
	return n, more, err
}
