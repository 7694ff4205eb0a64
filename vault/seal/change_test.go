package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/vault/seal"
)

func TestCreate(t *testing.T) {
	_, recovery := mustRecovery(t)
	keyfile := mustKeyfile(t)
	path := filepath.Join(t.TempDir(), "seal.json")
	c := seal.Change{ID: seal.ChangeID{1, 2, 3}, At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))}
	f, root, err := seal.Create(context.Background(), path, c, func(r domain.Secret, instance string) ([]byte, error) {
		if r.Len() != seal.RootSize || len(instance) != 26 {
			t.Errorf("wrap got %d bytes and instance %q", r.Len(), instance)
		}
		return []byte{0, 255}, nil
	}, enrolments(keyfile, recovery)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*seal.File{f, mustLoad(t, path)} {
		want := seal.Change{ID: c.ID, At: time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)}
		if diff := cmp.Diff(want, f.LastChange()); diff != "" {
			t.Errorf("last change (-want +got):\n%s", diff)
		}
		if f.Generation() != 1 || !bytes.Equal(f.Payload(), []byte{0, 255}) || len(f.Instance()) != 26 {
			t.Errorf("generation %d, payload %x, instance %q", f.Generation(), f.Payload(), f.Instance())
		}
		if !f.Has(seal.Keyfile) || !f.Has(seal.Recovery) || f.Has(seal.TPM) || f.Strongest() != seal.Keyfile {
			t.Errorf("slots %+v, strongest %s", f.Status(), f.Strongest())
		}
	}
	opens(t, path, keyfile, root)
	opens(t, path, recovery, root)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if bytes.Contains(mustRead(t, path), root.Reveal()) {
		t.Error("the root key is in the file")
	}

	before := mustRead(t, path)
	_, _, err = seal.Create(context.Background(), path, c, nil, enrolments(keyfile)...)
	wantError(t, err, domain.Conflict, "there are key slots already")
	if !bytes.Equal(before, mustRead(t, path)) {
		t.Error("the file was overwritten")
	}
}

func TestCreateFails(t *testing.T) {
	keyfile := mustKeyfile(t)
	broken := errors.New("wrap is broken")
	for name, tc := range map[string]struct {
		wrap  seal.Wrap
		slots []seal.Enrolment
	}{
		"no slots":      {nil, nil},
		"bad name":      {nil, []seal.Enrolment{{Name: "Not A Name", By: keyfile}}},
		"name twice":    {nil, []seal.Enrolment{{Name: "a", By: keyfile}, {Name: "a", By: keyfile}}},
		"wrap fails":    {func(domain.Secret, string) ([]byte, error) { return nil, broken }, enrolments(keyfile)},
		"large payload": {func(domain.Secret, string) ([]byte, error) { return make([]byte, seal.MaxPayload+1), nil }, enrolments(keyfile)},
	} {
		path := filepath.Join(t.TempDir(), "seal.json")
		_, root, err := seal.Create(context.Background(), path, change(1), tc.wrap, tc.slots...)
		if err == nil || root.Len() != 0 {
			t.Errorf("%s: made", name)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a file was left", name)
		}
	}
}

func TestWriteFails(t *testing.T) {
	p := mustKeyfile(t)
	gone := filepath.Join(t.TempDir(), "gone", "seal.json")
	_, _, err := seal.Create(context.Background(), gone, change(1), nil, enrolments(p)...)
	wantError(t, err, domain.Unavailable, "could not be written")

	f, root, path := mustCreate(t, p)
	if err := os.Chmod(filepath.Dir(path), 0o500); err != nil {
		t.Fatal(err)
	}
	before := mustRead(t, path)
	if os.Geteuid() != 0 { // root may write all the same
		wantError(t, f.SetPayload(change(2), root, nil), domain.Unavailable, "could not be written")
	}
	if !bytes.Equal(before, mustRead(t, path)) {
		t.Error("the file changed")
	}
}

func TestRemoveRules(t *testing.T) {
	_, recovery := mustRecovery(t)
	f, root, path := mustCreate(t, mustKeyfile(t), mustPassphrase(t, testPassphrase), recovery)
	ids := map[seal.Kind]string{}
	for _, s := range f.Status() {
		ids[s.Kind] = s.ID
	}
	wantError(t, f.Remove(change(2), root, ids[seal.Recovery]), domain.Conflict, "only recovery key")
	wantError(t, f.Remove(change(2), root, domain.NewID("")), domain.NotFound, "no key slot")
	if err := f.Remove(change(3), root, ids[seal.Keyfile]); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.Remove(change(4), root, ids[seal.Passphrase]), domain.Conflict, "the last one beside the recovery key")
	if got := mustLoad(t, path); got.Generation() != 2 || got.LastChange().ID != change(3).ID || len(got.Status()) != 2 {
		t.Errorf("generation %d, change %x, slots %+v", got.Generation(), got.LastChange().ID, got.Status())
	}
}

func TestChangeNeedsTheRoot(t *testing.T) {
	p := mustKeyfile(t)
	f, root, path := mustCreate(t, p)
	before := mustRead(t, path)
	for name, wrong := range map[string]domain.Secret{
		"empty": {}, "zeros": domain.NewSecret(make([]byte, 32)), "short": domain.NewSecret(root.Reveal()[:31]),
	} {
		_, err := f.Add(context.Background(), change(2), wrong, seal.Enrolment{Name: "more", By: p})
		if domain.KindOf(err) != domain.Denied {
			t.Errorf("%s: add: %v", name, err)
		}
		if err := f.SetPayload(change(2), wrong, []byte("x")); domain.KindOf(err) != domain.Denied {
			t.Errorf("%s: payload: %v", name, err)
		}
		if err := f.Remove(change(2), wrong, f.Status()[0].ID); domain.KindOf(err) != domain.Denied {
			t.Errorf("%s: remove: %v", name, err)
		}
		if _, err := f.Rotate(context.Background(), change(2), wrong, nil, enrolments(p)...); domain.KindOf(err) != domain.Denied {
			t.Errorf("%s: rotate: %v", name, err)
		}
	}
	if !bytes.Equal(before, mustRead(t, path)) {
		t.Error("the file changed")
	}
}

func TestChangedOnDisk(t *testing.T) {
	p := mustKeyfile(t)
	f, root, path := mustCreate(t, p)
	twin := mustLoad(t, path)
	if err := twin.SetPayload(change(2), root, []byte("newer")); err != nil {
		t.Fatal(err)
	}
	before := mustRead(t, path)
	wantError(t, f.SetPayload(change(3), root, []byte("older")), domain.Conflict, "changed on disk")
	if !bytes.Equal(before, mustRead(t, path)) {
		t.Error("the newer file was overwritten")
	}
	mustWrite(t, path, []byte("damaged"))
	wantError(t, twin.SetPayload(change(3), root, nil), domain.Conflict, "changed on disk")
	if string(mustRead(t, path)) != "damaged" {
		t.Error("the damaged file was overwritten")
	}
}

func TestReplaceKeepsTheKind(t *testing.T) {
	f, root, _ := mustCreate(t, mustKeyfile(t))
	_, err := f.Replace(context.Background(), change(2), root, f.Status()[0].ID,
		seal.Enrolment{Name: "x", By: mustPassphrase(t, testPassphrase)})
	wantError(t, err, domain.Invalid, "cannot take the place")
	_, err = f.Replace(context.Background(), change(2), root, "none", seal.Enrolment{Name: "x", By: mustKeyfile(t)})
	wantError(t, err, domain.NotFound, "no key slot")
	// The name of the slot that goes may be used again.
	if _, err := f.Replace(context.Background(), change(2), root, f.Status()[0].ID,
		seal.Enrolment{Name: f.Status()[0].Name, By: mustKeyfile(t)}); err != nil {
		t.Error(err)
	}
}

func TestSlotLimit(t *testing.T) {
	p := mustKeyfile(t)
	f, root, path := mustCreate(t, p)
	for i := 1; i < seal.MaxSlots; i++ {
		if _, err := f.Add(context.Background(), change(2), root, seal.Enrolment{Name: fmt.Sprint("s", i), By: p}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.Add(context.Background(), change(2), root, seal.Enrolment{Name: "more", By: p})
	wantError(t, err, domain.Limit, "no more are possible")
	if err := f.SetPayload(change(3), root, make([]byte, seal.MaxPayload)); err != nil {
		t.Errorf("the largest file cannot be written: %v", err)
	}
	opens(t, path, p, root)
	if n := len(mustRead(t, path)); n > seal.MaxFile {
		t.Errorf("%d bytes", n)
	}
}

func TestRotate(t *testing.T) {
	_, recovery := mustRecovery(t)
	pass, keyfile := mustPassphrase(t, testPassphrase), mustKeyfile(t)
	f, root, path := mustCreate(t, pass, keyfile, recovery)
	for name, weaker := range map[string][]seal.Enrolment{
		"none": nil, "no recovery": enrolments(pass), "weaker": enrolments(keyfile, recovery), "recovery alone": enrolments(recovery),
	} {
		fresh, err := f.Rotate(context.Background(), change(2), root, wrapPayload, weaker...)
		wantError(t, err, domain.Conflict, "must be enrolled again")
		if fresh.Len() != 0 {
			t.Errorf("%s: gave a key", name)
		}
	}
	opens(t, path, keyfile, root)

	_, freshRecovery := mustRecovery(t)
	fresh, err := f.Rotate(context.Background(), change(3), root, func(r domain.Secret, _ string) ([]byte, error) {
		if r.Equal(root) {
			t.Error("the payload is wrapped under the old root key")
		}
		return []byte("rewrapped"), nil
	}, enrolments(pass, freshRecovery)...)
	if err != nil {
		t.Fatal(err)
	}
	if fresh.Equal(root) {
		t.Error("the root key is the old one")
	}
	opens(t, path, pass, fresh)
	opens(t, path, freshRecovery, fresh)
	refuses(t, path, recovery, domain.Unauthentic, "does not open")
	refuses(t, path, keyfile, domain.NotFound, "no keyfile slot")
	got := mustLoad(t, path)
	if string(got.Payload()) != "rewrapped" || got.Generation() != 2 || got.LastChange().ID != change(3).ID {
		t.Errorf("payload %q, generation %d", got.Payload(), got.Generation())
	}
	if err := f.SetPayload(change(4), root, nil); domain.KindOf(err) != domain.Denied {
		t.Errorf("the old root key still signs: %v", err)
	}
}

func TestConcurrentChanges(t *testing.T) {
	p := mustKeyfile(t)
	f, root, path := mustCreate(t, p)
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			if _, err := f.Add(context.Background(), change(2), root, seal.Enrolment{Name: fmt.Sprint("s", i), By: p}); err != nil {
				t.Error(err)
			}
			if got, _, err := f.Unlock(context.Background(), p); err != nil || !got.Equal(root) {
				t.Error(err)
			}
			_, _, _ = f.Status(), f.Payload(), f.LastChange()
		})
	}
	done.Wait()
	if got := mustLoad(t, path); len(got.Status()) != 9 || got.Generation() != 9 {
		t.Errorf("%d slots, generation %d", len(got.Status()), got.Generation())
	}
}
