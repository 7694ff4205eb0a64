package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"coffer/app/domain"
)

// DecodeRecord reads a JSON record whose first member is its version. Exactly one
// byte sequence is valid for each record: unknown, missing, repeated or
// differently spelt members and anything after the end are refused. what names
// the record in errors, whose Kind is Tampered, or Unavailable for a record of
// another version of Coffer.
func DecodeRecord(version int, what string, b []byte, into any) error {
	if v, other := otherVersion(version, b); other {
		return domain.Errorf(domain.Unavailable, "%s is of version %d, which this Coffer does not know", what, v).
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
		return MalformedRecord(what, err)
	}
	return nil
}

var errNotCanonical = errors.New("not in the one form that is written")

// MalformedRecord is the error for a record that says what cannot be.
func MalformedRecord(what string, cause error) error {
	return domain.Errorf(domain.Tampered, "%s is malformed: %w", what, cause).
		WithHint("run: coffer doctor; then restore a backup")
}

// otherVersion gives the version of a record that is of another one.
func otherVersion(version int, b []byte) (other int, is bool) {
	if bytes.HasPrefix(b, append(strconv.AppendInt([]byte(`{"version":`), int64(version), 10), ',')) {
		return version, false // the usual case, without a second decoding
	}
	var v struct {
		Version int `json:"version"`
	}
	err := json.Unmarshal(b, &v)
	return v.Version, err == nil && v.Version != version
}
