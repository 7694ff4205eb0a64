// Package storetest gives tests a real control store.
package storetest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"coffer/app/store"
)

// New makes a control store in dir under a random key. When the test ends it is
// checked and closed.
func New(tb testing.TB, dir string) *store.Store {
	tb.Helper()
	db, err := store.Create(filepath.Join(dir, "control.db"), newAEAD(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(db.Check(context.Background()), db.Close()); err != nil {
			tb.Errorf("closing the control store: %v", err)
		}
	})
	return db
}

// MemoryDir is a temporary directory in memory where the system has one: for
// tests with many changes in which no sync needs to be real.
func MemoryDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "coffer-test")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Change runs fn in a transaction, which its error undoes.
func Change[T any](tb testing.TB, db *store.Store, fn func(*store.Tx) (T, error)) (out T, err error) {
	tb.Helper()
	_, err = db.Update(context.Background(), func(tx *store.Tx) (err error) {
		out, err = fn(tx)
		return err
	})
	return out, err
}

// gcm is AES-256-GCM with the nonce before the ciphertext.
type gcm struct{ cipher.AEAD }

func newAEAD(tb testing.TB) gcm {
	tb.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		tb.Fatal(err)
	}
	return gcm{aead}
}

func (g gcm) Encrypt(plaintext, associated []byte) ([]byte, error) {
	return g.Seal(nil, nil, plaintext, associated), nil
}

func (g gcm) Decrypt(sealed, associated []byte) ([]byte, error) {
	return g.Open(nil, nil, sealed, associated)
}
