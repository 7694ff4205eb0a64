package vault

import (
	"context"
	"errors"
	"strings"

	"coffer/app/store"
	"coffer/audit"
)

// Keys of bucketMarks.
const (
	markShred  = "shred"   // a wrap was replaced: the file is to be rewritten under a new key
	markIntent = "intent/" // and the id of an intent: its change is in this file
)

// putMarks notes in the transaction of a change of keys what belongs to it: that
// the file has to be rewritten, since what was replaced still stands in its free
// pages and in older copies, and whose change it is.
func putMarks(tx *store.Tx, p *audit.Permit) error {
	err := putShred(tx)
	if id, ok := p.IntentID(); ok {
		err = errors.Join(err, tx.Put(bucketMarks, append([]byte(markIntent), id[:]...), []byte(p.Action())))
	}
	return err
}

func putShred(tx *store.Tx) error { return tx.Put(bucketMarks, []byte(markShred), []byte{1}) }

// Changed says whether keys.db holds the change of an intent.
func (v *Vault) Changed(ctx context.Context, id audit.IntentID) (is bool, err error) {
	err = v.keys.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Get(bucketMarks, append([]byte(markIntent), id[:]...))
		is = err == nil
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	return is, err
}

// DropMarks forgets the intents whose change is in keys.db: every one of them has
// its outcome in the log.
func (v *Vault) DropMarks(ctx context.Context) error {
	var marks [][]byte
	err := v.keys.View(ctx, func(tx *store.Tx) error {
		return tx.Keys(bucketMarks, nil, nil, func(key []byte) error {
			if strings.HasPrefix(string(key), markIntent) {
				marks = append(marks, append([]byte{}, key...))
			}
			return nil
		})
	})
	if err != nil || len(marks) == 0 {
		return err
	}
	_, err = v.keys.Update(ctx, func(tx *store.Tx) error {
		for _, key := range marks {
			if err := tx.Delete(bucketMarks, key); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Tidy rewrites keys.db under a new key if a wrap in it was replaced, so that no
// older copy of the file opens. A start does what a crash cut off.
func (v *Vault) Tidy(ctx context.Context) error {
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	return v.tidy(ctx)
}

// tidy is Tidy for who holds v.wrapping, or has not opened v yet.
func (v *Vault) tidy(ctx context.Context) error {
	due := false
	err := v.keys.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Get(bucketMarks, []byte(markShred))
		due = err == nil
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil || !due {
		return err
	}
	if err := v.shred(ctx); err != nil {
		return err
	}
	step("keys.db written anew")
	_, err = v.keys.Update(ctx, func(tx *store.Tx) error { return tx.Delete(bucketMarks, []byte(markShred)) })
	return err
}
