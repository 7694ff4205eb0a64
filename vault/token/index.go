package token

import (
	"encoding/binary"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// What is kept beside the records, in their transactions, so that neither an
// issue nor a sweep looks at more than it must.
const (
	bucketExpiries = "token-expiries" // when it ends, 8 bytes ‖ tenant NUL accessor → nothing
	bucketChildren = "token-children" // tenant NUL parent's accessor NUL accessor → nothing
	bucketCounts   = "token-counts"   // tenant → how many records, 8 bytes
)

// index puts what leads to a token that is new or ends at another time.
func index(tx *store.Tx, t Token) error {
	if err := tx.Put(bucketExpiries, expiryKey(t), nil); err != nil || t.Parent == "" {
		return err
	}
	return tx.Put(bucketChildren, childKey(t.Tenant, t.Parent, t.Accessor), nil)
}

func expiryKey(t Token) []byte {
	return append(timeKey(t.Expires), accessorKey(t.Tenant, t.Accessor)...)
}

// timeKey orders times as its bytes are ordered.
func timeKey(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(at.UnixNano(), 0)))
}

func childKey(tenant domain.TenantID, parent, child string) []byte {
	return accessorKey(tenant, parent+"\x00"+child)
}

// count is how many records a tenant has.
func count(tx *store.Tx, tenant domain.TenantID) (int, error) {
	b, err := tx.Get(bucketCounts, []byte(tenant))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err == nil && len(b) != 8 {
		err = store.MalformedRecord("the number of tokens", errSize)
	}
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint64(b)), nil
}

var errSize = errors.New("not of 8 bytes")

func setCount(tx *store.Tx, tenant domain.TenantID, n int) error {
	if n <= 0 {
		return tx.Delete(bucketCounts, []byte(tenant))
	}
	return tx.Put(bucketCounts, []byte(tenant), binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// remove takes a token away with all that leads to it, and the count of its
// tenant's down. Its children stay, and are dead.
func remove(tx *store.Tx, accessor []byte) (Token, error) {
	hash, err := tx.Get(bucketAccessors, accessor)
	if err != nil {
		return Token{}, err
	}
	t, err := led(tx, hash)
	if err != nil {
		return Token{}, err
	}
	n, err := count(tx, t.Tenant)
	if err != nil {
		return Token{}, err
	}
	if t.Parent != "" {
		err = tx.Delete(bucketChildren, childKey(t.Tenant, t.Parent, t.Accessor))
	}
	return t, errors.Join(err, tx.Delete(bucketTokens, hash), tx.Delete(bucketAccessors, accessor),
		tx.Delete(bucketExpiries, expiryKey(t)), setCount(tx, t.Tenant, n-1))
}

// ended gives the accessors' keys of at most limit tokens that expired before a
// time, the first to end first.
func ended(tx *store.Tx, before time.Time, limit int) (keys [][]byte, err error) {
	bound := string(timeKey(before))
	err = tx.Keys(bucketExpiries, nil, nil, func(key []byte) error {
		if len(keys) >= limit || len(key) <= 8 || string(key[:8]) >= bound {
			return store.ErrStop
		}
		keys = append(keys, key[8:])
		return nil
	})
	return keys, err
}

// Sweep removes at most limit tokens that expired before the given time, what is
// left of trees that were revoked among them, and says how many it removed.
// Expired tokens are refused whether swept or not; callers pass a trusted time,
// so that a clock set ahead erases nothing.
func Sweep(tx *store.Tx, before time.Time, limit int) (int, error) {
	n, err := sweepDoomed(tx, limit)
	if err != nil {
		return n, err
	}
	doomed, err := ended(tx, before, limit-n)
	if err != nil {
		return n, err
	}
	for _, key := range doomed {
		t, err := remove(tx, key)
		if errors.Is(err, store.ErrNotFound) { // with its parent, in this sweep
			continue
		}
		if err != nil {
			return n, err
		}
		n++
		gone, err := prune(tx, t.Tenant, []string{t.Accessor}, limit-n)
		if err != nil {
			return n, err
		}
		n += len(gone)
	}
	return n, sweepCutoffs(tx, before, limit)
}

// AnyExpired says whether Sweep has something to do.
func AnyExpired(tx *store.Tx, before time.Time) (bool, error) {
	keys, err := ended(tx, before, 1)
	if err != nil || len(keys) > 0 {
		return len(keys) > 0, err
	}
	for _, bucket := range []string{bucketDoomed, bucketCutoffs} {
		any := false
		if err := tx.Scan(bucket, nil, nil, func(_, value []byte) error {
			if bucket == bucketDoomed || string(value) < forgets(before) {
				any = true
				return store.ErrStop
			}
			return nil
		}); err != nil || any {
			return any, err
		}
	}
	return false, nil
}
