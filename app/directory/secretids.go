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

// EndingSecretIDs is EachSecretID for those that end before the time. The others
// are not decoded, so that a thousand tenants' can be looked through.
func EndingSecretIDs(tx *store.Tx, tenant domain.TenantID, now, before time.Time, fn func(HeldSecretID) error) error {
	return tx.Scan(bucketSecretIDs, tenantPrefix(tenant), nil, func(key, value []byte) error {
		if ends, ok := peekExpires(value); ok && (!ends.Before(before) || !now.Before(ends)) {
			return nil
		}
		s, err := decodeSecretID(key, value)
		if err != nil || !now.Before(s.Expires) || !s.Expires.Before(before) {
			return err
		}
		return fn(s)
	})
}

// peekExpires reads the one member. No other of the record can hold its name: they
// are numbers, times, base64 and an id.
func peekExpires(value []byte) (time.Time, bool) {
	_, rest, found := bytes.Cut(value, []byte(`"expires":"`))
	text, _, closed := bytes.Cut(rest, []byte{'"'})
	ends, err := time.Parse(time.RFC3339Nano, string(text))
	return ends, found && closed && err == nil
}

// tenantPrefix begins the keys of a tenant, of all tenants for "".
func tenantPrefix(tenant domain.TenantID) []byte {
	if tenant == "" {
		return nil
	}
	return within(tenant, "")
}

var errSecretIDKey = errors.New("a key of other than three parts")

// eachSecretID is EachSecretID for the dead ones too.
func eachSecretID(tx *store.Tx, tenant domain.TenantID, fn func(key []byte, s HeldSecretID) error) error {
	return tx.Scan(bucketSecretIDs, tenantPrefix(tenant), nil, func(key, value []byte) error {
		s, err := decodeSecretID(key, value)
		if err != nil {
			return err
		}
		return fn(key, s)
	})
}

func decodeSecretID(key, value []byte) (HeldSecretID, error) {
	parts := bytes.Split(key, []byte{0})
	if len(parts) != 3 {
		return HeldSecretID{}, store.MalformedRecord("a secret id", errSecretIDKey)
	}
	s, err := decode[SecretID](value)
	return HeldSecretID{domain.TenantID(parts[0]), string(parts[1]), s}, err
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
