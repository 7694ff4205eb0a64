package record

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
)

// Body is the text of a clear record; each type has one of its own.
type Body interface {
	recordType() Type
	check() error
}

// Hex is bytes that stand as lower-case hexadecimal in JSON.
type Hex []byte

// MarshalText writes hexadecimal.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (h *Hex) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || hex.EncodeToString(raw) != string(b) {
		return fmt.Errorf("%.80q is not lower-case hexadecimal", b)
	}
	*h = raw
	return nil
}

// MarshalText makes a hash hexadecimal in JSON.
func (h Hash) MarshalText() ([]byte, error) { return Hex(h[:]).MarshalText() }

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(b []byte) error {
	var raw Hex
	if err := raw.UnmarshalText(b); err != nil {
		return err
	}
	if len(raw) != len(h) {
		return fmt.Errorf("a hash has %d bytes, not %d", len(h), len(raw))
	}
	copy(h[:], raw)
	return nil
}

// String is the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// OpenedKey is the body of KeyOpen.
type OpenedKey struct {
	Period     string `json:"period"`     // 2026-11 or 2026-W47
	Commitment Hash   `json:"commitment"` // see Commit
}

// ShreddedKeys is the body of KeyShred: the records First to Last can no
// longer be read, by policy.
type ShreddedKeys struct {
	First         uint64   `json:"first"`
	Last          uint64   `json:"last"`
	KeyIDs        []Hex    `json:"key_ids"`
	RetentionDays uint32   `json:"retention_days"` // in force when it was done
	Approvers     []string `json:"approvers,omitempty"`
}

// ClosedPeriod is the body of PeriodClose. Count records between First (the
// key's KEY_OPEN) and Last (the record before this one) are under the key.
type ClosedPeriod struct {
	Period string `json:"period"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	KeyID  Hex    `json:"key_id"`
	Count  uint64 `json:"count"`
}

// Dropped is a torn tail: bytes that were written but never acknowledged, and
// that stand in quarantine.
type Dropped struct {
	Segment uint64 `json:"segment"`
	Offset  uint64 `json:"offset"`
	Bytes   uint64 `json:"bytes"`
	SHA256  Hash   `json:"sha256"`
}

// Booted is the body of Boot.
type Booted struct {
	Clean   bool      `json:"clean"`             // the run before ended in order
	LastLSN uint64    `json:"last_lsn"`          // number of records in the journal before this one
	Dropped []Dropped `json:"dropped,omitempty"` // what the crash left half written
	Anchor  *uint64   `json:"anchor,omitempty"`  // a monotonic counter outside, e.g. in a TPM
}

// ChangedPolicy is the body of Policy.
type ChangedPolicy struct {
	RetentionDays uint32   `json:"retention_days"`
	Before        uint32   `json:"before"`
	Approvers     []string `json:"approvers,omitempty"`
}

// OpenedTenant is the body of TenantOpen.
type OpenedTenant struct {
	Slot          uint32 `json:"slot"` // never used for another log
	RetentionDays uint32 `json:"retention_days"`
}

// ClosedTenant is the body of TenantClose.
type ClosedTenant struct {
	Reason string `json:"reason,omitempty"`
}

// ClockJump is the body of Clock.
type ClockJump struct {
	At        int64    `json:"at"`      // ns since 1970 UTC, when it was seen
	Jump      int64    `json:"jump"`    // ns; negative is backwards
	AtBoot    bool     `json:"at_boot"` // a forward one may be plain downtime
	Approvers []string `json:"approvers,omitempty"`
}

// AcknowledgedRollback is the body of RollbackAck.
type AcknowledgedRollback struct {
	Expected  uint64   `json:"expected"` // what the anchor said
	Found     uint64   `json:"found"`    // what the log said
	Approvers []string `json:"approvers"`
	Reason    string   `json:"reason,omitempty"`
}

func (OpenedKey) recordType() Type            { return KeyOpen }
func (ShreddedKeys) recordType() Type         { return KeyShred }
func (ClosedPeriod) recordType() Type         { return PeriodClose }
func (Booted) recordType() Type               { return Boot }
func (ChangedPolicy) recordType() Type        { return Policy }
func (OpenedTenant) recordType() Type         { return TenantOpen }
func (ClosedTenant) recordType() Type         { return TenantClose }
func (ClockJump) recordType() Type            { return Clock }
func (AcknowledgedRollback) recordType() Type { return RollbackAck }

func (b OpenedKey) check() error            { return checkPeriod(b.Period) }
func (b ChangedPolicy) check() error        { return checkRetention(b.RetentionDays) }
func (b OpenedTenant) check() error         { return checkRetention(b.RetentionDays) }
func (Booted) check() error                 { return nil }
func (ClosedTenant) check() error           { return nil }
func (ClockJump) check() error              { return nil }
func (b AcknowledgedRollback) check() error { return nil }

func (b ShreddedKeys) check() error {
	if b.First > b.Last || len(b.KeyIDs) == 0 {
		return fmt.Errorf("%w: shredded range is empty", ErrFormat)
	}
	for _, id := range b.KeyIDs {
		if len(id) != 16 {
			return fmt.Errorf("%w: key id of %d bytes", ErrFormat, len(id))
		}
	}
	return nil
}

func (b ClosedPeriod) check() error {
	if len(b.KeyID) != 16 || b.First > b.Last || b.Count > b.Last-b.First {
		return fmt.Errorf("%w: closed period does not add up", ErrFormat)
	}
	return checkPeriod(b.Period)
}

func checkRetention(days uint32) error {
	if days == 0 {
		return fmt.Errorf("%w: retention of no days", ErrFormat)
	}
	return nil
}

// bodies gives an empty body for every clear type.
var bodies = map[Type]reflect.Type{}

var bodyNames = func() map[Type]map[string]bool {
	names := map[Type]map[string]bool{}
	for _, b := range []Body{
		OpenedKey{},
		ShreddedKeys{},
		ClosedPeriod{},
		Booted{},
		ChangedPolicy{},
		OpenedTenant{},
		ClosedTenant{},
		ClockJump{},
		AcknowledgedRollback{},
	} {
		bodies[b.recordType()] = reflect.TypeOf(b)
		names[b.recordType()] = fieldNames(b)
	}
	return names
}()

// Clear makes a clear record that lacks only its place. The header's type is
// that of the body.
func Clear(h Header, b Body) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	text, err := encodeJSON(b)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s record: %w", b.recordType(), err)
	}
	padded, err := pad(text, MaxSize-HeaderSize)
	if err != nil {
		return nil, err
	}
	h.Type, h.KeyID, h.Seq, h.Prev = b.recordType(), [16]byte{}, 0, Hash{}
	return append(h.Append(make([]byte, 0, HeaderSize+len(padded))), padded...), nil
}

// DecodeClear decodes the body of a clear record strictly; it is one of the
// body types of this package, by value. Errors wrap ErrFormat.
func DecodeClear(raw []byte) (Header, Body, error) {
	h, err := Parse(raw)
	if err != nil {
		return h, nil, err
	}
	if h.Type.Encrypted() {
		return h, nil, fmt.Errorf("%w: %s records are encrypted", ErrFormat, h.Type)
	}
	text, err := unpad(raw[HeaderSize:])
	if err != nil {
		return h, nil, err
	}
	v := reflect.New(bodies[h.Type])
	if err := decodeStrict(text, bodyNames[h.Type], v.Interface()); err != nil {
		return h, nil, err
	}
	b := v.Elem().Interface().(Body)
	return h, b, b.check()
}

// Text gives the JSON of a clear record's body as it stands in the record.
func Text(raw []byte) (json.RawMessage, error) {
	if _, _, err := DecodeClear(raw); err != nil {
		return nil, err
	}
	return unpad(raw[HeaderSize:])
}
