package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
)

// rootRows are the buckets of keys.db with what the root keyset wraps.
var rootRows = []string{bucketAppliance, bucketPeriods, bucketTenants}

// BeginRoot gives the root keyset a new key, under which all is wrapped from now
// on. It needs the root key, since the keyset itself is wrapped under that.
func (v *Vault) BeginRoot(ctx context.Context, p *audit.Permit, root domain.Secret) error {
	return v.changeRoot(ctx, p, root, begun)
}

// EndRoot removes the old keys of the root keyset if nothing is wrapped under
// them any more; else left says how much is. Tidy has to follow.
func (v *Vault) EndRoot(ctx context.Context, p *audit.Permit, root domain.Secret) (left int, err error) {
	err = v.changeRoot(ctx, p, root, func(h *keyset.Handle) (*keyset.Handle, error) {
		stale, err := staleUnder(h)
		if err != nil {
			return nil, err
		}
		if _, left, err = v.countRoot(ctx, stale); err != nil {
			return nil, err
		}
		if left > 0 {
			return nil, errMore
		}
		return ended(h)
	})
	if errors.Is(err, errMore) {
		err = nil
	}
	return left, err
}

// changeRoot replaces the root keyset by what change makes of it, and wraps the
// table key under that.
func (v *Vault) changeRoot(ctx context.Context, p *audit.Permit, root domain.Secret, change func(*keyset.Handle) (*keyset.Handle, error)) error {
	if err := p.CheckChange("", authz.RotateStart); err != nil {
		return err
	}
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	v.saving.Lock()
	defer v.saving.Unlock()
	if err := v.finishRewrite(ctx); err != nil {
		return err
	}
	h, under, err := v.rootHandle(root)
	if err != nil {
		return err
	}
	table, err := unwrap(v.table, v.root, contextTable)
	if err != nil {
		return err
	}
	if h, err = change(h); err != nil {
		return err
	}
	next, err := aead.New(h)
	if err != nil {
		return err
	}
	wasRoot, wasTable := v.wrapped, v.table
	if v.wrapped, err = wrap(h, under, contextRoot); err == nil {
		v.table, err = wrap(table, next, contextTable)
	}
	if err == nil {
		err = v.savePayload(ctx)
	}
	if err != nil {
		v.wrapped, v.table = wasRoot, wasTable
		return err
	}
	step("root keyset changed")
	v.root.become(next)
	return nil
}

// rootHandle opens the root keyset itself.
func (v *Vault) rootHandle(root domain.Secret) (h *keyset.Handle, under tink.AEAD, err error) {
	if under, err = rootAEAD(root); err != nil {
		return nil, nil, err
	}
	h, err = unwrap(v.wrapped, under, contextRoot)
	return h, under, err
}

// RootRewrap wraps what is in keys.db under the newest key of the root keyset.
type RootRewrap struct {
	v     *Vault
	stale func([]byte) bool
	place rewrapPlace
}

// RootRewrap begins at the first row, after BeginRoot.
func (v *Vault) RootRewrap(p *audit.Permit, root domain.Secret) (*RootRewrap, error) {
	if err := p.CheckChange("", authz.RotateStart); err != nil {
		return nil, err
	}
	v.saving.Lock()
	defer v.saving.Unlock()
	h, _, err := v.rootHandle(root)
	if err != nil {
		return nil, err
	}
	stale, err := staleUnder(h)
	return &RootRewrap{v: v, stale: stale}, err
}

// Step wraps up to limit rows anew in one transaction of keys.db. more is false
// when the last row was seen.
func (r *RootRewrap) Step(ctx context.Context, limit int) (done int, more bool, err error) {
	r.v.wrapping.Lock()
	defer r.v.wrapping.Unlock()
	at := r.place
	_, err = r.v.keys.Update(ctx, func(tx *store.Tx) error {
		done, more, at = 0, false, r.place
		for ; at.bucket < len(rootRows); at.next() {
			n, full, err := r.bucket(tx, &at, limit-done)
			if done += n; err != nil {
				return err
			}
			if full {
				more = true
				break
			}
		}
		if done == 0 {
			return nil
		}
		return putShred(tx)
	})
	step("rows wrapped anew")
	if err == nil {
		r.place = at
	}
	return done, more, err
}

func (r *RootRewrap) bucket(tx *store.Tx, at *rewrapPlace, limit int) (done int, full bool, err error) {
	bucket := rootRows[at.bucket]
	changed := map[string][]byte{}
	err = tx.Scan(bucket, nil, at.after, func(key, value []byte) error {
		at.after = append([]byte{}, key...)
		next, err := r.v.underNewest(tx, bucket, key, value, r.stale)
		if err != nil {
			return err
		}
		if next != nil {
			changed[string(key)] = next
		}
		if len(changed) >= limit {
			return errMore
		}
		return nil
	})
	full = errors.Is(err, errMore)
	if err != nil && !full {
		return 0, false, err
	}
	for key, value := range changed {
		if err := tx.Put(bucket, []byte(key), value); err != nil {
			return 0, false, err
		}
	}
	return len(changed), full, nil
}

// underNewest is a row with what the root keyset wraps in it wrapped anew, nil if
// that stands under the newest key already.
func (v *Vault) underNewest(tx *store.Tx, bucket string, key, value []byte, stale func([]byte) bool) ([]byte, error) {
	switch bucket {
	case bucketPeriods:
		const tagSize = len(audit.Tag{})
		if len(key) <= tagSize {
			return nil, domain.Errorf(domain.Tampered, "a key of the log in keys.db stands under %d bytes", len(key))
		}
		return v.rawAnew(value, periodContext(audit.Tag(key[:tagSize]), string(key[tagSize:])), stale)
	case bucketAppliance:
		if string(key) == contextHeads {
			return v.rawAnew(value, contextHeads, stale)
		}
		return v.keysetAnew(value, string(key), stale)
	}
	r, err := decodeTenant(value)
	if err != nil {
		return nil, err
	}
	var next []byte
	id := domain.TenantID(key)
	if _, err = tx.Get(bucketClients, key); err == nil {
		next, err = v.rawAnew(r.KEK, closedContext(id), stale)
	} else if errors.Is(err, store.ErrNotFound) {
		next, err = v.keysetAnew(r.KEK, tenantContext(id, ""), stale)
	}
	if err != nil || next == nil {
		return nil, err
	}
	r.KEK = next
	return json.Marshal(r)
}

// rawAnew encrypts anew what the root keyset encrypted itself.
func (v *Vault) rawAnew(b []byte, context string, stale func([]byte) bool) ([]byte, error) {
	if !stale(b) {
		return nil, nil
	}
	plain, err := v.root.Decrypt(b, []byte(context))
	if err != nil {
		return nil, domain.Errorf(domain.Tampered, "the key %q in keys.db does not authenticate", context)
	}
	defer clear(plain)
	return v.root.Encrypt(plain, []byte(context))
}

// keysetAnew wraps a keyset anew.
func (v *Vault) keysetAnew(b []byte, context string, stale func([]byte) bool) ([]byte, error) {
	sealed, err := ciphertextOf(b)
	if err != nil || !stale(sealed) {
		return nil, err
	}
	h, err := unwrap(b, v.root, context)
	if err != nil {
		return nil, err
	}
	return wrap(h, v.root, context)
}

// ciphertextOf is what a wrapped keyset has in its envelope.
func ciphertextOf(b []byte) ([]byte, error) {
	e, err := keyset.NewBinaryReader(bytes.NewReader(b)).ReadEncrypted()
	if err != nil {
		return nil, domain.Errorf(domain.Tampered, "a wrapped keyset is malformed: %w", err)
	}
	return e.GetEncryptedKeyset(), nil
}

// countRoot counts what the root keyset wraps in keys.db, and what of it stands
// under an old key.
func (v *Vault) countRoot(ctx context.Context, stale func([]byte) bool) (rows, left int, err error) {
	err = v.keys.View(ctx, func(tx *store.Tx) error {
		for _, bucket := range rootRows {
			if err := tx.Scan(bucket, nil, nil, func(key, value []byte) error {
				rows++
				next, err := v.underNewest(tx, bucket, key, value, stale)
				if next != nil {
					left++
				}
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, left, err
}

// RootRows counts what the root keyset wraps, for progress.
func (v *Vault) RootRows(ctx context.Context) (rows int, err error) {
	rows, _, err = v.countRoot(ctx, func([]byte) bool { return false })
	return rows, err
}
