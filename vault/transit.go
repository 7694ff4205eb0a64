package vault

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
)

// Bounds on transit keys, so that none makes a request slow.
const (
	MaxTransitKeys     = 1000 // of a tenant
	MaxTransitVersions = 1000 // of a key that are kept
	MaxTransitItems    = 1000 // of one request
)

// Buckets of the control store with a tenant's transit keys: what is known of each,
// and what each of its versions is. FORMAT.md describes them.
const (
	bucketTransit     = "transit"
	bucketTransitKeys = "transit-keys"
)

// transitMeta is the purpose under which what is known of a key is sealed.
const transitMeta = "transit-meta"

// TransitVersion is what is known of one version of a key.
type TransitVersion struct {
	Number  int       `json:"version"`
	Created time.Time `json:"created"`
	Public  string    `json:"public,omitempty"` // of a pair: PEM, or base64 for ed25519
}

// TransitKey is what is known of a key without what it is. Versions count from 1;
// those below MinAvailable are gone.
type TransitKey struct {
	Name          string           `json:"name"`
	ID            string           `json:"id"` // random: a key that is made again under the same name is another one
	Type          TransitType      `json:"type"`
	Created       time.Time        `json:"created"`
	Latest        int              `json:"latest_version"`
	MinAvailable  int              `json:"min_available_version"`
	MinDecryption int              `json:"min_decryption_version"` // of versions that open, verify and are compared
	MinEncryption int              `json:"min_encryption_version"` // of versions that seal and sign; 0: the latest at least
	Deletable     bool             `json:"deletion_allowed"`
	Versions      []TransitVersion `json:"versions"` // oldest first, all that are kept
}

// transitRecord is what is stored of a TransitKey.
type transitRecord struct {
	Version int `json:"version"`
	TransitKey
}

var transitName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?$`)

// ParseTransitName checks a key's name from outside.
func ParseTransitName(s string) (string, error) {
	if !transitName.MatchString(s) {
		return "", domain.Fieldf("name", "%.40q is not the name of a transit key", s).
			WithHint("use 1 to 128 letters, digits and . _ - between them")
	}
	return s, nil
}

// TransitSettings are what can be changed of a key; nil leaves a setting as it is.
type TransitSettings struct {
	MinDecryption *int
	MinEncryption *int
	Deletable     *bool
}

// transitUses are the actions for which a Coffer opens the keys themselves.
var transitUses = []domain.Action{
	authz.TransitEncrypt, authz.TransitDecrypt, authz.TransitRewrap, authz.TransitDatakey,
	authz.TransitSign, authz.TransitVerify, authz.TransitHMAC,
}

// TransitCreate keeps a new key of the grant's name. If there is one already it
// stays as it is, and made is false.
func (c *Coffer) TransitCreate(tx *store.Tx, m *TransitMaterial, now time.Time) (k TransitKey, made bool, err error) {
	if err := c.mayChange(authz.TransitCreate); err != nil {
		return TransitKey{}, false, err
	}
	name, k, err := c.transit(tx)
	if err == nil {
		return k, false, nil
	}
	if domain.KindOf(err) != domain.NotFound {
		return TransitKey{}, false, err
	}
	n, err := tx.Count(bucketTransit, c.keys.uid[:])
	if err != nil {
		return TransitKey{}, false, err
	}
	if n >= MaxTransitKeys {
		return TransitKey{}, false, domain.Errorf(domain.Limit, "%s has %d transit keys, and more are not kept", c.id, n)
	}
	k = TransitKey{
		Name: c.permit.Grant().Resource(), ID: domain.NewID("tk_"), Type: m.kind, Created: now, MinAvailable: 1, MinDecryption: 1,
	}
	return k, true, c.addTransit(tx, name, &k, m, now)
}

// TransitRotate adds a version, which is used from then on.
func (c *Coffer) TransitRotate(tx *store.Tx, m *TransitMaterial, now time.Time) (TransitKey, error) {
	if err := c.mayChange(authz.TransitRotate); err != nil {
		return TransitKey{}, err
	}
	name, k, err := c.transit(tx)
	switch {
	case err != nil:
		return TransitKey{}, err
	case k.Type != m.kind: // it was made anew since somebody looked
		return TransitKey{}, domain.Errorf(domain.Conflict, "the key %s is of another type now", k.Name)
	case len(k.Versions) >= MaxTransitVersions:
		return TransitKey{}, domain.Errorf(domain.Limit, "the key %s has %d versions, and more are not kept", k.Name, len(k.Versions)).
			WithHint("trim those that are not needed")
	}
	return k, c.addTransit(tx, name, &k, m, now)
}

// addTransit keeps the next version of a key.
func (c *Coffer) addTransit(tx *store.Tx, name []byte, k *TransitKey, m *TransitMaterial, now time.Time) error {
	k.Latest++
	k.Versions = append(k.Versions, TransitVersion{Number: k.Latest, Created: now, Public: m.public})
	for use, h := range m.sets() {
		sealed, err := sealKeyset(h, c.keys.secrets, c.keys.associate(use.purpose(), name, k.Latest))
		if err != nil {
			return err
		}
		if err := tx.Put(bucketTransitKeys, c.transitKey(name, k.Latest, use), sealed); err != nil {
			return err
		}
	}
	return c.saveTransit(tx, name, *k)
}

// TransitConfigure changes a key's settings.
func (c *Coffer) TransitConfigure(tx *store.Tx, s TransitSettings) (TransitKey, error) {
	if err := c.mayChange(authz.TransitConfig); err != nil {
		return TransitKey{}, err
	}
	name, k, err := c.transit(tx)
	if err != nil {
		return TransitKey{}, err
	}
	if err := k.set(s); err != nil {
		return TransitKey{}, err
	}
	return k, c.saveTransit(tx, name, k)
}

func (k *TransitKey) set(s TransitSettings) error {
	if s.MinDecryption != nil {
		k.MinDecryption = max(*s.MinDecryption, 1) // 0 is how clients say that all do
	}
	if s.MinEncryption != nil {
		k.MinEncryption = *s.MinEncryption
	}
	if s.Deletable != nil {
		k.Deletable = *s.Deletable
	}
	const decryption, encryption = "min_decryption_version", "min_encryption_version"
	switch {
	case s.MinDecryption != nil && *s.MinDecryption < 0:
		return badInput(decryption, "min decryption version cannot be negative")
	case k.MinEncryption < 0:
		return badInput(encryption, "min encryption version cannot be negative")
	case k.MinDecryption > k.Latest:
		return badInput(decryption, "cannot set min decryption version of %d, latest key version is %d", k.MinDecryption, k.Latest)
	case k.MinEncryption > k.Latest:
		return badInput(encryption, "cannot set min encryption version of %d, latest key version is %d", k.MinEncryption, k.Latest)
	case k.MinEncryption > 0 && k.MinEncryption < k.MinDecryption:
		return badInput(encryption, "cannot set min encryption version of %d, versions below %d could not be decrypted", k.MinEncryption, k.MinDecryption)
	case k.MinDecryption < k.MinAvailable:
		return badInput(decryption, "min decryption version should not be less than min available version %d", k.MinAvailable)
	}
	return nil
}

// TransitTrim destroys the versions below a number: nothing that was encrypted
// under them can ever be decrypted.
func (c *Coffer) TransitTrim(tx *store.Tx, minimum int) (TransitKey, error) {
	if err := c.mayChange(authz.TransitTrim); err != nil {
		return TransitKey{}, err
	}
	name, k, err := c.transit(tx)
	if err != nil {
		return TransitKey{}, err
	}
	const field = "min_available_version"
	switch {
	case minimum < 1:
		return TransitKey{}, badInput(field, "min available version has to be 1 at least")
	case minimum < k.MinAvailable:
		return TransitKey{}, badInput(field, "minimum available version cannot be decremented")
	case k.MinEncryption == 0:
		return TransitKey{}, badInput(field, "minimum available version cannot be set when minimum encryption version is not set")
	case minimum > k.MinEncryption:
		return TransitKey{}, badInput(field, "minimum available version cannot be higher than minimum encryption version")
	case minimum > k.MinDecryption:
		return TransitKey{}, badInput(field, "minimum available version cannot be higher than minimum decryption version")
	}
	for _, v := range k.Versions {
		if v.Number >= minimum {
			break
		}
		if err := c.dropTransit(tx, name, v.Number); err != nil {
			return TransitKey{}, err
		}
	}
	k.Versions = slices.DeleteFunc(k.Versions, func(v TransitVersion) bool { return v.Number < minimum })
	k.MinAvailable = minimum
	c.keys.forgetTransit()
	return k, c.saveTransit(tx, name, k)
}

// TransitRemove destroys a key for good. It must have been said before that it may.
func (c *Coffer) TransitRemove(tx *store.Tx) (TransitKey, error) {
	if err := c.mayChange(authz.TransitRemove); err != nil {
		return TransitKey{}, err
	}
	name, k, err := c.transit(tx)
	if err != nil {
		return TransitKey{}, err
	}
	if !k.Deletable {
		return TransitKey{}, badInput("deletion_allowed", "deletion is not allowed for this key").
			WithHint("allow it first; what was encrypted under it is lost then")
	}
	for _, v := range k.Versions {
		if err := c.dropTransit(tx, name, v.Number); err != nil {
			return TransitKey{}, err
		}
	}
	c.keys.forgetTransit()
	return k, tx.Delete(bucketTransit, c.metaKey(name))
}

// dropTransit removes one version.
func (c *Coffer) dropTransit(tx *store.Tx, name []byte, version int) error {
	for use := range transitPurposes {
		err := tx.Delete(bucketTransitKeys, c.transitKey(name, version, transitUse(use)))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// TransitRead gives what is known of a key.
func (c *Coffer) TransitRead(tx *store.Tx) (TransitKey, error) {
	if err := c.may(authz.TransitRead); err != nil {
		return TransitKey{}, err
	}
	_, k, err := c.transit(tx)
	return k, err
}

// TransitTypeOf gives the type of a key that is about to be rotated, so that what
// becomes its next version can be made before the store is held.
func (c *Coffer) TransitTypeOf(tx *store.Tx) (TransitType, error) {
	if err := c.may(authz.TransitRotate); err != nil {
		return "", err
	}
	_, k, err := c.transit(tx)
	return k.Type, err
}

// TransitList gives all keys by name.
func (c *Coffer) TransitList(tx *store.Tx) (out []TransitKey, err error) {
	if err := c.may(authz.TransitList); err != nil {
		return nil, err
	}
	err = tx.Scan(bucketTransit, c.keys.uid[:], nil, func(key, sealed []byte) error {
		k, err := c.openTransit(key[UIDSize:], sealed)
		out = append(out, k)
		return err
	})
	slices.SortFunc(out, func(a, b TransitKey) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// transit finds what is known of the grant's key.
func (c *Coffer) transit(tx *store.Tx) (name []byte, k TransitKey, err error) {
	resource := c.permit.Grant().Resource()
	if name, err = c.keys.names.ComputePrimaryPRF([]byte("transit\x00"+resource), 16); err != nil {
		return nil, TransitKey{}, err
	}
	sealed, err := tx.Get(bucketTransit, c.metaKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return name, TransitKey{}, domain.Errorf(domain.NotFound, "there is no transit key %s", resource).
			WithHint("make it with: coffer transit create %s", resource)
	}
	if err != nil {
		return nil, TransitKey{}, err
	}
	k, err = c.openTransit(name, sealed)
	return name, k, err
}

func (c *Coffer) openTransit(name, sealed []byte) (TransitKey, error) {
	plain, err := c.keys.secrets.Decrypt(sealed, c.keys.associate(transitMeta, name, 0))
	if err != nil {
		return TransitKey{}, tampered("a transit key")
	}
	var r transitRecord
	err = decodeRecord("a transit key", plain, &r)
	return r.TransitKey, err
}

func (c *Coffer) saveTransit(tx *store.Tx, name []byte, k TransitKey) error {
	plain, err := json.Marshal(transitRecord{recordVersion, k})
	if err != nil {
		return err
	}
	sealed, err := c.keys.secrets.Encrypt(plain, c.keys.associate(transitMeta, name, 0))
	if err != nil {
		return err
	}
	return tx.Put(bucketTransit, c.metaKey(name), sealed)
}

// transitKey is under what a version stands.
func (c *Coffer) transitKey(name []byte, version int, use transitUse) []byte {
	return append(binary.BigEndian.AppendUint32(c.metaKey(name), uint32(version)), byte(use))
}

// badInput is the error of a field, in words that clients of Vault know.
func badInput(field, format string, args ...any) *domain.Error {
	e := domain.Errorf(domain.Invalid, format, args...)
	e.Field = field
	return e
}
