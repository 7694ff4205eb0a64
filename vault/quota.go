package vault

import (
	"encoding/binary"
	"errors"

	"coffer/app/domain"
	"coffer/app/store"
)

// bucketUsage holds, for each tenant's random number, how many bytes its sealed
// values take together: 8 bytes, big-endian. A tenant without one gets it, counted
// anew, with its next change.
const bucketUsage = "secret-usage"

// Bound gives the Coffer the tenant's quota of bytes for Put; 0 means none.
func (c *Coffer) Bound(quota int64) { c.quota = quota }

// account adds to what the tenant's values take, and refuses to let it grow
// beyond the quota.
func (c *Coffer) account(tx *store.Tx, change int) error {
	used, err := c.usage(tx)
	if err != nil {
		return err
	}
	now := used + int64(change)
	switch {
	case now < 0:
		return tampered("the size of a tenant's secrets")
	case change > 0 && c.quota > 0 && now > c.quota:
		return domain.Errorf(domain.Limit, "the secrets of %s take %d of %d bytes, and %d more are not kept", c.id, used, c.quota, change).
			WithHint("destroy versions that are not needed, or keep large values in the tenant's database")
	}
	return tx.Put(bucketUsage, c.keys.uid[:], binary.BigEndian.AppendUint64(nil, uint64(now)))
}

// usage is how many bytes the tenant's sealed values take.
func (c *Coffer) usage(tx *store.Tx) (used int64, err error) {
	b, err := tx.Get(bucketUsage, c.keys.uid[:])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return c.measure(tx)
	case err == nil && len(b) != 8:
		err = tampered("the size of a tenant's secrets")
	}
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// measure adds up what the tenant's sealed values take.
func (c *Coffer) measure(tx *store.Tx) (used int64, err error) {
	err = tx.Scan(bucketVersions, c.keys.uid[:], nil, func(_, sealed []byte) error {
		used += int64(len(sealed))
		return nil
	})
	return used, err
}
