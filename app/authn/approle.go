package authn

import (
	"cmp"
	"crypto/sha256"
	"time"

	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// ErrLogin is the answer to every login that fails: an unknown role id and a
// wrong, expired or used-up secret id look the same.
var ErrLogin = domain.BadCredential("the role id and secret id do not belong together, or have ended").
	WithHint("ask whoever manages the workload for another: coffer workload secret-id NAME")

// maxRoleID bounds in bytes what is looked up as a role id; real ones have 28.
const maxRoleID = 64

// AppRole proves a workload by its role id and secret id. It has the shape of
// Vault's AppRole. It takes no use from the secret id; who acts on the answer
// spends one in the same transaction.
func AppRole(tx *store.Tx, roleID string, secretID domain.Secret, now time.Time) (directory.Workload, directory.SecretID, error) {
	none := func(err error) (directory.Workload, directory.SecretID, error) {
		return directory.Workload{}, directory.SecretID{}, cmp.Or[error](err, ErrLogin)
	}
	var tenant domain.TenantID
	var found bool
	var err error
	if roleID != "" && len(roleID) <= maxRoleID { // what can be a key of the store at all
		if tenant, found, err = directory.TenantOfRole(tx, roleID); err != nil {
			return none(err)
		}
	}
	if !found {
		sha256.Sum256(secretID.Reveal()) // the work that a known role id costs
		return none(nil)
	}
	w, found, err := directory.WorkloadByID(tx, tenant, roleID)
	if err != nil || !found {
		return none(err)
	}
	s, found, err := directory.FindSecretID(tx, w, secretID, now)
	if err != nil || !found {
		return none(err)
	}
	return w, s, nil
}
