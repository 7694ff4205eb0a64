package alerts

import (
	"time"

	"coffer/app/domain"
)

// Kind says what an alert is about. Those of audit.AlarmKind occur besides.
type Kind string

// The kinds that are raised by others than the audit log.
const (
	File        Kind = "tenant.file"   // a tenant's file does not authenticate, or could not be closed
	Clock       Kind = "clock.jump"    // the wall clock jumped
	Certificate Kind = "certificate"   // the certificate cannot be made, renewed or read
	Sweep       Kind = "sweep.failed"  // what expired could not be removed
	Export      Kind = "sql.export"    // somebody exports a whole database
	Rotation    Kind = "rotation"      // a rotation of keys stopped
	ClientKey   Kind = "client-key"    // a tenant was closed under its client's key, or a wrong one was presented
	Wrap        Kind = "wrap.twice"    // a wrapping token came a second time
	Lease       Kind = "lease.overdue" // what a lease is for could not be taken back
)

// Alert is one thing that somebody should look at.
type Alert struct {
	ID     string          `json:"id"`
	Kind   Kind            `json:"kind"`
	Tenant domain.TenantID `json:"tenant,omitempty"` // "" for the whole appliance
	Text   string          `json:"text"`             // of the last time it was raised
	First  time.Time       `json:"first"`
	Last   time.Time       `json:"last"`
	Count  int             `json:"count"`
	Acked  *time.Time      `json:"acked,omitempty"`
	By     string          `json:"acked_by,omitempty"` // principal
}

// Bounds of what is kept.
const (
	Most     = 1000      // alerts
	MaxText  = 1024      // bytes of a text
	Together = time.Hour // an alert of the same kind and tenant within this is counted, not kept apart
)
