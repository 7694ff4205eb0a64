package seal_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"coffer/app/domain"
	"coffer/vault/seal"
	"coffer/vault/seal/sealtest"
)

// withRaw talks to the TPM as another program would.
func withRaw(tb testing.TB, path string, f func(transport.TPM)) {
	tb.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	t := transport.FromReadWriteCloser(c)
	defer t.Close()
	f(t)
}

// wantNothingLoaded fails the test if an object or session was left behind.
func wantNothingLoaded(tb testing.TB, tpm *sealtest.TPM) {
	tb.Helper()
	withRaw(tb, tpm.Socket(), func(t transport.TPM) {
		for _, first := range []uint32{0x80000000, 0x02000000, 0x03000000} {
			rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 16}.Execute(t)
			if err != nil {
				tb.Fatal(err)
			}
			handles, err := rsp.CapabilityData.Data.Handles()
			if err != nil {
				tb.Fatal(err)
			}
			if len(handles.Handle) != 0 {
				tb.Errorf("left in the TPM: %x", handles.Handle)
			}
		}
	})
}

// tpmCase is a file with a TPM slot and a recovery slot.
type tpmCase struct {
	tpm      *sealtest.TPM
	path     string // of seal.json
	root     domain.Secret
	sealed   seal.Protector
	recovery seal.Protector
}

func newTPMCase(tb testing.TB, opts ...seal.TPMOption) *tpmCase {
	tb.Helper()
	c := &tpmCase{tpm: sealtest.StartTPM(tb)}
	c.sealed = mustTPM(tb, c.tpm.Path(), opts...)
	_, c.recovery = mustRecovery(tb)
	_, c.root, c.path = mustCreate(tb, c.sealed, c.recovery)
	return c
}

// refused checks the sentence, that nothing opened, that the recovery key
// opens all the same, and that nothing is left in a TPM that answers.
func (c *tpmCase) refused(tb testing.TB, p seal.Protector, kind domain.Kind, words string) {
	tb.Helper()
	refuses(tb, c.path, p, kind, words)
	opens(tb, c.path, c.recovery, c.root)
}

func TestTPMOpensAfterPowerCut(t *testing.T) {
	c := newTPMCase(t)
	for range 5 { // more than a dictionary-attack lockout takes
		c.tpm.Restart()
		opens(t, c.path, c.sealed, c.root)
	}
	wantNothingLoaded(t, c.tpm)
}

func TestTPMCleared(t *testing.T) {
	c := newTPMCase(t)
	c.tpm.Clear()
	c.refused(t, c.sealed, domain.Sealed, "another or cleared TPM")
	wantNothingLoaded(t, c.tpm)

	// The way out that the hint names.
	f := mustLoad(t, c.path)
	old := f.Status()[0]
	if _, err := f.Replace(context.Background(), change(2), c.root, old.ID, seal.Enrolment{Name: "again", By: c.sealed}); err != nil {
		t.Fatal(err)
	}
	opens(t, c.path, c.sealed, c.root)
}

func TestTPMReplaced(t *testing.T) {
	c := newTPMCase(t)
	other := sealtest.StartTPM(t)
	c.refused(t, mustTPM(t, other.Path()), domain.Sealed, "another or cleared TPM")
	wantNothingLoaded(t, other)
}

func TestTPMBlobChanged(t *testing.T) {
	c := newTPMCase(t)
	raw := mustRead(t, c.path)

	at := bytes.Index(raw, []byte("PRIVATE KEY-----")) + 200
	flipped := bytes.Clone(raw)
	flipped[at] ^= 1
	mustWrite(t, c.path, flipped)
	if _, err := seal.Load(c.path); domain.KindOf(err) != domain.Tampered {
		t.Errorf("a flipped bit in the file: %v", err)
	}

	// With checksum and MAC made right again the TPM itself must refuse.
	forged, err := seal.Forge(raw, c.root, func(b *seal.Body) {
		b.Slots[0].Params = flipPrivate(t, b.Slots[0].Params)
	})
	mustWrite(t, c.path, must(t, forged, err))
	c.refused(t, c.sealed, domain.Sealed, "another or cleared TPM")
	wantNothingLoaded(t, c.tpm)
}

func TestTPMBootStateChanged(t *testing.T) {
	c := newTPMCase(t, seal.WithPCRs(7))
	if s := mustLoad(t, c.path).Status()[0]; s.Detail != "this machine's TPM, boot state PCR 7" || !slices.Equal(s.PCRs, []int{7}) {
		t.Errorf("detail %q, registers %v", s.Detail, s.PCRs)
	}
	// What is sealed to a register opens with a protector that names none.
	opens(t, c.path, mustTPM(t, c.tpm.Path()), c.root)
	extendPCR(t, c.tpm, 7)
	c.refused(t, c.sealed, domain.Sealed, "the boot state changed")
	wantNothingLoaded(t, c.tpm)

	c.tpm.Restart() // the registers start anew
	opens(t, c.path, c.sealed, c.root)
	extendPCR(t, c.tpm, 8) // not among those chosen
	opens(t, c.path, c.sealed, c.root)
}

func TestTPMPCRsAreChecked(t *testing.T) {
	for _, bad := range [][]int{{-1}, {24}, {7, 7}, {0, 1, 2, 3, 4, 5, 6, 7, 8}} {
		if _, err := seal.NewTPM(seal.DefaultTPM, seal.WithPCRs(bad...)); domain.KindOf(err) != domain.Invalid {
			t.Errorf("PCRs %v: %v", bad, err)
		}
	}
	c := newTPMCase(t, seal.WithPCRs(8, 0, 1, 2, 3, 4, 5, 7))
	extendPCR(t, c.tpm, 4)
	c.refused(t, c.sealed, domain.Sealed, "the boot state changed")
}

func TestTPMOwnerPassword(t *testing.T) {
	c := newTPMCase(t)
	password := []byte("owner-password")
	setOwnerAuth(t, c.tpm, password)
	with := func(p []byte) seal.Protector {
		return mustTPM(t, c.tpm.Path(), seal.WithOwnerAuth(domain.NewSecret(p)))
	}

	c.refused(t, c.sealed, domain.Unavailable, "owner hierarchy")
	c.refused(t, with([]byte("wrong")), domain.Unavailable, "owner hierarchy")
	wantError(t, seal.Probe(context.Background(), c.tpm.Path()), domain.Unavailable, "owner hierarchy")
	opens(t, c.path, with(password), c.root)

	// Provisioned as the hint says, the password is not needed any more: for
	// the old slot, because the template makes the same key, and for new ones.
	provision(t, c.tpm, password)
	if err := seal.Probe(context.Background(), c.tpm.Path()); err != nil {
		t.Error(err)
	}
	opens(t, c.path, c.sealed, c.root)
	_, root, path := mustCreate(t, c.sealed)
	c.tpm.Restart()
	opens(t, path, c.sealed, root)
	wantNothingLoaded(t, c.tpm)

	// A slot made under the persistent key outlives that key.
	evict(t, c.tpm, password)
	opens(t, path, with(password), root)
	refuses(t, path, c.sealed, domain.Unavailable, "owner hierarchy")
}

// TestTPMPersistentKeyOfOthers has something else at 0x81000001.
func TestTPMPersistentKeyOfOthers(t *testing.T) {
	for name, template := range map[string]tpm2.TPMTPublic{
		"storage key from other input": tpm2.ECCSRKTemplate, "RSA": tpm2.RSASRKTemplate,
	} {
		c := newTPMCase(t)
		provisionTemplate(t, c.tpm, nil, template)
		opens(t, c.path, c.sealed, c.root)
		setOwnerAuth(t, c.tpm, []byte("password"))
		c.refused(t, c.sealed, domain.Unavailable, "owner hierarchy")
		err := seal.Probe(context.Background(), c.tpm.Path())
		if usable := err == nil; usable != (template.Type == tpm2.TPMAlgECC) {
			t.Errorf("%s: %v", name, err)
		}
		wantNothingLoaded(t, c.tpm)
	}
}

func TestTPMLockoutDoesNotMatter(t *testing.T) {
	c := newTPMCase(t)
	lockOut(t, c.tpm)
	opens(t, c.path, c.sealed, c.root)
	_, root, path := mustCreate(t, c.sealed)
	opens(t, path, c.sealed, root)
}

func TestTPMRawDeviceBusy(t *testing.T) {
	c := newTPMCase(t)
	withRaw(t, c.tpm.Socket(), func(tpm transport.TPM) {
		for range 3 { // swtpm has room for three objects
			loadPrimary(t, tpm, nil)
		}
	})
	c.refused(t, c.sealed, domain.Unavailable, "busy with other programs")
}

// TestTPMRefusals has the causes that need a TPM which answers as told.
func TestTPMRefusals(t *testing.T) {
	c := newTPMCase(t)
	for _, tc := range []struct {
		cc    tpm2.TPMCC
		code  tpm2.TPMRC
		kind  domain.Kind
		words string
	}{
		{tpm2.TPMCCLoad, tpm2.TPMRCLockout, domain.Unavailable, "lockout"},
		{tpm2.TPMCCStartAuthSession, tpm2.TPMRCSessionMemory, domain.Unavailable, "busy with other programs"},
		{tpm2.TPMCCLoad, tpm2.TPMRCIntegrity | 0x1c0, domain.Sealed, "another or cleared TPM"},
		{tpm2.TPMCCCreatePrimary, tpm2.TPMRCBadAuth | 0x900, domain.Unavailable, "owner hierarchy"},
		{tpm2.TPMCCCreatePrimary, tpm2.TPMRCFailure, domain.Unavailable, "failed"},
		{tpm2.TPMCCUnseal, tpm2.TPMRCPolicyFail | 0x900, domain.Sealed, "the boot state changed"},
	} {
		c.tpm.Restart() // forget what the lies below make the client leave
		tap := startTap(t, c.tpm)
		tap.setMeddle(func(cc tpm2.TPMCC, response []byte) []byte {
			if cc == tc.cc {
				return rc(tc.code)
			}
			return response
		})
		c.refused(t, mustTPM(t, tap.Path()), tc.kind, tc.words)
	}
}

func TestTPMRetriesAndFragments(t *testing.T) {
	c := newTPMCase(t)
	tap := startTap(t, c.tpm)
	tap.fragment = true
	refusals := 2
	tap.setMeddle(func(cc tpm2.TPMCC, response []byte) []byte {
		if cc == tpm2.TPMCCReadPublic && refusals > 0 {
			refusals--
			return rc(tpm2.TPMRCRetry)
		}
		if cc == tpm2.TPMCCCreatePrimary && refusals > 0 {
			return rc(tpm2.TPMRCBadAuth | 0x900) // lead it to ReadPublic
		}
		return response
	})
	provision(t, c.tpm, nil)
	opens(t, c.path, mustTPM(t, tap.Path()), c.root)
	if refusals != 0 {
		t.Errorf("%d refusals were not met", refusals)
	}
}

// TestTPMBusIsNotTrusted changes answers on the bus.
func TestTPMBusIsNotTrusted(t *testing.T) {
	c := newTPMCase(t)
	for name, tc := range map[string]struct {
		cc    tpm2.TPMCC
		at    int // which byte is flipped, from the end if negative
		words string
	}{
		// The response's own Name still says the right one.
		"substituted storage key": {tpm2.TPMCCCreatePrimary, 10 + 4 + 4 + 2 + 40, "cannot be used|another or cleared"},
		"changed secret":          {tpm2.TPMCCUnseal, 10 + 4 + 2 + 5, "failed"},
		"changed authentication":  {tpm2.TPMCCUnseal, -1, "failed"},
	} {
		tap := startTap(t, c.tpm)
		tap.setMeddle(func(cc tpm2.TPMCC, response []byte) []byte {
			if cc == tc.cc {
				response[(tc.at+len(response))%len(response)] ^= 1
			}
			return response
		})
		f := mustLoad(t, c.path)
		root, _, err := f.Unlock(context.Background(), mustTPM(t, tap.Path()))
		if err == nil || root.Len() != 0 {
			t.Errorf("%s: it opened", name)
		} else if !anyOf(err.Error(), tc.words) {
			t.Errorf("%s: %v, want %s", name, err, tc.words)
		}
	}
}

func TestTPMNothingInClearOnTheBus(t *testing.T) {
	tpm := sealtest.StartTPM(t)
	tap := startTap(t, tpm)
	password := []byte("a-password-for-the-owner")
	setOwnerAuth(t, tpm, password)
	for _, pcrs := range [][]int{nil, {7}} {
		p := mustTPM(t, tap.Path(), seal.WithPCRs(pcrs...), seal.WithOwnerAuth(domain.NewSecret(bytes.Clone(password))))
		_, root, path := mustCreate(t, p)
		opens(t, path, p, root)
		key, err := seal.SlotKey(context.Background(), mustRead(t, path), p)
		if err != nil {
			t.Fatal(err)
		}
		for name, secret := range map[string][]byte{
			"root key": root.Reveal(), "slot key": key.Reveal(), "owner password": password,
		} {
			for _, part := range [][]byte{secret, secret[:8], secret[len(secret)-8:]} {
				if tap.saw(part) {
					t.Errorf("PCRs %v: the tap saw the %s", pcrs, name)
				}
			}
		}
	}
	if tap.recorded() < 4000 {
		t.Errorf("the tap recorded %d bytes: was it in the way?", tap.recorded())
	}

	// The tap would have seen it: the same with plain password sessions.
	in, out := []byte("sealed-in-the-clear-in-direction"), []byte(nil)
	withRaw(t, tap.path, func(raw transport.TPM) { out = plainRoundTrip(t, raw, password, in) })
	if !bytes.Equal(in, out) || !tap.saw(in) || !tap.saw(password) {
		t.Error("the tap missed a secret that crossed in clear")
	}
}

func TestTPMEnrolFails(t *testing.T) {
	f, root, path := mustCreate(t, mustKeyfile(t))
	before := mustRead(t, path)
	tpm := sealtest.StartTPM(t)
	tap := startTap(t, tpm)
	tap.setMeddle(func(cc tpm2.TPMCC, response []byte) []byte {
		if cc == tpm2.TPMCCUnseal {
			return rc(tpm2.TPMRCFailure)
		}
		return response
	})
	_, err := f.Add(context.Background(), change(2), root, seal.Enrolment{Name: "tpm", By: mustTPM(t, tap.Path())})
	if err == nil || !errors.Is(err, tpm2.TPMRCFailure) {
		t.Errorf("a slot that does not open was added: %v", err)
	}
	if !bytes.Equal(before, mustRead(t, path)) {
		t.Error("the file changed")
	}
}
