package directory

import (
	"coffer/app/domain"
	"coffer/app/store"
)

// RemoveSecretIDs removes the secret ids of a tenant that pick picks.
func RemoveSecretIDs(tx *store.Tx, tenant domain.TenantID, pick func(HeldSecretID) bool) error {
	var doomed [][]byte
	if err := eachSecretID(tx, tenant, func(key []byte, s HeldSecretID) error {
		if pick(s) {
			doomed = append(doomed, key)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, key := range doomed {
		if err := tx.Delete(bucketSecretIDs, key); err != nil {
			return err
		}
	}
	return nil
}
