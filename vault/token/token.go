package token

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
)

// Prefix begins every token, so that people and secret scanners know one when
// they see it.
const Prefix = "cft_"

// AccessorPrefix begins every accessor, which names a token and opens nothing.
const AccessorPrefix = "ta_"

const tokenLen = len(Prefix) + 2*26

const (
	bucketTokens    = "tokens"          // SHA-256 of the token → record
	bucketAccessors = "token-accessors" // tenant NUL accessor → SHA-256 of the token
)

// Bounds of a token. Each also bounds what one look-up costs.
const (
	MaxTokens = 200_000 // of one tenant, those that ended lately included: a program that asks for one at each call must not fill the store
	MaxDepth  = 32      // parents above a token
	MaxUses   = 1_000_000
	MaxMeta   = 32  // entries
	MaxText   = 512 // bytes of a key or value of them, and of a path
)

// Token is what is known of a token besides its own text.
type Token struct {
	Accessor  string
	Tenant    domain.TenantID
	Principal domain.Principal // whom it stands for
	Layer     authz.Layer      // its own bound; the principal's holds besides
	IssuedBy  string           // principal id of who asked for it
	Name      string           // a note for people, "" if none
	Issued    time.Time
	Expires   time.Time

	Parent    string            // accessor of the token with which it was made, "" for none
	Depth     int               // how many are above it
	Renewable bool              //
	Max       time.Time         // what renewing never goes past; Expires for one that cannot be renewed
	TTL       time.Duration     // for which it was made, and what renewing gives unless something else is asked for
	MaxTTL    time.Duration     // that was asked for, 0 for none
	Period    time.Duration     // what renewing gives, always; 0 for none
	Uses      int               // for how many requests it was made, 0 for any number
	Left      int               // of those
	Meta      map[string]string // what its maker noted
	Path      string            // the path of the Vault API that made it, "" for none
	Renewed   time.Time         // last; zero for never

	Above []authz.Layer // bounds of the tokens above it that are not its own; found, not kept
}

// Spec is what to issue.
type Spec struct {
	Tenant    domain.TenantID
	Principal domain.Principal
	Layer     authz.Layer
	IssuedBy  string
	Name      string
	TTL       time.Duration // as checked by domain.ParseTTL

	Parent    *Token // with which it is made; nil for none
	Renewable bool
	MaxTTL    time.Duration // from now on; 0 for domain.MaxTTL
	Period    time.Duration
	Uses      int
	Meta      map[string]string
	Path      string
}

var maxTokens = MaxTokens

// Check says what is out of bounds.
func (s Spec) Check() error {
	switch {
	case s.TTL <= 0 || s.TTL > domain.MaxTTL:
		return domain.Errorf(domain.Internal, "a token cannot live for %v", s.TTL)
	case s.MaxTTL < 0 || s.MaxTTL > domain.MaxTTL:
		return domain.Fieldf("max_ttl", "%v is not between 0 and %v", s.MaxTTL, domain.MaxTTL)
	case s.Period < 0 || s.Period > domain.MaxTTL:
		return domain.Fieldf("period", "%v is not between 0 and %v", s.Period, domain.MaxTTL)
	case s.Uses < 0 || s.Uses > MaxUses:
		return domain.Fieldf("uses", "%d is not between 0 and %d", s.Uses, MaxUses)
	case len(s.Meta) > MaxMeta:
		return domain.Fieldf("meta", "%d entries are more than %d", len(s.Meta), MaxMeta)
	case len(s.Path) > MaxText:
		return domain.Errorf(domain.Internal, "a path of %d bytes", len(s.Path))
	}
	for k, v := range s.Meta {
		if _, err := domain.ParseText("meta", k, MaxText); err != nil {
			return err
		}
		if _, err := domain.ParseText("meta", "."+v, MaxText); err != nil {
			return err
		}
	}
	return nil
}

// ErrRestricted is the answer to who asks for a child of a token that holds for
// a number of requests only.
var ErrRestricted = domain.Errorf(domain.Invalid, "restricted use token cannot generate child tokens").
	WithHint("ask with a token without a bound on its uses")

// make gives the token that the spec describes. It ends with its parent at the
// latest: else a stolen token could be made to last for ever.
func (s Spec) make(now time.Time) (Token, error) {
	t := Token{
		Accessor: domain.NewID(AccessorPrefix), Tenant: s.Tenant, Principal: s.Principal, Layer: s.Layer,
		IssuedBy: s.IssuedBy, Name: s.Name, Issued: now.UTC(), Expires: now.Add(s.TTL).UTC(),
		Renewable: s.Renewable, TTL: s.TTL, MaxTTL: s.MaxTTL, Period: s.Period, Uses: s.Uses, Left: s.Uses,
		Meta: s.Meta, Path: s.Path,
	}
	t.Max = now.Add(domain.MaxTTL).UTC()
	if s.MaxTTL > 0 {
		t.Max = now.Add(s.MaxTTL).UTC()
	}
	if p := s.Parent; p != nil {
		switch {
		case p.Tenant != s.Tenant:
			return t, domain.Errorf(domain.Internal, "a token of %s with a parent of %s", s.Tenant, p.Tenant)
		case p.Uses > 0:
			return t, ErrRestricted
		case p.Depth+1 > MaxDepth:
			return t, domain.Errorf(domain.Limit, "the token has %d others above it, and can have no child", p.Depth).
				WithHint("ask with a token that is nearer to the first")
		}
		t.Parent, t.Depth = p.Accessor, p.Depth+1
		t.Max, t.Expires = earlier(t.Max, p.Max), earlier(t.Expires, p.Expires)
	}
	t.Expires = earlier(t.Expires, t.Max)
	if !t.Renewable {
		t.Max = t.Expires
	}
	return t, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Issue makes a token. Its text is returned once and kept nowhere. The caller
// has checked that the maker may delegate the layer, and that the parent lives.
func Issue(tx *store.Tx, s Spec, now time.Time) (domain.Secret, Token, error) {
	none := func(err error) (domain.Secret, Token, error) { return domain.Secret{}, Token{}, err }
	if err := s.Check(); err != nil {
		return none(err)
	}
	held, err := count(tx, s.Tenant)
	if err != nil {
		return none(err)
	}
	if held >= maxTokens {
		return none(domain.Errorf(domain.Limit, "%s has %d tokens, and more are not issued", s.Tenant, held).
			WithHint("use a token until it ends instead of issuing one for each call; records of ended ones go after two days"))
	}
	t, err := s.make(now)
	if err != nil {
		return none(err)
	}
	text := domain.SecretString(Prefix + strings.ToLower(rand.Text()+rand.Text()))
	hash := sha256.Sum256(text.Reveal())
	if err := put(tx, hash[:], t); err != nil {
		return none(err)
	}
	if err := tx.Put(bucketAccessors, accessorKey(t.Tenant, t.Accessor), hash[:]); err != nil {
		return none(err)
	}
	return text, t, errors.Join(index(tx, t), setCount(tx, t.Tenant, held+1))
}

func put(tx *store.Tx, hash []byte, t Token) error {
	record, err := encode(t)
	if err != nil {
		return err
	}
	return tx.Put(bucketTokens, hash, record)
}

func accessorKey(tenant domain.TenantID, accessor string) []byte {
	return []byte(string(tenant) + "\x00" + accessor)
}
