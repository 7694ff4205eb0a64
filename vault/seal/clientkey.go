package seal

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"coffer/app/domain"
)

// ClientForm is what a client-held key is: a passphrase or the bytes of a file.
// The names stand in keys.db.
type ClientForm string

// The forms of client-held keys.
const (
	ClientPassphrase ClientForm = "passphrase"
	ClientKeyfile    ClientForm = "keyfile"
)

// Argon2id is how a passphrase is stretched; it stands beside what is wrapped.
type Argon2id = argonParams

// ClientParams are what a client-held key is derived with, besides itself.
type ClientParams struct {
	Form   ClientForm `json:"form"`
	Salt   []byte     `json:"salt"`               // 32 random bytes
	Argon2 *Argon2id  `json:"argon2id,omitempty"` // of a passphrase
}

const labelClient = "coffer/v1/client-key/"

// NewClientParams draws a salt.
func NewClientParams(f ClientForm) (ClientParams, error) {
	p := ClientParams{Form: f, Salt: randomBytes(saltSize)}
	switch f {
	case ClientPassphrase:
		argon := newArgon()
		p.Argon2 = &argon
	case ClientKeyfile:
	default:
		return p, domain.Fieldf("form", "%.20q is no form of a client-held key", f).
			WithHint("one of %s, %s", ClientPassphrase, ClientKeyfile)
	}
	return p, nil
}

// Check refuses parameters that this package does not write.
func (p ClientParams) Check() error {
	if len(p.Salt) != saltSize {
		return fmt.Errorf("a salt of %d bytes instead of %d", len(p.Salt), saltSize)
	}
	switch {
	case p.Form == ClientKeyfile && p.Argon2 == nil:
		return nil
	case p.Form == ClientPassphrase && p.Argon2 != nil:
		raw, err := json.Marshal(p.Argon2)
		if err != nil {
			return err
		}
		return checkPassphrase(raw)
	}
	return fmt.Errorf("the form %.20q does not fit its parameters", p.Form)
}

// CheckClientKey refuses what is too weak to be a client-held key. A key file is
// given as its bytes.
func CheckClientKey(f ClientForm, key domain.Secret) error {
	if f == ClientPassphrase {
		_, err := NewPassphrase(key)
		return err
	}
	if n := key.Len(); n < MinKeyfile || n > MaxKeyfile || !varied(key.Reveal()) {
		return domain.Fieldf("key", "a key file holds %d to %d random bytes", MinKeyfile, MaxKeyfile).
			WithHint("make one: coffer client-key set --new-key-file FILE, or head -c 32 /dev/urandom > FILE")
	}
	return nil
}

// Derive gives the 32 bytes under which a tenant's key is wrapped.
func (p ClientParams) Derive(ctx context.Context, key domain.Secret) (domain.Secret, error) {
	if err := p.Check(); err != nil {
		return domain.Secret{}, err
	}
	if err := CheckClientKey(p.Form, key); err != nil {
		return domain.Secret{}, err
	}
	material := key
	if p.Form == ClientPassphrase {
		stretched, err := (&passphraseProtector{veil(key)}).derive(ctx, p.Salt, *p.Argon2)
		if err != nil {
			return domain.Secret{}, err
		}
		defer stretched.Zero()
		material = stretched
	}
	out, err := hkdf.Key(sha256.New, material.Reveal(), p.Salt, labelClient+string(p.Form), slotKeySize)
	if err != nil {
		return domain.Secret{}, err
	}
	return domain.NewSecret(out), nil
}
