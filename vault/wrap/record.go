package wrap

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

const (
	bucketWraps     = "wraps"          // SHA-256 of the token → record
	bucketContents  = "wrap-contents"  // SHA-256 of the token → the sealed answer
	bucketAccessors = "wrap-accessors" // tenant NUL accessor → SHA-256 of the token
	bucketExpiries  = "wrap-expiries"  // when it ends, 8 bytes ‖ SHA-256 of the token → nothing
	bucketCounts    = "wrap-counts"    // tenant → how many records, 8 bytes ‖ bytes of their answers, 8 bytes
)

const recordVersion = 1

type record struct {
	Version int `json:"version"`
	Token
}

func put(tx *store.Tx, hash []byte, t Token) error {
	b, err := json.Marshal(record{recordVersion, t})
	if err != nil {
		return err
	}
	return tx.Put(bucketWraps, hash, b)
}

func decode(b []byte) (Token, error) {
	var r record
	err := store.DecodeRecord(recordVersion, "a wrapping token", b, &r)
	return r.Token, err
}

// read gives a token's record, whether it holds or not.
func read(tx *store.Tx, hash []byte) (Token, error) {
	b, err := tx.Get(bucketWraps, hash)
	if errors.Is(err, store.ErrNotFound) {
		return Token{}, ErrUnknown
	}
	if err != nil {
		return Token{}, err
	}
	return decode(b)
}

func within(tenant domain.TenantID, accessor string) []byte {
	return []byte(string(tenant) + "\x00" + accessor)
}

func expiryKey(t Token, hash []byte) []byte { return append(timeKey(t.Expires), hash...) }

func timeKey(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(at.UnixNano(), 0)))
}

// usage is how many records a tenant has, and how many bytes their answers.
func usage(tx *store.Tx, tenant domain.TenantID) (n, size int, err error) {
	b, err := tx.Get(bucketCounts, []byte(tenant))
	if errors.Is(err, store.ErrNotFound) {
		return 0, 0, nil
	}
	if err == nil && len(b) != 16 {
		err = store.MalformedRecord("the number of wrapping tokens", errors.New("not of 16 bytes"))
	}
	if err != nil {
		return 0, 0, err
	}
	return int(binary.BigEndian.Uint64(b)), int(binary.BigEndian.Uint64(b[8:])), nil
}

func setUsage(tx *store.Tx, tenant domain.TenantID, n, size int) error {
	if n <= 0 {
		return tx.Delete(bucketCounts, []byte(tenant))
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	return tx.Put(bucketCounts, []byte(tenant), binary.BigEndian.AppendUint64(b, uint64(max(size, 0))))
}

// admit counts another token, if there is room for it.
func admit(tx *store.Tx, t Token) error {
	n, size, err := usage(tx, t.Tenant)
	if err != nil {
		return err
	}
	if n >= MaxTokens || size+t.Size > maxBytes {
		return domain.Errorf(domain.Limit, "%s has %d wrapped answers of %d bytes, and more are not kept", t.Tenant, n, size).
			WithHint("unwrap them, or give them a shorter time to live")
	}
	return setUsage(tx, t.Tenant, n+1, size+t.Size)
}

// empty removes what a token holds, and leaves its record.
func (t Token) empty(tx *store.Tx, hash []byte) error {
	n, size, err := usage(tx, t.Tenant)
	if err != nil {
		return err
	}
	return errors.Join(tx.Delete(bucketContents, hash), setUsage(tx, t.Tenant, n, size-t.Size))
}

// remove removes a token and what it holds.
func remove(tx *store.Tx, hash []byte) error {
	t, err := read(tx, hash)
	if err != nil {
		return err
	}
	n, size, err := usage(tx, t.Tenant)
	if err != nil {
		return err
	}
	if t.Used.IsZero() && !t.Revoked {
		size -= t.Size
	}
	return errors.Join(tx.Delete(bucketWraps, hash), tx.Delete(bucketContents, hash), tx.Delete(bucketAccessors, within(t.Tenant, t.Accessor)),
		tx.Delete(bucketExpiries, expiryKey(t, hash)), setUsage(tx, t.Tenant, n-1, size))
}

// Sweep removes at most limit tokens that ended before a time, used or not.
func Sweep(tx *store.Tx, before time.Time, limit int) (int, error) {
	doomed, err := ended(tx, before, limit)
	for i, hash := range doomed {
		if err := remove(tx, hash); err != nil {
			return i, err
		}
	}
	return len(doomed), err
}

// AnyExpired says whether Sweep has something to do.
func AnyExpired(tx *store.Tx, before time.Time) (bool, error) {
	doomed, err := ended(tx, before, 1)
	return len(doomed) > 0, err
}

func ended(tx *store.Tx, before time.Time, limit int) (hashes [][]byte, err error) {
	bound := string(timeKey(before))
	err = tx.Keys(bucketExpiries, nil, nil, func(key []byte) error {
		if len(hashes) >= limit || len(key) <= 8 || string(key[:8]) >= bound {
			return store.ErrStop
		}
		hashes = append(hashes, key[8:])
		return nil
	})
	return hashes, err
}

// RemoveTenant removes all that a tenant wrapped.
func RemoveTenant(tx *store.Tx, tenant domain.TenantID) error {
	var hashes [][]byte
	if err := tx.Scan(bucketAccessors, within(tenant, ""), nil, func(_, hash []byte) error {
		hashes = append(hashes, hash)
		return nil
	}); err != nil {
		return err
	}
	for _, hash := range hashes {
		if err := remove(tx, hash); err != nil {
			return err
		}
	}
	return nil
}
