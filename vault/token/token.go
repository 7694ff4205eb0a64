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
}

// Spec is what to issue.
type Spec struct {
	Tenant    domain.TenantID
	Principal domain.Principal
	Layer     authz.Layer
	IssuedBy  string
	Name      string
	TTL       time.Duration // as checked by domain.ParseTTL
}

// MaxTokens is how many tokens of one tenant are kept, those that ended lately
// included: a program that asks for one at each call must not fill the store.
const MaxTokens = 50_000

var maxTokens = MaxTokens

// Issue makes a token. Its text is returned once and kept nowhere. The caller
// has checked that the maker may delegate the layer.
func Issue(tx *store.Tx, s Spec, now time.Time) (domain.Secret, Token, error) {
	if s.TTL <= 0 || s.TTL > domain.MaxTTL {
		return domain.Secret{}, Token{}, domain.Errorf(domain.Internal, "a token cannot live for %v", s.TTL)
	}
	held, err := tx.Count(bucketAccessors, accessorKey(s.Tenant, ""))
	if err != nil {
		return domain.Secret{}, Token{}, err
	}
	if held >= maxTokens {
		return domain.Secret{}, Token{}, domain.Errorf(domain.Limit, "%s has %d tokens, and more are not issued", s.Tenant, held).
			WithHint("use a token until it ends instead of issuing one for each call; records of ended ones go after two days")
	}
	text := domain.SecretString(Prefix + strings.ToLower(rand.Text()+rand.Text()))
	t := Token{
		Accessor: domain.NewID(AccessorPrefix), Tenant: s.Tenant, Principal: s.Principal, Layer: s.Layer,
		IssuedBy: s.IssuedBy, Name: s.Name, Issued: now.UTC(), Expires: now.Add(s.TTL).UTC(),
	}
	hash := sha256.Sum256(text.Reveal())
	record, err := encode(t)
	if err != nil {
		return domain.Secret{}, Token{}, err
	}
	if err := tx.Put(bucketTokens, hash[:], record); err != nil {
		return domain.Secret{}, Token{}, err
	}
	return text, t, tx.Put(bucketAccessors, accessorKey(t.Tenant, t.Accessor), hash[:])
}

// ErrUnknown is the answer to every token that does not hold: malformed, never
// issued, revoked and expired look the same.
var ErrUnknown = domain.BadCredential("the token is not valid: it may have expired or been revoked").
	WithHint("issue a new one with: coffer token issue")

// Lookup finds a live token by its text.
func Lookup(tx *store.Tx, text domain.Secret, now time.Time) (Token, error) {
	if text.Len() != tokenLen || !strings.HasPrefix(string(text.Reveal()), Prefix) {
		return Token{}, ErrUnknown
	}
	// The map key is a hash, so how long the look-up takes tells nothing
	// about how near a guess came.
	hash := sha256.Sum256(text.Reveal())
	return find(tx, hash[:], now)
}

// find gives a live token.
func find(tx *store.Tx, hash []byte, now time.Time) (Token, error) {
	b, err := tx.Get(bucketTokens, hash)
	if errors.Is(err, store.ErrNotFound) {
		return Token{}, ErrUnknown
	}
	if err != nil {
		return Token{}, err
	}
	t, err := store.Remember(tx, b, decode)
	if err == nil && !now.Before(t.Expires) {
		return Token{}, ErrUnknown
	}
	return t, err
}

// each calls fn with every token, live or not, whose accessor's key has the
// prefix, until fn returns store.ErrStop. key is the accessor's.
func each(tx *store.Tx, prefix []byte, fn func(key []byte, t Token) error) error {
	return eachAfter(tx, prefix, nil, fn)
}

// eachAfter is each from the accessor's key after `after` on.
func eachAfter(tx *store.Tx, prefix, after []byte, fn func(key []byte, t Token) error) error {
	return tx.Scan(bucketAccessors, prefix, after, func(key, hash []byte) error {
		b, err := tx.Get(bucketTokens, hash)
		if errors.Is(err, store.ErrNotFound) {
			return domain.Errorf(domain.Tampered, "an accessor leads to no token").
				WithHint("run: coffer doctor; then restore a backup")
		}
		if err != nil {
			return err
		}
		t, err := decode(b)
		if err != nil {
			return err
		}
		return fn(key, t)
	})
}

// ByAccessor finds a live token of a tenant by its accessor.
func ByAccessor(tx *store.Tx, tenant domain.TenantID, accessor string, now time.Time) (Token, error) {
	hash, err := tx.Get(bucketAccessors, accessorKey(tenant, accessor))
	if err == nil {
		var t Token
		if t, err = find(tx, hash, now); err == nil {
			return t, nil
		}
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrUnknown) {
		return Token{}, domain.Errorf(domain.NotFound, "there is no live token with that accessor").
			WithHint("see: coffer token list")
	}
	return Token{}, err
}

// List gives a tenant's live tokens in the order of their accessors.
func List(tx *store.Tx, tenant domain.TenantID, now time.Time) ([]Token, error) {
	var out []Token
	err := each(tx, accessorKey(tenant, ""), func(_ []byte, t Token) error {
		if now.Before(t.Expires) {
			out = append(out, t)
		}
		return nil
	})
	return out, err
}

// Page gives the tenant's live tokens that keep picks, in the order of their
// accessors, from the one after the accessor `after` on, at most limit of them.
func Page(tx *store.Tx, tenant domain.TenantID, now time.Time, after string, limit int, keep func(Token) bool) ([]Token, error) {
	var out []Token
	err := eachAfter(tx, accessorKey(tenant, ""), accessorKey(tenant, after), func(_ []byte, t Token) error {
		if !now.Before(t.Expires) || !keep(t) {
			return nil
		}
		if out = append(out, t); len(out) >= limit {
			return store.ErrStop
		}
		return nil
	})
	return out, err
}

// Revoke ends a token for good.
func Revoke(tx *store.Tx, t Token) error {
	return remove(tx, accessorKey(t.Tenant, t.Accessor))
}

// RevokeWhere ends every token of a tenant, live or not, that the function
// picks, and says how many there were.
func RevokeWhere(tx *store.Tx, tenant domain.TenantID, pick func(Token) bool) (int, error) {
	var doomed [][]byte
	err := each(tx, accessorKey(tenant, ""), func(key []byte, t Token) error {
		if pick(t) {
			doomed = append(doomed, key)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return removeAll(tx, doomed)
}

// Sweep removes at most limit tokens that expired before the given time, and
// says how many it removed. Expired tokens are refused whether swept or not;
// callers pass a trusted time, so that a clock set ahead erases nothing.
func Sweep(tx *store.Tx, before time.Time, limit int) (int, error) {
	var doomed [][]byte
	err := each(tx, nil, func(key []byte, t Token) error {
		if len(doomed) >= limit {
			return store.ErrStop
		}
		if t.Expires.Before(before) {
			doomed = append(doomed, key)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return removeAll(tx, doomed)
}

func removeAll(tx *store.Tx, accessors [][]byte) (int, error) {
	for _, key := range accessors {
		if err := remove(tx, key); err != nil {
			return 0, err
		}
	}
	return len(accessors), nil
}

func remove(tx *store.Tx, accessor []byte) error {
	hash, err := tx.Get(bucketAccessors, accessor)
	if err != nil {
		return err
	}
	if err := tx.Delete(bucketTokens, hash); err != nil {
		return err
	}
	return tx.Delete(bucketAccessors, accessor)
}

func accessorKey(tenant domain.TenantID, accessor string) []byte {
	return []byte(string(tenant) + "\x00" + accessor)
}

// AnyExpired says whether Sweep has something to do.
func AnyExpired(tx *store.Tx, before time.Time) (bool, error) {
	any := false
	err := tx.Scan(bucketTokens, nil, nil, func(_, b []byte) error {
		t, err := decode(b)
		if err != nil {
			return err
		}
		if t.Expires.Before(before) {
			any = true
			return store.ErrStop
		}
		return nil
	})
	return any, err
}
