package actions

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
)

// bucketNotes holds, for each tenant whose log does not yet say how it began, the
// note that says so. It is put in the transaction that commits the creation, and
// removed when the note is durable. See app/FORMAT.md.
const bucketNotes = "tenant-notes"

// recordVersion is the version of the records of this package.
const recordVersion = 1

// noteAction is the action of the note in the tenant's log.
const noteAction domain.Action = "tenant.created"

// maxNoted bounds the grants in a note, in bytes of JSON; the rest of it is small.
const maxNoted = audit.MaxDetail - 2<<10

// creationNote is what the tenant's own log says of its beginning.
type creationNote struct {
	Version       int        `json:"version"`
	By            string     `json:"by"`    // principal
	Owner         string     `json:"owner"` // principal
	RetentionDays uint32     `json:"retention_days"`
	Workload      string     `json:"workload,omitempty"` // id
	WorkloadName  string     `json:"workload_name,omitempty"`
	Grants        []string   `json:"grants,omitempty"`
	SecretID      string     `json:"secret_id,omitempty"` // accessor
	Token         string     `json:"token,omitempty"`     // accessor
	TokenExpires  *time.Time `json:"token_expires,omitempty"`
	Migration     string     `json:"migration,omitempty"` // name of the last one with which its file began
}

func (n creationNote) save(tx *store.Tx, id domain.TenantID) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return tx.Put(bucketNotes, []byte(id), b)
}

// detail is the note as it stands in the log.
func (n creationNote) detail() audit.Detail {
	d := audit.Detail{"by": n.By, "owner": n.Owner, "retention_days": n.RetentionDays}
	if n.Workload != "" {
		grants, _ := fitting(n.Grants, maxNoted)
		d["workload"], d["workload_name"], d["secret_id"], d["grants"] = n.Workload, n.WorkloadName, n.SecretID, grants
		if len(grants) < len(n.Grants) {
			d["truncated"] = true
		}
	}
	if n.Migration != "" {
		d["migration"] = n.Migration
	}
	if n.Token != "" {
		d["token"], d["token_expires"] = n.Token, n.TokenExpires
	}
	return d
}

// noteCreated writes the note of a tenant into its log, if it is not there yet.
func (s *Service) noteCreated(ctx context.Context, id domain.TenantID) error {
	var n creationNote
	err := s.db.View(ctx, func(tx *store.Tx) error {
		b, err := tx.Get(bucketNotes, []byte(id))
		if err != nil {
			return err
		}
		return store.DecodeRecord(recordVersion, "the note of a tenant's creation", b, &n)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	written := false
	if err := s.log.Query(ctx, id, audit.Filter{Action: noteAction, Limit: 1}, func(audit.Entry) error {
		written = true
		return nil
	}); err != nil {
		return err
	}
	if !written {
		if _, err := s.log.Note(ctx, id, noteAction, n.detail()); err != nil {
			return err
		}
	}
	_, err = s.db.Update(ctx, func(tx *store.Tx) error { return tx.Delete(bucketNotes, []byte(id)) })
	return err
}

// noteAllCreated writes the notes that a crash kept from their logs.
func (s *Service) noteAllCreated(ctx context.Context) error {
	var ids []domain.TenantID
	err := s.db.View(ctx, func(tx *store.Tx) error {
		return tx.Keys(bucketNotes, nil, nil, func(key []byte) error {
			ids = append(ids, domain.TenantID(key))
			return nil
		})
	})
	for _, id := range ids {
		err = errors.Join(err, s.noteCreated(ctx, id))
	}
	return err
}
