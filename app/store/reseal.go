package store

import (
	"bytes"
)

// Place is how far a Reseal has come: every entry up to it, in the order of
// buckets and keys, was seen.
type Place struct {
	bucket string
	after  []byte
}

// resealSeen bounds how many entries that are left as they are one Reseal looks
// at for each that it may change.
const resealSeen = 64

// Reseal puts up to limit entries anew, under the key that the AEAD seals under
// now: those whose ciphertext is stale, which stale tells by its prefix. more is
// false when the last entry was seen. It works under the same AEAD with several
// keys; for another AEAD there is Rekey.
func (tx *Tx) Reseal(from Place, limit int, stale func(sealed []byte) bool) (next Place, done int, more bool, err error) {
	names, err := tx.buckets()
	if err != nil {
		return from, 0, false, err
	}
	seen := 0
	for _, bucket := range names {
		if bucket < from.bucket {
			continue
		}
		if bucket != from.bucket {
			from = Place{bucket: bucket}
		}
		var keys [][]byte
		full := false
		err := tx.scan(bucket, nil, from.after, func(key, sealed []byte) error {
			from.after = key
			if stale(sealed) {
				keys = append(keys, key)
			}
			seen++
			if full = done+len(keys) >= limit || seen >= resealSeen*limit; full {
				return ErrStop
			}
			return nil
		})
		if err != nil {
			return from, done, false, err
		}
		for _, key := range keys {
			value, err := tx.Get(bucket, key)
			if err != nil {
				return from, done, false, err
			}
			err = tx.Put(bucket, key, value)
			clear(value)
			if err != nil {
				return from, done, false, err
			}
		}
		if done += len(keys); full {
			return from, done, true, nil
		}
	}
	return from, done, false, nil
}

// Stale counts the entries, and those whose ciphertext is stale; the state record
// counts as one. It opens none of them.
func (tx *Tx) Stale(stale func(sealed []byte) bool) (entries, left int, err error) {
	names, err := tx.buckets()
	if err != nil {
		return 0, 0, err
	}
	count := func(sealed []byte) {
		if entries++; stale(sealed) {
			left++
		}
	}
	for _, bucket := range names {
		if err := tx.scan(bucket, nil, nil, func(_, sealed []byte) error {
			count(sealed)
			return nil
		}); err != nil {
			return 0, 0, err
		}
	}
	defer tx.h.guard(&err)()
	count(bytes.Clone(tx.b.Bucket([]byte(stateBucket)).Get([]byte(recordKey))))
	return entries, left, nil
}

// buckets are the names of the callers' buckets, in order.
func (tx *Tx) buckets() (names []string, err error) {
	if tx.done {
		return nil, errTxDone
	}
	defer tx.h.guard(&err)()
	c := tx.b.Cursor()
	for name, _ := c.First(); name != nil; name, _ = c.Next() {
		if s := string(name); s != stateBucket {
			names = append(names, s)
		}
	}
	return names, nil
}
