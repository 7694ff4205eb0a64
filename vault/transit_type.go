package vault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/aead/chacha20poly1305"
	"github.com/tink-crypto/tink-go/v2/aead/xchacha20poly1305"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac/hmac"
	tinkecdsa "github.com/tink-crypto/tink-go/v2/signature/ecdsa"
	tinked25519 "github.com/tink-crypto/tink-go/v2/signature/ed25519"
	"github.com/tink-crypto/tink-go/v2/signature/rsassapss"

	"coffer/app/domain"
)

// TransitType is what a transit key is for, by the names that Vault has.
type TransitType string

// The types. What a key encrypts or signs has the form that it has with Vault, so
// that nothing but the key is needed to read it elsewhere.
const (
	AES128GCM  TransitType = "aes128-gcm96"
	AES256GCM  TransitType = "aes256-gcm96"
	ChaCha20   TransitType = "chacha20-poly1305"
	XChaCha20  TransitType = "xchacha20-poly1305"
	Ed25519    TransitType = "ed25519"
	ECDSAP256  TransitType = "ecdsa-p256"
	ECDSAP384  TransitType = "ecdsa-p384"
	ECDSAP521  TransitType = "ecdsa-p521"
	RSA2048    TransitType = "rsa-2048"
	RSA3072    TransitType = "rsa-3072"
	RSA4096    TransitType = "rsa-4096"
	HMACOnly   TransitType = "hmac"
	transitTop             = AES256GCM // what is made if nothing is said
)

// transitParameters are those of Tink for each type; a function, for most of them
// have no other constructor than one that can fail.
var transitParameters = map[TransitType]func() (key.Parameters, error){
	AES128GCM: func() (key.Parameters, error) { return aesgcmParameters(16) },
	AES256GCM: func() (key.Parameters, error) { return aesgcmParameters(32) },
	ChaCha20: func() (key.Parameters, error) {
		return chacha20poly1305.NewParameters(chacha20poly1305.VariantNoPrefix)
	},
	XChaCha20: func() (key.Parameters, error) {
		return xchacha20poly1305.NewParameters(xchacha20poly1305.VariantNoPrefix)
	},
	Ed25519: func() (key.Parameters, error) {
		p, err := tinked25519.NewParameters(tinked25519.VariantNoPrefix)
		return &p, err
	},
	ECDSAP256: func() (key.Parameters, error) {
		return ecdsaParameters(tinkecdsa.NistP256, tinkecdsa.SHA256, tinkecdsa.DER)
	},
	ECDSAP384: func() (key.Parameters, error) {
		return ecdsaParameters(tinkecdsa.NistP384, tinkecdsa.SHA384, tinkecdsa.DER)
	},
	ECDSAP521: func() (key.Parameters, error) {
		return ecdsaParameters(tinkecdsa.NistP521, tinkecdsa.SHA512, tinkecdsa.DER)
	},
	RSA2048:  func() (key.Parameters, error) { return pssParameters(2048, rsassapss.SHA256, 32) },
	RSA3072:  func() (key.Parameters, error) { return pssParameters(3072, rsassapss.SHA256, 32) },
	RSA4096:  func() (key.Parameters, error) { return pssParameters(4096, rsassapss.SHA256, 32) },
	HMACOnly: nil, // it has the key for HMAC alone, which the others have besides
}

// TransitTypes lists the types by name.
func TransitTypes() (out []string) {
	for t := range transitParameters {
		out = append(out, string(t))
	}
	slices.Sort(out)
	return out
}

// ParseTransitType checks a type from outside; "" is the default.
func ParseTransitType(s string) (TransitType, error) {
	if s == "" {
		return transitTop, nil
	}
	if _, known := transitParameters[TransitType(s)]; !known {
		return "", domain.Fieldf("type", "unknown key type %.40q", s).WithHint("there are: %s", strings.Join(TransitTypes(), " "))
	}
	return TransitType(s), nil
}

// Encrypts says whether keys of the type encrypt and decrypt.
func (t TransitType) Encrypts() bool {
	return t == AES128GCM || t == AES256GCM || t == ChaCha20 || t == XChaCha20
}

// Signs says whether keys of the type sign and verify.
func (t TransitType) Signs() bool { return !t.Encrypts() && t != HMACOnly }

func aesgcmParameters(size int) (key.Parameters, error) {
	return aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: size, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantNoPrefix})
}

func ecdsaParameters(c tinkecdsa.CurveType, h tinkecdsa.HashType, e tinkecdsa.SignatureEncoding) (key.Parameters, error) {
	return tinkecdsa.NewParameters(c, h, e, tinkecdsa.VariantNoPrefix)
}

func pssParameters(bits int, h rsassapss.HashType, salt int) (*rsassapss.Parameters, error) {
	return rsassapss.NewParameters(rsassapss.ParametersValues{
		ModulusSizeBits: bits, SigHashType: h, MGF1HashType: h, PublicExponent: 65537, SaltLengthBytes: salt,
	}, rsassapss.VariantNoPrefix)
}

func hmacParameters(h hmac.HashType, tag int) (*hmac.Parameters, error) {
	return hmac.NewParameters(hmac.ParametersOpts{KeySizeInBytes: 32, TagSizeInBytes: tag, HashType: h, Variant: hmac.VariantNoPrefix})
}

// TransitMaterial is a new version of a key that is not kept yet. Making one can
// take seconds, so it is made before the store is held.
type TransitMaterial struct {
	kind   TransitType
	main   *keyset.Handle // nil for HMACOnly
	mac    *keyset.Handle
	public string
}

// NewTransitMaterial makes a version of a key of the type.
func NewTransitMaterial(t TransitType) (*TransitMaterial, error) {
	m := &TransitMaterial{kind: t}
	params, err := hmacParameters(hmac.SHA256, 32)
	if err != nil {
		return nil, err
	}
	if m.mac, err = newKeysetOf(params); err != nil {
		return nil, err
	}
	if t == HMACOnly {
		return m, nil
	}
	main, err := transitParameters[t]()
	if err != nil {
		return nil, err
	}
	if m.main, err = newKeysetOf(main); err != nil {
		return nil, err
	}
	if t.Signs() {
		m.public, err = publicText(m.main)
	}
	return m, err
}

// sets are the keysets of the version, by what each is for.
func (m *TransitMaterial) sets() map[transitUse]*keyset.Handle {
	out := map[transitUse]*keyset.Handle{useMAC: m.mac}
	if m.main != nil {
		out[useMain] = m.main
	}
	return out
}

// newKeysetOf makes a keyset with one new key.
func newKeysetOf(p key.Parameters) (*keyset.Handle, error) {
	m := keyset.NewManager()
	id, err := m.AddNewKeyFromParameters(p)
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return m.Handle()
}

// keysetOf makes a keyset of a key that is there.
func keysetOf(k key.Key) (*keyset.Handle, error) {
	m := keyset.NewManager()
	id, err := m.AddKey(k)
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return nil, err
	}
	return m.Handle()
}

// onlyKey is the one key of a keyset.
func onlyKey(h *keyset.Handle) (key.Key, error) {
	e, err := h.Primary()
	if err != nil {
		return nil, err
	}
	return e.Key(), nil
}

// publicText is the public part of a pair, as Vault shows it: PEM (SPKI, RFC 5280),
// or base64 for Ed25519.
func publicText(h *keyset.Handle) (string, error) {
	public, err := h.Public()
	if err != nil {
		return "", err
	}
	k, err := onlyKey(public)
	if err != nil {
		return "", err
	}
	var pub any
	switch k := k.(type) {
	case *tinked25519.PublicKey:
		return base64.StdEncoding.EncodeToString(k.KeyBytes()), nil
	case *tinkecdsa.PublicKey:
		pub, err = ecdsa.ParseUncompressedPublicKey(curves[len(k.PublicPoint())], k.PublicPoint())
		if err != nil {
			return "", err
		}
	case *rsassapss.PublicKey:
		pub = &rsa.PublicKey{N: new(big.Int).SetBytes(k.Modulus()), E: 65537}
	default:
		return "", domain.Errorf(domain.Internal, "a key of type %T has no public part", k)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// curves by the length of an uncompressed point.
var curves = map[int]elliptic.Curve{65: elliptic.P256(), 97: elliptic.P384(), 133: elliptic.P521()}
