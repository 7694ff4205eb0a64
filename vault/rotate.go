package vault

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
)

// A keyset is rotated in three steps, each durable by itself: a new key is added
// and made primary; what stands under the old ones is sealed anew, a bounded
// number of rows in a transaction; and when a scan finds nothing under them any
// more, the old keys are removed. Each step may be done again, so that whoever
// was cut off begins with the first: it does nothing where there are two keys.

// errMore ends a scan that has found enough.
var errMore = errors.New("there is more")

// begun adds a new primary key to a keyset, unless a rotation added one already.
func begun(h *keyset.Handle) (*keyset.Handle, error) {
	if h.Len() > 1 {
		return h, nil
	}
	m := keyset.NewManagerFromHandle(h)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return nil, fmt.Errorf("adding a key: %w", err)
	}
	return m.Handle()
}

// ended leaves the primary key alone in a keyset.
func ended(h *keyset.Handle) (*keyset.Handle, error) {
	primary, err := h.Primary()
	if err != nil {
		return nil, err
	}
	m := keyset.NewManagerFromHandle(h)
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return nil, err
		}
		if e.KeyID() == primary.KeyID() {
			continue
		}
		if err := m.Delete(e.KeyID()); err != nil {
			return nil, fmt.Errorf("removing a key: %w", err)
		}
	}
	return m.Handle()
}

// staleUnder says of a ciphertext whether it stands under another key than the
// keyset's primary one: Tink's prefix names the key.
func staleUnder(h *keyset.Handle) (func(sealed []byte) bool, error) {
	primary, err := h.Primary()
	if err != nil {
		return nil, err
	}
	const tinkPrefix = 1
	return func(sealed []byte) bool {
		return len(sealed) < 5 || sealed[0] != tinkPrefix || binary.BigEndian.Uint32(sealed[1:5]) != primary.KeyID()
	}, nil
}

// RotateKEK puts a tenant's keysets under a new KEK, in one transaction. The old
// one is gone with it; Tidy has to follow.
func (v *Vault) RotateKEK(ctx context.Context, p *audit.Permit, id domain.TenantID) error {
	if err := p.CheckChange(id, authz.RotateTenant); err != nil {
		return err
	}
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	o, err := v.clientOpening(id)
	if err != nil {
		return err
	}
	return v.rewrapTenant(ctx, p, id, o, func(*store.Tx) error { return nil })
}

// changeSecrets replaces a tenant's secrets keyset by what change makes of it.
func (v *Vault) changeSecrets(ctx context.Context, p *audit.Permit, id domain.TenantID, change func(*keyset.Handle) (*keyset.Handle, error)) error {
	if err := p.CheckChange(id, authz.RotateTenant); err != nil {
		return err
	}
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	_, err := v.keys.Update(ctx, func(tx *store.Tx) error {
		r, err := getTenant(tx, id)
		if err != nil {
			return err
		}
		k, err := v.tenantKEK(id, r)
		if err != nil {
			return err
		}
		kek, err := aead.New(k)
		if err != nil {
			return err
		}
		h, err := unwrap(r.Secrets, kek, tenantContext(id, "secrets"))
		if err != nil {
			return err
		}
		if h, err = change(h); err != nil {
			return err
		}
		if r.Secrets, err = wrap(h, kek, tenantContext(id, "secrets")); err != nil {
			return err
		}
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return errors.Join(tx.Put(bucketTenants, []byte(id), b), putMarks(tx, p))
	})
	step("secrets keyset changed")
	v.mu.Lock() // whatever came of it: who holds the keyset looks again
	v.renewed[id]++
	v.mu.Unlock()
	v.Forget(id)
	return err
}

// BeginSecrets gives a tenant's secrets a new key, under which all is written
// from now on.
func (v *Vault) BeginSecrets(ctx context.Context, p *audit.Permit, id domain.TenantID) error {
	return v.changeSecrets(ctx, p, id, begun)
}

// EndSecrets removes the old keys of a tenant's secrets. The caller has seen with
// Left that nothing stands under them; Tidy has to follow.
func (v *Vault) EndSecrets(ctx context.Context, p *audit.Permit, id domain.TenantID) error {
	return v.changeSecrets(ctx, p, id, ended)
}

// Rewrap seals the rows of a tenant's secrets under the newest key.
type Rewrap struct {
	keys  *tenantKeys
	stale func([]byte) bool
	place rewrapPlace
}

type rewrapPlace struct {
	bucket int
	after  []byte
}

// next goes on to the next bucket.
func (p *rewrapPlace) next() { *p = rewrapPlace{bucket: p.bucket + 1} }

// Rewrap begins at the first row, after BeginSecrets.
func (v *Vault) Rewrap(ctx context.Context, p *audit.Permit, id domain.TenantID) (*Rewrap, error) {
	if err := p.CheckChange(id, authz.RotateTenant); err != nil {
		return nil, err
	}
	keys, err := v.openTenant(ctx, id)
	if err != nil {
		return nil, err
	}
	v.wrapping.RLock()
	defer v.wrapping.RUnlock()
	r, err := v.tenantRow(ctx, id)
	if err != nil {
		return nil, err
	}
	k, err := v.tenantKEK(id, r)
	if err != nil {
		return nil, err
	}
	kek, err := aead.New(k)
	if err != nil {
		return nil, err
	}
	h, err := unwrap(r.Secrets, kek, tenantContext(id, "secrets"))
	if err != nil {
		return nil, err
	}
	stale, err := staleUnder(h)
	return &Rewrap{keys: keys, stale: stale}, err
}

// Step seals up to limit rows anew in the caller's transaction. more is false
// when the last row was seen. If the transaction fails, the Rewrap is of no more
// use: another one begins again.
func (r *Rewrap) Step(tx *store.Tx, limit int) (done int, more bool, err error) {
	for ; r.place.bucket < len(rewrapped); r.place.next() {
		b := rewrapped[r.place.bucket]
		type row struct{ key, sealed []byte }
		var rows []row
		seen := 0
		err := tx.Scan(b.bucket, r.keys.uid[:], r.place.after, func(key, sealed []byte) error {
			r.place.after = append([]byte{}, key...)
			if r.stale(sealed) {
				rows = append(rows, row{r.place.after, append([]byte{}, sealed...)})
			}
			if seen++; done+len(rows) >= limit || seen >= 16*limit {
				return errMore
			}
			return nil
		})
		if err != nil && !errors.Is(err, errMore) {
			return done, false, err
		}
		for _, row := range rows {
			ad := b.ad(r.keys, row.key)
			plain, err := r.keys.secrets.Decrypt(row.sealed, ad)
			if err != nil {
				return done, false, tampered("a row of a tenant's secrets")
			}
			sealed, err := r.keys.secrets.Encrypt(plain, ad)
			clear(plain)
			if err != nil {
				return done, false, err
			}
			if err := tx.Put(b.bucket, row.key, sealed); err != nil {
				return done, false, err
			}
		}
		done += len(rows)
		if err != nil {
			return done, true, nil
		}
	}
	return done, false, nil
}

// Left counts a tenant's rows, and those that stand under an old key.
func (r *Rewrap) Left(tx *store.Tx) (rows, left int, err error) {
	for _, b := range rewrapped {
		err := tx.Scan(b.bucket, r.keys.uid[:], nil, func(_, sealed []byte) error {
			rows++
			if r.stale(sealed) {
				left++
			}
			return nil
		})
		if err != nil {
			return rows, left, err
		}
	}
	return rows, left, nil
}

// changeControl replaces the control store's keyset.
func (v *Vault) changeControl(ctx context.Context, p *audit.Permit, change func(*keyset.Handle) (*keyset.Handle, error)) (h *keyset.Handle, err error) {
	if err := p.CheckChange("", authz.RotateStart); err != nil {
		return nil, err
	}
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	var a tink.AEAD
	_, err = v.keys.Update(ctx, func(tx *store.Tx) error {
		b, err := tx.Get(bucketAppliance, []byte(contextControl))
		if err != nil {
			return err
		}
		if h, err = unwrap(b, v.root, contextControl); err != nil {
			return err
		}
		if h, err = change(h); err != nil {
			return err
		}
		if b, err = wrap(h, v.root, contextControl); err != nil {
			return err
		}
		if a, err = aead.New(h); err != nil {
			return err
		}
		return errors.Join(tx.Put(bucketAppliance, []byte(contextControl), b), putMarks(tx, p))
	})
	if err != nil {
		return nil, err
	}
	step("control keyset changed")
	v.control.become(a)
	return h, nil
}

// BeginControl gives the control store a new key, under which all is written from
// now on, and says which values stand under another one.
func (v *Vault) BeginControl(ctx context.Context, p *audit.Permit) (stale func(sealed []byte) bool, err error) {
	h, err := v.changeControl(ctx, p, begun)
	if err != nil {
		return nil, err
	}
	return staleUnder(h)
}

// EndControl removes the old keys of the control store. The caller has seen that
// nothing stands under them; Tidy has to follow.
func (v *Vault) EndControl(ctx context.Context, p *audit.Permit) error {
	_, err := v.changeControl(ctx, p, ended)
	return err
}

// RotateTable writes keys.db anew under a new key.
func (v *Vault) RotateTable(ctx context.Context, p *audit.Permit) error {
	if err := p.CheckChange("", authz.RotateStart); err != nil {
		return err
	}
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	return v.shred(ctx)
}
