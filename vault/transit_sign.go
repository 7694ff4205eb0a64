package vault

import (
	"encoding/base64"

	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac/hmac"
	tinkecdsa "github.com/tink-crypto/tink-go/v2/signature/ecdsa"
	"github.com/tink-crypto/tink-go/v2/signature/rsassapkcs1"
	"github.com/tink-crypto/tink-go/v2/signature/rsassapss"

	"coffer/app/domain"
)

// SignOptions choose among the signatures that a key can make, by the names that
// Vault has. Empty fields stand for what fits the key.
type SignOptions struct {
	Hash       string // sha2-256, sha2-384, sha2-512
	Algorithm  string // pss or pkcs1v15, for RSA
	Marshaling string // asn1, or jws for the form that RFC 7515 has
	Prehashed  bool   // refused: whoever signs a hash does not know what is signed
}

// sizes of the hashes in bytes, by name.
var hashSizes = map[string]int{"sha2-224": 28, "sha2-256": 32, "sha2-384": 48, "sha2-512": 64}

// ownHash is the hash of each type that signs; "" says that none is chosen.
var ownHash = map[TransitType]string{
	Ed25519: "", ECDSAP256: "sha2-256", ECDSAP384: "sha2-384", ECDSAP521: "sha2-512",
	RSA2048: "sha2-256", RSA3072: "sha2-256", RSA4096: "sha2-256",
}

// encoding is the base64 of a signature.
func (s SignOptions) encoding() *base64.Encoding {
	if s.Marshaling == "jws" {
		return base64.RawURLEncoding
	}
	return base64.StdEncoding
}

// signs completes the options for the key, and refuses those that it cannot have.
func (t *Transit) signs(s SignOptions) (SignOptions, error) {
	kind := t.Key.Type
	if !kind.Signs() {
		return s, badInput("name", "key type %s does not support signing", kind)
	}
	own := ownHash[kind]
	isRSA := kind == RSA2048 || kind == RSA3072 || kind == RSA4096
	if s.Hash == "" || own == "" { // Ed25519 has its own, whatever is said
		s.Hash = own
	}
	if s.Marshaling == "" {
		s.Marshaling = "asn1"
	}
	switch {
	case s.Prehashed:
		return s, badInput("prehashed", "prehashed input is not supported").WithHint("send the input itself: it is hashed here")
	case s.Hash != own && (!isRSA || hashSizes[s.Hash] < 32):
		return s, badInput("hash_algorithm", "hash algorithm %.20q is not supported with key type %s", s.Hash, kind).
			WithHint("leave it out for the one that fits the key")
	case s.Marshaling != "asn1" && s.Marshaling != "jws":
		return s, badInput("marshaling_algorithm", "invalid marshaling type %.20q", s.Marshaling)
	case !isRSA:
		s.Algorithm = "" // Vault does not look at it either
	case s.Algorithm == "":
		s.Algorithm = "pss"
	case s.Algorithm != "pss" && s.Algorithm != "pkcs1v15":
		return s, badInput("signature_algorithm", "unsupported signature algorithm %.20q", s.Algorithm)
	}
	return s, nil
}

// signingKeyset makes a keyset of the key, with the parameters that the options ask
// for: with Tink a key has its parameters for good, with Vault a request chooses.
func signingKeyset(t TransitType, k key.Key, s SignOptions) (*keyset.Handle, error) {
	var err error
	switch private := k.(type) {
	case *tinkecdsa.PrivateKey:
		if s.Marshaling == "jws" {
			k, err = asP1363(private)
		}
	case *rsassapss.PrivateKey:
		if s.Algorithm == "pkcs1v15" {
			k, err = asPKCS1(private, s.Hash)
		} else if s.Hash != ownHash[t] {
			k, err = asPSS(private, s.Hash)
		}
	}
	if err != nil {
		return nil, err
	}
	return keysetOf(k)
}

func asP1363(private *tinkecdsa.PrivateKey) (key.Key, error) {
	was, ok := private.Parameters().(*tinkecdsa.Parameters)
	if !ok {
		return nil, domain.Errorf(domain.Internal, "an ECDSA key has parameters of type %T", private.Parameters())
	}
	p, err := tinkecdsa.NewParameters(was.CurveType(), was.HashType(), tinkecdsa.IEEEP1363, tinkecdsa.VariantNoPrefix)
	if err != nil {
		return nil, err
	}
	return tinkecdsa.NewPrivateKey(private.PrivateKeyValue(), 0, p)
}

// modulus is the modulus of an RSA key, and its size in bits.
func modulus(private *rsassapss.PrivateKey) ([]byte, int, error) {
	public, err := private.PublicKey()
	if err != nil {
		return nil, 0, err
	}
	k, ok := public.(*rsassapss.PublicKey)
	if !ok {
		return nil, 0, domain.Errorf(domain.Internal, "an RSA key has a public part of type %T", public)
	}
	return k.Modulus(), len(k.Modulus()) * 8, nil
}

func asPSS(private *rsassapss.PrivateKey, hash string) (key.Key, error) {
	n, bits, err := modulus(private)
	if err != nil {
		return nil, err
	}
	h := map[string]rsassapss.HashType{"sha2-256": rsassapss.SHA256, "sha2-384": rsassapss.SHA384, "sha2-512": rsassapss.SHA512}[hash]
	p, err := pssParameters(bits, h, hashSizes[hash])
	if err != nil {
		return nil, err
	}
	public, err := rsassapss.NewPublicKey(n, 0, p)
	if err != nil {
		return nil, err
	}
	return rsassapss.NewPrivateKey(public, rsassapss.PrivateKeyValues{P: private.P(), Q: private.Q(), D: private.D()})
}

func asPKCS1(private *rsassapss.PrivateKey, hash string) (key.Key, error) {
	n, bits, err := modulus(private)
	if err != nil {
		return nil, err
	}
	h := map[string]rsassapkcs1.HashType{"sha2-256": rsassapkcs1.SHA256, "sha2-384": rsassapkcs1.SHA384, "sha2-512": rsassapkcs1.SHA512}[hash]
	p, err := rsassapkcs1.NewParameters(bits, h, 65537, rsassapkcs1.VariantNoPrefix)
	if err != nil {
		return nil, err
	}
	public, err := rsassapkcs1.NewPublicKey(n, 0, p)
	if err != nil {
		return nil, err
	}
	return rsassapkcs1.NewPrivateKey(public, rsassapkcs1.PrivateKeyValues{P: private.P(), Q: private.Q(), D: private.D()})
}

// macKeyset makes a keyset of the key for HMAC with a hash.
func macKeyset(k key.Key, hash string) (*keyset.Handle, error) {
	own, ok := k.(*hmac.Key)
	if !ok {
		return nil, domain.Errorf(domain.Internal, "a key for HMAC has type %T", k)
	}
	h, known := map[string]hmac.HashType{
		"": hmac.SHA256, "sha2-224": hmac.SHA224, "sha2-256": hmac.SHA256, "sha2-384": hmac.SHA384, "sha2-512": hmac.SHA512,
	}[hash]
	if !known {
		return nil, badInput("hash_algorithm", "unsupported algorithm %.20q for HMAC", hash)
	}
	size := hashSizes[hash]
	if hash == "" {
		size = hashSizes["sha2-256"]
	}
	p, err := hmacParameters(h, size)
	if err != nil {
		return nil, err
	}
	made, err := hmac.NewKey(own.KeyBytes(), p, 0)
	if err != nil {
		return nil, err
	}
	return keysetOf(made)
}
