package audit

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"coffer/app/domain"
	"coffer/audit/record"
)

// Tag names a tenant's log for ever: random, and not derived from a name.
type Tag [16]byte

// String is the tag in hexadecimal.
func (t Tag) String() string { return hex.EncodeToString(t[:]) }

// DefaultRetentionDays is how long records are kept if nobody said otherwise.
const DefaultRetentionDays = 90

// Policy says how long a log's records are kept. At a retention of up to
// record.WeeklyUpTo days a log's keys change every week, else every month.
type Policy struct {
	RetentionDays uint32 // 0 means DefaultRetentionDays
}

func (p Policy) days() uint32 {
	if p.RetentionDays == 0 {
		return DefaultRetentionDays
	}
	return p.RetentionDays
}

// Ref is how a log is known for ever. Its slot is never given to another log;
// slot 0 is the system log's. The policy is the one the log began with.
type Ref struct {
	Tag    Tag
	Slot   uint32
	Policy Policy
}

// Keys gives the keys of the log. The vault implements it.
type Keys interface {
	// PeriodKey gives the 32-byte key of one log and period, and makes it
	// durably if it is missing. The log owns the Secret that it gets and zeroes
	// it, so it must not be one that the implementation keeps.
	PeriodKey(ctx context.Context, tag Tag, period string) (domain.Secret, error)
	// HeadKey gives the 32-byte key that authenticates segment headers and the
	// heads file. The log copies it and leaves it alone.
	HeadKey() domain.Secret
}

// Call is what is known about a request besides who asks for what. Fields are
// cut to MaxField bytes.
type Call struct {
	RequestID string
	Source    string // network address, or "local"
	Client    string // the program that asks
	Auth      string // how the caller proved who it is
}

// Limits of what a caller puts into a record, in bytes.
const (
	MaxField    = 512
	MaxResource = 1_024
	MaxDetail   = 16 << 10 // of the JSON of a Detail
)

// Detail is what a record says beyond its fixed fields, by short names. It
// must never hold a secret or a value from a tenant's data.
type Detail map[string]any

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"  // tried, and it did not work
	Refused Outcome = "refused" // not allowed
	Unknown Outcome = "unknown" // nobody was there to say
)

func (o Outcome) valid() bool { return o == OK || o == Failed || o == Refused || o == Unknown }

// IntentID names an intent: the log's tag and the intent's seq, big-endian. It
// is what a change stores in its own transaction.
type IntentID [24]byte

func intentID(tag Tag, seq uint64) (id IntentID) {
	copy(id[:], tag[:])
	binary.BigEndian.PutUint64(id[16:], seq)
	return id
}

// Tag is the log in which the intent stands.
func (id IntentID) Tag() Tag { return Tag(id[:16]) }

// Seq is the intent's place in the log.
func (id IntentID) Seq() uint64 { return binary.BigEndian.Uint64(id[16:]) }

// String is the id in hexadecimal.
func (id IntentID) String() string { return hex.EncodeToString(id[:]) }

// Receipt identifies a durable record. Who keeps it can later show that the
// record was removed or changed.
type Receipt struct {
	Seq  uint64
	Leaf record.Hash // RFC 6962 leaf hash of the record
}

// String is the form in the Coffer-Audit header: <seq>:<leaf hash>.
func (r Receipt) String() string { return fmt.Sprintf("%d:%s", r.Seq, r.Leaf) }

// Intent is a change of which the log does not know what became.
type Intent struct {
	ID       IntentID
	Tenant   domain.TenantID // "" for the system log and for tenants not registered
	Actor    string
	Action   domain.Action
	Resource string
	Detail   []byte // JSON object, nil for none
	Time     time.Time
}

// AlarmKind says what an alarm is about.
type AlarmKind string

// The kinds of alarms.
const (
	SpaceLow      AlarmKind = "audit.space-low"      // 80 % of the log's space, or of a tenant's share, is used
	DiskFull      AlarmKind = "audit.disk-full"      // no next segment can be made: only the reserve is left
	SegmentLost   AlarmKind = "audit.segment-lost"   // the open segment was removed, replaced or cut
	WriteFailed   AlarmKind = "audit.write-failed"   // the journal takes no more writes
	PermitDropped AlarmKind = "audit.permit-dropped" // a permit was never finished: a fault in Coffer
	HeadsFailed   AlarmKind = "audit.heads-failed"   // the heads file could not be written
)

// Alarm is something that the operator should look at now.
type Alarm struct {
	Kind   AlarmKind
	Tenant domain.TenantID // "" for the whole log
	Text   string
}
