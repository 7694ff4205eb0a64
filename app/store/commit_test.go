package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/app/domain"
	"coffer/app/store"
)

func TestUpdatesShareCommits(t *testing.T) {
	s := mustCreate(t, newPath(t))
	const callers, each = 32, 10
	var wg sync.WaitGroup
	var began sync.WaitGroup
	began.Add(1)
	for c := range callers {
		wg.Go(func() {
			began.Wait()
			for i := range each {
				rev, err := s.Update(t.Context(), func(tx *store.Tx) error {
					return tx.Put("b", fmt.Appendf(nil, "%d-%d", c, i), []byte("v"))
				})
				if err != nil {
					t.Error(err)
					return
				}
				if now := s.Revision(); now < rev {
					t.Errorf("answered with revision %d, the store is at %d", rev, now)
				}
			}
		})
	}
	began.Done()
	wg.Wait()
	got, err := contents(s, "b")
	if err != nil || len(got) != callers*each {
		t.Fatalf("%d entries: %v", len(got), err)
	}
	if rev := s.Revision(); rev > callers*each {
		t.Errorf("%d commits for %d updates of %d callers: none shared", rev-1, callers*each, callers)
	}
}

// TestUpdatesSeeEachOther counts with read, add, write: lost updates show.
func TestUpdatesSeeEachOther(t *testing.T) {
	s := mustCreate(t, newPath(t))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 10 {
				_, err := s.Update(t.Context(), func(tx *store.Tx) error {
					v, err := tx.Get("b", []byte("n"))
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						return err
					}
					return tx.Put("b", []byte("n"), append(v, '.'))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if v, err := get(t, s, "b", "n"); len(v) != 160 || err != nil {
		t.Errorf("counted %d, want 160: %v", len(v), err)
	}
}

// TestFailedUpdateLeavesNothing mixes failing and succeeding updates in the
// same commits.
func TestFailedUpdateLeavesNothing(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	want := fill(t, s, "b", 50)
	mine := errors.New("mine")
	spoil := func(tx *store.Tx) error {
		return errors.Join(
			tx.Put("b", []byte("key-000001"), []byte("spoiled")),
			tx.Put("b", []byte("key-000001"), []byte("spoiled again")),
			tx.Put("b", []byte("new"), []byte("spoiled")),
			tx.Delete("b", []byte("key-000002")),
			tx.Put("b", []byte("key-000002"), []byte("spoiled")),
			tx.Delete("b", []byte("new")),
			tx.Put("newbucket", []byte("k"), []byte("spoiled")),
		)
	}
	failures := []func(tx *store.Tx) error{
		func(tx *store.Tx) error { return errors.Join(spoil(tx), mine) },
		func(tx *store.Tx) error { _ = spoil(tx); panic("secret-in-a-panic") },
		func(tx *store.Tx) error { _ = spoil(tx); var p *int; *p = 1; return nil }, //nolint:govet // on purpose
		func(tx *store.Tx) error { _ = spoil(tx); runtime.Goexit(); return nil },
		func(tx *store.Tx) error { return errors.Join(spoil(tx), tx.Put("NOT A NAME", []byte("k"), nil)) },
	}
	var wg sync.WaitGroup
	for c := range 20 {
		wg.Go(func() {
			for i := range 10 {
				_, err := s.Update(t.Context(), failures[(c+i)%len(failures)])
				if err == nil {
					t.Error("a failing update succeeded")
				} else if strings.Contains(err.Error(), "secret-in-a-panic") {
					t.Error("the panic's value stands in the error")
				}
				mustPut(t, s, "good", fmt.Sprintf("%d-%d", c, i), "v")
			}
		})
		for i := range 10 {
			want[fmt.Sprintf("good/%d-%d", c, i)] = "v"
		}
	}
	wg.Wait()
	for range 2 {
		got, err := contents(s, "b", "good", "newbucket")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		mustClose(t, s)
		s = mustOpen(t, path)
	}
	_, err := s.Update(t.Context(), failures[2])
	if p, ok := errors.AsType[*store.PanicError](err); !ok || !strings.Contains(err.Error(), "nil pointer") || len(p.Stack) == 0 {
		t.Errorf("got %v", err)
	}
	_, err = s.Update(t.Context(), failures[0])
	if !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
}

func TestUpdateWithoutChanges(t *testing.T) {
	s := mustCreate(t, newPath(t))
	rev := mustPut(t, s, "b", "k", "v")
	got, err := s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.Delete("b", []byte("nothing")); err != nil {
			return err
		}
		if r, err := tx.Revision(); r != rev || err != nil {
			t.Errorf("inside: revision %d, %v", r, err)
		}
		_, err := tx.Get("b", []byte("k"))
		return err
	})
	if err != nil || got != rev {
		t.Errorf("revision %d instead of %d: %v", got, rev, err)
	}
	err = s.View(t.Context(), func(tx *store.Tx) error {
		if r, err := tx.Revision(); r != rev || err != nil {
			t.Errorf("view: revision %d, %v", r, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestUpdateContext(t *testing.T) {
	s := mustCreate(t, newPath(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	_, err := s.Update(ctx, func(*store.Tx) error { ran = true; return nil })
	if !errors.Is(err, context.Canceled) || ran {
		t.Errorf("cancelled before: ran %v, %v", ran, err)
	}
	if err := s.View(ctx, func(*store.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("view: ran %v, %v", ran, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	_, err = s.Update(ctx, func(tx *store.Tx) error {
		defer cancel()
		return tx.Put("b", []byte("k"), []byte("v"))
	})
	if err != nil {
		t.Errorf("cancelled when it had run: %v", err)
	}
	if v, err := get(t, s, "b", "k"); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}

	// A waiting update whose context ends is not run.
	held, release := make(chan struct{}), make(chan struct{})
	go s.Update(t.Context(), func(*store.Tx) error { //nolint:errcheck // it only holds the committer
		close(held)
		<-release
		return nil
	})
	<-held
	ctx, cancel = context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := s.Update(ctx, func(*store.Tx) error { ran = true; return nil })
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting: %v", err)
	}
	close(release)
	mustPut(t, s, "b", "k", "w")
	if ran {
		t.Error("it ran all the same")
	}
}

func TestWatch(t *testing.T) {
	s := mustCreate(t, newPath(t))
	if rev, err := s.Watch(t.Context(), 0); rev != 1 || err != nil {
		t.Errorf("%d, %v", rev, err)
	}
	type result struct {
		rev store.Revision
		err error
	}
	seen := make(chan result)
	go func() {
		rev, err := s.Watch(t.Context(), 1)
		if _, gerr := get(t, s, "b", "k"); gerr != nil {
			t.Errorf("the watcher does not see the change: %v", gerr)
		}
		seen <- result{rev, err}
	}()
	want := mustPut(t, s, "b", "k", "v")
	if got := <-seen; got.rev != want || got.err != nil {
		t.Errorf("%v, want %d", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := s.Watch(ctx, want); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() {
		_, err := s.Watch(t.Context(), want)
		seen <- result{0, err}
	}()
	mustClose(t, s)
	if got := <-seen; !errors.Is(got.err, store.ErrClosed) {
		t.Errorf("got %v", got.err)
	}
}

func TestCommitErrorStopsStore(t *testing.T) {
	path := newPath(t)
	s := mustCreate(t, path)
	mustPut(t, s, "b", "k", "v")
	watched := make(chan error)
	go func() {
		_, err := s.Watch(context.Background(), s.Revision())
		watched <- err
	}()
	if err := s.BreakFile(); err != nil {
		t.Fatal(err)
	}
	put := func(tx *store.Tx) error { return tx.Put("b", []byte("k"), []byte("w")) }
	_, err := s.Update(t.Context(), put)
	if _, uncertain := errors.AsType[*store.UncertainError](err); !errors.Is(err, kind(domain.Unavailable)) || !uncertain {
		t.Errorf("first: %v", err)
	}
	_, err = s.Update(t.Context(), put)
	if _, uncertain := errors.AsType[*store.UncertainError](err); uncertain {
		t.Errorf("second, which was never tried: %v", err)
	}
	verr := s.View(t.Context(), func(*store.Tx) error { return nil })
	s.Close()
	for what, err := range map[string]error{"update": err, "view": verr, "watch": <-watched} {
		if err == nil {
			t.Errorf("%s still answers", what)
		}
	}
	if v, err := get(t, mustOpen(t, path), "b", "k"); v != "v" || err != nil {
		t.Errorf("after reopening: %q, %v", v, err)
	}
}

// TestViewsDuringUpdates checks that a view is one state: all entries of one
// update or none.
func TestViewsDuringUpdates(t *testing.T) {
	s := mustCreate(t, newPath(t))
	set := func(i int) {
		_, err := s.Update(t.Context(), func(tx *store.Tx) error {
			for k := range 20 {
				if err := tx.Put("b", []byte{byte('a' + k)}, fmt.Appendf(nil, "%d", i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	set(0)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				all, err := contents(s, "b")
				if err != nil || len(all) != 20 {
					t.Errorf("%d entries: %v", len(all), err)
					return
				}
				for _, v := range all {
					if v != all["b/a"] {
						t.Errorf("a view of two states: %v", all)
						return
					}
				}
			}
		})
	}
	for i := range 40 {
		set(i)
	}
	stop.Store(true)
	wg.Wait()
}

// TestViewWaitsForFlush: a state that a power cut could take back is not shown.
func TestViewWaitsForFlush(t *testing.T) {
	s := mustCreate(t, newPath(t))
	mustPut(t, s, "b", "k", "v")
	s.PretendUnsynced()
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	err := s.View(ctx, func(*store.Tx) error {
		t.Error("a state was shown that is not durable")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	seen := make(chan string)
	go func() {
		v, err := get(t, s, "b", "k")
		if err != nil {
			t.Error(err)
		}
		seen <- v
	}()
	mustPut(t, s, "b", "k", "w")
	if v := <-seen; v != "w" {
		t.Errorf("the view that waited saw %q", v)
	}
}

// TestModel compares the store with a map over random updates, some failing,
// and reopenings.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := newPath(t)
		s := mustCreate(t, path)
		defer func() { s.Close() }()
		model := map[string]string{}
		buckets := []string{"a", "b"}
		for range rapid.IntRange(1, 12).Draw(rt, "updates") {
			draft := merged(model)
			failing := rapid.IntRange(0, 3).Draw(rt, "failing") == 0
			_, err := s.Update(t.Context(), func(tx *store.Tx) error {
				for range rapid.IntRange(0, 12).Draw(rt, "changes") {
					bucket := rapid.SampledFrom(buckets).Draw(rt, "bucket")
					key := rapid.StringMatching(`[a-c]{1,3}`).Draw(rt, "key")
					if rapid.IntRange(0, 2).Draw(rt, "kind") == 0 {
						delete(draft, bucket+"/"+key)
						if err := tx.Delete(bucket, []byte(key)); err != nil {
							return err
						}
						continue
					}
					value := strings.Repeat(key, rapid.IntRange(0, 2000).Draw(rt, "length"))
					draft[bucket+"/"+key] = value
					if err := tx.Put(bucket, []byte(key), []byte(value)); err != nil {
						return err
					}
				}
				if failing {
					return errors.New("taken back")
				}
				return nil
			})
			if (err != nil) != failing {
				rt.Fatal(err)
			}
			if !failing {
				model = draft
			}
			if rapid.IntRange(0, 4).Draw(rt, "reopen") == 0 {
				mustClose(t, s)
				var err error
				if s, err = store.Open(path, testAEAD(t, 1)); err != nil {
					rt.Fatal(err)
				}
			}
			got, err := contents(s, buckets...)
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(model, got); diff != "" {
				rt.Fatal(diff)
			}
		}
		if err := s.Check(context.Background()); err != nil {
			rt.Fatal(err, errors.Unwrap(err))
		}
	})
}
