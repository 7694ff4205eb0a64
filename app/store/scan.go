package store

import (
	"bytes"
	"errors"

	bolt "go.etcd.io/bbolt"
)

var errKeyOrder = errors.New("keys out of order")

// Scan calls fn with the entries of a bucket whose keys start with prefix and
// come after the key after, in ascending order of their bytes. nil means no
// restriction; to go on with the next page, give the last key seen. fn's slices
// are copies. fn may change the bucket; what it adds ahead is seen. If fn
// returns ErrStop the scan ends without an error, any other error is returned.
// A bucket that does not exist is empty.
func (tx *Tx) Scan(bucket string, prefix, after []byte, fn func(key, value []byte) error) error {
	return tx.scan(bucket, prefix, after, func(key, sealed []byte) error {
		value, err := tx.openGuarded(bucket, key, sealed)
		if err != nil {
			return err
		}
		return fn(key, value)
	})
}

// Keys is Scan for the keys alone: it opens no value. What the keys say is
// authenticated when their values are opened.
func (tx *Tx) Keys(bucket string, prefix, after []byte, fn func(key []byte) error) error {
	return tx.scan(bucket, prefix, after, func(key, _ []byte) error { return fn(key) })
}

// Count gives the number of keys of a bucket that start with prefix. It reads
// all of them but opens no value: about 30 ms for 100,000.
func (tx *Tx) Count(bucket string, prefix []byte) (int, error) {
	n := 0
	err := tx.scan(bucket, prefix, nil, func(_, _ []byte) error {
		n++
		return nil
	})
	return n, err
}

func (tx *Tx) openGuarded(bucket string, key, sealed []byte) (value []byte, err error) {
	defer tx.h.guard(&err)()
	return tx.open(bucket, key, sealed)
}

// scan hands out a copy of each key and the sealed value itself. Every key
// must come after the one before it, which bounds the scan on any input.
func (tx *Tx) scan(bucket string, prefix, after []byte, fn func(key, sealed []byte) error) error {
	if tx.done {
		return errTxDone
	}
	if err := checkBucket(bucket); err != nil {
		return err
	}
	c := &cursor{tx: tx, bucket: bucket, prefix: prefix, last: after}
	for {
		if err := tx.ctx.Err(); err != nil {
			return err
		}
		key, sealed, err := c.next()
		if err != nil || key == nil {
			return err
		}
		switch err := fn(key, sealed); {
		case errors.Is(err, ErrStop):
			return nil
		case err != nil:
			return err
		}
	}
}

// cursor goes through a bucket and finds its place again after a change.
type cursor struct {
	tx      *Tx
	bucket  string
	prefix  []byte
	last    []byte // the last key given, or the key to begin after
	bolt    *bolt.Cursor
	changes int // of the transaction when bolt was positioned
}

// next gives a copy of the next key and its sealed value; nil at the end.
func (c *cursor) next() (key, sealed []byte, err error) {
	defer c.tx.h.guard(&err)()
	k, v := c.step()
	if k == nil || !bytes.HasPrefix(k, c.prefix) {
		return nil, nil, nil
	}
	if c.last != nil && bytes.Compare(k, c.last) <= 0 {
		panic(errKeyOrder) // as bbolt does with what it finds; guard makes it an error
	}
	c.last = bytes.Clone(k)
	return c.last, v, nil
}

func (c *cursor) step() (key, value []byte) {
	if c.bolt != nil && c.changes == c.tx.changes() {
		return c.bolt.Next()
	}
	b := c.tx.b.Bucket([]byte(c.bucket))
	if b == nil {
		return nil, nil
	}
	c.bolt, c.changes = b.Cursor(), c.tx.changes()
	if bytes.Compare(c.last, c.prefix) < 0 {
		return c.bolt.Seek(c.prefix)
	}
	key, value = c.bolt.Seek(c.last)
	if c.last != nil && bytes.Equal(key, c.last) {
		return c.bolt.Next()
	}
	return key, value
}

func (tx *Tx) changes() int {
	if tx.edit == nil {
		return 0
	}
	return len(tx.edit.undo)
}
