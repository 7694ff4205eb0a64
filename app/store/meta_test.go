package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"testing"

	"coffer/app/domain"
	"coffer/app/store"
)

// newestSlot is the meta page with the higher transaction id.
func newestSlot(file []byte) int {
	txid := func(slot int) uint64 { return binary.NativeEndian.Uint64(file[slot*store.PageSize+16+48:]) }
	if txid(1) > txid(0) {
		return 1
	}
	return 0
}

func page(file []byte, n int) []byte { return file[n*store.PageSize:][:store.PageSize] }

// twoStates gives a file before and after one more acknowledged update, and
// what each contains.
func twoStates(t *testing.T, path string) (before, after []byte, wantBefore, wantAfter map[string]string) {
	t.Helper()
	s := mustCreate(t, path)
	wantBefore = fill(t, s, "b", 50)
	before = readFile(t, path)
	mustPut(t, s, "b", "last", "acknowledged")
	wantAfter = merged(wantBefore, map[string]string{"b/last": "acknowledged"})
	after = readFile(t, path)
	mustClose(t, s)
	return before, after, wantBefore, wantAfter
}

func TestNewestMetaDamaged(t *testing.T) {
	path := newPath(t)
	_, after, _, _ := twoStates(t, path)
	slot := newestSlot(after)
	for off := 16; off < 16+64; off++ {
		damaged := bytes.Clone(after)
		page(damaged, slot)[off] ^= 1
		writeFile(t, path, damaged)
		got, err := tryOpen(t, path, "b")
		if !errors.Is(err, kind(domain.Tampered)) {
			t.Fatalf("byte %d: an acknowledged update was lost in silence: %d entries, %v", off, len(got), err)
		}
	}
}

func TestNewestMetaRolledBack(t *testing.T) {
	path := newPath(t)
	before, after, _, _ := twoStates(t, path)
	slot := newestSlot(after)
	copy(page(after, slot)[:512], page(before, slot)) // a disk that lost one sector's write
	writeFile(t, path, after)
	if _, err := tryOpen(t, path, "b"); !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("got %v", err)
	}
}

func TestOlderMetaDamaged(t *testing.T) {
	path := newPath(t)
	_, after, _, want := twoStates(t, path)
	for _, noise := range []string{"x", "a whole sector"} {
		damaged := bytes.Clone(after)
		older := page(damaged, 1-newestSlot(after))
		if len(noise) == 1 {
			older[20] ^= 4
		} else {
			clear(older[:512])
		}
		writeFile(t, path, damaged)
		got, err := tryOpen(t, path, "b")
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %d entries, %v", noise, len(got), err)
		}
	}
}

// TestTornMeta rebuilds what a power cut in the middle of writing a meta page
// leaves: the data pages of the new transaction, the old other meta page, and
// the meta page itself cut at any byte. Nothing was acknowledged, so it must
// open, with the state before or the state after.
func TestTornMeta(t *testing.T) {
	path := newPath(t)
	before, after, wantBefore, wantAfter := twoStates(t, path)
	slot := newestSlot(after)
	for cut := 0; cut <= 96; cut++ {
		torn := bytes.Clone(after)
		copy(page(torn, 1-slot), page(before, 1-slot)) // no witness yet
		copy(page(torn, slot)[cut:], page(before, slot)[cut:])
		writeFile(t, path, torn)
		got, err := tryOpen(t, path, "b")
		if err != nil {
			t.Fatalf("cut at %d: %v: %v", cut, err, errors.Unwrap(err))
		}
		if !maps.Equal(got, wantBefore) && !maps.Equal(got, wantAfter) {
			t.Fatalf("cut at %d: neither the old nor the new state", cut)
		}
		s := mustOpen(t, path)
		mustPut(t, s, "b", "more", "after the tear")
		mustClose(t, s)
	}
}

// TestBothMetaDamaged leaves nothing to choose from.
func TestBothMetaDamaged(t *testing.T) {
	path := newPath(t)
	_, after, _, _ := twoStates(t, path)
	page(after, 0)[20] ^= 1
	page(after, 1)[20] ^= 1
	writeFile(t, path, after)
	if _, err := tryOpen(t, path, "b"); !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("got %v", err)
	}
}

// TestWitnessAndMetaDamaged takes both proofs away.
func TestWitnessAndMetaDamaged(t *testing.T) {
	path := newPath(t)
	_, after, _, _ := twoStates(t, path)
	slot := newestSlot(after)
	page(after, slot)[20] ^= 1
	page(after, 1-slot)[store.WitnessOffset+20] ^= 1
	writeFile(t, path, after)
	if _, err := tryOpen(t, path, "b"); !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("got %v", err)
	}
}

// TestWitnessAfterOpen covers a process that was killed between its commit and
// its witness: what the next one shows counts as acknowledged.
func TestWitnessAfterOpen(t *testing.T) {
	path := newPath(t)
	_, after, _, _ := twoStates(t, path)
	slot := newestSlot(after)
	clear(page(after, 1-slot)[store.WitnessOffset:][:store.WitnessSize])
	writeFile(t, path, after)
	mustClose(t, mustOpen(t, path))
	b := readFile(t, path)
	page(b, slot)[20] ^= 1
	writeFile(t, path, b)
	if _, err := tryOpen(t, path, "b"); !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("got %v", err)
	}
}

// TestFreelistNamesUsedPage gives bbolt leave to write over live data, which
// the digest cannot see.
func TestFreelistNamesUsedPage(t *testing.T) {
	path := newPath(t)
	_, file, _, _ := twoStates(t, path)
	meta := page(file, newestSlot(file))[16:]
	root, freelist := binary.NativeEndian.Uint64(meta[16:]), binary.NativeEndian.Uint64(meta[32:])
	list := page(file, int(freelist))
	for name, id := range map[string]uint64{"the root": root, "itself": freelist, "a meta page": 1, "nowhere": 1 << 40} {
		binary.NativeEndian.PutUint16(list[10:], 1)
		binary.NativeEndian.PutUint64(list[16:], id)
		writeFile(t, path, file)
		if _, err := tryOpen(t, path, "b"); !errors.Is(err, kind(domain.Tampered)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	binary.NativeEndian.PutUint16(list[10:], 0) // lost space is no damage
	writeFile(t, path, file)
	if _, err := tryOpen(t, path, "b"); err != nil {
		t.Errorf("empty: %v", err)
	}
}
