package vault_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/vault"
)

// rotateSecrets does all of a rotation, a few rows at a time.
func (k *kit) rotateSecrets(tb testing.TB, id domain.TenantID) (rows int) {
	tb.Helper()
	ctx := context.Background()
	p := k.intend(tb, id, authz.RotateTenant, "secrets")
	defer p.Abort()
	must(tb, k.v.BeginSecrets(ctx, p, id))
	r, err := k.v.Rewrap(ctx, p, id)
	must(tb, err)
	for more := true; more; {
		_, err := k.db.Update(ctx, func(tx *store.Tx) (err error) {
			var n int
			n, more, err = r.Step(tx, 3)
			rows += n
			return err
		})
		must(tb, err)
	}
	must(tb, k.db.View(ctx, func(tx *store.Tx) error {
		if _, left, err := r.Left(tx); err != nil || left > 0 {
			tb.Errorf("%d rows are left under the old key, %v", left, err)
		}
		return nil
	}))
	must(tb, k.v.EndSecrets(ctx, p, id))
	must(tb, k.v.Tidy(ctx))
	return rows
}

// rotateAll rotates everything that there is, beginning where a process that was
// killed had come to.
func (k *kit) rotateAll(tb testing.TB) {
	tb.Helper()
	ctx := context.Background()
	for _, id := range []domain.TenantID{"acme", "globex"} {
		p := k.intend(tb, id, authz.RotateTenant, "kek")
		must(tb, k.v.RotateKEK(ctx, p, id))
		p.Abort()
		k.rotateSecrets(tb, id)
	}
	p := k.intend(tb, "", authz.RotateStart, "control")
	defer p.Abort()
	stale, err := k.v.BeginControl(ctx, p)
	must(tb, err)
	for at, more := (store.Place{}), true; more; {
		_, err := k.db.Update(ctx, func(tx *store.Tx) (err error) {
			at, _, more, err = tx.Reseal(at, 3, stale)
			return err
		})
		must(tb, err)
	}
	must(tb, k.db.View(ctx, func(tx *store.Tx) error {
		if n, left, err := tx.Stale(stale); err != nil || left > 0 || n < 3 {
			tb.Errorf("%d of %d values are left under the old key, %v", left, n, err)
		}
		return nil
	}))
	must(tb, k.v.EndControl(ctx, p))
	must(tb, k.v.BeginRoot(ctx, p, k.secretRoot()))
	r, err := k.v.RootRewrap(p, k.secretRoot())
	must(tb, err)
	for more := true; more; {
		_, more, err = r.Step(ctx, 2)
		must(tb, err)
	}
	if left, err := k.v.EndRoot(ctx, p, k.secretRoot()); err != nil || left > 0 {
		tb.Errorf("%d keys are left under the old key, %v", left, err)
	}
	must(tb, k.v.RotateTable(ctx, p))
	must(tb, k.v.Tidy(ctx))
}

// TestRotate: after all keys are new everything reads as before, also after a
// restart, nothing that was written before the rotation opens with the new keys,
// and old keys are gone.
func TestRotate(t *testing.T) {
	k := newKit(t)
	acme, globex := k.twoTenants(t)
	must(t, k.setClient(t, "globex", fileKey(3), vault.Opening{Until: time.Now().Add(time.Hour)}))
	oldKeys, oldPayload := copyOf(t, k.path("keys.db")), k.payload(t)
	rowsBefore := k.rows(t)
	k.rotateAll(t)
	for key, row := range k.rows(t) {
		if rowsBefore[key] == row && !strings.HasPrefix(key, "secret-usage") {
			t.Errorf("the row %q was not sealed anew", key)
		}
	}
	k.readable(t, "acme", acme)
	k.readable(t, "globex", globex)
	must(t, k.v.Check(t.Context()))
	for name, files := range map[string][2][]byte{"keys.db": {oldKeys, k.payload(t)}, "payload": {copyOf(t, k.path("keys.db")), oldPayload}} {
		if k.opensWith(t, files[0], files[1]) == nil {
			t.Errorf("the %s from before opens", name)
		}
	}
	k.again(t)
	k.readable(t, "acme", acme)
	k.closed(t, "globex")
	must(t, k.openClient(t, "globex", fileKey(3), vault.Opening{Until: time.Now().Add(time.Hour)}))
	k.readable(t, "globex", globex)
}

// TestRootRotatesUnderAClosedTenant: the appliance's own wrap around a KEK that
// only the client can open is renewed without the client.
func TestRootRotatesUnderAClosedTenant(t *testing.T) {
	k := newKit(t)
	acme, _ := k.twoTenants(t)
	must(t, k.setClient(t, "acme", fileKey(1), hour))
	k.v.CloseClient("acme")
	ctx := t.Context()
	p := k.intend(t, "acme", authz.RotateTenant, "kek")
	wantKind(t, k.v.RotateKEK(ctx, p, "acme"), domain.Denied)
	wantKind(t, k.v.BeginSecrets(ctx, p, "acme"), domain.Denied)
	p = k.intend(t, "", authz.RotateStart, "root")
	must(t, k.v.BeginRoot(ctx, p, k.secretRoot()))
	if left, err := k.v.EndRoot(ctx, p, k.secretRoot()); err != nil || left == 0 {
		t.Errorf("old keys were removed while %d things stood under them, %v", left, err)
	}
	r, err := k.v.RootRewrap(p, k.secretRoot())
	must(t, err)
	_, more, err := r.Step(ctx, 100)
	must(t, err)
	if left, err := k.v.EndRoot(ctx, p, k.secretRoot()); err != nil || left > 0 || more {
		t.Errorf("%d are left, %v", left, err)
	}
	k.again(t)
	k.closed(t, "acme")
	must(t, k.openClient(t, "acme", fileKey(1), vault.Opening{Until: time.Now().Add(time.Hour)}))
	k.readable(t, "acme", acme)
}

// TestSecretsRotateUnderLoad: readers and writers with coffers from before, from
// in between and from after the steps of rotations see every value.
func TestSecretsRotateUnderLoad(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.twoTenants(t)
	for i := range 20 {
		k.mustPut(t, "acme", "s"+strconv.Itoa(i), `{"n":"0"}`)
	}
	old := k.permit(t, "acme", authz.SecretRead, "s7") // its coffer is older than every rotation
	oldCoffer := k.coffer(t, old)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for n := range 3 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				path := "s" + strconv.Itoa((i+n*5)%20)
				if n == 0 {
					if _, err := k.put(t, "acme", path, `{"n":"`+strconv.Itoa(i)+`"}`, nil); err != nil {
						t.Errorf("writing %s: %v", path, err)
						return
					}
				}
				if _, _, err := k.read(t, "acme", path, 0); err != nil {
					t.Errorf("reading %s: %v", path, err)
					return
				}
			}
		})
	}
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		k.rotateSecrets(t, "acme")
		must(t, k.db.View(t.Context(), func(tx *store.Tx) error {
			_, _, err := oldCoffer.Read(tx, 0)
			return err
		}))
	}
	close(done)
	readers.Wait()
}

const rotateEnv = "COFFER_TEST_ROTATE"

// TestRotateCut kills a process at each step of all rotations: what is left opens
// and holds everything, and the rotations can be done again.
func TestRotateCut(t *testing.T) {
	if spec := os.Getenv(rotateEnv); spec != "" {
		rotateAndDie(t, spec)
		return
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for cut := 1; ; cut += stride {
		k := newKitIn(t, memoryDir(t))
		acme, globex := k.twoTenants(t)
		must(t, k.setClient(t, "globex", fileKey(3), hour))
		must(t, k.log.Close(t.Context()))
		must(t, k.db.Close())
		must(t, k.v.Close())
		must(t, durable.WriteFile(k.path("root"), k.root))
		cmd := exec.Command(os.Args[0], "-test.run=^TestRotateCut$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d=%s", rotateEnv, cut, k.dir))
		out, err := cmd.CombinedOutput()
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		killed := status.Signaled() && status.Signal() == syscall.SIGKILL
		if !killed && err != nil {
			t.Fatalf("step %d: %v\n%s", cut, err, out)
		}
		k.openAfter(t)
		k.readable(t, "acme", acme)
		k.closed(t, "globex")
		must(t, k.openClient(t, "globex", fileKey(3), vault.Opening{Until: time.Now().Add(time.Hour)}))
		k.readable(t, "globex", globex)
		k.rotateAll(t)
		k.readable(t, "acme", acme)
		k.readable(t, "globex", globex)
		if t.Failed() {
			t.Fatalf("at step %d", cut)
		}
		if !killed {
			t.Logf("%d steps", cut)
			if cut < 15 {
				t.Errorf("there were only %d steps", cut)
			}
			return
		}
	}
}

// openAfter opens everything as another process left it.
func (k *kit) openAfter(t *testing.T) {
	t.Helper()
	var err error
	k.mustOpen(t)
	k.db, err = store.Open(k.path("control.db"), k.v.ControlAEAD())
	must(t, err)
	k.slots = 0
	k.openLog(t)
	k.register(t, "acme")
	k.register(t, "globex")
}

func rotateAndDie(t *testing.T, spec string) {
	number, dir, _ := strings.Cut(spec, "=")
	cut, err := strconv.Atoi(number)
	must(t, err)
	k := &kit{dir: dir}
	k.root = copyOf(t, k.path("root"))
	k.openAfter(t)
	must(t, k.openClient(t, "globex", fileKey(3), vault.Opening{Until: time.Now().Add(time.Hour)}))
	n := 0
	at := func(string) {
		if n++; n == cut {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	vault.OnStep(at)
	k.onSave = func([]byte) error { at("save"); return nil }
	k.rotateAll(t)
}
