package directory

import (
	"encoding/json"
	"errors"

	"coffer/app/domain"
	"coffer/app/store"
)

const (
	bucketPeople    = "people"     // person id → Person
	bucketUIDs      = "uids"       // decimal uid → person id
	bucketMembers   = "members"    // tenant NUL person id → Member
	bucketWorkloads = "workloads"  // tenant NUL workload id → Workload
	bucketRoleIDs   = "role-ids"   // workload id → tenant
	bucketSecretIDs = "secret-ids" // tenant NUL workload id NUL accessor → SecretID

	bucketAccounts     = "accounts"      // person id → Account
	bucketPasskeys     = "passkeys"      // person id NUL passkey id → Passkey
	bucketSessions     = "sessions"      // person id NUL accessor → Session
	bucketSessionTexts = "session-texts" // SHA-256 of the text → person id, a blank, accessor
	bucketLinks        = "links"         // tenant or nothing, NUL, link id → Link
	bucketLinkTexts    = "link-texts"    // SHA-256 of the text → tenant or nothing, a blank, link id
	bucketDevices      = "devices"       // person id NUL SHA-256 of the text in hexadecimal → Device
)

// recordVersion is the version of every record of this package. See FORMAT.md.
const recordVersion = 1

// envelope is how every record is stored.
type envelope[T any] struct {
	Version int `json:"version"`
	Record  T   `json:"record"`
}

func put[T any](tx *store.Tx, bucket string, key []byte, v T) error {
	b, err := json.Marshal(envelope[T]{recordVersion, v})
	if err != nil {
		return err
	}
	return tx.Put(bucket, key, b)
}

// load reads one record; a missing one is found == false.
func load[T any](tx *store.Tx, bucket string, key []byte) (v T, found bool, err error) {
	return read(tx, bucket, key, decode[T])
}

// recall is load for the records that nearly every request needs and that hold
// nothing secret: what they decode to stays in memory.
func recall[T any](tx *store.Tx, bucket string, key []byte) (v T, found bool, err error) {
	return read(tx, bucket, key, func(b []byte) (T, error) { return store.Remember(tx, b, decode[T]) })
}

func read[T any](tx *store.Tx, bucket string, key []byte, decode func([]byte) (T, error)) (v T, found bool, err error) {
	b, err := tx.Get(bucket, key)
	if errors.Is(err, store.ErrNotFound) {
		return v, false, nil
	}
	if err != nil {
		return v, false, err
	}
	v, err = decode(b)
	return v, err == nil, err
}

// decode reads a record strictly.
func decode[T any](b []byte) (T, error) {
	var e envelope[T]
	if err := store.DecodeRecord(recordVersion, "a record of the directory", b, &e); err != nil {
		var none T
		return none, err
	}
	return e.Record, nil
}

// scan reads every record under a prefix.
func scan[T any](tx *store.Tx, bucket string, prefix []byte) ([]T, error) {
	var out []T
	err := tx.Scan(bucket, prefix, nil, func(_, value []byte) error {
		v, err := decode[T](value)
		if err == nil {
			out = append(out, v)
		}
		return err
	})
	return out, err
}

// removeUnder deletes every record under a prefix.
func removeUnder(tx *store.Tx, bucket string, prefix []byte) error {
	var keys [][]byte
	if err := tx.Scan(bucket, prefix, nil, func(key, _ []byte) error {
		keys = append(keys, append([]byte(nil), key...))
		return nil
	}); err != nil {
		return err
	}
	for _, k := range keys {
		if err := tx.Delete(bucket, k); err != nil {
			return err
		}
	}
	return nil
}

// within joins the parts of a key. NUL cannot occur in any of them.
func within(tenant domain.TenantID, parts ...string) []byte {
	key := []byte(tenant)
	for _, p := range parts {
		key = append(append(key, 0), p...)
	}
	return key
}
