package store

import (
	"bytes"
)

// edit is what one update changed so far: enough to take it back without
// disturbing the other updates that share the transaction.
type edit struct {
	state  state // as it will be if the update succeeds
	undo   []undo
	sealed int64 // bytes that the entries put will take, for size
}

// undo restores one entry, or removes a bucket that was made.
type undo struct {
	bucket string
	key    []byte // nil: the bucket itself was made
	old    []byte // nil: there was no such entry
}

func (e *edit) put(tx *Tx, bucket string, key, sealed []byte) error {
	b := tx.b.Bucket([]byte(bucket))
	if b == nil {
		made, err := tx.b.CreateBucket([]byte(bucket))
		if err != nil {
			return internal("making bucket %s: %w", bucket, err)
		}
		b = made
		e.undo = append(e.undo, undo{bucket: bucket})
	}
	old := bytes.Clone(b.Get(key))
	if err := b.Put(key, sealed); err != nil {
		return internal("putting into bucket %s: %w", bucket, err)
	}
	e.undo = append(e.undo, undo{bucket: bucket, key: key, old: old})
	e.sealed += space(key, sealed)
	e.account(tx, bucket, key, old, sealed)
	return nil
}

func (e *edit) delete(tx *Tx, bucket string, key []byte) error {
	b := tx.b.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	old := bytes.Clone(b.Get(key))
	if old == nil {
		return nil
	}
	if err := b.Delete(key); err != nil {
		return internal("deleting from bucket %s: %w", bucket, err)
	}
	e.undo = append(e.undo, undo{bucket: bucket, key: key, old: old})
	e.account(tx, bucket, key, old, nil)
	return nil
}

// account moves the digest and the count from the old entry to the new one.
func (e *edit) account(tx *Tx, bucket string, key, old, sealed []byte) {
	if old != nil {
		e.state.sum.sub(tx.h.hasher.entry(bucket, key, old))
		e.state.count--
	}
	if sealed != nil {
		e.state.sum.add(tx.h.hasher.entry(bucket, key, sealed))
		e.state.count++
	}
}

// revert takes back all changes, the last one first.
func (e *edit) revert(tx *Tx) (err error) {
	defer tx.h.guard(&err)()
	for i := len(e.undo) - 1; i >= 0; i-- {
		u := e.undo[i]
		switch b := tx.b.Bucket([]byte(u.bucket)); {
		case u.key == nil:
			err = tx.b.DeleteBucket([]byte(u.bucket))
		case u.old == nil:
			err = b.Delete(u.key)
		default:
			err = b.Put(u.key, u.old)
		}
		if err != nil {
			return internal("taking back a change of bucket %s: %w", u.bucket, err)
		}
	}
	e.undo = nil
	return nil
}

// size estimates, from above, the bytes that committing the changes adds to a
// tree of treeSize bytes: what was put, in pages that are half full, and the
// pages on the way to each change with a neighbour for rebalancing, which
// bbolt writes anew.
func (e *edit) size(treeSize int64) int64 {
	const pagesPerChange = 8
	return e.sealed + min(int64(len(e.undo))*pagesPerChange*pageSize, treeSize)
}

// space is what one entry takes in half-full pages, or in its own if it is long.
func space(key, sealed []byte) int64 {
	n := int64(elementSize + len(key) + len(sealed))
	if n > pageSize/4 {
		return n + 2*pageSize
	}
	return 2 * n
}
