package token

import (
	"bytes"
	"context"
	"errors"

	"coffer/app/store"
)

// bucketMeta holds how far the index of version 2 has come, under metaIndex: the
// byte 0 and the last accessor's key that was looked at, or the byte 1 once it
// is complete.
const (
	bucketMeta = "token-meta"
	metaIndex  = "index"
)

var indexAtOnce = 1000 // tokens that one transaction of Index looks at

// Index makes the index of expiries and the counts for tokens that a version of
// Coffer issued which kept none, in bounded transactions; one that was cut off
// goes on where it stopped. It is called before anything else uses the tokens.
func Index(ctx context.Context, db *store.Store) error {
	for done := false; !done; {
		err := db.View(ctx, func(tx *store.Tx) error {
			at, err := tx.Get(bucketMeta, []byte(metaIndex))
			done = err == nil && len(at) == 1 && at[0] == 1
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return err
		})
		if err != nil || done {
			return err
		}
		if _, err := db.Update(ctx, indexSome); err != nil {
			return err
		}
	}
	return nil
}

func indexSome(tx *store.Tx) error {
	at, err := tx.Get(bucketMeta, []byte(metaIndex))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	var after, last []byte
	if len(at) > 1 {
		after = at[1:]
	}
	seen := 0
	err = eachAfter(tx, nil, after, func(key []byte, t Token) error {
		last = bytes.Clone(key)
		seen++
		if err := indexOld(tx, t); err != nil {
			return err
		}
		if seen >= indexAtOnce {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		return err
	}
	if seen < indexAtOnce {
		return tx.Put(bucketMeta, []byte(metaIndex), []byte{1})
	}
	return tx.Put(bucketMeta, []byte(metaIndex), append([]byte{0}, last...))
}

// indexOld indexes a token that is not yet.
func indexOld(tx *store.Tx, t Token) error {
	_, err := tx.Get(bucketExpiries, expiryKey(t))
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	n, err := count(tx, t.Tenant)
	if err != nil {
		return err
	}
	return errors.Join(index(tx, t), setCount(tx, t.Tenant, n+1))
}
