package vault

import (
	"context"
	"encoding/hex"
	"errors"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
)

// logKeys are the audit log's keys. They hang under the appliance and not under
// a tenant's key-encryption key, so that refusals are logged and leases are
// taken back while a tenant is closed, and its log outlives it.
type logKeys struct{ v *Vault }

var _ audit.Keys = logKeys{}

// LogKeys gives the audit log its keys.
func (v *Vault) LogKeys() audit.Keys { return logKeys{v} }

// HeadKey authenticates the heads that the journal keeps of itself.
func (k logKeys) HeadKey() domain.Secret { return k.v.heads }

// periodContext is the associated data of one period's key.
func periodContext(tag audit.Tag, period string) string {
	return "coffer/v1/log-period/" + hex.EncodeToString(tag[:]) + "/" + period
}

// checkPeriods unwraps every key of the log.
func (v *Vault) checkPeriods(ctx context.Context) error {
	return v.keys.View(ctx, func(tx *store.Tx) error {
		return tx.Scan(bucketPeriods, nil, nil, func(key, b []byte) error {
			const tagSize = len(audit.Tag{})
			if len(key) <= tagSize {
				return domain.Errorf(domain.Tampered, "a key of the log in keys.db stands under %d bytes", len(key))
			}
			period := string(key[tagSize:])
			raw, err := v.root.Decrypt(b, []byte(periodContext(audit.Tag(key[:tagSize]), period)))
			if err != nil || len(raw) != RootKeySize {
				return domain.Errorf(domain.Tampered, "the key of log period %s in keys.db does not authenticate", period)
			}
			clear(raw)
			return nil
		})
	})
}

// PeriodKey finds the key of one log and period, or makes it durably.
func (k logKeys) PeriodKey(ctx context.Context, tag audit.Tag, period string) (domain.Secret, error) {
	key := append(append([]byte{}, tag[:]...), period...)
	purpose := periodContext(tag, period)
	k.v.wrapping.RLock()
	defer k.v.wrapping.RUnlock()
	var raw []byte
	err := k.v.keys.View(ctx, func(tx *store.Tx) error {
		b, err := tx.Get(bucketPeriods, key)
		if err != nil {
			return err
		}
		raw, err = k.v.root.Decrypt(b, []byte(purpose))
		if err != nil {
			return domain.Errorf(domain.Tampered, "the key of log period %s in keys.db does not authenticate", period)
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		_, err = k.v.keys.Update(ctx, func(tx *store.Tx) (err error) {
			raw, err = k.v.rawKey(tx, bucketPeriods, purpose, key)
			return err
		})
	}
	if err != nil {
		return domain.Secret{}, err
	}
	return domain.NewSecret(raw), nil
}
