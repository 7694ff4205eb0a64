package vault

import (
	"context"
	"encoding/binary"
	"slices"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

// Coffer is one tenant's keys in the hands of one permit. It takes no tenant
// and no path: both are those that the permit's grant names, so what was
// authorized is what is touched.
type Coffer struct {
	vault  *Vault
	permit *audit.Permit
	id     domain.TenantID
	keys   *tenantKeys
	quota  int64 // bytes of all sealed values together; 0: no bound
}

// secretActions are what a Coffer is opened for.
var secretActions = []domain.Action{
	authz.SecretPut, authz.SecretRead, authz.SecretList, authz.SecretVersions,
	authz.SecretDelete, authz.SecretUndelete, authz.SecretDestroy,
}

// transitActions are those on transit keys.
var transitActions = append([]domain.Action{
	authz.TransitCreate, authz.TransitRead, authz.TransitList, authz.TransitConfig, authz.TransitRotate, authz.TransitTrim, authz.TransitRemove,
}, transitUses...)

// Coffer opens the keys of the tenant that the permit names, for an action on
// secrets or transit keys.
func (v *Vault) Coffer(ctx context.Context, p *audit.Permit) (*Coffer, error) {
	if err := p.Check(p.Tenant(), slices.Concat(secretActions, transitActions)...); err != nil {
		return nil, err
	}
	if p.Tenant() == "" {
		return nil, domain.Errorf(domain.Internal, "a permit without a tenant opens no coffer")
	}
	keys, err := v.openTenant(ctx, p.Tenant())
	if err != nil {
		return nil, err
	}
	return &Coffer{vault: v, permit: p, id: p.Tenant(), keys: keys}, nil
}

// may checks before each use that the permit is open and for this.
func (c *Coffer) may(action domain.Action) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.permit.Check(c.id, action)
}

// mayChange is may for a change.
func (c *Coffer) mayChange(action domain.Action) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.permit.CheckChange(c.id, action)
}

// usable refuses a Coffer that no vault gave, and every Coffer of a closed one.
func (c *Coffer) usable() error {
	if c == nil || c.vault == nil {
		return domain.Errorf(domain.Internal, "no coffer")
	}
	return c.vault.usable()
}

// pageKeys derives the page keys of the tenant's database file.
type pageKeys struct{ keys *tenantKeys }

// Derive is the page keyset's PRF (HKDF-SHA-256, RFC 5869).
func (k pageKeys) Derive(info []byte, n int) ([]byte, error) {
	return k.keys.pages.ComputePrimaryPRF(info, uint32(n))
}

// TenantPages gives what derives the page keys of a tenant's database file, and
// the file's id, for the actions that touch the file.
func (v *Vault) TenantPages(ctx context.Context, p *audit.Permit, id domain.TenantID) (interface {
	Derive(info []byte, n int) ([]byte, error)
}, [UIDSize]byte, error,
) {
	var err error
	switch p.Action() {
	case authz.TenantCreate:
		err = creating(p, id)
	case authz.CheckStores:
		err = p.Check("", authz.CheckStores)
	default:
		err = p.Check(id, authz.SQLQuery, authz.SQLWrite, authz.QueryRun, authz.QuerySave, authz.MigrationApply, authz.MigrationRestore)
	}
	if err != nil {
		return nil, [UIDSize]byte{}, err
	}
	keys, err := v.openTenant(ctx, id)
	if err != nil {
		return nil, [UIDSize]byte{}, err
	}
	return pageKeys{keys}, keys.uid, nil
}

// blind turns a path into the fixed-size key under which it is stored.
func (k *tenantKeys) blind(path domain.SecretPath) ([]byte, error) {
	return k.names.ComputePrimaryPRF([]byte("secret\x00"+string(path)), 16)
}

// associate is the associated data of a secret's record: format, tenant,
// purpose and the place at which it stands. See FORMAT.md.
func (k *tenantKeys) associate(purpose string, name []byte, version int) []byte {
	ad := make([]byte, 0, 64)
	ad = append(ad, "coffer/v1/"...)
	ad = append(ad, purpose...)
	ad = append(ad, 0)
	ad = append(ad, k.uid[:]...)
	ad = append(ad, name...)
	return binary.BigEndian.AppendUint32(ad, uint32(version))
}
