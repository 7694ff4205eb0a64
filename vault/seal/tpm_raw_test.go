package seal_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"coffer/vault/seal"
	"coffer/vault/seal/sealtest"
)

// What other programs do with a TPM, with plain sessions.

func owner(password []byte) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(password)}
}

// loadPrimary makes the TCG's storage key, with an empty Unique field.
func loadPrimary(tb testing.TB, t transport.TPM, password []byte) *tpm2.CreatePrimaryResponse {
	tb.Helper()
	return loadTemplate(tb, t, password, storageTemplate())
}

func storageTemplate() tpm2.TPMTPublic {
	pub := tpm2.ECCSRKTemplate
	pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	return pub
}

func loadTemplate(tb testing.TB, t transport.TPM, password []byte, pub tpm2.TPMTPublic) *tpm2.CreatePrimaryResponse {
	tb.Helper()
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: owner(password), InPublic: tpm2.New2B(pub)}.Execute(t)
	return must(tb, rsp, err)
}

func unload(tb testing.TB, t transport.TPM, h tpm2.TPMHandle) {
	tb.Helper()
	_, err := tpm2.FlushContext{FlushHandle: h}.Execute(t)
	must(tb, h, err)
}

func setOwnerAuth(tb testing.TB, tpm *sealtest.TPM, password []byte) {
	tb.Helper()
	withRaw(tb, tpm.Socket(), func(t transport.TPM) {
		_, err := tpm2.HierarchyChangeAuth{
			AuthHandle: owner(nil), NewAuth: tpm2.TPM2BAuth{Buffer: password},
		}.Execute(t)
		must(tb, password, err)
	})
}

// provision puts the storage key at 0x81000001.
func provision(tb testing.TB, tpm *sealtest.TPM, password []byte) {
	tb.Helper()
	provisionTemplate(tb, tpm, password, storageTemplate())
}

func provisionTemplate(tb testing.TB, tpm *sealtest.TPM, password []byte, pub tpm2.TPMTPublic) {
	tb.Helper()
	withRaw(tb, tpm.Socket(), func(t transport.TPM) {
		k := loadTemplate(tb, t, password, pub)
		defer unload(tb, t, k.ObjectHandle)
		_, err := tpm2.EvictControl{
			Auth:             owner(password),
			ObjectHandle:     &tpm2.NamedHandle{Handle: k.ObjectHandle, Name: k.Name},
			PersistentHandle: 0x81000001,
		}.Execute(t)
		must(tb, k, err)
	})
}

func evict(tb testing.TB, tpm *sealtest.TPM, password []byte) {
	tb.Helper()
	withRaw(tb, tpm.Socket(), func(t transport.TPM) {
		pub, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(0x81000001)}.Execute(t)
		must(tb, pub, err)
		_, err = tpm2.EvictControl{
			Auth:             owner(password),
			ObjectHandle:     &tpm2.NamedHandle{Handle: 0x81000001, Name: pub.Name},
			PersistentHandle: 0x81000001,
		}.Execute(t)
		must(tb, pub, err)
	})
}

func extendPCR(tb testing.TB, tpm *sealtest.TPM, n uint32) {
	tb.Helper()
	withRaw(tb, tpm.Socket(), func(t transport.TPM) {
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(n), Auth: tpm2.PasswordAuth(nil)},
			Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
				{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)},
			}},
		}.Execute(t)
		must(tb, n, err)
	})
}

// makeSealed seals data with a password under a fresh storage key and loads it.
func makeSealed(tb testing.TB, t transport.TPM, ownerPassword, password, data []byte, noDA bool) tpm2.NamedHandle {
	tb.Helper()
	srk := loadPrimary(tb, t, ownerPassword)
	defer unload(tb, t, srk.ObjectHandle)
	parent := tpm2.AuthHandle{Handle: srk.ObjectHandle, Name: srk.Name, Auth: tpm2.PasswordAuth(nil)}
	made, err := tpm2.Create{
		ParentHandle: parent,
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			UserAuth: tpm2.TPM2BAuth{Buffer: password},
			Data:     tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: data}),
		}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, UserWithAuth: true, NoDA: noDA},
		}),
	}.Execute(t)
	must(tb, made, err)
	loaded, err := tpm2.Load{ParentHandle: parent, InPrivate: made.OutPrivate, InPublic: made.OutPublic}.Execute(t)
	must(tb, loaded, err)
	return tpm2.NamedHandle{Handle: loaded.ObjectHandle, Name: loaded.Name}
}

// plainRoundTrip seals and unseals data as naive programs do.
func plainRoundTrip(tb testing.TB, t transport.TPM, ownerPassword, data []byte) []byte {
	tb.Helper()
	h := makeSealed(tb, t, ownerPassword, nil, data, true)
	defer unload(tb, t, h.Handle)
	rsp, err := tpm2.Unseal{
		ItemHandle: tpm2.AuthHandle{Handle: h.Handle, Name: h.Name, Auth: tpm2.PasswordAuth(nil)},
	}.Execute(t)
	return must(tb, rsp, err).OutData.Buffer
}

// lockOut gives wrong passwords to an object of another program until the TPM
// is in dictionary-attack lockout.
func lockOut(tb testing.TB, tpm *sealtest.TPM) {
	tb.Helper()
	withRaw(tb, tpm.Socket(), func(t transport.TPM) {
		h := makeSealed(tb, t, nil, []byte("right"), []byte("data"), false)
		defer unload(tb, t, h.Handle)
		for range 100 {
			_, err := tpm2.Unseal{
				ItemHandle: tpm2.AuthHandle{Handle: h.Handle, Name: h.Name, Auth: tpm2.PasswordAuth([]byte("wrong"))},
			}.Execute(t)
			if errors.Is(err, tpm2.TPMRCLockout) {
				return
			}
		}
		tb.Fatal("the TPM does not go into lockout")
	})
}

// flipPrivate flips a bit in the private part of a TPM slot's sealed object.
func flipPrivate(tb testing.TB, params json.RawMessage) json.RawMessage {
	tb.Helper()
	text, err := seal.SealedPEM(params)
	must(tb, text, err)
	block, _ := pem.Decode([]byte(text))
	block.Bytes[len(block.Bytes)-1] ^= 1 // the private part is the last member
	fresh := string(pem.EncodeToMemory(block))
	old, _ := json.Marshal(text)
	changed, _ := json.Marshal(fresh)
	return json.RawMessage(strings.Replace(string(params), string(old), string(changed), 1))
}

// anyOf tells whether s contains one of the alternatives, parted by "|".
func anyOf(s, alternatives string) bool {
	for a := range strings.SplitSeq(alternatives, "|") {
		if strings.Contains(s, a) {
			return true
		}
	}
	return false
}
