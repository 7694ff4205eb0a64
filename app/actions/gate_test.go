package actions_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/vault/seal"
)

// TestGateAnswersWhileOpening: opening can take long, with a TPM that does not
// answer or with much to recover. Meanwhile status says "sealed", and so does
// everything else.
func TestGateAnswersWhileOpening(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "seal.key")
	if err := seal.CreateKeyfile(key); err != nil {
		t.Fatal(err)
	}
	by, err := seal.NewKeyfile(key, seal.DataDirectory)
	if err != nil {
		t.Fatal(err)
	}
	file, root, err := seal.Create(t.Context(), filepath.Join(dir, "seal.json"), seal.Change{At: time.Now()}, nil, seal.Enrolment{Name: "keyfile", By: by})
	if err != nil {
		t.Fatal(err)
	}
	root.Zero()
	opening, goOn, wrong := make(chan struct{}), make(chan struct{}), errors.New("the data is damaged")
	gate := actions.NewGate(file, actions.Machine{DataKeyfile: key}, func(context.Context, domain.Secret) (*actions.Service, error) {
		close(opening)
		<-goOn
		return nil, wrong
	})
	ended := make(chan error, 1)
	go func() {
		_, _, err := gate.Unseal(context.Background(), 1000, actions.UnsealIn{Kind: "keyfile"}, audit.Call{})
		ended <- err
	}()
	<-opening
	if s := gate.Status(); !s.Sealed || len(s.Slots) != 1 {
		t.Errorf("%+v", s)
	}
	if _, err := gate.Service(); !errors.Is(err, actions.ErrSealed) {
		t.Errorf("%v", err)
	}
	close(goOn)
	if err := <-ended; !errors.Is(err, wrong) {
		t.Errorf("%v", err)
	}
}
