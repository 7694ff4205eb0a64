package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
)

// Purposes of the appliance's own keysets. They stand in associated data.
const (
	contextRoot    = "coffer/v1/root"
	contextTable   = "coffer/v1/key-table"
	contextControl = "coffer/v1/appliance/control-store"
	contextHeads   = "coffer/v1/appliance/log-heads"
)

// Buckets of keys.db.
const (
	bucketAppliance = "appliance"
	bucketTenants   = "tenants"
	bucketPeriods   = "log-periods"
	bucketMarks     = "marks"
)

// Payload is what the vault keeps inside vault/seal.json, so that the root key
// and all that directly hangs under it change in one atomic write.
//
//	{"version":1,"root":"<wrapped keyset>","table":"<wrapped keyset>","previous":"<wrapped keyset>"}
//
// table seals keys.db; previous is there only while keys.db is being rewritten
// under a new table key.
type payload struct {
	Version  int    `json:"version"`
	Root     []byte `json:"root"`
	Table    []byte `json:"table"`
	Previous []byte `json:"previous,omitempty"`
}

// Options say where the vault is and how its payload is kept.
type Options struct {
	Dir     string                                    // the directory of keys.db
	Root    domain.Secret                             // the root key; the vault does not keep it
	Payload []byte                                    // as last saved; empty for a new vault
	Save    func(ctx context.Context, b []byte) error // makes a new payload durable

	Now func() time.Time // for what a client opened; nil for the machine's clock

	// MustExist refuses to make keys.db: there is data already that needs it.
	MustExist bool
}

// Vault is an unsealed key tree. It is safe for concurrent use.
type Vault struct {
	root    *changing // the root keyset, which wraps everything below
	save    func(context.Context, []byte) error
	now     func() time.Time
	keys    *store.Store
	control *changing
	heads   domain.Secret

	// wrapping is held to read by whoever wraps or unwraps keys, and to write
	// while what they are wrapped under changes. It comes before saving.
	wrapping sync.RWMutex

	// What the payload says, guarded by saving, which is held while it changes.
	saving   sync.Mutex
	wrapped  []byte // the wrapped root keyset
	table    []byte // the wrapped table keyset in force
	previous []byte // the one before it, while keys.db may still be under that

	mu      sync.Mutex
	closed  bool
	tenants map[domain.TenantID]*tenantKeys
	clients map[domain.TenantID]*clientState // of the tenants with a client-held key
	forgets uint64                           // how often Forget was called
	renewed map[domain.TenantID]uint64       // how often the tenant's secrets keyset changed
}

// newVault makes a vault that has opened nothing yet.
func newVault(o Options, root tink.AEAD) *Vault {
	v := &Vault{
		root: newChanging(root), save: o.Save, now: o.Now, tenants: map[domain.TenantID]*tenantKeys{},
		clients: map[domain.TenantID]*clientState{}, renewed: map[domain.TenantID]uint64{},
	}
	if v.now == nil {
		v.now = time.Now
	}
	return v
}

// openStores opens keys.db and what the appliance itself needs of it.
func (v *Vault) openStores(ctx context.Context, path string, mustExist bool) error {
	if err := v.openTable(ctx, path, mustExist); err != nil {
		return err
	}
	err := v.openAppliance(ctx)
	if err == nil {
		err = v.openClients(ctx)
	}
	if err == nil {
		err = v.tidy(ctx) // what a crash cut off
	}
	if err != nil {
		return errors.Join(err, v.keys.Close())
	}
	return nil
}

// Open unlocks the vault with the root key, making its keys on first use. It
// finishes a rewrite of keys.db that a crash interrupted.
func Open(ctx context.Context, o Options) (*Vault, error) {
	if len(o.Payload) == 0 {
		return create(ctx, o)
	}
	var p payload
	if err := decodeRecord("the payload of vault/seal.json", o.Payload, &p); err != nil {
		return nil, err
	}
	kek, err := rootAEAD(o.Root)
	if err != nil {
		return nil, err
	}
	root, err := unwrapAEAD(p.Root, kek, contextRoot)
	if err != nil {
		return nil, err
	}
	v := newVault(o, root)
	v.wrapped, v.table, v.previous = p.Root, p.Table, p.Previous
	if err := v.openStores(ctx, keysFile(o.Dir), o.MustExist); err != nil {
		return nil, err
	}
	return v, nil
}

func keysFile(dir string) string { return filepath.Join(dir, "keys.db") }

// create makes a key tree. The payload is saved first: without it keys.db is
// noise, while a payload without keys.db is begun again by the next start.
func create(ctx context.Context, o Options) (*Vault, error) {
	if o.MustExist {
		return nil, missingTable(keysFile(o.Dir))
	}
	kek, err := rootAEAD(o.Root)
	if err != nil {
		return nil, err
	}
	rootHandle, err := newAEADKeyset()
	if err != nil {
		return nil, err
	}
	wrapped, err := wrap(rootHandle, kek, contextRoot)
	if err != nil {
		return nil, err
	}
	root, err := aead.New(rootHandle)
	if err != nil {
		return nil, err
	}
	v := newVault(o, root)
	v.wrapped = wrapped
	tableHandle, err := newAEADKeyset()
	if err != nil {
		return nil, err
	}
	if v.table, err = wrap(tableHandle, root, contextTable); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(o.Dir); err != nil {
		return nil, err
	}
	if err := v.savePayload(ctx); err != nil {
		return nil, err
	}
	if err := v.openStores(ctx, keysFile(o.Dir), false); err != nil {
		return nil, err
	}
	return v, nil
}

// savePayload makes the payload durable as it is now; v.saving is held, or v is
// not open yet.
func (v *Vault) savePayload(ctx context.Context) error {
	b, err := json.Marshal(payload{Version: recordVersion, Root: v.wrapped, Table: v.table, Previous: v.previous})
	if err != nil {
		return err
	}
	return v.save(ctx, b)
}

// Rewrapped gives the payload with the root keyset under a new root key. The
// caller saves it in one write with the slots that open the new key, then calls
// adopt. No tenant may be destroyed in between, since that changes the payload
// too.
func (v *Vault) Rewrapped(oldRoot, newRoot domain.Secret) (saved []byte, adopt func(), err error) {
	v.saving.Lock()
	defer v.saving.Unlock()
	oldKEK, err := rootAEAD(oldRoot)
	if err != nil {
		return nil, nil, err
	}
	newKEK, err := rootAEAD(newRoot)
	if err != nil {
		return nil, nil, err
	}
	h, err := unwrap(v.wrapped, oldKEK, contextRoot)
	if err != nil {
		return nil, nil, err
	}
	wrapped, err := wrap(h, newKEK, contextRoot)
	if err != nil {
		return nil, nil, err
	}
	adopt = func() {
		v.saving.Lock()
		defer v.saving.Unlock()
		v.wrapped = wrapped
	}
	saved, err = json.Marshal(payload{Version: recordVersion, Root: wrapped, Table: v.table, Previous: v.previous})
	return saved, adopt, err
}

// ControlAEAD seals the control store.
func (v *Vault) ControlAEAD() store.AEAD { return v.control }

// Check verifies keys.db, and that every tenant's keysets and every key of the
// log unwrap. Of a tenant that is closed under its client's key only the
// appliance's own wrap can be looked at.
func (v *Vault) Check(ctx context.Context) error {
	v.wrapping.RLock()
	defer v.wrapping.RUnlock()
	if err := v.keys.Check(ctx); err != nil {
		return err
	}
	err := v.keys.View(ctx, func(tx *store.Tx) error {
		return tx.Scan(bucketTenants, nil, nil, func(key, value []byte) error {
			if err := v.checkTenant(domain.TenantID(key), value); err != nil {
				return fmt.Errorf("the keys of tenant %q: %w", key, err)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return v.checkPeriods(ctx)
}

func (v *Vault) checkTenant(id domain.TenantID, b []byte) error {
	r, err := decodeTenant(b)
	if err != nil {
		return err
	}
	if v.hasClient(id) {
		if _, err := v.openOuter(id, r.KEK); err != nil || v.CheckClient(id) != nil {
			return err
		}
	}
	_, err = v.unwrapTenant(id, r)
	return err
}

// WatchKeys is Watch of keys.db: it tells of the error that stopped it.
func (v *Vault) WatchKeys(ctx context.Context, after store.Revision) (store.Revision, error) {
	return v.keys.Watch(ctx, after)
}

// Close forgets every key. Coffers that are still held fail from then on. It is
// safe twice.
func (v *Vault) Close() error {
	v.mu.Lock()
	v.closed = true
	clear(v.tenants) // Tink offers no way to overwrite key bytes
	for _, s := range v.clients {
		s.open = nil
	}
	v.heads.Zero()
	v.mu.Unlock()
	return v.keys.Close()
}

// errClosed is what a closed vault answers.
var errClosed = domain.Errorf(domain.Unavailable, "the vault is closed").WithHint("Coffer is stopping; try again when it is up")

func (v *Vault) usable() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return errClosed
	}
	return nil
}
