package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// bucketRotations holds the last rotation of each kind of key, for the whole
// appliance and for each tenant. The key is the kind, a zero byte and the tenant,
// empty for the appliance or all tenants. See app/FORMAT.md.
const bucketRotations = "rotations"

// Kind of key that can be rotated.
const (
	rotateRoot    = "root"
	rotateTable   = "table"
	rotateControl = "control"
	rotateKEK     = "kek"
	rotateSecrets = "secrets"
)

// States of a rotation.
const (
	rotationRunning = "running"
	rotationWaiting = "waiting" // the tenant is closed under its client's key
	rotationFailed  = "failed"
	rotationDone    = "done"
)

// rotationRecord is a rotation as it stands.
type rotationRecord struct {
	Version int             `json:"version"` // recordVersion
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Tenant  domain.TenantID `json:"tenant,omitempty"` // "" for the appliance, or all tenants
	By      string          `json:"by"`               // principal
	State   string          `json:"state"`
	Step    string          `json:"step"`          // what is done now, for people
	Why     string          `json:"why,omitempty"` // it waits or failed, or what was left out
	Started time.Time       `json:"started"`
	Changed time.Time       `json:"changed"`
	Total   int             `json:"total"`           // rows, or tenants
	Done    int             `json:"done"`            // of them
	Rows    int             `json:"rows"`            // sealed anew so far
	After   domain.TenantID `json:"after,omitempty"` // of all tenants: they are done up to this one
	Skipped int             `json:"skipped,omitempty"`
}

func rotationKey(kind string, tenant domain.TenantID) []byte {
	return append(append([]byte(kind), 0), tenant...)
}

func (r *rotationRecord) save(tx *store.Tx, now time.Time) error {
	r.Changed = now.UTC()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Put(bucketRotations, rotationKey(r.Kind, r.Tenant), b)
}

// open says whether somebody still has to do something.
func (r rotationRecord) open() bool { return r.State != rotationDone }

func decodeRotation(b []byte) (r rotationRecord, err error) {
	return r, store.DecodeRecord(recordVersion, "a rotation in the control store", b, &r)
}

func findRotation(tx *store.Tx, kind string, tenant domain.TenantID) (r rotationRecord, found bool, err error) {
	b, err := tx.Get(bucketRotations, rotationKey(kind, tenant))
	if errors.Is(err, store.ErrNotFound) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	r, err = decodeRotation(b)
	return r, true, err
}

// eachRotation gives the rotations, those of the appliance before its tenants'.
func eachRotation(tx *store.Tx, fn func(rotationRecord) error) error {
	return tx.Scan(bucketRotations, nil, nil, func(key, b []byte) error {
		r, err := decodeRotation(b)
		if err != nil {
			return err
		}
		if !bytes.Equal(key, rotationKey(r.Kind, r.Tenant)) {
			return store.MalformedRecord("a rotation in the control store", errors.New("it stands under another key"))
		}
		return fn(r)
	})
}

// forgetRotations removes a tenant's rotations with the tenant.
func forgetRotations(tx *store.Tx, tenant domain.TenantID) error {
	for _, k := range rotationKinds {
		if err := tx.Delete(bucketRotations, rotationKey(k.Kind, tenant)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
