package vault

import (
	"errors"
	"slices"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/domain"
	"coffer/app/store"
)

// transitUse is what one of a version's keysets is for; it ends the row's key.
type transitUse byte

// The uses. No key is used for two of them.
const (
	useMain transitUse = iota // to encrypt, or to sign
	useMAC                    // HMAC
)

// transitPurposes are the purposes under which the keysets are sealed.
var transitPurposes = [...]string{useMain: "transit-key", useMAC: "transit-mac"}

// purpose is the one of a use; that of none is one under which nothing is sealed.
func (u transitUse) purpose() string {
	if int(u) >= len(transitPurposes) {
		return "transit-unknown"
	}
	return transitPurposes[u]
}

// sealKeyset encrypts a keyset so that the bytes are a ciphertext of the AEAD as any
// other, and can be sealed anew without being looked into.
func sealKeyset(h *keyset.Handle, under tink.AEAD, ad []byte) ([]byte, error) {
	var b bareKeyset
	if err := h.WriteWithAssociatedData(&b, under, ad); err != nil {
		return nil, err
	}
	return b, nil
}

// bareKeyset is the ciphertext of a keyset without the envelope that Tink puts
// around it.
type bareKeyset []byte

// WriteEncrypted implements keyset.Writer.
func (s *bareKeyset) WriteEncrypted(k *tinkpb.EncryptedKeyset) error {
	*s = slices.Clone(k.GetEncryptedKeyset())
	return nil
}

// Write implements keyset.Writer. Nothing is ever written in the clear.
func (*bareKeyset) Write(*tinkpb.Keyset) error { return errors.ErrUnsupported }

// ReadEncrypted implements keyset.Reader.
func (s *bareKeyset) ReadEncrypted() (*tinkpb.EncryptedKeyset, error) {
	return &tinkpb.EncryptedKeyset{EncryptedKeyset: *s}, nil
}

// Read implements keyset.Reader.
func (*bareKeyset) Read() (*tinkpb.Keyset, error) { return nil, errors.ErrUnsupported }

// openedVersion is one version of a key, unwrapped. What is made of it is kept:
// Tink checks a key whenever it makes a signer of one, which takes longer than to
// sign.
type openedVersion struct {
	aead tink.AEAD // nil unless it encrypts
	main key.Key   // of one that signs
	mac  key.Key

	mu      sync.Mutex
	signers map[SignOptions]tink.Signer
	checks  map[SignOptions]tink.Verifier
	macs    map[string]tink.MAC // by hash
}

// signer makes a signer for the options, or finds it.
func (o *openedVersion) signer(t TransitType, s SignOptions) (tink.Signer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if found := o.signers[s]; found != nil {
		return found, nil
	}
	h, err := signingKeyset(t, o.main, s)
	if err != nil {
		return nil, err
	}
	made, err := signature.NewSigner(h)
	if err == nil {
		o.signers[s] = made
	}
	return made, err
}

// verifier is signer's counterpart.
func (o *openedVersion) verifier(t TransitType, s SignOptions) (tink.Verifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if found := o.checks[s]; found != nil {
		return found, nil
	}
	h, err := signingKeyset(t, o.main, s)
	if err != nil {
		return nil, err
	}
	public, err := h.Public()
	if err != nil {
		return nil, err
	}
	made, err := signature.NewVerifier(public)
	if err == nil {
		o.checks[s] = made
	}
	return made, err
}

// hmac makes an HMAC with the hash, or finds it.
func (o *openedVersion) hmac(hash string) (tink.MAC, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if found := o.macs[hash]; found != nil {
		return found, nil
	}
	h, err := macKeyset(o.mac, hash)
	if err != nil {
		return nil, err
	}
	made, err := mac.New(h)
	if err == nil {
		o.macs[hash] = made
	}
	return made, err
}

// Transit is a tenant's key in the hands of one permit: the versions that were asked
// for. It does what the permit is for and nothing else.
type Transit struct {
	Key    TransitKey
	action domain.Action
	opened map[int]*openedVersion
}

// Transit opens the versions of the grant's key that are needed, 0 being the latest.
// One that there is not, or that must not be used, is told of by what needs it.
func (c *Coffer) Transit(tx *store.Tx, need []int) (*Transit, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := c.permit.Check(c.id, transitUses...); err != nil {
		return nil, err
	}
	name, k, err := c.transit(tx)
	if err != nil {
		return nil, err
	}
	t := &Transit{Key: k, action: c.permit.Action(), opened: map[int]*openedVersion{}}
	for _, n := range need {
		if n == 0 {
			n = k.Latest
		}
		if t.opened[n] != nil || n < k.MinAvailable || n > k.Latest {
			continue
		}
		if t.opened[n], err = c.openVersion(tx, name, k, n); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// openVersion unwraps a version, or finds it in memory.
func (c *Coffer) openVersion(tx *store.Tx, name []byte, k TransitKey, n int) (*openedVersion, error) {
	at := transitAt{k.ID, n}
	if o := c.keys.openedTransit(at); o != nil {
		return o, nil
	}
	o := &openedVersion{signers: map[SignOptions]tink.Signer{}, checks: map[SignOptions]tink.Verifier{}, macs: map[string]tink.MAC{}}
	h, err := c.readKeyset(tx, name, n, useMAC)
	if err != nil {
		return nil, err
	}
	if o.mac, err = onlyKey(h); err != nil {
		return nil, err
	}
	if k.Type != HMACOnly {
		if h, err = c.readKeyset(tx, name, n, useMain); err != nil {
			return nil, err
		}
		if k.Type.Encrypts() {
			o.aead, err = aead.New(h)
		} else {
			o.main, err = onlyKey(h)
		}
		if err != nil {
			return nil, err
		}
	}
	c.keys.keepTransit(at, o)
	return o, nil
}

func (c *Coffer) readKeyset(tx *store.Tx, name []byte, n int, use transitUse) (*keyset.Handle, error) {
	b, err := tx.Get(bucketTransitKeys, c.transitKey(name, n, use))
	if errors.Is(err, store.ErrNotFound) {
		return nil, tampered("a version of a transit key") // what is known of the key says that it is there
	}
	if err != nil {
		return nil, err
	}
	sealed := bareKeyset(b)
	h, err := keyset.ReadWithAssociatedData(&sealed, c.keys.secrets, c.keys.associate(use.purpose(), name, n))
	if err != nil {
		return nil, tampered("a version of a transit key")
	}
	return h, nil
}

// mostOpenTransit bounds how many versions of keys are kept in memory of a tenant.
const mostOpenTransit = 256

// transitAt names a version of a key for ever.
type transitAt struct {
	id      string
	version int
}

// transitCache holds a tenant's versions that were unwrapped. It goes with the
// tenant's other keys when those are forgotten.
type transitCache struct {
	mu     sync.Mutex
	opened map[transitAt]*openedVersion
}

func (k *tenantKeys) openedTransit(at transitAt) *openedVersion {
	k.transit.mu.Lock()
	defer k.transit.mu.Unlock()
	return k.transit.opened[at]
}

func (k *tenantKeys) keepTransit(at transitAt, o *openedVersion) {
	k.transit.mu.Lock()
	defer k.transit.mu.Unlock()
	if k.transit.opened == nil || len(k.transit.opened) >= mostOpenTransit {
		k.transit.opened = map[transitAt]*openedVersion{}
	}
	k.transit.opened[at] = o
}

// forgetTransit drops all of them, when some are destroyed.
func (k *tenantKeys) forgetTransit() {
	k.transit.mu.Lock()
	defer k.transit.mu.Unlock()
	k.transit.opened = nil
}
