package seal_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/vault/seal"
	"coffer/vault/seal/sealtest"
)

func TestAutoPlanFirstStart(t *testing.T) {
	none := seal.Probe(context.Background(), t.TempDir()+"/tpmrm0")
	for name, tc := range map[string]struct {
		s    seal.Surroundings
		want seal.Plan
	}{
		"TPM": {seal.Surroundings{Credential: true}, seal.Plan{Kind: seal.TPM, Enrol: true}},
		"credential": {
			seal.Surroundings{TPM: none, Credential: true},
			seal.Plan{
				Kind: seal.Keyfile, Sources: []seal.KeyfileSource{seal.Credential}, Enrol: true,
				Notices: []string{"no TPM is used: " + none.Error()},
			},
		},
		"nothing": {
			seal.Surroundings{TPM: none},
			seal.Plan{
				Kind: seal.Keyfile, Sources: []seal.KeyfileSource{seal.DataDirectory}, Enrol: true,
				Notices: []string{"no TPM is used: " + none.Error(), seal.WarnKeyfileInDataDirectory},
			},
		},
	} {
		got, err := seal.AutoPlan(nil, tc.s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAutoPlanEnrolled(t *testing.T) {
	tpm := sealtest.StartTPM(t)
	sealed := mustTPM(t, tpm.Path())
	_, recovery := mustRecovery(t)
	pass, keyfile := mustPassphrase(t, testPassphrase), mustKeyfile(t)
	beside, err := seal.NewKeyfile(keyPath(t), seal.DataDirectory)
	must(t, beside, err)
	none := seal.Probe(context.Background(), t.TempDir()+"/tpmrm0")
	unused := "a TPM answers here and is not used; enrol it: coffer seal add tpm"
	for name, tc := range map[string]struct {
		slots []seal.Protector
		tpm   error
		want  seal.Plan
	}{
		"TPM":               {[]seal.Protector{keyfile, recovery, sealed}, nil, seal.Plan{Kind: seal.TPM}},
		"passphrase":        {[]seal.Protector{keyfile, pass}, none, seal.Plan{Kind: seal.Passphrase}},
		"unused TPM":        {[]seal.Protector{pass}, nil, seal.Plan{Kind: seal.Passphrase, Notices: []string{unused}}},
		"key file":          {[]seal.Protector{recovery, keyfile, keyfile}, none, seal.Plan{Kind: seal.Keyfile, Sources: []seal.KeyfileSource{seal.External}}},
		"key file besides":  {[]seal.Protector{beside, keyfile}, none, seal.Plan{Kind: seal.Keyfile, Sources: []seal.KeyfileSource{seal.DataDirectory, seal.External}, Notices: []string{seal.WarnKeyfileInDataDirectory}}},
		"recovery, no more": {[]seal.Protector{recovery}, none, seal.Plan{Kind: seal.Recovery}},
	} {
		f, _, _ := mustCreate(t, tc.slots...)
		got, err := seal.AutoPlan(f, seal.Surroundings{TPM: tc.tpm, Credential: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	// Sealed to a TPM that does not answer: nothing else is tried.
	f, _, _ := mustCreate(t, sealed, keyfile, recovery)
	got, err := seal.AutoPlan(f, seal.Surroundings{TPM: none, Credential: true})
	wantError(t, err, domain.Sealed, "no TPM here")
	if diff := cmp.Diff(seal.Plan{}, got); diff != "" {
		t.Errorf("a plan in spite of the error:\n%s", diff)
	}
	_, plain := seal.AutoPlan(f, seal.Surroundings{TPM: errors.New("no reason given")})
	for _, err := range []error{err, plain} {
		if !strings.Contains(domain.HintOf(err), "recovery key") {
			t.Errorf("hint %q", domain.HintOf(err))
		}
	}
}

func TestPermit(t *testing.T) {
	f, _, _ := mustCreate(t, mustPassphrase(t, testPassphrase), mustKeyfile(t))
	wantError(t, f.Permit(seal.Keyfile), domain.Conflict, "weaker")
	for _, k := range []seal.Kind{seal.TPM, seal.Passphrase, seal.Recovery} {
		if err := f.Permit(k); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
}

func TestKinds(t *testing.T) {
	want := []seal.Kind{seal.TPM, seal.Passphrase, seal.Keyfile, seal.Recovery}
	if diff := cmp.Diff(want, seal.Kinds()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, k := range want {
		if got, err := seal.ParseKind(string(k)); err != nil || got != k {
			t.Errorf("%s: %v, %v", k, got, err)
		}
		for j, o := range want {
			if k.StrongerThan(o) != (i < j) {
				t.Errorf("%s stronger than %s: %v", k, o, k.StrongerThan(o))
			}
		}
	}
	for _, bad := range []string{"", "TPM", "tpm ", "auto"} {
		_, err := seal.ParseKind(bad)
		wantError(t, err, domain.Invalid, "not a kind of seal")
	}
}
