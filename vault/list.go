package vault

import (
	"context"

	"coffer/app/domain"
	"coffer/app/store"
)

// Tenants lists the tenants of which there are keys, by id. It needs no permit:
// it opens none of them.
func (v *Vault) Tenants(ctx context.Context) ([]domain.TenantID, error) {
	var out []domain.TenantID
	err := v.keys.View(ctx, func(tx *store.Tx) error {
		return tx.Scan(bucketTenants, nil, nil, func(key, _ []byte) error {
			out = append(out, domain.TenantID(key))
			return nil
		})
	})
	return out, err
}
