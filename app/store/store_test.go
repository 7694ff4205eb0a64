package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/app/store"
)

func kind(k domain.Kind) error { return &domain.Error{Kind: k} }

func TestCreateOpenKeepsEntries(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	if got := s.Revision(); got != 1 {
		t.Errorf("a new store is at revision %d, want 1", got)
	}
	want := merged(fill(t, s, "tokens", 500), fill(t, s, "people", 3))
	mustPut(t, s, "empty.value", "k", "")
	want["empty.value/k"] = ""
	rev := s.Revision()
	mustClose(t, s)

	s = mustOpen(t, path)
	got, err := contents(s, "people", "tokens", "empty.value", "nothing")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s.Revision() != rev {
		t.Errorf("revision %d after reopening, want %d", s.Revision(), rev)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestValuesAreNotInTheFile(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	mustPut(t, s, "tokens", "id", "a-secret-that-must-not-be-seen")
	mustClose(t, s)
	if bytes.Contains(readFile(t, path), []byte("must-not-be-seen")) {
		t.Error("the value stands in the file")
	}
}

func TestCreateRefusesExisting(t *testing.T) {
	path := newPath(t)
	mustClose(t, mustCreate(t, path))
	before := readFile(t, path)
	_, err := store.Create(path, testAEAD(t, 1))
	if !errors.Is(err, kind(domain.Conflict)) || !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(before, readFile(t, path)) {
		t.Error("the existing file changed")
	}
	entries, err := os.ReadDir(strings.TrimSuffix(path, "/control.db"))
	if err != nil || len(entries) != 1 {
		t.Errorf("leftovers: %v, %v", entries, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := newPath(t)
	s := mustCreate(t, good)
	fill(t, s, "b", 10)
	mustClose(t, s)

	t.Run("missing", func(t *testing.T) {
		_, err := store.Open(newPath(t), testAEAD(t, 1))
		if !errors.Is(err, kind(domain.NotFound)) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("wrong key", func(t *testing.T) {
		before := readFile(t, good)
		_, err := store.Open(good, testAEAD(t, 2))
		if !errors.Is(err, kind(domain.Tampered)) || !strings.Contains(err.Error(), good) || domain.HintOf(err) == "" {
			t.Errorf("got %v, hint %q", err, domain.HintOf(err))
		}
		if !bytes.Equal(before, readFile(t, good)) {
			t.Error("the file was written to")
		}
	})
	t.Run("symbolic link", func(t *testing.T) {
		link := newPath(t)
		if err := os.Symlink(good, link); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(link, testAEAD(t, 1)); err == nil {
			t.Error("opened through a symbolic link")
		}
	})
	for name, content := range map[string][]byte{
		"empty": {}, "short": make([]byte, 100), "zeros": make([]byte, 1<<16), "text": bytes.Repeat([]byte("x"), 20000),
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			writeFile(t, path, content)
			_, err := store.Open(path, testAEAD(t, 1))
			if !errors.Is(err, kind(domain.Tampered)) {
				t.Errorf("got %v", err)
			}
			if !bytes.Equal(content, readFile(t, path)) {
				t.Error("the file was written to")
			}
		})
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	_, err := store.Open(path, testAEAD(t, 1))
	if !errors.Is(err, kind(domain.Unavailable)) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
	mustClose(t, s)
	mustClose(t, mustOpen(t, path))
}

func TestTxRules(t *testing.T) {
	s := mustCreate(t, newPath(t))
	mustPut(t, s, "b", "k", "v")
	if _, err := get(t, s, "b", "other"); !errors.Is(err, store.ErrNotFound) || domain.KindOf(err) != domain.NotFound {
		t.Errorf("missing key: %v", err)
	}
	if _, err := get(t, s, "other", "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("missing bucket: %v", err)
	}
	var kept *store.Tx
	err := s.View(t.Context(), func(tx *store.Tx) error {
		kept = tx
		if err := tx.Put("b", []byte("k"), nil); err == nil {
			t.Error("put in a view")
		}
		if err := tx.Delete("b", []byte("k")); err == nil {
			t.Error("delete in a view")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Get("b", []byte("k")); err == nil {
		t.Error("a transaction works after its end")
	}
	if err := kept.Scan("b", nil, nil, func(_, _ []byte) error { return nil }); err == nil {
		t.Error("a transaction scans after its end")
	}
	long := strings.Repeat("x", store.MaxKey+1)
	for _, c := range []struct{ bucket, key string }{
		{"", "k"}, {"_state", "record"}, {"B", "k"}, {"a b", "k"}, {strings.Repeat("b", store.MaxBucket+1), "k"}, {"b", ""}, {"b", long},
	} {
		_, err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(c.bucket, []byte(c.key), nil) })
		if err == nil {
			t.Errorf("put into %.20q %.20q", c.bucket, c.key)
		} else if len(c.key) > 10 && strings.Contains(err.Error(), c.key) {
			t.Error("the error holds the key")
		}
	}
	_, err = s.Update(t.Context(), func(tx *store.Tx) error { return tx.Put("b", []byte("k"), make([]byte, store.MaxValue+1)) })
	if err == nil {
		t.Error("put more than MaxValue")
	}
	if v, err := get(t, s, "b", "k"); v != "v" || err != nil {
		t.Errorf("after all that: %q, %v", v, err)
	}
}

func TestLargestEntry(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	key, value := strings.Repeat("k", store.MaxKey), strings.Repeat("v", store.MaxValue)
	bucket := strings.Repeat("b", store.MaxBucket)
	mustPut(t, s, bucket, key, value)
	mustClose(t, s)
	s = mustOpen(t, path)
	if got, err := get(t, s, bucket, key); err != nil || got != value {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestScan(t *testing.T) {
	s := mustCreate(t, newPath(t))
	for _, k := range []string{"a", "a/1", "a/2", "a/3", "b", "b/1"} {
		mustPut(t, s, "b", k, "v"+k)
	}
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"", "", 0, []string{"a", "a/1", "a/2", "a/3", "b", "b/1"}},
		{"a/", "", 0, []string{"a/1", "a/2", "a/3"}},
		{"a/", "a/1", 0, []string{"a/2", "a/3"}},
		{"a/", "a/11", 1, []string{"a/2"}},
		{"a/", "a/3", 0, nil},
		{"a/", "b", 0, nil},
		{"", "a/3", 0, []string{"b", "b/1"}},
		{"c", "", 0, nil},
	} {
		t.Run(c.prefix+" after "+c.after, func(t *testing.T) {
			var got []string
			err := s.View(t.Context(), func(tx *store.Tx) error {
				return tx.Scan("b", []byte(c.prefix), []byte(c.after), func(k, v []byte) error {
					if string(v) != "v"+string(k) {
						t.Errorf("%s holds %s", k, v)
					}
					got = append(got, string(k))
					if len(got) == c.limit {
						return store.ErrStop
					}
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	err := s.View(t.Context(), func(tx *store.Tx) error {
		n, err := tx.Count("b", []byte("a/"))
		if n != 3 {
			t.Errorf("counted %d", n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	stop := errors.New("mine")
	err = s.View(t.Context(), func(tx *store.Tx) error {
		return tx.Scan("b", nil, nil, func(_, _ []byte) error { return stop })
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestScanWhileChanging(t *testing.T) {
	s := mustCreate(t, newPath(t))
	fill(t, s, "b", 300)
	seen := 0
	_, err := s.Update(t.Context(), func(tx *store.Tx) error {
		return tx.Scan("b", nil, nil, func(key, value []byte) error {
			seen++
			if seen > 10_000 {
				return errors.New("the scan does not end")
			}
			if err := tx.Put("moved", key, value); err != nil {
				return err
			}
			return tx.Delete("b", key)
		})
	})
	if err != nil || seen != 300 {
		t.Fatalf("saw %d: %v", seen, err)
	}
	got, err := contents(s, "b", "moved")
	if err != nil || len(got) != 300 {
		t.Errorf("%d entries: %v", len(got), err)
	}
}

func TestScanEndsWithContext(t *testing.T) {
	s := mustCreate(t, newPath(t))
	fill(t, s, "b", 10)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := s.View(ctx, func(tx *store.Tx) error {
		return tx.Scan("b", nil, nil, func(_, _ []byte) error {
			n++
			cancel()
			return nil
		})
	})
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("%d entries: %v", n, err)
	}
}

func TestClosed(t *testing.T) {
	s := mustCreate(t, newPath(t))
	mustClose(t, s)
	mustClose(t, s)
	noop := func(*store.Tx) error { return nil }
	_, uerr := s.Update(t.Context(), noop)
	_, werr := s.Watch(t.Context(), 0)
	for name, err := range map[string]error{
		"view": s.View(t.Context(), noop), "update": uerr, "watch": werr,
		"check": s.Check(t.Context()), "rekey": s.Rekey(t.Context(), testAEAD(t, 1)),
		"snapshot": s.Snapshot(t.Context(), &bytes.Buffer{}),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSnapshot(t *testing.T) {
	s := mustCreate(t, newPath(t))
	want := fill(t, s, "b", 200)
	var buf bytes.Buffer
	if err := s.Snapshot(t.Context(), &buf); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, "b", "later", "x")

	path := newPath(t)
	writeFile(t, path, buf.Bytes())
	for i := range 3 { // it must also take updates, and open again
		copied := mustOpen(t, path)
		got, err := contents(copied, "b")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		key := fmt.Sprint("new", i)
		mustPut(t, copied, "b", key, "v")
		want["b/"+key] = "v"
		mustClose(t, copied)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Snapshot(ctx, &buf); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
