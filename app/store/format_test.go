package store_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/store"
)

// TestStoreVector opens a file that was made once and is kept for ever, under
// the key of testAEAD(1).
func TestStoreVector(t *testing.T) {
	path := newPath(t)
	writeFile(t, path, readFile(t, filepath.Join("testdata", "v1", "store.db")))
	want := map[string]string{"people/p2": "", "big/overflow": string(bytes.Repeat([]byte("0123456789"), 1000))}
	for i := range 200 {
		want["tokens/v1/"+string([]byte{byte(i), 0, 0xff})] = string(bytes.Repeat([]byte{byte(i)}, i))
	}
	s := mustOpen(t, path)
	got, err := contents(s, "people", "tokens/v1", "big")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s.Revision() != 4 {
		t.Errorf("revision %d, want 4", s.Revision())
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	mustPut(t, s, "people", "p3", "new")
}

// TestPartVectors compares with what a program without our code computed.
func TestPartVectors(t *testing.T) {
	var v struct {
		DigestKey, Sum, HundredSum, WitnessOfRevision7, StateRecord string

		Entries        [][3]string
		AssociatedData map[string]map[string]string
	}
	if err := json.Unmarshal(readFile(t, filepath.Join("testdata", "v1", "parts.json")), &v); err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(v.DigestKey)
	if err != nil {
		t.Fatal(err)
	}
	var hundred [][3]string
	for i := range 100 {
		hundred = append(hundred, [3]string{"b", fmt.Sprintf("key-%d", i), fmt.Sprintf("value-%d", i)})
	}
	record, err := hex.DecodeString(v.StateRecord)
	if err != nil {
		t.Fatal(err)
	}
	again, err := store.RecodeState(record)
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string][2]string{
		"sum":            {v.Sum, hex.EncodeToString(store.SumOf(key, v.Entries...))},
		"sum of hundred": {v.HundredSum, hex.EncodeToString(store.SumOf(key, hundred...))},
		"witness":        {v.WitnessOfRevision7, hex.EncodeToString(store.Witness(7, [32]byte(key)))},
		"state record":   {v.StateRecord, hex.EncodeToString(again)},
	}
	for bucket, keys := range v.AssociatedData {
		for key, want := range keys {
			checks["associated data of "+bucket+" "+key] = [2]string{want, hex.EncodeToString(store.Associate(bucket, []byte(key)))}
		}
	}
	for name, c := range checks {
		if c[0] == "" || c[0] != c[1] {
			t.Errorf("%s: want %s, got %s", name, c[0], c[1])
		}
	}
}

// TestDigestIgnoresOrder and notices everything else.
func TestDigest(t *testing.T) {
	key := make([]byte, 32)
	a, b := [3]string{"b", "k", "v"}, [3]string{"b", "k2", "v"}
	sum := store.SumOf(key, a, b)
	if !bytes.Equal(sum, store.SumOf(key, b, a)) {
		t.Error("depends on the order")
	}
	for name, other := range map[string][][3]string{
		"lost": {a}, "twice": {a, b, b}, "moved": {{"b", "kv", ""}, b}, "bucket": {{"c", "k", "v"}, b}, "none": nil,
	} {
		if bytes.Equal(sum, store.SumOf(key, other...)) {
			t.Errorf("%s: the same sum", name)
		}
	}
}

// FuzzVerify feeds damaged and invented files to the reader that stands before
// bbolt: it must end, without a panic, and accept only what it should.
func FuzzVerify(f *testing.F) {
	sound := readFile(f, filepath.Join("testdata", "v1", "store.db"))
	f.Add(sound)
	f.Add(sound[:2*store.PageSize])
	f.Add(make([]byte, 4*store.PageSize))
	for _, at := range []int{16, 60, store.PageSize + 70, 2*store.PageSize + 8, 3*store.PageSize + 17, 5 * store.PageSize} {
		damaged := bytes.Clone(sound)
		damaged[at] ^= 0x81
		f.Add(damaged)
	}
	aead := testAEAD(f, 1)
	f.Fuzz(func(t *testing.T, b []byte) {
		// Whatever it says, it must say it: the entries themselves are compared
		// in TestFlippedBytes.
		_ = store.Verify(t.Context(), bytes.NewReader(b), int64(len(b)), aead)
	})
}

func FuzzStateRecord(f *testing.F) {
	f.Add([]byte{1, 0})
	f.Add(make([]byte, 82))
	f.Add(append([]byte{1, 0}, make([]byte, 80)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := store.RecodeState(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x encodes to %x", b, again)
		}
	})
}
