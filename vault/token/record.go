package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
)

// recordVersion is the version in which records are written. See FORMAT.md.
const recordVersion = 2

// first are the members that a record of either version begins with.
type first struct {
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

// record is a Token as it is stored.
type record struct {
	first
	Parent    string            `json:"parent,omitempty"`
	Depth     int               `json:"depth,omitempty"`
	Renewable bool              `json:"renewable,omitempty"`
	Max       time.Time         `json:"max"`
	TTL       time.Duration     `json:"ttl"`
	MaxTTL    time.Duration     `json:"max_ttl,omitempty"`
	Period    time.Duration     `json:"period,omitempty"`
	Uses      int               `json:"uses,omitempty"`
	Left      int               `json:"left,omitempty"`
	Meta      map[string]string `json:"meta,omitempty"`
	Path      string            `json:"path,omitempty"`
	Renewed   time.Time         `json:"renewed,omitzero"`
}

func encode(t Token) ([]byte, error) {
	r := record{
		first: first{
			Version: recordVersion, Accessor: t.Accessor, Tenant: t.Tenant, Layer: t.Layer,
			IssuedBy: t.IssuedBy, Name: t.Name, Issued: t.Issued, Expires: t.Expires,
		},
		Parent: t.Parent, Depth: t.Depth, Renewable: t.Renewable, Max: t.Max, TTL: t.TTL, MaxTTL: t.MaxTTL, Period: t.Period,
		Uses: t.Uses, Left: t.Left, Meta: t.Meta, Path: t.Path, Renewed: t.Renewed,
	}
	r.Principal.Kind, r.Principal.ID = t.Principal.Kind, t.Principal.ID
	return json.Marshal(r)
}

// decode reads a record of either version strictly.
func decode(b []byte) (Token, error) {
	if bytes.HasPrefix(b, []byte(`{"version":1,`)) {
		return decodeFirst(b)
	}
	var r record
	if err := store.DecodeRecord(recordVersion, "a token's record", b, &r); err != nil {
		return Token{}, err
	}
	if r.Uses < r.Left || r.Left < 0 || (r.Parent == "") != (r.Depth == 0) || r.Depth > MaxDepth {
		return Token{}, store.MalformedRecord("a token's record", errors.New("numbers that do not fit together"))
	}
	t := r.token()
	t.Parent, t.Depth, t.Renewable, t.Max, t.TTL, t.MaxTTL, t.Period = r.Parent, r.Depth, r.Renewable, r.Max, r.TTL, r.MaxTTL, r.Period
	t.Uses, t.Left, t.Meta, t.Path, t.Renewed = r.Uses, r.Left, r.Meta, r.Path, r.Renewed
	return t, nil
}

// decodeFirst reads a record of version 1: a token without a parent that cannot
// be renewed.
func decodeFirst(b []byte) (Token, error) {
	var r first
	if err := store.DecodeRecord(1, "a token's record", b, &r); err != nil {
		return Token{}, err
	}
	t := r.token()
	t.Max, t.TTL = t.Expires, t.Expires.Sub(t.Issued)
	return t, nil
}

func (r first) token() Token {
	return Token{
		Accessor: r.Accessor, Tenant: r.Tenant, Principal: domain.Principal{Kind: r.Principal.Kind, ID: r.Principal.ID},
		Layer: r.Layer, IssuedBy: r.IssuedBy, Name: r.Name, Issued: r.Issued, Expires: r.Expires,
	}
}
