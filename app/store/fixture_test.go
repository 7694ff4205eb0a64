package store_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"coffer/app/store"
)

// gcm is AES-256-GCM with a random nonce before the ciphertext, as in Tink.
type gcm struct{ aead cipher.AEAD }

func testAEAD(tb testing.TB, seed byte) store.AEAD {
	tb.Helper()
	key := make([]byte, 32)
	for i := range key {
		key[i] = seed + byte(i)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		tb.Fatal(err)
	}
	return gcm{aead}
}

func (g gcm) Encrypt(plaintext, ad []byte) ([]byte, error) {
	nonce := make([]byte, g.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return g.aead.Seal(nonce, nonce, plaintext, ad), nil
}

func (g gcm) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	n := g.aead.NonceSize()
	if len(ciphertext) < n {
		return nil, errors.New("short ciphertext")
	}
	return g.aead.Open(nil, ciphertext[:n], ciphertext[n:], ad)
}

func newPath(tb testing.TB) string { return filepath.Join(tb.TempDir(), "control.db") }

// mustCreate makes a store that is checked and closed when the test ends.
func mustCreate(tb testing.TB, path string) *store.Store {
	tb.Helper()
	s, err := store.Create(path, testAEAD(tb, 1))
	if err != nil {
		tb.Fatal(err)
	}
	closeChecked(tb, s)
	return s
}

func mustOpen(tb testing.TB, path string) *store.Store {
	tb.Helper()
	s, err := store.Open(path, testAEAD(tb, 1))
	if err != nil {
		tb.Fatal(err)
	}
	closeChecked(tb, s)
	return s
}

// closeChecked closes at the end of the test, after a Check if the store is
// still open and well.
func closeChecked(tb testing.TB, s *store.Store) {
	tb.Cleanup(func() {
		if _, err := s.Watch(tb.Context(), 0); err == nil {
			if err := s.Check(context.Background()); err != nil {
				tb.Errorf("check at the end: %v: %v", err, errors.Unwrap(err))
			}
		}
		s.Close()
	})
}

func mustClose(tb testing.TB, s *store.Store) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

func mustPut(tb testing.TB, s *store.Store, bucket, key, value string) store.Revision {
	tb.Helper()
	rev, err := s.Update(tb.Context(), func(tx *store.Tx) error {
		return tx.Put(bucket, []byte(key), []byte(value))
	})
	if err != nil {
		tb.Fatal(err)
	}
	return rev
}

func get(tb testing.TB, s *store.Store, bucket, key string) (string, error) {
	tb.Helper()
	var out []byte
	err := s.View(tb.Context(), func(tx *store.Tx) (err error) {
		out, err = tx.Get(bucket, []byte(key))
		return err
	})
	return string(out), err
}

// contents reads whole buckets into "bucket/key" → value, by Scan and each
// entry again by Get.
func contents(s *store.Store, buckets ...string) (map[string]string, error) {
	all := map[string]string{}
	err := s.View(context.Background(), func(tx *store.Tx) error {
		for _, bucket := range buckets {
			err := tx.Scan(bucket, nil, nil, func(key, value []byte) error {
				again, err := tx.Get(bucket, key)
				if err != nil {
					return err
				}
				if string(again) != string(value) {
					return fmt.Errorf("scan and get disagree")
				}
				all[bucket+"/"+string(key)] = string(value)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// fill puts n entries into bucket, some long enough for overflow pages.
func fill(tb testing.TB, s *store.Store, bucket string, n int) map[string]string {
	tb.Helper()
	all := map[string]string{}
	_, err := s.Update(tb.Context(), func(tx *store.Tx) error {
		for i := range n {
			key, value := fmt.Sprintf("key-%06d", i), fmt.Sprintf("value %d of %s", i, bucket)
			if i%97 == 5 {
				value += string(make([]byte, 9000))
			}
			if err := tx.Put(bucket, []byte(key), []byte(value)); err != nil {
				return err
			}
			all[bucket+"/"+key] = value
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func merged(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func writeFile(tb testing.TB, path string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}
