package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"coffer/app/store"
)

func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := mustCreate(b, newPath(b))
			value := make([]byte, 200)
			first := s.Revision()
			var next atomic.Int64
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						_, err := s.Update(b.Context(), func(tx *store.Tx) error {
							return tx.Put("b", fmt.Appendf(nil, "%08d", i%5000), value)
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/float64(s.Revision()-first), "updates/commit")
		})
	}
}

// large makes a store with n entries of 200 bytes.
func large(b *testing.B, path string, n int) *store.Store {
	b.Helper()
	s := mustCreate(b, path)
	value := make([]byte, 200)
	for i := 0; i < n; i += 5000 {
		_, err := s.Update(b.Context(), func(tx *store.Tx) error {
			for k := i; k < min(i+5000, n); k++ {
				if err := tx.Put("b", fmt.Appendf(nil, "key-%08d", k), value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkGet(b *testing.B) {
	s := large(b, newPath(b), 100_000)
	i := 0
	b.ResetTimer()
	for b.Loop() {
		i = (i + 7919) % 100_000
		err := s.View(b.Context(), func(tx *store.Tx) error {
			_, err := tx.Get("b", fmt.Appendf(nil, "key-%08d", i))
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen100k(b *testing.B) {
	path := newPath(b)
	mustClose(b, large(b, path, 100_000))
	b.ResetTimer()
	for b.Loop() {
		mustClose(b, mustOpenBare(b, path))
	}
}

func BenchmarkCheck100k(b *testing.B) {
	s := large(b, newPath(b), 100_000)
	b.ResetTimer()
	for b.Loop() {
		if err := s.Check(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCount100k(b *testing.B) {
	s := large(b, newPath(b), 100_000)
	b.ResetTimer()
	for b.Loop() {
		err := s.View(b.Context(), func(tx *store.Tx) error {
			_, err := tx.Count("b", nil)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRekey100k(b *testing.B) {
	s := large(b, newPath(b), 100_000)
	b.ResetTimer()
	for b.Loop() {
		if err := s.Rekey(b.Context(), testAEAD(b, 1)); err != nil {
			b.Fatal(err)
		}
	}
}

func mustOpenBare(b *testing.B, path string) *store.Store {
	b.Helper()
	s, err := store.Open(path, testAEAD(b, 1))
	if err != nil {
		b.Fatal(err)
	}
	return s
}
