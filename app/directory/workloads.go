package directory

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
)

// Bounds on what a tenant can have.
const (
	MaxWorkloads  = 10_000
	MaxSecretIDs  = 100 // live ones of one workload
	MaxSecretUses = 1_000_000

	DefaultSecretIDTTL = 30 * 24 * time.Hour
	MaxSecretIDTTL     = 90 * 24 * time.Hour
)

// SecretIDPrefix begins every secret id.
const SecretIDPrefix = "cfs_"

// Workload is a machine identity of one tenant. Its ID is the role id with
// which it logs in; alone that opens nothing.
type Workload struct {
	ID           string             `json:"id"`
	Tenant       domain.TenantID    `json:"tenant"`
	Name         string             `json:"name"`               // unique in the tenant
	Capabilities []authz.Capability `json:"capabilities"`       // what it may, or null and
	Policies     []string           `json:"policies,omitempty"` // names of the ACL policies that say so
	TokenTTL     time.Duration      `json:"token_ttl"`          // of the tokens that a login gives
	CreatedBy    string             `json:"created_by"`         // principal id: the owner, for "own only" roles
	Created      time.Time          `json:"created"`
}

// Layer is what the workload may. Its policies are not resolved.
func (w Workload) Layer() authz.Layer {
	return authz.Layer{Capabilities: w.Capabilities, Policies: w.Policies}
}

// SecretID is one credential of a workload; only its hash is kept.
type SecretID struct {
	Accessor string    `json:"accessor"`
	Hash     []byte    `json:"hash"` // SHA-256
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	UsesLeft int       `json:"uses_left"` // -1 for no limit
}

// AddWorkload records a workload under a new id.
func AddWorkload(tx *store.Tx, w Workload, now time.Time) (Workload, error) {
	others, err := Workloads(tx, w.Tenant)
	if err != nil {
		return Workload{}, err
	}
	if len(others) >= MaxWorkloads {
		return Workload{}, domain.Errorf(domain.Limit, "%s has %d workloads, more are not allowed", w.Tenant, len(others))
	}
	if slices.ContainsFunc(others, func(o Workload) bool { return o.Name == w.Name }) {
		return Workload{}, domain.Errorf(domain.Conflict, "there is a workload %q already", w.Name).
			WithHint("issue it another secret id with: coffer workload secret-id %s", w.Name)
	}
	w.ID, w.Created = domain.NewID("w_"), now.UTC()
	if err := put(tx, bucketRoleIDs, []byte(w.ID), w.Tenant); err != nil {
		return Workload{}, err
	}
	return w, put(tx, bucketWorkloads, within(w.Tenant, w.ID), w)
}

// Workloads lists a tenant's workloads, by id.
func Workloads(tx *store.Tx, tenant domain.TenantID) ([]Workload, error) {
	return scan[Workload](tx, bucketWorkloads, within(tenant, ""))
}

// WorkloadPage lists the tenant's workloads that keep picks, by id, from the one
// after the id `after` on, at most limit of them.
func WorkloadPage(tx *store.Tx, tenant domain.TenantID, after string, limit int, keep func(Workload) bool) ([]Workload, error) {
	var out []Workload
	err := tx.Scan(bucketWorkloads, within(tenant, ""), within(tenant, after), func(_, value []byte) error {
		w, err := decode[Workload](value)
		if err != nil || !keep(w) {
			return err
		}
		if out = append(out, w); len(out) >= limit {
			return store.ErrStop
		}
		return nil
	})
	return out, err
}

// WorkloadByID finds a workload of a tenant.
func WorkloadByID(tx *store.Tx, tenant domain.TenantID, id string) (Workload, bool, error) {
	return recall[Workload](tx, bucketWorkloads, within(tenant, id))
}

// WorkloadByName finds a workload of a tenant by its name.
func WorkloadByName(tx *store.Tx, tenant domain.TenantID, name string) (Workload, error) {
	all, err := Workloads(tx, tenant)
	if err != nil {
		return Workload{}, err
	}
	i := slices.IndexFunc(all, func(w Workload) bool { return w.Name == name })
	if i < 0 {
		return Workload{}, domain.Errorf(domain.NotFound, "there is no workload %q", name).
			WithHint("see: coffer workload list")
	}
	return all[i], nil
}

// maxRoleID is more than any role id has, in bytes.
const maxRoleID = 64

// TenantOfRole finds the tenant to which a role id belongs.
func TenantOfRole(tx *store.Tx, roleID string) (domain.TenantID, bool, error) {
	if roleID == "" || len(roleID) > maxRoleID {
		return "", false, nil // the store has no such keys, and would say so
	}
	return recall[domain.TenantID](tx, bucketRoleIDs, []byte(roleID))
}

// RemoveWorkload removes a workload and its secret ids.
func RemoveWorkload(tx *store.Tx, w Workload) error {
	if err := removeUnder(tx, bucketSecretIDs, within(w.Tenant, w.ID, "")); err != nil {
		return err
	}
	if err := tx.Delete(bucketRoleIDs, []byte(w.ID)); err != nil {
		return err
	}
	return tx.Delete(bucketWorkloads, within(w.Tenant, w.ID))
}

// SecretIDSpec bounds a new secret id: zero TTL means DefaultSecretIDTTL, zero
// uses mean any number of them.
type SecretIDSpec struct {
	TTL  time.Duration
	Uses int
}

// Check refuses bounds that cannot be.
func (s SecretIDSpec) Check() error {
	switch {
	case s.TTL < 0 || s.TTL > MaxSecretIDTTL:
		return domain.Fieldf("secret_id_ttl", "%v is not between 0 and %v", s.TTL, MaxSecretIDTTL)
	case s.Uses < 0 || s.Uses > MaxSecretUses:
		return domain.Fieldf("secret_id_uses", "%d is not between 0 (no limit) and %d", s.Uses, MaxSecretUses)
	}
	return nil
}

// AddSecretID makes a secret id, whose text is returned once and kept nowhere.
func AddSecretID(tx *store.Tx, w Workload, spec SecretIDSpec, now time.Time) (domain.Secret, SecretID, error) {
	if err := spec.Check(); err != nil {
		return domain.Secret{}, SecretID{}, err
	}
	live, err := liveSecretIDs(tx, w, now)
	if err != nil {
		return domain.Secret{}, SecretID{}, err
	}
	if len(live) >= MaxSecretIDs {
		return domain.Secret{}, SecretID{}, domain.Errorf(domain.Limit, "the workload %q has %d live secret ids", w.Name, len(live)).
			WithHint("give them a TTL, or remove the workload and make it again")
	}
	text := domain.SecretString(SecretIDPrefix + strings.ToLower(rand.Text()+rand.Text()))
	hash := sha256.Sum256(text.Reveal())
	s := SecretID{
		Accessor: domain.NewID("sa_"), Hash: hash[:], UsesLeft: spec.Uses,
		Created: now.UTC(), Expires: now.Add(cmp.Or(spec.TTL, DefaultSecretIDTTL)).UTC(),
	}
	if spec.Uses == 0 {
		s.UsesLeft = -1
	}
	return text, s, put(tx, bucketSecretIDs, within(w.Tenant, w.ID, s.Accessor), s)
}

// FindSecretID finds the workload's live secret id with this text. found is
// false for a wrong, expired or used-up one alike.
func FindSecretID(tx *store.Tx, w Workload, text domain.Secret, now time.Time) (s SecretID, found bool, err error) {
	live, err := liveSecretIDs(tx, w, now)
	if err != nil {
		return SecretID{}, false, err
	}
	hash := sha256.Sum256(text.Reveal())
	for _, candidate := range live { // all of them, in constant time each
		if subtle.ConstantTimeCompare(candidate.Hash, hash[:]) == 1 {
			s, found = candidate, true
		}
	}
	return s, found, nil
}

// SpendSecretID takes one use from a secret id that FindSecretID found in the
// same transaction.
func SpendSecretID(tx *store.Tx, w Workload, s SecretID) error {
	key := within(w.Tenant, w.ID, s.Accessor)
	switch {
	case s.UsesLeft < 0:
		return nil
	case s.UsesLeft <= 1:
		return tx.Delete(bucketSecretIDs, key)
	}
	s.UsesLeft--
	return put(tx, bucketSecretIDs, key, s)
}

// liveSecretIDs lists the workload's secret ids that have not expired. It
// deletes none: a clock set ahead erases nothing.
func liveSecretIDs(tx *store.Tx, w Workload, now time.Time) ([]SecretID, error) {
	all, err := scan[SecretID](tx, bucketSecretIDs, within(w.Tenant, w.ID, ""))
	return slices.DeleteFunc(all, func(s SecretID) bool {
		return !now.Before(s.Expires)
	}), err
}

// RemoveTenant removes every member, invitation, workload and secret id of a
// tenant.
func RemoveTenant(tx *store.Tx, tenant domain.TenantID) error {
	workloads, err := Workloads(tx, tenant)
	if err != nil {
		return err
	}
	for _, w := range workloads {
		if err := RemoveWorkload(tx, w); err != nil {
			return err
		}
	}
	if err := removeLinks(tx, tenant, func(Link) bool { return true }); err != nil {
		return err
	}
	return removeUnder(tx, bucketMembers, within(tenant, ""))
}
