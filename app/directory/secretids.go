package directory

import (
	"bytes"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// HeldSecretID is a live secret id with where it belongs.
type HeldSecretID struct {
	Tenant   domain.TenantID
	Workload string // id
	SecretID
}

// EachSecretID calls fn with the live secret ids of a tenant, of all tenants for
// "", until it returns store.ErrStop.
func EachSecretID(tx *store.Tx, tenant domain.TenantID, now time.Time, fn func(HeldSecretID) error) error {
	return eachSecretID(tx, tenant, func(_ []byte, s HeldSecretID) error {
		if !now.Before(s.Expires) {
			return nil
		}
		return fn(s)
	})
}

var errSecretIDKey = errors.New("a key of other than three parts")

// eachSecretID is EachSecretID for the dead ones too.
func eachSecretID(tx *store.Tx, tenant domain.TenantID, fn func(key []byte, s HeldSecretID) error) error {
	var prefix []byte
	if tenant != "" {
		prefix = within(tenant, "")
	}
	return tx.Scan(bucketSecretIDs, prefix, nil, func(key, value []byte) error {
		parts := bytes.Split(key, []byte{0})
		if len(parts) != 3 {
			return store.MalformedRecord("a secret id", errSecretIDKey)
		}
		s, err := decode[SecretID](value)
		if err != nil {
			return err
		}
		return fn(key, HeldSecretID{domain.TenantID(parts[0]), string(parts[1]), s})
	})
}

// SweepSecretIDs removes at most limit secret ids that expired before the given
// time, and says how many. They log in nobody whether swept or not; callers pass
// a trusted time, so that a clock set ahead erases nothing.
func SweepSecretIDs(tx *store.Tx, before time.Time, limit int) (int, error) {
	doomed, err := expiredSecretIDs(tx, before, limit)
	if err != nil {
		return 0, err
	}
	for _, key := range doomed {
		if err := tx.Delete(bucketSecretIDs, key); err != nil {
			return 0, err
		}
	}
	return len(doomed), nil
}

// AnyExpiredSecretID says whether SweepSecretIDs has something to do.
func AnyExpiredSecretID(tx *store.Tx, before time.Time) (bool, error) {
	doomed, err := expiredSecretIDs(tx, before, 1)
	return len(doomed) > 0, err
}

func expiredSecretIDs(tx *store.Tx, before time.Time, limit int) (keys [][]byte, err error) {
	err = eachSecretID(tx, "", func(key []byte, s HeldSecretID) error {
		if s.Expires.Before(before) {
			keys = append(keys, bytes.Clone(key))
		}
		if len(keys) >= limit {
			return store.ErrStop
		}
		return nil
	})
	return keys, err
}
