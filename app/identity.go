package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"

	"coffer/app/store"
	"coffer/audit"
)

// identity is who this appliance is, made once and kept in the control store.
// FORMAT.md describes the record.
type identity struct {
	Version       int    `json:"version"`
	Instance      []byte `json:"instance"`       // 16 random bytes, in every record of every log
	LogTag        []byte `json:"log_tag"`        // of the appliance's own log
	RetentionDays uint32 `json:"retention_days"` // of that log
	Logged        bool   `json:"logged"`         // the journal was begun: from then on it must be there
}

const (
	bucketAppliance = "appliance"
	keyIdentity     = "identity"
	identityVersion = 1

	// systemRetention is how long the appliance's own log is kept, in days.
	systemRetention = 3653
)

// log is how the appliance's own log is known; its slot is 0.
func (id identity) log() audit.Ref {
	return audit.Ref{Tag: audit.Tag(id.LogTag), Policy: audit.Policy{RetentionDays: id.RetentionDays}}
}

// findIdentity reads the identity, or makes it in a new store.
func findIdentity(ctx context.Context, db *store.Store) (id identity, err error) {
	err = db.View(ctx, func(tx *store.Tx) error {
		b, err := tx.Get(bucketAppliance, []byte(keyIdentity))
		if err != nil {
			return err
		}
		return decodeIdentity(b, &id)
	})
	if !errors.Is(err, store.ErrNotFound) {
		return id, err
	}
	id = identity{Version: identityVersion, Instance: make([]byte, 16), LogTag: make([]byte, 16), RetentionDays: systemRetention}
	_, _ = rand.Read(id.Instance) // never fails: it would end the process first
	_, _ = rand.Read(id.LogTag)
	return id, id.save(ctx, db)
}

func decodeIdentity(b []byte, id *identity) error {
	const what = "the appliance's identity"
	if err := store.DecodeRecord(identityVersion, what, b, id); err != nil {
		return err
	}
	if len(id.Instance) != 16 || len(id.LogTag) != 16 {
		return store.MalformedRecord(what, errors.New("a number of another length than 16 bytes"))
	}
	return nil
}

func (id identity) save(ctx context.Context, db *store.Store) error {
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	_, err = db.Update(ctx, func(tx *store.Tx) error {
		return tx.Put(bucketAppliance, []byte(keyIdentity), b)
	})
	return err
}
