package seal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"coffer/app/domain"
)

// Errors that the TPM itself does not give.
var (
	errAnotherTPM = errors.New("the storage key is not the one that the slot was made under")
	errOwnerAuth  = errors.New("the owner hierarchy has a password")
	errOddAnswer  = errors.New("the answer is not what was asked for")
)

// srkTemplate is the TCG's P-256 storage key (TPM v2.0 Provisioning Guidance,
// section 7.5.1) with an empty Unique field. go-tpm's ECCSRKTemplate has 32
// zero bytes there, which makes another key.
func srkTemplate() tpm2.TPMTPublic {
	pub := tpm2.ECCSRKTemplate
	pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	return pub
}

// storageKey is the parent of slots' keys, loaded or persistent.
type storageKey struct {
	handle    tpm2.TPMHandle
	pub       tpm2.TPMTPublic
	name      tpm2.TPM2BName // computed here: what the other side says proves nothing
	parent    int64
	transient bool
}

// pin is the storage key that must be found; the zero pin takes what there is.
type pin struct {
	name   []byte
	parent int64
}

func (p pin) accepts(k *storageKey) bool {
	return p.name == nil || bytes.Equal(p.name, k.name.Buffer)
}

// openStorageKey loads the primary key of the owner hierarchy, or, if that has
// a password that we were not given, uses the key that others put at
// 0x81000001. Nothing is made persistent. A key at the place that the pin names
// is tried first; the pinned name alone decides.
func openStorageKey(l *tpmLink, ownerAuth domain.Secret, want pin) (*storageKey, error) {
	if want.parent == parentPersistent {
		if k, err := persistentKey(l); err == nil && want.accepts(k) {
			return k, nil
		}
	}
	primary, err := primaryKey(l, ownerAuth)
	if err == nil {
		if want.accepts(primary) {
			return primary, nil
		}
		primary.close(l)
		return nil, errAnotherTPM
	}
	if !errors.Is(err, tpm2.TPMRCBadAuth) && !errors.Is(err, tpm2.TPMRCAuthFail) {
		return nil, fmt.Errorf("making the storage key: %w", err)
	}
	if k, perr := persistentKey(l); perr == nil && want.accepts(k) {
		return k, nil
	}
	return nil, fmt.Errorf("%w: %w", errOwnerAuth, err)
}

func primaryKey(l *tpmLink, ownerAuth domain.Secret) (*storageKey, error) {
	auth := tpm2.PasswordAuth(nil)
	if ownerAuth.Len() > 0 {
		auth = tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Auth(ownerAuth.Reveal()))
	}
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: auth},
		InPublic:      tpm2.New2B(srkTemplate()),
	}.Execute(l)
	if err != nil {
		return nil, err
	}
	k, err := checkedKey(rsp.ObjectHandle, rsp.OutPublic, parentOwner)
	if err != nil {
		flush(l, rsp.ObjectHandle)
	}
	return k, err
}

func persistentKey(l *tpmLink) (*storageKey, error) {
	handle := tpm2.TPMHandle(parentPersistent)
	rsp, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(l)
	if err != nil {
		return nil, err
	}
	return checkedKey(handle, rsp.OutPublic, parentPersistent)
}

// checkedKey refuses a key that is not a storage key of our template.
func checkedKey(h tpm2.TPMHandle, public tpm2.TPM2BPublic, parent int64) (*storageKey, error) {
	pub, err := public.Contents()
	if err != nil {
		return nil, err
	}
	want, got := srkTemplate(), *pub
	got.Unique = want.Unique // of the same type only: go-tpm panics otherwise
	if pub.Type != want.Type || !bytes.Equal(tpm2.Marshal(got), tpm2.Marshal(want)) {
		return nil, fmt.Errorf("%w: %#x is not a P-256 storage key", errOddAnswer, uint32(h))
	}
	name, err := tpm2.ObjectName(pub)
	if err != nil {
		return nil, err
	}
	return &storageKey{handle: h, pub: *pub, name: *name, parent: parent, transient: parent == parentOwner}, nil
}

func (k *storageKey) close(l *tpmLink) {
	if k.transient {
		flush(l, k.handle)
	}
}

// flush frees an object or session. An error changes nothing for the caller:
// the resource manager frees it again when the link is closed.
func flush(l *tpmLink, h tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(l)
}

// salted is the option that keys a session to the storage key, so that nobody
// on the bus can read or forge what it protects.
func (k *storageKey) salted() tpm2.AuthOption { return tpm2.Salted(k.handle, k.pub) }

// authorized names the storage key with a session for its (empty) password.
func (k *storageKey) authorized(opts ...tpm2.AuthOption) tpm2.AuthHandle {
	return tpm2.AuthHandle{
		Handle: k.handle, Name: k.name,
		Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, append(opts, k.salted())...),
	}
}

// sealData makes a sealed data object. The key crosses the bus encrypted.
func sealData(l *tpmLink, srk *storageKey, pcrs []int, key domain.Secret) (*sealedBlob, error) {
	var policy []tpmKeyPolicy
	var authPolicy []byte
	if len(pcrs) > 0 {
		digest, err := readPCRs(l, srk, pcrs)
		if err != nil {
			return nil, fmt.Errorf("reading the boot state: %w", err)
		}
		if authPolicy, err = pcrPolicy(pcrs, digest); err != nil {
			return nil, err
		}
		policy = []tpmKeyPolicy{{
			Code:   int64(tpm2.TPMCCPolicyPCR),
			Policy: append(tpm2.Marshal(pcrSelection(pcrs)), digest...),
		}}
	}
	rsp, err := tpm2.Create{
		ParentHandle: srk.authorized(tpm2.AESEncryption(128, tpm2.EncryptIn)),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: key.Reveal()}),
		}},
		InPublic: tpm2.New2B(sealedTemplate(authPolicy)),
	}.Execute(l)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	pub, err := rsp.OutPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	if !sealedPublic(pub) || !bytes.Equal(pub.AuthPolicy.Buffer, authPolicy) {
		return nil, fmt.Errorf("sealing: %w", errOddAnswer)
	}
	return &sealedBlob{parent: srk.parent, public: *pub, private: rsp.OutPrivate.Buffer, policy: policy}, nil
}

// unsealData loads the object and reads it. The key crosses the bus encrypted.
func unsealData(l *tpmLink, srk *storageKey, b *sealedBlob, pcrs []int) (domain.Secret, error) {
	loaded, err := tpm2.Load{
		ParentHandle: srk.authorized(),
		InPrivate:    tpm2.TPM2BPrivate{Buffer: b.private},
		InPublic:     tpm2.New2B(b.public),
	}.Execute(l)
	if err != nil {
		return domain.Secret{}, fmt.Errorf("loading the sealed key: %w", err)
	}
	defer flush(l, loaded.ObjectHandle)
	name, err := tpm2.ObjectName(&b.public)
	if err != nil {
		return domain.Secret{}, err
	}
	encrypted := tpm2.AESEncryption(128, tpm2.EncryptOut)
	session := tpm2.HMAC(tpm2.TPMAlgSHA256, 16, srk.salted(), encrypted)
	if len(pcrs) > 0 {
		s, end, err := tpm2.PolicySession(l, tpm2.TPMAlgSHA256, 16, srk.salted(), encrypted)
		if err != nil {
			return domain.Secret{}, fmt.Errorf("opening a policy session: %w", err)
		}
		defer func() { _ = end() }() // see flush
		if _, err := (tpm2.PolicyPCR{PolicySession: s.Handle(), Pcrs: pcrSelection(pcrs)}).Execute(l); err != nil {
			return domain.Secret{}, fmt.Errorf("proving the boot state: %w", err)
		}
		session = s
	}
	rsp, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{
		Handle: loaded.ObjectHandle, Name: *name, Auth: session,
	}}.Execute(l)
	if err != nil {
		return domain.Secret{}, fmt.Errorf("unsealing: %w", err)
	}
	if len(rsp.OutData.Buffer) != slotKeySize {
		return domain.Secret{}, fmt.Errorf("unsealing: %w", errOddAnswer)
	}
	return domain.NewSecret(rsp.OutData.Buffer), nil
}

func pcrSelection(pcrs []int) tpm2.TPMLPCRSelection {
	n := make([]uint, len(pcrs))
	for i, p := range pcrs {
		n[i] = uint(p)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{
		Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(n...),
	}}}
}

// readPCRs gives the digest over the registers' values. An audit session
// authenticates them: without it somebody on the bus could choose the state
// that the slot opens in.
func readPCRs(l *tpmLink, srk *storageKey, pcrs []int) ([]byte, error) {
	selection := pcrSelection(pcrs)
	rsp, err := tpm2.PCRRead{PCRSelectionIn: selection}.
		Execute(l, tpm2.HMAC(tpm2.TPMAlgSHA256, 16, srk.salted(), tpm2.Audit()))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(tpm2.Marshal(rsp.PCRSelectionOut), tpm2.Marshal(selection)) || len(rsp.PCRValues.Digests) != len(pcrs) {
		return nil, fmt.Errorf("%w: the TPM has no SHA-256 bank with %s", errOddAnswer, pcrNames(pcrs))
	}
	h := sha256.New()
	for _, d := range rsp.PCRValues.Digests {
		h.Write(d.Buffer)
	}
	return h.Sum(nil), nil
}

// pcrPolicy is the policy digest of one TPM2_PolicyPCR (part 3, section 23.7).
func pcrPolicy(pcrs []int, digest []byte) ([]byte, error) {
	c, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		return nil, err
	}
	cmd := tpm2.PolicyPCR{PcrDigest: tpm2.TPM2BDigest{Buffer: digest}, Pcrs: pcrSelection(pcrs)}
	if err := cmd.Update(c); err != nil {
		return nil, err
	}
	return c.Hash().Digest, nil
}
