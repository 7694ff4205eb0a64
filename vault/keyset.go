package vault

import (
	"bytes"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	aeadsubtle "github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/domain"
)

// RootKeySize is the root key's length in bytes.
const RootKeySize = 32

// rootAEAD makes the AEAD under which the root keyset is wrapped.
func rootAEAD(root domain.Secret) (tink.AEAD, error) {
	if root.Len() != RootKeySize {
		return nil, domain.Errorf(domain.Internal, "the root key has %d bytes instead of %d", root.Len(), RootKeySize)
	}
	return aeadsubtle.NewAESGCM(root.Reveal())
}

// newAEADKeyset makes a keyset with one AES-256-GCM key.
func newAEADKeyset() (*keyset.Handle, error) { return newKeyset(aead.AES256GCMKeyTemplate()) }

// newPRFKeyset makes a keyset with one HKDF-SHA-256 PRF key (RFC 5869).
func newPRFKeyset() (*keyset.Handle, error) { return newKeyset(prf.HKDFSHA256PRFKeyTemplate()) }

func newKeyset(t *tinkpb.KeyTemplate) (*keyset.Handle, error) {
	h, err := keyset.NewHandle(t)
	if err != nil {
		return nil, fmt.Errorf("making a keyset: %w", err)
	}
	return h, nil
}

// wrap encrypts a keyset under a key. The context says what the keyset is for
// and whose it is; a keyset moved to another place does not unwrap.
func wrap(h *keyset.Handle, under tink.AEAD, context string) ([]byte, error) {
	var b bytes.Buffer
	if err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), under, []byte(context)); err != nil {
		return nil, fmt.Errorf("wrapping the keyset %q: %w", context, err)
	}
	return b.Bytes(), nil
}

// unwrap is the inverse of wrap. Failure means that the bytes are not what was
// written, since the key that opens them has authenticated before.
func unwrap(b []byte, under tink.AEAD, context string) (*keyset.Handle, error) {
	h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(b)), under, []byte(context))
	if err != nil {
		return nil, domain.Errorf(domain.Tampered, "the wrapped keyset %q does not authenticate: %w", context, err)
	}
	return h, nil
}

// unwrapAEAD opens a wrapped AEAD keyset.
func unwrapAEAD(b []byte, under tink.AEAD, context string) (tink.AEAD, error) {
	h, err := unwrap(b, under, context)
	if err != nil {
		return nil, err
	}
	return aead.New(h)
}

// unwrapPRF opens a wrapped PRF keyset.
func unwrapPRF(b []byte, under tink.AEAD, context string) (*prf.Set, error) {
	h, err := unwrap(b, under, context)
	if err != nil {
		return nil, err
	}
	return prf.NewPRFSet(h)
}
