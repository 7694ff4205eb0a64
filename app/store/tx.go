package store

import (
	"bytes"
	"context"

	bolt "go.etcd.io/bbolt"
)

// Tx is one consistent view of the store, in Update with its own changes. It
// is valid until the function that was given it returns, on one goroutine at
// a time.
type Tx struct {
	ctx  context.Context
	h    *handle
	b    *bolt.Tx
	edit *edit // nil in View
	done bool
}

var errTxDone = internal("transaction used after its function returned")

func (tx *Tx) check(bucket string, key []byte) error {
	if tx.done {
		return errTxDone
	}
	return checkEntry(bucket, key)
}

// Get gives a copy of a value, or ErrNotFound. A value that does not open is
// an error of Kind Tampered that names the file, not the key.
func (tx *Tx) Get(bucket string, key []byte) (value []byte, err error) {
	if err := tx.check(bucket, key); err != nil {
		return nil, err
	}
	defer tx.h.guard(&err)()
	sealed := tx.sealed(bucket, key)
	if sealed == nil {
		return nil, ErrNotFound
	}
	return tx.open(bucket, key, sealed)
}

// sealed gives the stored bytes, nil if there are none. They alias the map.
func (tx *Tx) sealed(bucket string, key []byte) []byte {
	b := tx.b.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Get(key)
}

func (tx *Tx) open(bucket string, key, sealed []byte) ([]byte, error) {
	value, err := tx.h.aead.Decrypt(sealed, associate(bucket, key))
	if err != nil {
		return nil, tampered(tx.h.path, "an entry of bucket %s does not open: %w", bucket, err)
	}
	return value, nil
}

// Put seals a value under a key, making the bucket if need be. key and value
// are copied. In View it is an error.
func (tx *Tx) Put(bucket string, key, value []byte) (err error) {
	if err := tx.checkEdit(bucket, key); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return internal("value of %d bytes in bucket %s: at most %d", len(value), bucket, MaxValue)
	}
	sealed, err := tx.h.aead.Encrypt(value, associate(bucket, key))
	if err != nil {
		return internal("sealing a value of bucket %s: %w", bucket, err)
	}
	defer tx.h.guard(&err)()
	return tx.edit.put(tx, bucket, bytes.Clone(key), sealed)
}

// Delete removes a key; one that is not there is fine. In View it is an error.
func (tx *Tx) Delete(bucket string, key []byte) (err error) {
	if err := tx.checkEdit(bucket, key); err != nil {
		return err
	}
	defer tx.h.guard(&err)()
	return tx.edit.delete(tx, bucket, bytes.Clone(key))
}

func (tx *Tx) checkEdit(bucket string, key []byte) error {
	if err := tx.check(bucket, key); err != nil {
		return err
	}
	if tx.edit == nil {
		return internal("change of bucket %s in a view", bucket)
	}
	return nil
}

// Revision is the revision that the transaction sees; changes of an Update get
// a later one.
func (tx *Tx) Revision() (rev Revision, err error) {
	if tx.done {
		return 0, errTxDone
	}
	if tx.edit != nil {
		return tx.h.state.revision, nil
	}
	defer tx.h.guard(&err)()
	st, err := openState(tx.h.aead, tx.b.Bucket([]byte(stateBucket)).Get([]byte(recordKey)))
	if err != nil {
		return 0, tampered(tx.h.path, "%w: %w", errSeal, err)
	}
	return st.revision, nil
}
