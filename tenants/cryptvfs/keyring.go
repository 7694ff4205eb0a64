package cryptvfs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// sealedPerEpoch bounds the units sealed under one subkey. NIST SP
	// 800-38D §8.3 allows 2^32 with random 96-bit nonces; half of it leaves
	// room for two registrations that drew the same 32-bit epoch.
	sealedPerEpoch = 1 << 31
	// maxSubkeys bounds the subkeys kept in memory for one file, about 1 KB each.
	maxSubkeys = 512
	subkeySize = 32 // AES-256

	infoPage = "coffer/cryptvfs/v1/page"
	infoMask = "coffer/cryptvfs/v1/wal-header"
)

var errClosed = errors.New("the keys of this database are closed")

// keyring derives and keeps the subkeys of one database file.
type keyring struct {
	fileID [16]byte
	limit  uint64 // units per epoch

	mu      sync.RWMutex
	keys    Keys // nil once closed
	subkeys map[uint32]cipher.AEAD
	mask    cipher.Block

	current atomic.Pointer[epochKey]
}

// epochKey is the subkey that this registration seals under.
type epochKey struct {
	epoch  uint32
	key    cipher.AEAD
	sealed atomic.Uint64
}

func newKeyring(fileID [16]byte, keys Keys) (*keyring, error) {
	k := &keyring{fileID: fileID, keys: keys, subkeys: map[uint32]cipher.AEAD{}, limit: sealedPerEpoch}
	raw, err := k.derive(infoMask, nil)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	if k.mask, err = aes.NewCipher(raw); err != nil {
		return nil, fmt.Errorf("making the WAL header cipher: %w", err)
	}
	if _, err := k.rotate(nil); err != nil {
		return nil, err
	}
	return k, nil
}

// derive asks the keys for the 32 bytes of a purpose. The purpose, the file
// and the epoch have fixed lengths, so that no two inputs run together.
func (k *keyring) derive(purpose string, epoch []byte) ([]byte, error) {
	if k.keys == nil {
		return nil, errClosed
	}
	info := make([]byte, 0, 64)
	info = append(info, purpose...)
	info = append(info, 0)
	info = append(info, k.fileID[:]...)
	info = append(info, epoch...)
	raw, err := k.keys.Derive(info, subkeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving a page key: %w", err)
	}
	if len(raw) != subkeySize {
		clear(raw)
		return nil, fmt.Errorf("deriving a page key: got %d bytes, want %d", len(raw), subkeySize)
	}
	return raw, nil
}

func newAEAD(raw []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("making a page cipher: %w", err)
	}
	key, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("making a page cipher: %w", err)
	}
	wipeCipher(block)
	return key, nil
}

// opening implements subkeys.
func (k *keyring) opening(epoch uint32) (cipher.AEAD, error) {
	k.mu.RLock()
	key := k.subkeys[epoch]
	k.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.add(epoch)
}

// add derives the subkey of an epoch; k.mu is held.
func (k *keyring) add(epoch uint32) (cipher.AEAD, error) {
	if key := k.subkeys[epoch]; key != nil {
		return key, nil
	}
	raw, err := k.derive(infoPage, binary.BigEndian.AppendUint32(nil, epoch))
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	key, err := newAEAD(raw)
	if err != nil {
		return nil, err
	}
	if len(k.subkeys) >= maxSubkeys {
		// Random replacement, through the map's order: a scan over more
		// epochs than fit would empty a least-recently-used list entirely.
		// The evicted key is not wiped: another handle may be using it.
		for e := range k.subkeys {
			if c := k.current.Load(); c == nil || e != c.epoch {
				delete(k.subkeys, e)
				break
			}
		}
	}
	k.subkeys[epoch] = key
	return key, nil
}

// sealing implements subkeys.
func (k *keyring) sealing() (uint32, cipher.AEAD, error) {
	c := k.current.Load()
	for c.sealed.Add(1) > k.limit {
		next, err := k.rotate(c)
		if err != nil {
			return 0, nil, err
		}
		c = next
	}
	return c.epoch, c.key, nil
}

// rotate replaces the sealing key old by one of a fresh random epoch, unless
// another handle did so already.
func (k *keyring) rotate(old *epochKey) (*epochKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.current.Load(); c != old {
		return c, nil
	}
	var b [4]byte
	_, _ = rand.Read(b[:])
	c := &epochKey{epoch: binary.BigEndian.Uint32(b[:])}
	if old != nil && c.epoch == old.epoch {
		c.epoch++
	}
	key, err := k.add(c.epoch)
	if err != nil {
		return nil, err
	}
	c.key = key
	k.current.Store(c)
	return c, nil
}

// close forgets the keys and overwrites what of them is in our memory. No
// handle may be using them; the registration's gate sees to that.
func (k *keyring) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.subkeys {
		wipeCipher(key)
	}
	wipeCipher(k.mask)
	k.keys = nil
	clear(k.subkeys)
}

// onceKey is the key of one temporary file. It lives as long as the file and
// is never written anywhere.
type onceKey struct{ key cipher.AEAD }

func newOnceKey() (*onceKey, error) {
	raw := make([]byte, subkeySize)
	_, _ = rand.Read(raw)
	defer clear(raw)
	key, err := newAEAD(raw)
	if err != nil {
		return nil, err
	}
	return &onceKey{key}, nil
}

func (o *onceKey) sealing() (uint32, cipher.AEAD, error)     { return 0, o.key, nil }
func (o *onceKey) opening(epoch uint32) (cipher.AEAD, error) { return o.key, nil }

var (
	_ subkeys = (*keyring)(nil)
	_ subkeys = (*onceKey)(nil)
)

// ForFile reports whether info is one by which the keys of that file are derived,
// for whoever derives them on behalf of another process.
func ForFile(fileID [16]byte, info []byte) bool {
	file := string(fileID[:])
	const epoch = 4
	if rest, ok := strings.CutPrefix(string(info), infoPage+"\x00"+file); ok {
		return len(rest) == epoch
	}
	return string(info) == infoMask+"\x00"+file
}
