package vault

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
)

// MaxVersions is how many versions of a secret are kept; a put beyond it
// destroys the oldest.
const MaxVersions = 10

// Buckets of the control store that the vault owns. Keys begin with the
// tenant's random number; FORMAT.md describes them.
const (
	bucketSecrets  = "secrets"
	bucketVersions = "secret-versions"
)

// Version is what is known of one version without its value.
type Version struct {
	Number    int        `json:"version"`
	Created   time.Time  `json:"created"`
	By        string     `json:"by"` // principal
	Deleted   *time.Time `json:"deleted,omitempty"`
	Destroyed *time.Time `json:"destroyed,omitempty"`
}

// Live says whether the version has a value that can be read.
func (v Version) Live() bool { return v.Deleted == nil && v.Destroyed == nil }

// Secret is what is known of a secret without its values.
type Secret struct {
	Path     domain.SecretPath `json:"path"`
	Current  int               `json:"current"`
	Created  time.Time         `json:"created"`
	Versions []Version         `json:"versions"` // oldest first
}

// secretRecord is what is stored of a Secret.
type secretRecord struct {
	Version int `json:"version"`
	Secret
}

// Latest is the newest version, the zero Version when there is none.
func (s Secret) Latest() Version {
	if len(s.Versions) == 0 {
		return Version{}
	}
	return s.Versions[len(s.Versions)-1]
}

func (s *Secret) find(number int) (*Version, error) {
	if number == 0 {
		number = s.Current
	}
	for i := range s.Versions {
		if s.Versions[i].Number == number {
			return &s.Versions[i], nil
		}
	}
	return nil, domain.Errorf(domain.NotFound, "version %d of %s does not exist", number, s.Path).
		WithHint("see: coffer secret versions %s", s.Path)
}

// MaxSecrets is how many secrets a tenant can have.
const MaxSecrets = 10_000

var maxSecrets = MaxSecrets

// room refuses a new secret beyond MaxSecrets.
func (c *Coffer) room(tx *store.Tx) error {
	n, err := tx.Count(bucketSecrets, c.keys.uid[:])
	if err == nil && n >= maxSecrets {
		err = domain.Errorf(domain.Limit, "%s has %d secrets, and more are not kept", c.id, n).
			WithHint("keep several values in one secret, or rows in the tenant's database")
	}
	return err
}

// Put writes a new version. With cas, the current version must be *cas, 0
// meaning that the secret must not exist yet.
func (c *Coffer) Put(tx *store.Tx, value Value, cas *int, now time.Time) (Version, error) {
	if err := c.mayChange(authz.SecretPut); err != nil {
		return Version{}, err
	}
	name, s, err := c.load(tx)
	if err != nil && domain.KindOf(err) != domain.NotFound {
		return Version{}, err
	}
	if cas != nil && *cas != s.Current {
		return Version{}, domain.Errorf(domain.Conflict, "the current version is %d, not %d", s.Current, *cas).
			WithHint("read it again, then put with the version you saw")
	}
	if s.Path == "" {
		if err := c.room(tx); err != nil {
			return Version{}, err
		}
		s = Secret{Path: c.path(), Created: now}
	}
	v := Version{Number: s.Current + 1, Created: now, By: c.permit.Grant().Principal().String()}
	s.Current = v.Number
	s.Versions = append(s.Versions, v)
	for len(s.Versions) > MaxVersions {
		if err := c.drop(tx, name, s.Versions[0].Number); err != nil {
			return Version{}, err
		}
		s.Versions = s.Versions[1:]
	}
	sealed, err := c.keys.secrets.Encrypt(value.json.Reveal(), c.keys.associate("secret-value", name, v.Number))
	if err != nil {
		return Version{}, err
	}
	if err := c.account(tx, len(sealed)); err != nil {
		return Version{}, err
	}
	if err := tx.Put(bucketVersions, c.versionKey(name, v.Number), sealed); err != nil {
		return Version{}, err
	}
	return v, c.save(tx, name, s)
}

// Read gives a version's value; version 0 is the current one.
func (c *Coffer) Read(tx *store.Tx, version int) (Value, Version, error) {
	if err := c.may(authz.SecretRead); err != nil {
		return Value{}, Version{}, err
	}
	name, s, err := c.load(tx)
	if err != nil {
		return Value{}, Version{}, err
	}
	v, err := s.find(version)
	if err != nil {
		return Value{}, Version{}, err
	}
	if err := v.gone(s.Path); err != nil {
		return Value{}, *v, err
	}
	value, err := c.value(tx, name, *v)
	return value, *v, err
}

// GoneError says of which version there is no value any more, or for now.
type GoneError struct {
	Version Version
	err     *domain.Error
}

func (e *GoneError) Error() string { return e.err.Error() }

// Unwrap gives the domain.Error of kind NotFound.
func (e *GoneError) Unwrap() error { return e.err }

// gone is a *GoneError for a version that was deleted or destroyed.
func (v Version) gone(path domain.SecretPath) error {
	switch {
	case v.Destroyed != nil:
		return &GoneError{v, domain.Errorf(domain.NotFound, "version %d of %s was destroyed", v.Number, path)}
	case v.Deleted != nil:
		return &GoneError{v, domain.Errorf(domain.NotFound, "version %d of %s is deleted", v.Number, path).
			WithHint("bring it back with: coffer secret undelete --version %d %s", v.Number, path)}
	}
	return nil
}

// value opens the value of a version that has one.
func (c *Coffer) value(tx *store.Tx, name []byte, v Version) (Value, error) {
	sealed, err := tx.Get(bucketVersions, c.versionKey(name, v.Number))
	if errors.Is(err, store.ErrNotFound) {
		return Value{}, tampered("a secret's value") // its metadata says that it is there
	}
	if err != nil {
		return Value{}, err
	}
	plain, err := c.keys.secrets.Decrypt(sealed, c.keys.associate("secret-value", name, v.Number))
	if err != nil {
		return Value{}, tampered("a secret's value")
	}
	return Value{domain.NewSecret(plain)}, nil
}

// Patch merges names and values into the current version and writes that as a new one:
// null takes a name away (RFC 7396). With cas, the current version must be *cas.
func (c *Coffer) Patch(tx *store.Tx, patch domain.Secret, cas *int, now time.Time) (Version, error) {
	if err := c.mayChange(authz.SecretPut); err != nil {
		return Version{}, err
	}
	name, s, err := c.load(tx)
	if err != nil {
		return Version{}, err
	}
	v, err := s.find(0)
	if err != nil {
		return Version{}, err
	}
	if err := v.gone(s.Path); err != nil {
		return Version{}, err
	}
	before, err := c.value(tx, name, *v)
	if err != nil {
		return Version{}, err
	}
	after, err := before.merged(patch)
	if err != nil {
		return Version{}, err
	}
	return c.Put(tx, after, cas, now)
}

// Versions lists the versions of the secret.
func (c *Coffer) Versions(tx *store.Tx) (Secret, error) {
	if err := c.may(authz.SecretVersions); err != nil {
		return Secret{}, err
	}
	_, s, err := c.load(tx)
	return s, err
}

// List gives the secrets under the grant's prefix that the grant may show, by
// path. A page ends after limit secrets; after is the last path of the one
// before it.
func (c *Coffer) List(tx *store.Tx, after domain.SecretPath, limit int) ([]Secret, error) {
	if err := c.may(authz.SecretList); err != nil {
		return nil, err
	}
	prefix := c.permit.Grant().Resource()
	var out []Secret
	err := tx.Scan(bucketSecrets, c.keys.uid[:], nil, func(key, sealed []byte) error {
		s, err := c.openMeta(key[UIDSize:], sealed)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(s.Path), prefix) && s.Path > after && c.permit.Grant().Sees(s.Path) {
			out = append(out, s)
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Secret) int { return strings.Compare(string(a.Path), string(b.Path)) })
	if len(out) > limit {
		out = out[:limit]
	}
	return out, err
}

// Delete hides a version so that it can be brought back; 0 is the current one.
func (c *Coffer) Delete(tx *store.Tx, version int, now time.Time) (Version, error) {
	return c.mark(tx, authz.SecretDelete, version, func(v *Version, _ []byte) error {
		if v.Deleted == nil {
			v.Deleted = &now
		}
		return nil
	})
}

// Undelete brings a deleted version back; 0 is the current one.
func (c *Coffer) Undelete(tx *store.Tx, version int) (Version, error) {
	return c.mark(tx, authz.SecretUndelete, version, func(v *Version, _ []byte) error {
		v.Deleted = nil
		return nil
	})
}

// Destroy removes a version's value for good; 0 is the current one.
func (c *Coffer) Destroy(tx *store.Tx, version int, now time.Time) (Version, error) {
	return c.mark(tx, authz.SecretDestroy, version, func(v *Version, name []byte) error {
		v.Destroyed = &now
		return c.drop(tx, name, v.Number)
	})
}

// mark changes the state of one version that is not destroyed.
func (c *Coffer) mark(tx *store.Tx, action domain.Action, version int, change func(*Version, []byte) error) (Version, error) {
	if err := c.mayChange(action); err != nil {
		return Version{}, err
	}
	name, s, err := c.load(tx)
	if err != nil {
		return Version{}, err
	}
	v, err := s.find(version)
	if err != nil {
		return Version{}, err
	}
	if v.Destroyed != nil {
		return *v, domain.Errorf(domain.Conflict, "version %d of %s was destroyed", v.Number, s.Path)
	}
	if err := change(v, name); err != nil {
		return Version{}, err
	}
	return *v, c.save(tx, name, s)
}

func (c *Coffer) path() domain.SecretPath { return domain.SecretPath(c.permit.Grant().Resource()) }

func (c *Coffer) metaKey(name []byte) []byte {
	return append(slices.Clone(c.keys.uid[:]), name...)
}

func (c *Coffer) versionKey(name []byte, version int) []byte {
	return binary.BigEndian.AppendUint32(c.metaKey(name), uint32(version))
}

// load finds the metadata of the grant's secret.
func (c *Coffer) load(tx *store.Tx) (name []byte, s Secret, err error) {
	if name, err = c.keys.blind(c.path()); err != nil {
		return nil, Secret{}, err
	}
	sealed, err := tx.Get(bucketSecrets, c.metaKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return name, Secret{}, domain.Errorf(domain.NotFound, "there is no secret at %s", c.path()).
			WithHint("see: coffer secret list")
	}
	if err != nil {
		return nil, Secret{}, err
	}
	s, err = c.openMeta(name, sealed)
	return name, s, err
}

func (c *Coffer) openMeta(name, sealed []byte) (Secret, error) {
	plain, err := c.keys.secrets.Decrypt(sealed, c.keys.associate("secret-meta", name, 0))
	if err != nil {
		return Secret{}, tampered("a secret's metadata")
	}
	var r secretRecord
	err = decodeRecord("a secret's metadata", plain, &r)
	return r.Secret, err
}

func (c *Coffer) save(tx *store.Tx, name []byte, s Secret) error {
	plain, err := json.Marshal(secretRecord{recordVersion, s})
	if err != nil {
		return err
	}
	sealed, err := c.keys.secrets.Encrypt(plain, c.keys.associate("secret-meta", name, 0))
	if err != nil {
		return err
	}
	return tx.Put(bucketSecrets, c.metaKey(name), sealed)
}

// drop removes a version's value; one that is gone already is no error.
func (c *Coffer) drop(tx *store.Tx, name []byte, version int) error {
	key := c.versionKey(name, version)
	sealed, err := tx.Get(bucketVersions, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.account(tx, -len(sealed)); err != nil { // before it is gone: it may be counted for the first time
		return err
	}
	return tx.Delete(bucketVersions, key)
}

// Purge removes the rows of every secret of a tenant whose keys have been
// destroyed. uid is the tenant's random number from its record; that of a tenant
// which still has keys is refused.
func (v *Vault) Purge(ctx context.Context, tx *store.Tx, p *audit.Permit, uid [UIDSize]byte) error {
	if err := p.CheckChange(p.Tenant(), authz.TenantDestroy); err != nil {
		return err
	}
	if err := v.checkKeyless(ctx, uid); err != nil {
		return err
	}
	for _, kind := range rewrapped {
		bucket := kind.bucket
		var keys [][]byte
		if err := tx.Scan(bucket, uid[:], nil, func(key, _ []byte) error {
			keys = append(keys, slices.Clone(key))
			return nil
		}); err != nil {
			return err
		}
		for _, k := range keys {
			if err := tx.Delete(bucket, k); err != nil {
				return err
			}
		}
	}
	if err := tx.Delete(bucketUsage, uid[:]); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// checkKeyless is an error if a tenant with this number still has keys.
func (v *Vault) checkKeyless(ctx context.Context, uid [UIDSize]byte) error {
	return v.keys.View(ctx, func(tx *store.Tx) error {
		return tx.Scan(bucketTenants, nil, nil, func(id, b []byte) error {
			var r tenantRecord
			if err := decodeRecord("the row in keys.db", b, &r); err != nil {
				return err
			}
			if slices.Equal(r.UID, uid[:]) {
				return domain.Errorf(domain.Internal, "the secrets of tenant %q were to be purged while its keys exist", id)
			}
			return nil
		})
	})
}

func tampered(what string) error {
	return domain.Errorf(domain.Tampered, "%s in control.db does not authenticate", what).
		WithHint("run: coffer doctor; then restore a backup")
}
