package wrap

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	aeadsubtle "github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/domain"
	"coffer/app/store"
)

// Prefix begins every wrapping token, AccessorPrefix what names one and opens
// nothing.
const (
	Prefix         = "cfw_"
	AccessorPrefix = "wa_"
)

const tokenLen = len(Prefix) + 2*26

// Bounds of what is kept.
const (
	MaxContent = 2 << 20  // bytes of an answer
	MaxBytes   = 64 << 20 // of all answers of a tenant
	MaxTokens  = 50_000   // of a tenant, those that were used lately included
)

// Shape says what the content is.
type Shape string

// The shapes.
const (
	Envelope Shape = "envelope" // a whole answer of the Vault API
	Data     Shape = "data"     // an object
)

// Token is what is known of a wrapping token besides its own text.
type Token struct {
	Accessor string          `json:"accessor"`
	Tenant   domain.TenantID `json:"tenant"`
	Path     string          `json:"path"`              // of the request whose answer it is
	Maker    string          `json:"maker"`             // principal
	Wrapped  string          `json:"wrapped,omitempty"` // accessor of a credential in it, "" for none
	Shape    Shape           `json:"shape"`
	Created  time.Time       `json:"created"`
	Expires  time.Time       `json:"expires"`
	Used     time.Time       `json:"used,omitzero"`     // when its answer was handed out; zero for never
	Size     int             `json:"size"`              // bytes of the answer, sealed
	Parent   string          `json:"held_by,omitempty"` // accessor of the token with which it was made
	Revoked  bool            `json:"revoked,omitempty"` // it was taken back
}

// Spec is what to wrap.
type Spec struct {
	Tenant  domain.TenantID
	Path    string
	Maker   string
	Wrapped string
	Parent  string
	Shape   Shape
	TTL     time.Duration
	Content domain.Secret
}

// ErrUnknown is the answer to every wrapping token that does not hold.
var ErrUnknown = domain.Errorf(domain.Invalid, "wrapping token is not valid or does not exist").
	WithHint("it may have ended or been used; ask for what it held again, and tell its owner if you did not use it")

// UsedError is that the content was handed out before. To the caller it looks like
// ErrUnknown; whoever answers raises an alert.
type UsedError struct{ Token Token }

func (*UsedError) Error() string { return ErrUnknown.Error() }

// Unwrap gives ErrUnknown.
func (*UsedError) Unwrap() error { return ErrUnknown }

// IsObject says whether data that arrived as JSON are an object.
func IsObject(json domain.Secret) bool { return json.Len() > 0 && json.Reveal()[0] == '{' }

var maxBytes = MaxBytes

// Create wraps an answer. The text of the token is returned once and kept nowhere.
func Create(tx *store.Tx, s Spec, now time.Time) (domain.Secret, Token, error) {
	none := func(err error) (domain.Secret, Token, error) { return domain.Secret{}, Token{}, err }
	switch {
	case s.TTL <= 0 || s.TTL > domain.MaxTTL:
		return none(domain.Errorf(domain.Internal, "a wrapping token cannot live for %v", s.TTL))
	case s.Content.Len() > MaxContent:
		return none(domain.Errorf(domain.Limit, "the answer has %d bytes, and no more than %d are wrapped", s.Content.Len(), MaxContent).
			WithHint("ask for less at once"))
	}
	text := domain.SecretString(Prefix + strings.ToLower(rand.Text()+rand.Text()))
	t := Token{
		Accessor: domain.NewID(AccessorPrefix), Tenant: s.Tenant, Path: s.Path, Maker: s.Maker, Wrapped: s.Wrapped, Parent: s.Parent,
		Shape: s.Shape, Created: now.UTC(), Expires: now.Add(s.TTL).UTC(),
	}
	aead, err := t.aead(text)
	if err != nil {
		return none(err)
	}
	sealed, err := aead.Encrypt(s.Content.Reveal(), t.context())
	if err != nil {
		return none(domain.Errorf(domain.Internal, "wrapping an answer: %w", err))
	}
	t.Size = len(sealed)
	if err := admit(tx, t); err != nil {
		return none(err)
	}
	hash := sha256.Sum256(text.Reveal())
	return text, t, errors.Join(put(tx, hash[:], t), tx.Put(bucketContents, hash[:], sealed),
		tx.Put(bucketAccessors, within(t.Tenant, t.Accessor), hash[:]), tx.Put(bucketExpiries, expiryKey(t, hash[:]), nil))
}

// keyInfo binds the derived key to its purpose.
const keyInfo = "coffer/wrap/v1/content"

// aead is the one under the key that is derived from the token. Each key seals one
// answer.
func (t Token) aead(text domain.Secret) (tink.AEAD, error) {
	key, err := hkdf.Key(sha256.New, text.Reveal(), []byte(t.Accessor), keyInfo, 32)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "deriving the key of a wrapping token: %w", err)
	}
	defer clear(key)
	return aeadsubtle.NewAESGCM(key)
}

// context is the associated data of the content.
func (t Token) context() []byte {
	return []byte(keyInfo + "\x00" + string(t.Tenant) + "\x00" + t.Accessor)
}

// hashOf gives the key of a token's record.
func hashOf(text domain.Secret) ([]byte, bool) {
	if text.Len() != tokenLen || !strings.HasPrefix(string(text.Reveal()), Prefix) {
		return nil, false
	}
	hash := sha256.Sum256(text.Reveal())
	return hash[:], true
}

// Lookup finds a wrapping token that holds. One that was used is a *UsedError.
func Lookup(tx *store.Tx, text domain.Secret, now time.Time) (Token, error) {
	hash, ok := hashOf(text)
	if !ok {
		return Token{}, ErrUnknown
	}
	t, err := read(tx, hash)
	switch {
	case err != nil:
		return Token{}, err
	case t.Revoked:
		return Token{}, ErrUnknown
	case !t.Used.IsZero():
		return Token{}, &UsedError{t}
	case !now.Before(t.Expires):
		return Token{}, ErrUnknown
	}
	return t, nil
}

// Burn gives what a wrapping token holds, and removes it: once the transaction is
// durable nobody gets it again.
func Burn(tx *store.Tx, text domain.Secret, now time.Time) (Token, domain.Secret, error) {
	t, err := Lookup(tx, text, now)
	if err != nil {
		return Token{}, domain.Secret{}, err
	}
	hash, _ := hashOf(text)
	sealed, err := tx.Get(bucketContents, hash)
	if err != nil {
		return Token{}, domain.Secret{}, store.MalformedRecord("a wrapping token", err)
	}
	aead, err := t.aead(text)
	if err != nil {
		return Token{}, domain.Secret{}, err
	}
	plain, err := aead.Decrypt(sealed, t.context())
	if err != nil {
		return Token{}, domain.Secret{}, store.MalformedRecord("a wrapped answer", err)
	}
	if err := t.empty(tx, hash); err != nil {
		return Token{}, domain.Secret{}, err
	}
	t.Used = now.UTC()
	return t, domain.NewSecret(plain), put(tx, hash, t)
}

// Revoke takes a wrapping token back by its accessor.
func Revoke(tx *store.Tx, tenant domain.TenantID, accessor string, now time.Time) (Token, error) {
	t, hash, err := byAccessor(tx, tenant, accessor, now)
	if err != nil {
		return Token{}, err
	}
	if err := t.empty(tx, hash); err != nil {
		return Token{}, err
	}
	t.Revoked = true
	return t, put(tx, hash, t)
}

// ByAccessor finds a wrapping token that holds by its accessor.
func ByAccessor(tx *store.Tx, tenant domain.TenantID, accessor string, now time.Time) (Token, error) {
	t, _, err := byAccessor(tx, tenant, accessor, now)
	return t, err
}

func byAccessor(tx *store.Tx, tenant domain.TenantID, accessor string, now time.Time) (Token, []byte, error) {
	hash, err := tx.Get(bucketAccessors, within(tenant, accessor))
	if errors.Is(err, store.ErrNotFound) {
		return Token{}, nil, errNoAccessor()
	}
	if err != nil {
		return Token{}, nil, err
	}
	t, err := read(tx, hash)
	if err == nil && !t.holds(now) || errors.Is(err, ErrUnknown) {
		err = errNoAccessor()
	}
	return t, hash, err
}

func errNoAccessor() error {
	return domain.Errorf(domain.NotFound, "there is no wrapping token with that accessor")
}

// holds says whether the token can still be used.
func (t Token) holds(now time.Time) bool {
	return t.Used.IsZero() && !t.Revoked && now.Before(t.Expires)
}

// Page gives a tenant's wrapping tokens that hold, in the order of their accessors,
// from the one after `after` on, at most limit of those that keep picks.
func Page(tx *store.Tx, tenant domain.TenantID, now time.Time, after string, limit int, keep func(Token) bool) (out []Token, err error) {
	err = tx.Scan(bucketAccessors, within(tenant, ""), within(tenant, after), func(_, hash []byte) error {
		t, err := read(tx, hash)
		if err != nil || !t.holds(now) || !keep(t) {
			return err
		}
		if out = append(out, t); len(out) >= limit {
			return store.ErrStop
		}
		return nil
	})
	return out, err
}
