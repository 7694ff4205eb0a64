package token

import (
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// ErrNotRenewable is the answer to who renews a token that was not made for it.
var ErrNotRenewable = domain.Errorf(domain.Invalid, "the token is not renewable").
	WithHint("log in again, or issue another one")

// Renew lets a live token end the increment from now on, at most: never after
// its maximum, nor after its parent. An increment of zero is what it was made
// with; one with a period has that for each.
func Renew(tx *store.Tx, t Token, increment time.Duration, now time.Time) (Token, error) {
	if !t.Renewable {
		return t, ErrNotRenewable
	}
	hash, err := tx.Get(bucketAccessors, accessorKey(t.Tenant, t.Accessor))
	if err != nil {
		return t, err
	}
	if increment <= 0 {
		increment = t.TTL
	}
	if t.Period > 0 {
		increment = t.Period
	}
	until := earlier(now.Add(min(increment, domain.MaxTTL)).UTC(), t.Max)
	if t.Parent != "" {
		p, err := Held(tx, t.Tenant, t.Parent, now)
		if err != nil {
			return t, err
		}
		until = earlier(until, p.Expires)
	}
	was := expiryKey(t)
	t.Expires, t.Renewed = until, now.UTC()
	return t, errors.Join(tx.Delete(bucketExpiries, was), put(tx, hash, t), tx.Put(bucketExpiries, expiryKey(t), nil))
}

// Spend takes one use from a token that has a number of them. It gives the token
// as it is afterwards; the request that spent the last use is still answered.
func Spend(tx *store.Tx, text domain.Secret, now time.Time) (Token, error) {
	t, err := Lookup(tx, text, now)
	if err != nil || t.Uses == 0 {
		return t, err
	}
	hash, _ := hashOf(text)
	t.Left--
	return t, put(tx, hash, t)
}

// Spent says whether the token has no use left.
func (t Token) Spent() bool { return t.spent() }
