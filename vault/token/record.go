package token

import (
	"encoding/json"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
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

// decode reads a record strictly.
func decode(b []byte) (Token, error) {
	var r record
	if err := store.DecodeRecord(recordVersion, "a token's record", b, &r); err != nil {
		return Token{}, err
	}
	return Token{
		Accessor: r.Accessor, Tenant: r.Tenant, Principal: domain.Principal{Kind: r.Principal.Kind, ID: r.Principal.ID},
		Layer: r.Layer, IssuedBy: r.IssuedBy, Name: r.Name, Issued: r.Issued, Expires: r.Expires,
	}, nil
}
