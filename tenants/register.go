package tenants

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
)

// State is where a tenant is in its life.
type State string

// The states. A tenant id is never given out again, so the record of a destroyed
// tenant stays.
const (
	Active     State = "active"
	Suspended  State = "suspended"
	Destroying State = "destroying" // decided and durable; finished at the next start if a crash intervenes
	Destroyed  State = "destroyed"
)

// Record is what the appliance knows of a tenant.
type Record struct {
	ID        domain.TenantID
	Name      string
	State     State
	Created   time.Time
	CreatedBy string   // principal
	UID       [16]byte // of its keys and its file
	Log       audit.Ref
	Changed   time.Time // of the state
	Quota     Quota
	Isolation Isolation // of its file
}

const (
	bucketTenants = "tenants"      // tenant id → Record
	bucketSlots   = "tenant-slots" // "next" → u32, big-endian: the next free slot of the log
)

// ErrUnknown is the answer about a tenant that never was, for those who may know.
var ErrUnknown = domain.Errorf(domain.NotFound, "there is no such tenant").WithHint("see: coffer tenant list")

// Find reads a tenant's record.
func Find(tx *store.Tx, id domain.TenantID) (Record, error) {
	b, err := tx.Get(bucketTenants, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		return Record{}, ErrUnknown
	}
	if err != nil {
		return Record{}, err
	}
	return store.Remember(tx, b, decodeRecord)
}

// List reads the tenants' records by id, from the one after `after` on.
func List(tx *store.Tx, after domain.TenantID, limit int) ([]Record, error) {
	var out []Record
	err := tx.Scan(bucketTenants, nil, []byte(after), func(_, value []byte) error {
		r, err := decodeRecord(value)
		if err == nil {
			out = append(out, r)
		}
		if err == nil && len(out) >= limit {
			return store.ErrStop
		}
		return err
	})
	return out, err
}

// Page reads the records of those tenants whose id keep picks, by id, from the
// one after `after` on, at most limit of them. The other records are not opened.
func Page(tx *store.Tx, after domain.TenantID, limit int, keep func(domain.TenantID) (bool, error)) ([]Record, error) {
	var out []Record
	err := tx.Keys(bucketTenants, nil, []byte(after), func(key []byte) error {
		kept, err := keep(domain.TenantID(key))
		if err != nil || !kept {
			return err
		}
		r, err := Find(tx, domain.TenantID(key))
		if err != nil {
			return err
		}
		if out = append(out, r); len(out) >= limit {
			return store.ErrStop
		}
		return nil
	})
	return out, err
}

// Unfinished reads the records of tenants that are being destroyed.
func Unfinished(tx *store.Tx) (out []Record, err error) {
	err = tx.Scan(bucketTenants, nil, nil, func(_, value []byte) error {
		if !bytes.Contains(value, []byte(`"state":"`+string(Destroying)+`"`)) { // nearly all: they need not be decoded
			return nil
		}
		r, err := decodeRecord(value)
		if err == nil && r.State == Destroying { // a name can hold those words too
			out = append(out, r)
		}
		return err
	})
	return out, err
}

// Add records a new tenant and gives its log the next slot. Ids that were ever
// used are refused.
func Add(tx *store.Tx, r Record) (Record, error) {
	old, err := Find(tx, r.ID)
	switch {
	case err == nil && old.State == Destroyed:
		return Record{}, domain.Errorf(domain.Conflict, "the id %q belonged to a tenant that was destroyed and is never given out again", r.ID).
			WithHint("choose another id")
	case err == nil:
		return Record{}, domain.Errorf(domain.Conflict, "there is a tenant %q already", r.ID).
			WithHint("see: coffer tenant show -t %s", r.ID)
	case !errors.Is(err, ErrUnknown):
		return Record{}, err
	}
	if r.Log.Slot, err = nextSlot(tx); err != nil {
		return Record{}, err
	}
	r.State, r.Changed = Active, r.Created
	return r, save(tx, r)
}

// nextSlot gives out the slots of the log in order; 0 is the appliance's own.
func nextSlot(tx *store.Tx) (uint32, error) {
	slot := uint32(1)
	b, err := tx.Get(bucketSlots, []byte("next"))
	switch {
	case err == nil && len(b) == 4:
		slot = binary.BigEndian.Uint32(b)
	case err == nil:
		return 0, domain.Errorf(domain.Tampered, "the next slot has %d bytes", len(b))
	case !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	return slot, tx.Put(bucketSlots, []byte("next"), binary.BigEndian.AppendUint32(nil, slot+1))
}

// transitions are the changes of state that can be.
var transitions = map[State][]State{
	Active:     {Suspended, Destroying},
	Suspended:  {Active, Destroying},
	Destroying: {Destroyed},
}

// SetState moves a tenant to another state.
func SetState(tx *store.Tx, id domain.TenantID, to State, now time.Time) (Record, error) {
	r, err := Find(tx, id)
	if err != nil {
		return Record{}, err
	}
	if !slices.Contains(transitions[r.State], to) {
		return Record{}, domain.Errorf(domain.Conflict, "%s is %s", id, r.State).
			WithHint("see: coffer tenant show -t %s", id)
	}
	r.State, r.Changed = to, now.UTC()
	return r, save(tx, r)
}

// SetIsolation says where a tenant's file is to live, from its next opening on.
func SetIsolation(tx *store.Tx, id domain.TenantID, to Isolation) (Record, error) {
	r, err := Find(tx, id)
	if err != nil {
		return Record{}, err
	}
	r.Isolation = to
	return r, save(tx, r)
}

func save(tx *store.Tx, r Record) error {
	b, err := encodeRecord(r)
	if err != nil {
		return err
	}
	return tx.Put(bucketTenants, []byte(r.ID), b)
}
