package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/domain"
	"coffer/app/store"
)

// openTable opens keys.db under the table key, or makes it when it is not
// there yet. With a previous table key in the payload the file may still be
// under that one: then the rewrite is done again.
func (v *Vault) openTable(ctx context.Context, path string, mustExist bool) error {
	table, err := unwrapAEAD(v.table, v.root, contextTable)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if mustExist || len(v.previous) > 0 { // what was rewritten was there
			return missingTable(path)
		}
		v.keys, err = store.Create(path, table)
		return err
	}
	if len(v.previous) == 0 {
		v.keys, err = store.Open(path, table)
		return err
	}
	previous, err := unwrapAEAD(v.previous, v.root, contextTable)
	if err != nil {
		return err
	}
	keys, underPrevious, err := store.OpenEither(path, table, previous)
	if err != nil {
		return err
	}
	v.keys = keys
	if underPrevious {
		err = keys.Rekey(ctx, table)
	}
	if err == nil {
		err = v.settle(ctx)
	}
	if err != nil {
		return errors.Join(err, keys.Close())
	}
	return nil
}

func missingTable(path string) error {
	return domain.Errorf(domain.Tampered, "%s is missing", path).
		WithHint("it was there before: put it back, or restore a backup; nothing was changed")
}

// settle drops the previous table key: keys.db is under the new one alone.
func (v *Vault) settle(ctx context.Context) error {
	previous := v.previous
	v.previous = nil
	err := v.savePayload(ctx)
	if err != nil {
		v.previous = previous
	}
	return err
}

// shred rewrites keys.db under a new table key, so that what was deleted from
// it, and every older copy of the file, can no longer be opened: the only copy
// of the old table key was in the payload that is replaced.
//
// On flash storage overwriting is best effort; docs/threat-model.md says so.
func (v *Vault) shred(ctx context.Context) error {
	v.saving.Lock()
	defer v.saving.Unlock()
	if err := v.finishRewrite(ctx); err != nil {
		return err
	}
	h, err := newAEADKeyset()
	if err != nil {
		return err
	}
	wrapped, err := wrap(h, v.root, contextTable)
	if err != nil {
		return err
	}
	table, err := aead.New(h)
	if err != nil {
		return err
	}
	v.table, v.previous = wrapped, v.table
	if err := v.savePayload(ctx); err != nil {
		return err // the next attempt goes on from here: which of the two was saved is open
	}
	if err := v.keys.Rekey(ctx, table); err != nil {
		return fmt.Errorf("rewriting keys.db: %w", err)
	}
	return v.settle(ctx)
}

// finishRewrite does again what a shred that failed had begun. Until that has
// succeeded keys.db can be under either of two keys, and a third one must not
// push the one that opens it out of the payload.
func (v *Vault) finishRewrite(ctx context.Context) error {
	if len(v.previous) == 0 {
		return nil
	}
	table, err := unwrapAEAD(v.table, v.root, contextTable)
	if err != nil {
		return err
	}
	if err := v.savePayload(ctx); err != nil {
		return err
	}
	if err := v.keys.Rekey(ctx, table); err != nil {
		return fmt.Errorf("rewriting keys.db again: %w", err)
	}
	return v.settle(ctx)
}

// openAppliance opens the appliance's own keys, making them on first use.
func (v *Vault) openAppliance(ctx context.Context) error {
	var control tink.AEAD
	var heads []byte
	_, err := v.keys.Update(ctx, func(tx *store.Tx) (err error) {
		if control, err = v.applianceAEAD(tx, contextControl); err != nil {
			return err
		}
		heads, err = v.applianceKey(tx, contextHeads)
		return err
	})
	if err != nil {
		return fmt.Errorf("opening the appliance's keys: %w", err)
	}
	v.control, v.heads = newChanging(control), domain.NewSecret(heads)
	return nil
}

// applianceAEAD finds or makes an AEAD keyset of the appliance.
func (v *Vault) applianceAEAD(tx *store.Tx, context string) (tink.AEAD, error) {
	b, err := tx.Get(bucketAppliance, []byte(context))
	if errors.Is(err, store.ErrNotFound) {
		var h *keyset.Handle
		if h, err = newAEADKeyset(); err != nil {
			return nil, err
		}
		if b, err = wrap(h, v.root, context); err != nil {
			return nil, err
		}
		err = tx.Put(bucketAppliance, []byte(context), b)
	}
	if err != nil {
		return nil, err
	}
	return unwrapAEAD(b, v.root, context)
}

// applianceKey finds or makes a raw 32-byte key of the appliance, for uses that
// fix their own algorithm (HMAC over log heads, the log's record format).
func (v *Vault) applianceKey(tx *store.Tx, context string) ([]byte, error) {
	return v.rawKey(tx, bucketAppliance, context, []byte(context))
}

func (v *Vault) rawKey(tx *store.Tx, bucket, context string, key []byte) ([]byte, error) {
	b, err := tx.Get(bucket, key)
	if errors.Is(err, store.ErrNotFound) {
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			return nil, err
		}
		wrapped, err := v.root.Encrypt(raw, []byte(context))
		if err != nil {
			return nil, err
		}
		return raw, tx.Put(bucket, key, wrapped)
	}
	if err != nil {
		return nil, err
	}
	raw, err := v.root.Decrypt(b, []byte(context))
	if err != nil {
		return nil, domain.Errorf(domain.Tampered, "the key %q in keys.db does not authenticate", context)
	}
	return raw, nil
}
