package vault

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
)

// UIDSize is the length in bytes of a tenant's random number, which stands in
// associated data and in the page format instead of the name.
const UIDSize = 16

// mostOpenTenants bounds how many tenants' unwrapped keys are kept in memory;
// unwrapping again costs about 0.1 ms.
const mostOpenTenants = 1024

// tenantRecord is one tenant's row in keys.db, as JSON. The KEK is wrapped
// under the root keyset with the context "tenant/<id>", everything else under
// the KEK with "tenant/<id>/<purpose>".
type tenantRecord struct {
	Version int    `json:"version"` // recordVersion
	UID     []byte `json:"uid"`
	KEK     []byte `json:"kek"`
	Secrets []byte `json:"secrets"` // AEAD: values and metadata of secrets
	Pages   []byte `json:"pages"`   // PRF: page keys of the database file
	Names   []byte `json:"names"`   // PRF: blinds paths where they are keys
}

// tenantKeys are one tenant's unwrapped keysets.
type tenantKeys struct {
	uid     [UIDSize]byte
	secrets tink.AEAD
	pages   *prf.Set
	names   *prf.Set
	transit transitCache
}

func tenantContext(id domain.TenantID, purpose string) string {
	if purpose == "" {
		return "tenant/" + string(id)
	}
	return "tenant/" + string(id) + "/" + purpose
}

// CreateTenant makes a tenant's keys durable and returns its random number.
// Keys that a crashed creation left behind are replaced: nothing was ever
// encrypted under them that counts.
func (v *Vault) CreateTenant(ctx context.Context, p *audit.Permit, id domain.TenantID) ([UIDSize]byte, error) {
	var uid [UIDSize]byte
	if err := creating(p, id); err != nil {
		return uid, err
	}
	v.wrapping.RLock()
	defer v.wrapping.RUnlock()
	_, _ = rand.Read(uid[:]) // never fails: it would end the process first
	record, err := v.newTenantRecord(id, uid)
	if err != nil {
		return uid, fmt.Errorf("making the keys of tenant %q: %w", id, err)
	}
	_, err = v.keys.Update(ctx, func(tx *store.Tx) error {
		return tx.Put(bucketTenants, []byte(id), record)
	})
	v.Forget(id)
	return uid, err
}

// creating checks that the permit is one to create exactly this tenant.
func creating(p *audit.Permit, id domain.TenantID) error {
	if err := p.CheckChange("", authz.TenantCreate); err != nil {
		return err
	}
	if p.Grant().Resource() != string(id) {
		return domain.Errorf(domain.Internal, "a permit to create %q was used for %q", p.Grant().Resource(), id)
	}
	return nil
}

func (v *Vault) newTenantRecord(id domain.TenantID, uid [UIDSize]byte) ([]byte, error) {
	r := tenantRecord{Version: recordVersion, UID: uid[:]}
	kekHandle, err := newAEADKeyset()
	if err != nil {
		return nil, err
	}
	if r.KEK, err = wrap(kekHandle, v.root, tenantContext(id, "")); err != nil {
		return nil, err
	}
	kek, err := aead.New(kekHandle)
	if err != nil {
		return nil, err
	}
	for _, k := range r.keysets() {
		h, err := k.make()
		if err != nil {
			return nil, err
		}
		if *k.in, err = wrap(h, kek, tenantContext(id, k.purpose)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(r)
}

// rowKeyset is one of a tenant's keysets, as its row has it.
type rowKeyset struct {
	purpose string // in its context
	make    func() (*keyset.Handle, error)
	in      *[]byte // wrapped under the KEK
}

// keysets are all that hangs under the KEK.
func (r *tenantRecord) keysets() []rowKeyset {
	return []rowKeyset{
		{"secrets", newAEADKeyset, &r.Secrets},
		{"pages", newPRFKeyset, &r.Pages},
		{"names", newPRFKeyset, &r.Names},
	}
}

// DestroyTenant destroys a tenant's keys for good: its row goes, and keys.db is
// rewritten under a new key so that no older copy of it opens. It may be called
// again after a crash.
func (v *Vault) DestroyTenant(ctx context.Context, p *audit.Permit, id domain.TenantID) error {
	if err := p.CheckChange(id, authz.TenantDestroy); err != nil {
		return err
	}
	if err := v.deleteTenant(ctx, id); err != nil {
		return err
	}
	return v.shred(ctx)
}

// AbandonTenant removes the keys of a tenant whose creation did not reach its
// commit. The permit is that of the creation, or the system's at boot.
func (v *Vault) AbandonTenant(ctx context.Context, p *audit.Permit, id domain.TenantID) error {
	if err := creating(p, id); err != nil {
		return err
	}
	return v.deleteTenant(ctx, id)
}

func (v *Vault) deleteTenant(ctx context.Context, id domain.TenantID) error {
	_, err := v.keys.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.Delete(bucketTenants, []byte(id)), tx.Delete(bucketClients, []byte(id)))
	})
	if err == nil {
		v.adoptClient(id, nil)
	}
	v.Forget(id) // last, so that nobody unwraps the row again
	return err
}

// Forget drops a tenant's keys from memory, when it is suspended or closed.
func (v *Vault) Forget(id domain.TenantID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forgets++
	delete(v.tenants, id)
}

// openTenant finds a tenant's keys in memory or unwraps them.
func (v *Vault) openTenant(ctx context.Context, id domain.TenantID) (*tenantKeys, error) {
	if err := v.CheckClient(id); err != nil {
		return nil, err
	}
	v.mu.Lock()
	k, forgets := v.tenants[id], v.forgets
	v.mu.Unlock()
	if k != nil {
		return k, nil
	}
	v.wrapping.RLock()
	defer v.wrapping.RUnlock()
	r, err := v.tenantRow(ctx, id)
	if err == nil {
		k, err = v.unwrapTenant(id, r)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the keys of tenant %q: %w", id, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, errClosed
	}
	if v.forgets != forgets {
		return k, nil // it may be this tenant that was forgotten meanwhile: not kept
	}
	if len(v.tenants) >= mostOpenTenants {
		for other := range v.tenants { // any one: map order is random enough for a cache
			delete(v.tenants, other)
			break
		}
	}
	v.tenants[id] = k
	return k, nil
}

// tenantRow reads a tenant's row.
func (v *Vault) tenantRow(ctx context.Context, id domain.TenantID) (r tenantRecord, err error) {
	err = v.keys.View(ctx, func(tx *store.Tx) error {
		r, err = getTenant(tx, id)
		return err
	})
	return r, err
}

func getTenant(tx *store.Tx, id domain.TenantID) (tenantRecord, error) {
	b, err := tx.Get(bucketTenants, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		return tenantRecord{}, domain.Errorf(domain.Unavailable, "the keys of tenant %q are gone", id).
			WithHint("they were destroyed, or vault/keys.db is older than the control store: restore a backup")
	}
	if err != nil {
		return tenantRecord{}, err
	}
	return decodeTenant(b)
}

func decodeTenant(b []byte) (r tenantRecord, err error) {
	if err := decodeRecord("the row in keys.db", b, &r); err != nil {
		return r, err
	}
	if len(r.UID) != UIDSize {
		return r, domain.Errorf(domain.Tampered, "the row in keys.db has a number of %d bytes", len(r.UID))
	}
	return r, nil
}

// tenantKEK opens a tenant's KEK. Under a client-held key it is there only while
// the client has opened it. v.wrapping is held.
func (v *Vault) tenantKEK(id domain.TenantID, r tenantRecord) (*keyset.Handle, error) {
	o, err := v.clientOpening(id)
	switch {
	case err != nil:
		return nil, err
	case o != nil:
		return o.kek, nil
	}
	return unwrap(r.KEK, v.root, tenantContext(id, ""))
}

func (v *Vault) unwrapTenant(id domain.TenantID, r tenantRecord) (*tenantKeys, error) {
	k := &tenantKeys{uid: [UIDSize]byte(r.UID)}
	h, err := v.tenantKEK(id, r)
	if err != nil {
		return nil, err
	}
	kek, err := aead.New(h)
	if err != nil {
		return nil, err
	}
	secrets, err := unwrapAEAD(r.Secrets, kek, tenantContext(id, "secrets"))
	if err != nil {
		return nil, err
	}
	k.secrets = v.following(id, secrets)
	if k.pages, err = unwrapPRF(r.Pages, kek, tenantContext(id, "pages")); err != nil {
		return nil, err
	}
	k.names, err = unwrapPRF(r.Names, kek, tenantContext(id, "names"))
	return k, err
}

// rewrapTenant puts all of a tenant's keysets under a new KEK, and that under the
// client's key of the opening, if there is one. also goes into the transaction.
// v.wrapping is held to write.
func (v *Vault) rewrapTenant(ctx context.Context, p *audit.Permit, id domain.TenantID, o *opening, also func(*store.Tx) error) error {
	fresh, err := newAEADKeyset()
	if err != nil {
		return err
	}
	_, err = v.keys.Update(ctx, func(tx *store.Tx) error {
		r, err := getTenant(tx, id)
		if err != nil {
			return err
		}
		if err := v.moveUnder(id, &r, fresh, o); err != nil {
			return err
		}
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := tx.Put(bucketTenants, []byte(id), b); err != nil {
			return err
		}
		return errors.Join(also(tx), putMarks(tx, p))
	})
	step("tenant wrapped anew")
	if err == nil && o != nil {
		v.mu.Lock()
		o.kek = fresh
		v.mu.Unlock()
	}
	v.Forget(id)
	return err
}

// moveUnder wraps the row's keysets under another KEK.
func (v *Vault) moveUnder(id domain.TenantID, r *tenantRecord, fresh *keyset.Handle, o *opening) error {
	h, err := v.tenantKEK(id, *r)
	if err != nil {
		return err
	}
	old, err := aead.New(h)
	if err != nil {
		return err
	}
	kek, err := aead.New(fresh)
	if err != nil {
		return err
	}
	for _, k := range r.keysets() {
		inner, err := unwrap(*k.in, old, tenantContext(id, k.purpose))
		if err != nil {
			return err
		}
		if *k.in, err = wrap(inner, kek, tenantContext(id, k.purpose)); err != nil {
			return err
		}
	}
	r.KEK, err = v.wrapKEK(id, fresh, o)
	return err
}
