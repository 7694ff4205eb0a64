package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"coffer/app/domain"
	"coffer/app/store"
)

// flipDeadline bounds the opening of one damaged file; a sound one takes a few
// milliseconds.
const flipDeadline = 20 * time.Second

// tryOpen opens and reads a file and says what came out.
func tryOpen(t *testing.T, path string, buckets ...string) (map[string]string, error) {
	t.Helper()
	type result struct {
		all map[string]string
		err error
	}
	done := make(chan result, 1)
	go func() {
		s, err := store.Open(path, testAEAD(t, 1))
		if err != nil {
			done <- result{nil, err}
			return
		}
		all, err := contents(s, buckets...)
		done <- result{all, errors.Join(err, s.Close())}
	}()
	select {
	case r := <-done:
		return r.all, r.err
	case <-time.After(flipDeadline):
		t.Fatalf("opening %s does not end", path)
		return nil, nil
	}
}

// TestFlippedBytes changes single bytes all over a file. Whatever comes out
// must be an error of Kind Tampered with the file untouched, or all of the
// data: never other data, a hang or a crash.
func TestFlippedBytes(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	want := merged(fill(t, s, "small", 3), fill(t, s, "large", 700))
	for i := range 40 { // leave free pages behind
		mustPut(t, s, "large", fmt.Sprintf("key-%06d", i*7), "changed")
		want[fmt.Sprintf("large/key-%06d", i*7)] = "changed"
	}
	mustClose(t, s)
	sound := readFile(t, path)
	used := bytes.TrimRight(sound, "\x00")

	rnd := rand.New(rand.NewPCG(1, 2)) // reproducible on purpose: which bytes are damaged is no secret
	var offsets []int
	for page := 0; page*store.PageSize < len(used); page++ {
		start := page * store.PageSize
		offsets = append(offsets, start+rnd.IntN(16), start+16+rnd.IntN(64), start+rnd.IntN(store.PageSize))
	}
	for i := range 16 + 64 { // each byte of what steers bbolt on the meta pages
		offsets = append(offsets, i, store.PageSize+i)
	}
	refused := 0
	for _, off := range offsets {
		damaged := bytes.Clone(sound)
		damaged[off] ^= 1 << rnd.IntN(8)
		writeFile(t, path, damaged)
		got, err := tryOpen(t, path, "small", "large")
		if err == nil {
			if !maps.Equal(got, want) {
				t.Fatalf("offset %d: other data: %d entries instead of %d", off, len(got), len(want))
			}
			continue
		}
		refused++
		if !errors.Is(err, kind(domain.Tampered)) || domain.HintOf(err) == "" {
			t.Fatalf("offset %d: %v", off, err)
		}
		if !bytes.Equal(damaged, readFile(t, path)) {
			t.Fatalf("offset %d: refused, and written to", off)
		}
	}
	t.Logf("%d of %d damaged files were refused, the rest gave all data", refused, len(offsets))
	if refused < len(offsets)/3 {
		t.Error("too few were refused for this test to mean anything")
	}
}

// TestRandomPages replaces whole pages: by noise, zeros and other pages of the
// same file, which makes cycles and double references.
func TestRandomPages(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	want := fill(t, s, "large", 600)
	mustClose(t, s)
	sound := readFile(t, path)
	pages := len(bytes.TrimRight(sound, "\x00"))/store.PageSize + 1
	rnd := rand.New(rand.NewPCG(3, 4)) // reproducible on purpose
	for range 150 {
		damaged := bytes.Clone(sound)
		at := damaged[rnd.IntN(pages)*store.PageSize:][:store.PageSize]
		switch rnd.IntN(3) {
		case 0:
			clear(at)
		case 1:
			for i := range at {
				at[i] = byte(rnd.Uint32())
			}
		default:
			copy(at, sound[rnd.IntN(pages)*store.PageSize:])
		}
		writeFile(t, path, damaged)
		got, err := tryOpen(t, path, "large")
		if err != nil && !errors.Is(err, kind(domain.Tampered)) {
			t.Fatal(err)
		}
		if err == nil && !maps.Equal(got, want) {
			t.Fatalf("other data: %d entries instead of %d", len(got), len(want))
		}
	}
}

func TestTruncated(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	fill(t, s, "b", 500)
	mustClose(t, s)
	used := len(bytes.TrimRight(readFile(t, path), "\x00"))
	whole := readFile(t, path)
	for n := 0; n < used; n += used/40 + 1 {
		writeFile(t, path, whole[:n])
		if _, err := tryOpen(t, path, "b"); !errors.Is(err, kind(domain.Tampered)) {
			t.Fatalf("cut to %d of %d bytes: %v", n, used, err)
		}
	}
}

// TestMeddledEntries changes entries with bbolt itself, whose pages are then
// perfectly sound: only the digest and the seal can tell.
func TestMeddledEntries(t *testing.T) {
	for name, meddle := range map[string]func(tx *bolt.Tx) error{
		"delete an entry": func(tx *bolt.Tx) error { return tx.Bucket([]byte("b")).Delete([]byte("key-000001")) },
		"delete a bucket": func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("c")) },
		"add an entry":    func(tx *bolt.Tx) error { return tx.Bucket([]byte("b")).Put([]byte("key-x"), []byte("y")) },
		"copy an entry": func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("b"))
			return b.Put([]byte("key-x"), b.Get([]byte("key-000001")))
		},
		"swap two entries": func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("b"))
			one, two := bytes.Clone(b.Get([]byte("key-000001"))), bytes.Clone(b.Get([]byte("key-000002")))
			return errors.Join(b.Put([]byte("key-000001"), two), b.Put([]byte("key-000002"), one))
		},
		"put back an older value": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("b")).Put([]byte("key-000003"), olderValue)
		},
		"move to another bucket": func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("b"))
			v := bytes.Clone(b.Get([]byte("key-000001")))
			return errors.Join(b.Delete([]byte("key-000001")), tx.Bucket([]byte("c")).Put([]byte("key-000009"), v))
		},
		"nested bucket": func(tx *bolt.Tx) error {
			_, err := tx.Bucket([]byte("b")).CreateBucket([]byte("nested"))
			return err
		},
		"delete the state": func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(store.StateBucket)) },
		"empty the state": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(store.StateBucket)).Put([]byte(store.RecordKey), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := meddleable(t)
			withBolt(t, path, meddle)
			before := readFile(t, path)
			_, err := tryOpen(t, path, "b", "c")
			if !errors.Is(err, kind(domain.Tampered)) {
				t.Errorf("got %v", err)
			}
			if !bytes.Equal(before, readFile(t, path)) {
				t.Error("the file was written to")
			}
		})
	}
}

// olderValue is what key-000003 held before it was changed in the store that
// meddleable made last.
var olderValue []byte

func meddleable(t *testing.T) string {
	t.Helper()
	path := newPath(t)
	s := mustCreate(t, path)
	fill(t, s, "b", 5)
	fill(t, s, "c", 2)
	mustClose(t, s)
	withBolt(t, path, func(tx *bolt.Tx) error {
		olderValue = bytes.Clone(tx.Bucket([]byte("b")).Get([]byte("key-000003")))
		return nil
	})
	s = mustOpen(t, path)
	mustPut(t, s, "b", "key-000003", "changed")
	mustClose(t, s)
	return path
}

func withBolt(t *testing.T, path string, fn func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDamageWhileOpen changes a value on the disk under a running store.
func TestDamageWhileOpen(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	defer s.Close()
	mustPut(t, s, "b", "victim", "value")
	mustPut(t, s, "b", "witness", "value")
	b := readFile(t, path)
	at := bytes.LastIndex(b, []byte("victim")) + len("victim") + 20
	damageInPlace(t, path, int64(at))

	_, err := get(t, s, "b", "victim")
	if !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("get: %v", err)
	}
	if v, err := get(t, s, "b", "witness"); v != "value" || err != nil {
		t.Errorf("the neighbour: %q, %v", v, err)
	}
	if err := s.Check(context.Background()); !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("check: %v", err)
	}
	damageInPlace(t, path, int64(at)) // the same bits again: sound
	if err := s.Check(context.Background()); err != nil {
		t.Errorf("check after repair: %v", err)
	}
}

// TestCutWhileOpen cuts the file under a running store: touching the map
// beyond its end is a SIGBUS.
func TestCutWhileOpen(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	fill(t, s, "b", 2000)
	truncateInPlace(t, path, 3*store.PageSize)
	if _, err := get(t, s, "b", "key-001500"); !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("get: %v", err)
	}
	_, err := s.Update(context.Background(), func(tx *store.Tx) error { return tx.Put("b", []byte("k"), nil) })
	if !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("update after that: %v", err)
	}
	if _, err := s.Watch(context.Background(), 0); !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("watch after that: %v", err)
	}
	s.Close()
	if info := readFile(t, path); len(info) != 3*store.PageSize {
		t.Errorf("the cut file was written to: %d bytes", len(info))
	}
}

// TestFaultInUpdate meets the fault in the committer.
func TestFaultInUpdate(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	fill(t, s, "b", 2000)
	truncateInPlace(t, path, 3*store.PageSize)
	_, err := s.Update(context.Background(), func(tx *store.Tx) error {
		_ = tx.Put("b", []byte("key-001500"), []byte("x")) // what its error says does not matter
		return nil
	})
	if !errors.Is(err, kind(domain.Tampered)) {
		t.Errorf("got %v", err)
	}
	s.Close()
}
