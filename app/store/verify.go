package store

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// errSeal means that the state record does not open under the key at hand:
// another key, or another content.
var errSeal = errors.New("the state record does not open")

// found is what a verified file contains.
type found struct {
	state state
	aead  int    // which of the keys opened it
	txid  uint64 // of bbolt
	slot  int    // meta page that is in use
}

// verify reads a whole file and compares it with its state record, which one
// of aeads must open. each, if not nil, sees every entry of callers' buckets.
// It changes nothing. The state record is looked up first, because the
// digest's key stands in it.
func verify(ctx context.Context, r io.ReaderAt, size int64, each func(bucket string, key, sealed []byte) error, aeads ...AEAD) (found, error) {
	im, err := openImage(r, size)
	if err != nil {
		return found{}, err
	}
	st, index, err := im.findState(ctx, aeads)
	if err != nil {
		return found{}, err
	}
	if err := im.checkWitness(st); err != nil {
		return found{}, err
	}
	h := newHasher(st.digestKey[:])
	var sum digest
	var count uint64
	err = im.walk(ctx, func(bucket string, key, sealed []byte) error {
		if bucket == stateBucket {
			return nil
		}
		sum.add(h.entry(bucket, key, sealed))
		count++
		if each == nil {
			return nil
		}
		return each(bucket, key, sealed)
	})
	if err != nil {
		return found{}, err
	}
	if count != st.count || sum != st.sum {
		return found{}, fmt.Errorf("the %d entries are not those of %v", count, st)
	}
	return found{state: st, aead: index, txid: im.meta.txid, slot: im.slot}, nil
}

// findState opens the state record.
func (im *image) findState(ctx context.Context, aeads []AEAD) (state, int, error) {
	var format, sealed []byte
	err := im.one(ctx, stateBucket, func(_ string, key, value []byte) error {
		switch string(key) {
		case formatKey:
			format = append([]byte(nil), value...)
		case recordKey:
			sealed = append([]byte(nil), value...)
		default:
			return fmt.Errorf("unknown entry beside the state record")
		}
		return nil
	})
	if err != nil {
		return state{}, 0, err
	}
	if string(format) != formatValue {
		return state{}, 0, fmt.Errorf("format %.40q instead of %q", format, formatValue)
	}
	for i, aead := range aeads {
		if st, err := openState(aead, sealed); err == nil {
			return st, i, nil
		}
	}
	return state{}, 0, errSeal
}

// checkWitness refuses a file in which the newest transaction that can be read
// is older than one that was acknowledged; FORMAT.md, "Meta pages".
func (im *image) checkWitness(st state) error {
	for slot := range im.slots {
		w := im.witness(slot)
		rev, ok := st.witnessed(w)
		if ok && rev > st.revision {
			return fmt.Errorf("revision %d was acknowledged, %d is the newest that can be read", rev, st.revision)
		}
		if !ok && !im.valid[1-slot] && !allZero(w) {
			return fmt.Errorf("meta page %d is invalid, and so is the witness that tells why", 1-slot)
		}
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
