package tenants

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"coffer/app/domain"
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
}

func encodeRecord(r Record) ([]byte, error) {
	return json.Marshal(record{
		Version: recordVersion, ID: r.ID, Name: r.Name, State: r.State, Created: r.Created, CreatedBy: r.CreatedBy,
		UID: r.UID[:], LogTag: r.Log.Tag[:], LogSlot: r.Log.Slot, RetentionDays: r.Log.Policy.RetentionDays, Changed: r.Changed,
	})
}

// decodeRecord reads a record. Exactly one byte sequence is valid for each:
// unknown, missing, repeated or differently spelt members and anything after
// the end are refused.
func decodeRecord(b []byte) (Record, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &v); err == nil && v.Version != recordVersion {
		return Record{}, domain.Errorf(domain.Unavailable, "a tenant's record is of version %d, which this Coffer does not know", v.Version).
			WithHint("start the version of Coffer that wrote it, or a newer one; see: coffer version")
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	if err == nil {
		err = r.check(b)
	}
	if err != nil {
		return Record{}, domain.Errorf(domain.Tampered, "a tenant's record is malformed: %w", err).
			WithHint("run: coffer doctor; then restore a backup")
	}
	return Record{
		ID: r.ID, Name: r.Name, State: r.State, Created: r.Created, CreatedBy: r.CreatedBy, UID: [16]byte(r.UID), Changed: r.Changed,
		Log: audit.Ref{Tag: audit.Tag(r.LogTag), Slot: r.LogSlot, Policy: audit.Policy{RetentionDays: r.RetentionDays}},
	}, nil
}

func (r record) check(b []byte) error {
	again, err := json.Marshal(r)
	switch _, known := transitions[r.State]; {
	case err != nil:
		return err
	case !bytes.Equal(again, b):
		return errors.New("not in the one form that is written")
	case len(r.UID) != len(Record{}.UID) || len(r.LogTag) != len(audit.Tag{}):
		return errors.New("a number of another length than 16 bytes")
	case !known && r.State != Destroyed:
		return errors.New("an unknown state")
	}
	return nil
}
