package tenants

import (
	"encoding/json"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
)

// recordVersion is the version of a tenant's record. See FORMAT.md.
const recordVersion = 1

// record is a Record as it is stored.
type record struct {
	Version       int             `json:"version"`
	ID            domain.TenantID `json:"id"`
	Name          string          `json:"name"`
	State         State           `json:"state"`
	Created       time.Time       `json:"created"`
	CreatedBy     string          `json:"created_by"`
	UID           []byte          `json:"uid"`
	LogTag        []byte          `json:"log_tag"`
	LogSlot       uint32          `json:"log_slot"`
	RetentionDays uint32          `json:"retention_days"`
	Changed       time.Time       `json:"changed"`
	SecretBytes   int64           `json:"secret_bytes,omitempty"`
	FileBytes     int64           `json:"file_bytes,omitempty"`
	Isolation     Isolation       `json:"isolation,omitempty"`
}

func encodeRecord(r Record) ([]byte, error) {
	return json.Marshal(record{
		Version: recordVersion, ID: r.ID, Name: r.Name, State: r.State, Created: r.Created, CreatedBy: r.CreatedBy,
		UID: r.UID[:], LogTag: r.Log.Tag[:], LogSlot: r.Log.Slot, RetentionDays: r.Log.Policy.RetentionDays, Changed: r.Changed,
		SecretBytes: r.Quota.Secrets, FileBytes: r.Quota.File, Isolation: r.Isolation,
	})
}

// decodeRecord reads a record strictly.
func decodeRecord(b []byte) (Record, error) {
	const what = "a tenant's record"
	var r record
	if err := store.DecodeRecord(recordVersion, what, b, &r); err != nil {
		return Record{}, err
	}
	if err := r.check(); err != nil {
		return Record{}, store.MalformedRecord(what, err)
	}
	return Record{
		ID: r.ID, Name: r.Name, State: r.State, Created: r.Created, CreatedBy: r.CreatedBy, UID: [16]byte(r.UID), Changed: r.Changed,
		Log:   audit.Ref{Tag: audit.Tag(r.LogTag), Slot: r.LogSlot, Policy: audit.Policy{RetentionDays: r.RetentionDays}},
		Quota: Quota{Secrets: r.SecretBytes, File: r.FileBytes}, Isolation: r.Isolation,
	}, nil
}

func (r record) check() error {
	switch _, known := transitions[r.State]; {
	case len(r.UID) != len(Record{}.UID) || len(r.LogTag) != len(audit.Tag{}):
		return errors.New("a number of another length than 16 bytes")
	case !known && r.State != Destroyed:
		return errors.New("an unknown state")
	case r.Isolation != Shared && r.Isolation != Process:
		return errors.New("an unknown isolation")
	case r.SecretBytes < 0 || r.FileBytes < 0:
		return errors.New("a negative quota")
	}
	return nil
}
