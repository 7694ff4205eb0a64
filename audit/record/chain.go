package record

import (
	"errors"
	"fmt"
)

// ErrChain is wrapped by every error about a record that is well-formed but
// does not belong where it stands.
var ErrChain = errors.New("the audit chain is broken")

// Chain verifies the records of one log one after the other, from the first.
// It needs no key: it checks that every record is of this log, at its place,
// and that encrypted records name a key to which the log committed before and
// which it has not closed. It keeps some bytes per key period, nothing per
// record.
//
// The zero Chain is not usable; see NewChain. It is not safe for concurrent use.
type Chain struct {
	instance, tag [16]byte
	size          uint64
	leaf          Hash
	slot          uint32
	retention     uint32
	open          *keyUse              // the only key that may be used now; nil before the first
	keys          map[[16]byte]*keyUse // all keys so far; nil in a resumed chain
}

// keyUse is what the chain remembers of a key.
type keyUse struct {
	period     string
	commitment Hash
	first      uint64 // seq of KEY_OPEN
	count      uint64
	shredded   bool
}

// NewChain starts the verification of the log tag of an appliance.
func NewChain(instance, tag [16]byte) *Chain {
	return &Chain{instance: instance, tag: tag, keys: map[[16]byte]*keyUse{}}
}

// State is a chain between two records: what has to be trusted, and so to be
// authenticated by other means, to go on from there.
type State struct {
	Size          uint64 // number of records
	Leaf          Hash   // leaf hash of the last
	Slot          uint32
	RetentionDays uint32
	Key           KeyState // the key in use; zero Period if there is none
}

// KeyState is the key that encrypted records are under at some point of a log.
type KeyState struct {
	Period     string
	Commitment Hash
	First      uint64 // seq of its KEY_OPEN
	Count      uint64 // records under it so far
}

// ID is how records name the key, zero for no key.
func (k KeyState) ID() [16]byte { return k.Commitment.keyID() }

// Resume goes on from a state that is trusted. A resumed chain does not know
// the keys that were closed before, and so cannot tell whether a KEY_SHRED or
// a second KEY_OPEN is about one of them.
func Resume(instance, tag [16]byte, s State) *Chain {
	c := &Chain{
		instance: instance, tag: tag, size: s.Size, leaf: s.Leaf,
		slot: s.Slot, retention: s.RetentionDays,
	}
	if s.Key.Period != "" {
		c.open = &keyUse{
			period: s.Key.Period, commitment: s.Key.Commitment, first: s.Key.First, count: s.Key.Count,
		}
	}
	return c
}

// State is where the chain is.
func (c *Chain) State() State {
	s := State{Size: c.size, Leaf: c.leaf, Slot: c.slot, RetentionDays: c.retention}
	if k := c.open; k != nil {
		s.Key = KeyState{Period: k.period, Commitment: k.commitment, First: k.first, Count: k.count}
	}
	return s
}

// Key tells for a key id which period it is for, the commitment to it, and
// whether it has been destroyed. A resumed chain knows the open key alone.
func (c *Chain) Key(id [16]byte) (key KeyState, shredded, ok bool) {
	k := c.keys[id]
	if k == nil && c.open != nil && c.open.commitment.keyID() == id {
		k = c.open
	}
	if k == nil {
		return KeyState{}, false, false
	}
	return KeyState{Period: k.period, Commitment: k.commitment, First: k.first, Count: k.count}, k.shredded, true
}

// Add checks that raw is the next record of the log. After an error the chain
// is where it was: nothing after a bad record means anything. Errors wrap
// ErrFormat or ErrChain.
func (c *Chain) Add(raw []byte) (Header, error) {
	h, err := Parse(raw)
	if err != nil {
		return h, err
	}
	switch {
	case h.Instance != c.instance:
		return h, fmt.Errorf("%w: record of another appliance", ErrChain)
	case h.Tag != c.tag:
		return h, fmt.Errorf("%w: record of another log", ErrChain)
	case h.Seq != c.size:
		return h, fmt.Errorf("%w: record %d stands at place %d", ErrChain, h.Seq, c.size)
	case (c.size == 0) != (h.Type == TenantOpen):
		return h, fmt.Errorf("%w: a log has one tenant-open record, its first", ErrChain)
	case c.size > 0 && h.Prev != c.leaf:
		return h, fmt.Errorf("%w: record %d does not follow the record before it", ErrChain, h.Seq)
	}
	if h.Type.Encrypted() {
		if c.open == nil || h.KeyID != c.open.commitment.keyID() {
			return h, fmt.Errorf("%w: record %d is under a key that is not open", ErrChain, h.Seq)
		}
		c.open.count++
	} else if err := c.addClear(h, raw); err != nil {
		return h, err
	}
	c.size++
	c.leaf = LeafHash(raw)
	return h, nil
}

// addClear checks and applies a record about the log itself.
func (c *Chain) addClear(h Header, raw []byte) error {
	_, body, err := DecodeClear(raw)
	if err != nil {
		return err
	}
	switch b := body.(type) {
	case OpenedTenant:
		if h.Prev != Genesis(c.instance, c.tag, b.Slot, b.RetentionDays) {
			return fmt.Errorf("%w: the first record does not follow from the genesis", ErrChain)
		}
		c.slot, c.retention = b.Slot, b.RetentionDays
	case OpenedKey:
		return c.openKey(h, b)
	case ClosedPeriod:
		return c.closePeriod(h, b)
	case ShreddedKeys:
		return c.shred(h, b)
	case ChangedPolicy:
		if b.Before != c.retention {
			return fmt.Errorf("%w: the policy before was %d days", ErrChain, c.retention)
		}
		c.retention = b.RetentionDays
	}
	return nil
}

func (c *Chain) openKey(h Header, b OpenedKey) error {
	id := b.Commitment.keyID()
	switch {
	case c.open != nil:
		return fmt.Errorf("%w: record %d opens a key while another is open", ErrChain, h.Seq)
	case c.keys[id] != nil || id == [16]byte{}:
		return fmt.Errorf("%w: record %d opens a key again", ErrChain, h.Seq)
	}
	c.open = &keyUse{period: b.Period, commitment: b.Commitment, first: h.Seq}
	if c.keys != nil {
		c.keys[id] = c.open
	}
	return nil
}

func (c *Chain) closePeriod(h Header, b ClosedPeriod) error {
	k := c.open
	if k == nil || [16]byte(b.KeyID) != k.commitment.keyID() || b.Period != k.period ||
		b.First != k.first || b.Last != h.Seq-1 || b.Count != k.count {
		return fmt.Errorf("%w: record %d closes a period that was not so", ErrChain, h.Seq)
	}
	c.open = nil
	return nil
}

func (c *Chain) shred(h Header, b ShreddedKeys) error {
	if b.Last >= h.Seq {
		return fmt.Errorf("%w: record %d erases what follows it", ErrChain, h.Seq)
	}
	for _, id := range b.KeyIDs {
		if c.open != nil && [16]byte(id) == c.open.commitment.keyID() {
			return fmt.Errorf("%w: record %d erases the key in use", ErrChain, h.Seq)
		}
		if c.keys == nil {
			continue
		}
		k := c.keys[[16]byte(id)]
		if k == nil || k.shredded || k.first < b.First || k.first > b.Last {
			return fmt.Errorf("%w: record %d erases a key that it may not", ErrChain, h.Seq)
		}
	}
	for _, id := range b.KeyIDs {
		if k := c.keys[[16]byte(id)]; k != nil {
			k.shredded = true
		}
	}
	return nil
}

// Size is how many records the log has so far.
func (c *Chain) Size() uint64 { return c.size }

// Leaf is the leaf hash of the last record, zero before the first.
func (c *Chain) Leaf() Hash { return c.leaf }
