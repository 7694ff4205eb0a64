package seal

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// pemType and oidSealed are those of the ASN.1 Specification for TPM 2.0 Key
// Files (draft-bottomley-tpm2-keys): other tools can unseal a slot's key.
const pemType = "TSS2 PRIVATE KEY"

var oidSealed = asn1.ObjectIdentifier{2, 23, 133, 10, 1, 5}

// maxBlob bounds the PEM text of a slot, in bytes; real ones have about 400.
const maxBlob = 4 << 10

// Parents that a slot's key can hang under.
const (
	parentOwner      = int64(tpm2.TPMRHOwner) // a primary key made from our template
	parentPersistent = int64(0x81000001)      // the storage key that others provisioned
)

type tpmKeyFile struct {
	Type      asn1.ObjectIdentifier
	EmptyAuth bool           `asn1:"optional,explicit,tag:0"`
	Policy    []tpmKeyPolicy `asn1:"optional,explicit,tag:1"`
	Parent    int64
	Public    []byte // TPM2B_PUBLIC
	Private   []byte // TPM2B_PRIVATE
}

// tpmKeyPolicy is one policy command: its code, and what the command hashes
// into the policy after the code.
type tpmKeyPolicy struct {
	Code   int64  `asn1:"explicit,tag:0"`
	Policy []byte `asn1:"explicit,tag:1"`
}

// sealedBlob is a sealed data object as the TPM gave it.
type sealedBlob struct {
	parent  int64
	public  tpm2.TPMTPublic
	private []byte         // contents of TPM2B_PRIVATE
	policy  []tpmKeyPolicy // none, or one PolicyPCR
}

func (b *sealedBlob) encode() (string, error) {
	der, err := asn1.Marshal(tpmKeyFile{
		Type:      oidSealed,
		EmptyAuth: true,
		Policy:    b.policy,
		Parent:    b.parent,
		Public:    tpm2.Marshal(tpm2.New2B(b.public)),
		Private:   tpm2.Marshal(tpm2.TPM2BPrivate{Buffer: b.private}),
	})
	if err != nil {
		return "", fmt.Errorf("encoding the sealed object: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})), nil
}

// parseBlob accepts exactly what encode writes.
func parseBlob(text string) (*sealedBlob, error) {
	if len(text) > maxBlob {
		return nil, errors.New("too long")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != pemType || len(block.Headers) != 0 || len(rest) != 0 {
		return nil, fmt.Errorf("not one PEM block of type %s", pemType)
	}
	var k tpmKeyFile
	if rest, err := asn1.Unmarshal(block.Bytes, &k); err != nil || len(rest) != 0 {
		return nil, errors.New("not one ASN.1 TPMKey")
	}
	if !k.Type.Equal(oidSealed) || !k.EmptyAuth {
		return nil, errors.New("not a sealed data object without a password")
	}
	if k.Parent != parentOwner && k.Parent != parentPersistent {
		return nil, fmt.Errorf("parent %#x is unknown", k.Parent)
	}
	private, err := tpm2.Unmarshal[tpm2.TPM2BPrivate](k.Private)
	if err != nil {
		return nil, fmt.Errorf("private part: %w", err)
	}
	public2b, err := tpm2.Unmarshal[tpm2.TPM2BPublic](k.Public)
	if err != nil {
		return nil, fmt.Errorf("public part: %w", err)
	}
	public, err := public2b.Contents()
	if err != nil {
		return nil, fmt.Errorf("public part: %w", err)
	}
	b := &sealedBlob{parent: k.Parent, public: *public, private: private.Buffer, policy: k.Policy}
	if !sealedPublic(public) {
		return nil, errors.New("public part: not the template of a sealed key")
	}
	if again, err := b.encode(); err != nil || again != text {
		return nil, errNotCanonical
	}
	return b, nil
}

// boundTo is true if the object opens under exactly these registers' policy,
// or, for none, without any.
func (b *sealedBlob) boundTo(pcrs []int) bool {
	if len(pcrs) == 0 {
		return len(b.policy) == 0 && len(b.public.AuthPolicy.Buffer) == 0
	}
	if len(b.policy) != 1 || b.policy[0].Code != int64(tpm2.TPMCCPolicyPCR) {
		return false
	}
	selection := tpm2.Marshal(pcrSelection(pcrs))
	digest, found := bytes.CutPrefix(b.policy[0].Policy, selection)
	if !found || len(digest) != 32 {
		return false
	}
	want, err := pcrPolicy(pcrs, digest)
	return err == nil && bytes.Equal(want, b.public.AuthPolicy.Buffer)
}

// sealedTemplate is the public area of a slot's key: bound to this TPM and its
// parent, outside the dictionary-attack protection (power cuts count there as
// failures), and usable by policy alone if there is one.
func sealedTemplate(policy []byte) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgKeyedHash,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, NoDA: true,
			UserWithAuth: len(policy) == 0,
		},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policy},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{
			Scheme: tpm2.TPMTKeyedHashScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{}),
	}
}

// sealedPublic is true if pub differs from the template in nothing but what
// the TPM fills in.
func sealedPublic(pub *tpm2.TPMTPublic) bool {
	want := sealedTemplate(pub.AuthPolicy.Buffer)
	got := *pub
	got.Unique = want.Unique // of the same type only: go-tpm panics otherwise
	return pub.Type == want.Type && bytes.Equal(tpm2.Marshal(got), tpm2.Marshal(want))
}
