package vault

import (
	"bytes"
	"encoding/json"
	"errors"

	"coffer/app/domain"
)

// recordVersion is the version of every JSON record of this package, its first
// member. See FORMAT.md.
const recordVersion = 1

var errNotCanonical = errors.New("not in the one form that is written")

// decodeRecord reads a JSON record. Exactly one byte sequence is valid for each
// record: unknown, missing, repeated or differently spelt members and anything
// after the end are refused. what names the record in errors, whose Kind is
// Tampered, or Unavailable for a record of another version of Coffer.
func decodeRecord(what string, b []byte, into any) error {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &v); err == nil && v.Version != recordVersion {
		return domain.Errorf(domain.Unavailable, "%s is of version %d, which this Coffer does not know", what, v.Version).
			WithHint("start the version of Coffer that wrote it, or a newer one; see: coffer version")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		var again []byte
		if again, err = json.Marshal(into); err == nil && !bytes.Equal(again, b) {
			err = errNotCanonical
		}
	}
	if err != nil {
		return domain.Errorf(domain.Tampered, "%s is malformed: %w", what, err).
			WithHint("run: coffer doctor; then restore a backup")
	}
	return nil
}
