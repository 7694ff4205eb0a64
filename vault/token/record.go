package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
)

// recordVersion is the version of a token's record. See FORMAT.md.
const recordVersion = 1

// record is a Token as it is stored.
type record struct {
	Version   int             `json:"version"`
	Accessor  string          `json:"accessor"`
	Tenant    domain.TenantID `json:"tenant"`
	Principal struct {
		Kind domain.PrincipalKind `json:"kind"`
		ID   string               `json:"id"`
	} `json:"principal"`
	Layer    authz.Layer `json:"layer"`
	IssuedBy string      `json:"issued_by"`
	Name     string      `json:"name,omitempty"`
	Issued   time.Time   `json:"issued"`
	Expires  time.Time   `json:"expires"`
}

func encode(t Token) ([]byte, error) {
	r := record{
		Version: recordVersion, Accessor: t.Accessor, Tenant: t.Tenant, Layer: t.Layer,
		IssuedBy: t.IssuedBy, Name: t.Name, Issued: t.Issued, Expires: t.Expires,
	}
	r.Principal.Kind, r.Principal.ID = t.Principal.Kind, t.Principal.ID
	return json.Marshal(r)
}

// decode reads a record. Exactly one byte sequence is valid for each: unknown,
// missing, repeated or differently spelt members and anything after the end are
// refused.
func decode(b []byte) (Token, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &v); err == nil && v.Version != recordVersion {
		return Token{}, domain.Errorf(domain.Unavailable, "a token's record is of version %d, which this Coffer does not know", v.Version).
			WithHint("start the version of Coffer that wrote it, or a newer one; see: coffer version")
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	if err == nil {
		var again []byte
		if again, err = json.Marshal(r); err == nil && !bytes.Equal(again, b) {
			err = errors.New("not in the one form that is written")
		}
	}
	if err != nil {
		return Token{}, domain.Errorf(domain.Tampered, "a token's record is malformed: %w", err).
			WithHint("run: coffer doctor; then restore a backup")
	}
	return Token{
		Accessor: r.Accessor, Tenant: r.Tenant, Principal: domain.Principal{Kind: r.Principal.Kind, ID: r.Principal.ID},
		Layer: r.Layer, IssuedBy: r.IssuedBy, Name: r.Name, Issued: r.Issued, Expires: r.Expires,
	}, nil
}
