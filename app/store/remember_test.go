package store_test

import (
	"errors"
	"fmt"
	"testing"

	"coffer/app/store"
)

// TestRemember: a value is decoded once for each type, an error each time, and what
// was changed is another value.
func TestRemember(t *testing.T) {
	s := mustCreate(t, newPath(t))
	calls := 0
	length := func(b []byte) (int, error) { calls++; return len(b), nil }
	text := func(b []byte) (string, error) { calls++; return string(b), nil }
	view := func(fn func(tx *store.Tx) error) {
		t.Helper()
		if err := s.View(t.Context(), fn); err != nil {
			t.Error(err)
		}
	}
	wrong := errors.New("wrong")
	fails := func([]byte) (bool, error) { calls++; return true, wrong }
	mustPut(t, s, "b", "k", "four")
	for round := range 3 {
		view(func(tx *store.Tx) error {
			v, err := tx.Get("b", []byte("k"))
			if err != nil {
				return err
			}
			n, err := store.Remember(tx, v, length)
			if err != nil || n != 4 {
				t.Errorf("%d, %v", n, err)
			}
			if s, err := store.Remember(tx, v, text); err != nil || s != "four" {
				t.Errorf("%q, %v", s, err)
			}
			if _, err := store.Remember(tx, v, fails); !errors.Is(err, wrong) {
				t.Errorf("%v", err)
			}
			return nil
		})
		if want := 2 + round + 1; calls != want {
			t.Errorf("%d calls after %d rounds, want %d", calls, round+1, want)
		}
	}
	mustPut(t, s, "b", "k", "other")
	view(func(tx *store.Tx) error {
		v, err := tx.Get("b", []byte("k"))
		if n, _ := store.Remember(tx, v, length); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		for i := range 10_000 { // more than are remembered
			if n, err := store.Remember(tx, fmt.Appendf(nil, "%d", i), length); err != nil || n != len(fmt.Sprint(i)) {
				t.Errorf("%d: %d, %v", i, n, err)
			}
		}
		return nil
	})
}
