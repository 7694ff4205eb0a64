package token

import (
	"crypto/sha256"
	"errors"
	"reflect"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
)

// ErrUnknown is the answer to every token that does not hold: malformed, never
// issued, revoked, used up and expired look the same.
var ErrUnknown = domain.BadCredential("the token is not valid: it may have expired or been revoked").
	WithHint("issue a new one with: coffer token issue")

// Lookup finds a live token by its text.
func Lookup(tx *store.Tx, text domain.Secret, now time.Time) (Token, error) {
	t, err := LookupUsed(tx, text, now)
	if err == nil && t.spent() {
		return Token{}, ErrUnknown
	}
	return t, err
}

// LookupUsed is Lookup also for a token whose last use was spent: by the request
// that is just being answered.
func LookupUsed(tx *store.Tx, text domain.Secret, now time.Time) (Token, error) {
	hash, ok := hashOf(text)
	if !ok {
		return Token{}, ErrUnknown
	}
	return find(tx, hash, now)
}

// hashOf gives the key of a token's record. It is a hash, so how long the look-up
// takes tells nothing about how near a guess came.
func hashOf(text domain.Secret) ([]byte, bool) {
	if text.Len() != tokenLen || !strings.HasPrefix(string(text.Reveal()), Prefix) {
		return nil, false
	}
	hash := sha256.Sum256(text.Reveal())
	return hash[:], true
}

// spent says whether the token was used as often as it may be.
func (t Token) spent() bool { return t.Uses > 0 && t.Left == 0 }

// find gives a token that neither ended nor was revoked.
func find(tx *store.Tx, hash []byte, now time.Time) (Token, error) {
	t, err := read(tx, hash)
	if err == nil {
		t.Above, err = t.live(tx, now)
	}
	if err != nil {
		return Token{}, err
	}
	return t, nil
}

// read gives a token, live or not.
func read(tx *store.Tx, hash []byte) (Token, error) {
	b, err := tx.Get(bucketTokens, hash)
	if errors.Is(err, store.ErrNotFound) {
		return Token{}, ErrUnknown
	}
	if err != nil {
		return Token{}, err
	}
	return store.Remember(tx, b, decode)
}

// live says whether the token and all above it hold. Who looks at the parents
// each time needs not find the children when a parent is revoked: they are dead
// from that transaction on, however many there are. The bounds of those above
// that are not the token's own hold for it too.
func (t Token) live(tx *store.Tx, now time.Time) (above []authz.Layer, err error) {
	own := t.Layer
	for range MaxDepth + 1 {
		if !now.Before(t.Expires) {
			return nil, ErrUnknown
		}
		if cut, err := t.cutOff(tx); err != nil || cut {
			return nil, orUnknown(err)
		}
		if t.Parent == "" {
			return above, nil
		}
		hash, err := tx.Get(bucketAccessors, accessorKey(t.Tenant, t.Parent))
		if errors.Is(err, store.ErrNotFound) {
			return nil, ErrUnknown
		}
		if err != nil {
			return nil, err
		}
		if t, err = led(tx, hash); err != nil {
			return nil, err
		}
		if !reflect.DeepEqual(t.Layer, own) {
			above = append(above, t.Layer)
		}
	}
	return nil, store.MalformedRecord("a token's record", errDepth)
}

var errDepth = errors.New("more parents than there can be")

func orUnknown(err error) error {
	if err != nil {
		return err
	}
	return ErrUnknown
}

// each calls fn with every token, live or not, whose accessor's key has the
// prefix, until fn returns store.ErrStop. key is the accessor's.
func each(tx *store.Tx, prefix []byte, fn func(key []byte, t Token) error) error {
	return eachAfter(tx, prefix, nil, fn)
}

// eachAfter is each from the accessor's key after `after` on.
func eachAfter(tx *store.Tx, prefix, after []byte, fn func(key []byte, t Token) error) error {
	return tx.Scan(bucketAccessors, prefix, after, func(key, hash []byte) error {
		b, err := ledBytes(tx, hash)
		if err != nil {
			return err
		}
		t, err := decode(b) // not remembered: there may be more than can be
		if err != nil {
			return err
		}
		return fn(key, t)
	})
}

// led reads the record to which an accessor leads: it is there.
func led(tx *store.Tx, hash []byte) (Token, error) {
	b, err := ledBytes(tx, hash)
	if err != nil {
		return Token{}, err
	}
	return store.Remember(tx, b, decode)
}

func ledBytes(tx *store.Tx, hash []byte) ([]byte, error) {
	b, err := tx.Get(bucketTokens, hash)
	if errors.Is(err, store.ErrNotFound) {
		return nil, domain.Errorf(domain.Tampered, "an accessor leads to no token").
			WithHint("run: coffer doctor; then restore a backup")
	}
	return b, err
}

// ByAccessor finds a live token of a tenant by its accessor.
func ByAccessor(tx *store.Tx, tenant domain.TenantID, accessor string, now time.Time) (Token, error) {
	t, err := Held(tx, tenant, accessor, now)
	if err == nil && t.spent() {
		return Token{}, errNoAccessor()
	}
	return t, err
}

// Held is ByAccessor also for a token whose last use was spent, by the request
// that is just being answered.
func Held(tx *store.Tx, tenant domain.TenantID, accessor string, now time.Time) (Token, error) {
	hash, err := tx.Get(bucketAccessors, accessorKey(tenant, accessor))
	if err == nil {
		var t Token
		if t, err = find(tx, hash, now); err == nil {
			return t, nil
		}
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrUnknown) {
		return Token{}, errNoAccessor()
	}
	return Token{}, err
}

func errNoAccessor() error {
	return domain.Errorf(domain.NotFound, "there is no live token with that accessor").
		WithHint("see: coffer token list")
}

// listed says whether the token is to be shown among those that live.
func (t Token) listed(tx *store.Tx, now time.Time) (bool, error) {
	if t.spent() {
		return false, nil
	}
	_, err := t.live(tx, now)
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}

// List gives a tenant's live tokens in the order of their accessors.
func List(tx *store.Tx, tenant domain.TenantID, now time.Time) ([]Token, error) {
	var out []Token
	err := each(tx, accessorKey(tenant, ""), func(_ []byte, t Token) error {
		shown, err := t.listed(tx, now)
		if shown {
			out = append(out, t)
		}
		return err
	})
	return out, err
}

// Page gives the tenant's live tokens that keep picks, in the order of their
// accessors, from the one after the accessor `after` on, at most limit of them.
func Page(tx *store.Tx, tenant domain.TenantID, now time.Time, after string, limit int, keep func(Token) bool) ([]Token, error) {
	var out []Token
	err := eachAfter(tx, accessorKey(tenant, ""), accessorKey(tenant, after), func(_ []byte, t Token) error {
		shown, err := t.listed(tx, now)
		if err != nil || !shown || !keep(t) {
			return err
		}
		if out = append(out, t); len(out) >= limit {
			return store.ErrStop
		}
		return nil
	})
	return out, err
}
