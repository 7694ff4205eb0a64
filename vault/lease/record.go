package lease

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

const (
	bucketLeases = "leases"       // tenant NUL id → record
	bucketDue    = "lease-due"    // when it is looked at, 8 bytes ‖ tenant NUL id → nothing
	bucketOwners = "lease-owners" // tenant NUL owner NUL id → nothing
	bucketCounts = "lease-counts" // tenant → how many, 8 bytes
)

const recordVersion = 1

type record struct {
	Version int `json:"version"`
	Lease
}

func encode(l Lease) ([]byte, error) { return json.Marshal(record{recordVersion, l}) }

func decode(b []byte) (Lease, error) {
	var r record
	err := store.DecodeRecord(recordVersion, "a lease", b, &r)
	return r.Lease, err
}

func read(tx *store.Tx, tenant domain.TenantID, id string) (Lease, error) {
	if id == "" || len(id) > maxID+32 {
		return Lease{}, ErrUnknown
	}
	b, err := tx.Get(bucketLeases, key(tenant, id))
	if errors.Is(err, store.ErrNotFound) {
		return Lease{}, ErrUnknown
	}
	if err != nil {
		return Lease{}, err
	}
	return decode(b)
}

// put writes a lease and when it is due.
func put(tx *store.Tx, l Lease) error {
	b, err := encode(l)
	if err != nil {
		return err
	}
	return errors.Join(tx.Put(bucketLeases, key(l.Tenant, l.ID), b), tx.Put(bucketDue, dueKey(l), nil))
}

// move puts a lease in the place of what it was.
func move(tx *store.Tx, was, is Lease) error {
	return errors.Join(tx.Delete(bucketDue, dueKey(was)), put(tx, is))
}

// remove forgets a lease: what it was for is not there any more.
func remove(tx *store.Tx, tenant domain.TenantID, id string) error {
	l, err := read(tx, tenant, id)
	if errors.Is(err, ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := count(tx, tenant)
	if err == nil && l.Owner != "" {
		err = tx.Delete(bucketOwners, ownerKey(tenant, l.Owner, id))
	}
	return errors.Join(err, tx.Delete(bucketLeases, key(tenant, id)), tx.Delete(bucketDue, dueKey(l)), setCount(tx, tenant, n-1))
}

func key(tenant domain.TenantID, id string) []byte { return []byte(string(tenant) + "\x00" + id) }

func ownerKey(tenant domain.TenantID, owner, id string) []byte { return key(tenant, owner+"\x00"+id) }

func dueKey(l Lease) []byte { return append(timeKey(l.Due), key(l.Tenant, l.ID)...) }

func timeKey(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(at.UnixNano(), 0)))
}

// splitKey gives the tenant and what follows.
func splitKey(k []byte) (domain.TenantID, string) {
	for i, c := range k {
		if c == 0 {
			return domain.TenantID(k[:i]), string(k[i+1:])
		}
	}
	return domain.TenantID(k), ""
}

func count(tx *store.Tx, tenant domain.TenantID) (int, error) {
	b, err := tx.Get(bucketCounts, []byte(tenant))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err == nil && len(b) != 8 {
		err = store.MalformedRecord("the number of leases", errors.New("not of 8 bytes"))
	}
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint64(b)), nil
}

func setCount(tx *store.Tx, tenant domain.TenantID, n int) error {
	if n <= 0 {
		return tx.Delete(bucketCounts, []byte(tenant))
	}
	return tx.Put(bucketCounts, []byte(tenant), binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// due gives at most limit leases that are to be looked at, the first due first.
func due(tx *store.Tx, now time.Time, limit int) (out []Lease, err error) {
	bound := string(timeKey(now))
	err = tx.Keys(bucketDue, nil, nil, func(k []byte) error {
		if len(out) >= limit || len(k) <= 8 || string(k[:8]) > bound {
			return store.ErrStop
		}
		tenant, id := splitKey(k[8:])
		l, err := read(tx, tenant, id)
		if err != nil {
			return err
		}
		out = append(out, l)
		return nil
	})
	return out, err
}
