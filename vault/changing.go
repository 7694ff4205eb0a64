package vault

import (
	"context"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/domain"
)

// changing is an AEAD whose keyset can be exchanged while it is in use. Keysets
// that follow each other have a key in common until nothing is left under the
// old one, so that whoever is in the midst of something goes on.
type changing struct{ now atomic.Pointer[tink.AEAD] }

func newChanging(a tink.AEAD) *changing {
	c := &changing{}
	c.become(a)
	return c
}

func (c *changing) become(a tink.AEAD) { c.now.Store(&a) }

// Encrypt implements tink.AEAD.
func (c *changing) Encrypt(plain, associated []byte) ([]byte, error) {
	return (*c.now.Load()).Encrypt(plain, associated)
}

// Decrypt implements tink.AEAD.
func (c *changing) Decrypt(sealed, associated []byte) ([]byte, error) {
	return (*c.now.Load()).Decrypt(sealed, associated)
}

// following is the AEAD of a tenant's secrets in the hands of somebody who may
// hold it while the keyset is rotated: it writes under the newest key, and reads
// what stands under the keys from when it was opened as well as under the newest.
type following struct {
	v    *Vault
	id   domain.TenantID
	own  tink.AEAD
	seen uint64 // v.renewed when own was unwrapped
}

func (v *Vault) following(id domain.TenantID, own tink.AEAD) tink.AEAD {
	v.mu.Lock()
	defer v.mu.Unlock()
	return &following{v, id, own, v.renewed[id]}
}

// newest is what is to be used now: own, unless the keyset changed since.
func (f *following) newest() (tink.AEAD, bool, error) {
	f.v.mu.Lock()
	same := f.v.renewed[f.id] == f.seen
	f.v.mu.Unlock()
	if same {
		return f.own, false, nil
	}
	k, err := f.v.openTenant(context.Background(), f.id)
	if err != nil {
		return nil, false, err
	}
	next, ok := k.secrets.(*following)
	if !ok {
		return k.secrets, true, nil
	}
	return next.own, true, nil
}

// Encrypt implements tink.AEAD.
func (f *following) Encrypt(plain, associated []byte) ([]byte, error) {
	a, _, err := f.newest()
	if err != nil {
		return nil, err
	}
	return a.Encrypt(plain, associated)
}

// Decrypt implements tink.AEAD.
func (f *following) Decrypt(sealed, associated []byte) ([]byte, error) {
	plain, err := f.own.Decrypt(sealed, associated)
	if err == nil {
		return plain, nil
	}
	a, changed, newErr := f.newest()
	if newErr != nil || !changed {
		return nil, err
	}
	return a.Decrypt(sealed, associated)
}
