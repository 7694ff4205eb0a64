package record_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/audit/record"
)

// fortyRecords is a log of 40 records under two keys.
func fortyRecords(tb testing.TB) *builder {
	k1, k2 := newKey(tb, 1), newKey(tb, 2)
	b := newBuilder(tb).begin().open(k1, "2026-W47")
	for range 18 {
		b.event(k1, "stripe/live")
	}
	id := k1.ID()
	b.clear(record.ClosedPeriod{Period: "2026-W47", First: 1, Last: 19, KeyID: id[:], Count: 18}).open(k2, "2026-W48")
	for len(b.records) < 40 {
		b.event(k2, "stripe/live")
	}
	return b
}

func TestChain(t *testing.T) {
	b := fortyRecords(t)
	n, err := verify(instance, tag, b.records)
	if n != 40 || err != nil {
		t.Fatalf("%d records: %v", n, err)
	}
	s := b.chain.State()
	want := record.State{
		Size: 40, Leaf: record.LeafHash(b.records[39]), Slot: 7, RetentionDays: 90,
		Key: record.KeyState{Period: "2026-W48", Commitment: newKey(t, 2).Commitment(), First: 21, Count: 18},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
	if k, shredded, ok := b.chain.Key(newKey(t, 1).ID()); !ok || shredded || k.Period != "2026-W47" {
		t.Errorf("first key: %+v %v %v", k, shredded, ok)
	}
	for cut := range b.records {
		c := record.NewChain(instance, tag)
		for _, raw := range b.records[:cut] {
			if _, err := c.Add(raw); err != nil {
				t.Fatal(err)
			}
		}
		c = record.Resume(instance, tag, c.State())
		for _, raw := range b.records[cut:] {
			if _, err := c.Add(raw); err != nil {
				t.Fatalf("resumed at %d: %v", cut, err)
			}
		}
		if c.State() != s {
			t.Errorf("resumed at %d: %+v", cut, c.State())
		}
	}
}

// TestMutations is the table of attacks on 40 records. "Chain" is this
// verifier alone; "head" means that somebody kept the size and leaf hash of
// the end elsewhere, as a receipt, the heads file or a checkpoint does.
func TestMutations(t *testing.T) {
	b := fortyRecords(t)
	good, size, leaf := b.records, b.chain.Size(), b.chain.Leaf()
	other := newBuilder(t)
	other.tag, other.chain = [16]byte{9}, record.NewChain(instance, [16]byte{9})
	k := newKey(t, 1)
	other.begin().open(k, "2026-W47").event(k, "x")
	abroad := newBuilder(t)
	abroad.instance, abroad.chain = [16]byte{8}, record.NewChain([16]byte{8}, tag)
	abroad.begin().open(k, "2026-W47").event(k, "x")

	counts := map[string][3]int{} // cases, found by the chain, found with the head
	try := func(name string, records [][]byte) {
		c := record.NewChain(instance, tag)
		var err error
		for _, raw := range records {
			if _, err = c.Add(raw); err != nil {
				break
			}
		}
		n := counts[name]
		n[0]++
		if err != nil {
			n[1]++
		}
		if err != nil || c.Size() != size || c.Leaf() != leaf {
			n[2]++
		}
		counts[name] = n
	}
	with := func(i int, raw []byte) [][]byte {
		list := slices.Clone(good)
		list[i] = raw
		return list
	}
	for i, raw := range good {
		for at := range raw {
			bad := bytes.Clone(raw)
			bad[at] ^= 1
			if i < len(good)-1 {
				try("flip before the last", with(i, bad))
			} else {
				try("flip in the last", with(i, bad))
			}
		}
		for n := range raw {
			if i < len(good)-1 {
				try("cut inside before the last", with(i, raw[:n]))
			}
		}
		try("cut the end off", good[:i])
		if i < len(good)-1 {
			try("delete", slices.Delete(slices.Clone(good), i, i+1))
		}
		try("duplicate", slices.Insert(slices.Clone(good), i, raw))
		for j := i + 1; j < len(good); j++ {
			list := slices.Clone(good)
			list[i], list[j] = list[j], list[i]
			try("swap", list)
		}
		for _, foreign := range append(slices.Clone(other.records), abroad.records...) {
			try("splice", with(i, foreign))
			try("insert", slices.Insert(slices.Clone(good), i, foreign))
		}
	}
	last := len(good[39])
	want := map[string][3]int{
		"flip before the last": {n(good[:39]), n(good[:39]), n(good[:39])},
		// Of the last record the chain alone binds the header without wall clock,
		// boot number and monotonic time: 108 bytes.
		"flip in the last":           {last, 108, last},
		"cut inside before the last": {n(good[:39]), n(good[:39]), n(good[:39])},
		"cut the end off":            {40, 0, 40},
		"delete":                     {39, 39, 39},
		"duplicate":                  {40, 40, 40},
		"swap":                       {780, 780, 780},
		"splice":                     {240, 240, 240},
		"insert":                     {240, 240, 240},
	}
	if d := cmp.Diff(want, counts); d != "" {
		t.Error(d)
	}
}

func n(records [][]byte) (sum int) {
	for _, r := range records {
		sum += len(r)
	}
	return sum
}

func TestChainRefuses(t *testing.T) {
	k1, k2 := newKey(t, 1), newKey(t, 2)
	id1, id2 := k1.ID(), k2.ID()
	started := func() *builder { return newBuilder(t).begin().open(k1, "2026-W47").event(k1, "x") }
	closed := record.ClosedPeriod{Period: "2026-W47", First: 1, Last: 2, KeyID: id1[:], Count: 1}
	for name, tt := range map[string]struct {
		b    *builder
		next func(b *builder) ([]byte, error)
	}{
		"event first":        {newBuilder(t), func(b *builder) ([]byte, error) { return k1.Seal(b.header(record.Event), payload("x")) }},
		"key first":          {newBuilder(t), clearOf(record.OpenedKey{Period: "2026-W47", Commitment: k1.Commitment()})},
		"unopened key":       {started(), func(b *builder) ([]byte, error) { return k2.Seal(b.header(record.Event), payload("x")) }},
		"key before open":    {newBuilder(t).begin(), func(b *builder) ([]byte, error) { return k1.Seal(b.header(record.Event), payload("x")) }},
		"second start":       {started(), clearOf(record.OpenedTenant{Slot: 7, RetentionDays: 90})},
		"second open key":    {started(), clearOf(record.OpenedKey{Period: "2026-W48", Commitment: k2.Commitment()})},
		"key opened again":   {started().clear(closed), clearOf(record.OpenedKey{Period: "2026-W48", Commitment: k1.Commitment()})},
		"closed key":         {started().clear(closed), func(b *builder) ([]byte, error) { return k1.Seal(b.header(record.Event), payload("x")) }},
		"close: count":       {started(), clearOf(record.ClosedPeriod{Period: "2026-W47", First: 1, Last: 2, KeyID: id1[:]})},
		"close: last":        {started(), clearOf(record.ClosedPeriod{Period: "2026-W47", First: 1, Last: 3, KeyID: id1[:], Count: 1})},
		"close: first":       {started(), clearOf(record.ClosedPeriod{Period: "2026-W47", First: 0, Last: 2, KeyID: id1[:], Count: 1})},
		"close: period":      {started(), clearOf(record.ClosedPeriod{Period: "2026-W46", First: 1, Last: 2, KeyID: id1[:], Count: 1})},
		"close: key":         {started(), clearOf(record.ClosedPeriod{Period: "2026-W47", First: 1, Last: 2, KeyID: id2[:], Count: 1})},
		"close twice":        {started().clear(closed), clearOf(closed)},
		"shred the open key": {started(), clearOf(record.ShreddedKeys{First: 1, Last: 2, KeyIDs: []record.Hex{id1[:]}})},
		"shred ahead":        {started().clear(closed), clearOf(record.ShreddedKeys{First: 1, Last: 4, KeyIDs: []record.Hex{id1[:]}})},
		"shred unknown":      {started().clear(closed), clearOf(record.ShreddedKeys{First: 1, Last: 2, KeyIDs: []record.Hex{id2[:]}})},
		"shred out of range": {started().clear(closed), clearOf(record.ShreddedKeys{First: 2, Last: 2, KeyIDs: []record.Hex{id1[:]}})},
		"policy before":      {started(), clearOf(record.ChangedPolicy{RetentionDays: 365, Before: 30})},
	} {
		raw, err := tt.next(tt.b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		prev := tt.b.chain.Leaf()
		if tt.b.chain.Size() == 0 {
			prev = record.Genesis(instance, tag, 7, 90)
		}
		record.Place(raw, tt.b.chain.Size(), prev)
		before := tt.b.chain.State()
		if _, err := tt.b.chain.Add(raw); !errors.Is(err, record.ErrChain) {
			t.Errorf("%s: %v", name, err)
		}
		if tt.b.chain.State() != before {
			t.Errorf("%s: the chain moved", name)
		}
	}
}

func clearOf(body record.Body) func(*builder) ([]byte, error) {
	return func(b *builder) ([]byte, error) { return record.Clear(b.header(0), body) }
}

func TestGenesisBinds(t *testing.T) {
	raw, err := record.Clear(head(0), record.OpenedTenant{Slot: 7, RetentionDays: 90})
	if err != nil {
		t.Fatal(err)
	}
	for _, prev := range []record.Hash{
		{},
		record.Genesis(instance, tag, 8, 90), record.Genesis(instance, tag, 7, 91),
		record.Genesis([16]byte{}, tag, 7, 90), record.Genesis(instance, [16]byte{}, 7, 90),
	} {
		record.Place(raw, 0, prev)
		if _, err := record.NewChain(instance, tag).Add(raw); !errors.Is(err, record.ErrChain) {
			t.Errorf("genesis %s: %v", prev, err)
		}
	}
}

func TestShredAndPolicy(t *testing.T) {
	k1, k2 := newKey(t, 1), newKey(t, 2)
	id := k1.ID()
	b := newBuilder(t).begin().open(k1, "2026-W47").event(k1, "x").
		clear(record.ClosedPeriod{Period: "2026-W47", First: 1, Last: 2, KeyID: id[:], Count: 1}).
		open(k2, "2026-W48").
		clear(record.ShreddedKeys{First: 0, Last: 3, KeyIDs: []record.Hex{id[:]}, RetentionDays: 90}).
		clear(record.ChangedPolicy{Before: 90, RetentionDays: 365}).
		clear(record.ClosedTenant{}).event(k2, "refused afterwards")
	if _, shredded, ok := b.chain.Key(id); !ok || !shredded {
		t.Error("the key does not count as destroyed")
	}
	if b.chain.State().RetentionDays != 365 {
		t.Errorf("retention %d", b.chain.State().RetentionDays)
	}
	raw, err := record.Clear(b.header(0), record.ShreddedKeys{First: 0, Last: 3, KeyIDs: []record.Hex{id[:]}})
	if err != nil {
		t.Fatal(err)
	}
	record.Place(raw, b.chain.Size(), b.chain.Leaf())
	if _, err := b.chain.Add(raw); !errors.Is(err, record.ErrChain) {
		t.Errorf("a key destroyed twice: %v", err)
	}
}
