package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/vault"
)

func copyOf(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	must(tb, err)
	return b
}

// opensWith tries a keys.db and a payload of some time.
func (k *kit) opensWith(t *testing.T, keys, payload []byte) error {
	t.Helper()
	dir := &kit{dir: t.TempDir(), root: k.root}
	must(t, durable.WriteFile(dir.path("keys.db"), keys))
	must(t, durable.WriteFile(dir.path("payload"), payload))
	v, err := dir.open(t)
	if err == nil {
		must(t, v.Close())
	}
	return err
}

// TestDestroyedKeysAreGone: after a destruction neither the vault nor an older
// copy of keys.db under the payload of now gives the tenant's keys; the others'
// go on.
func TestDestroyedKeysAreGone(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	k.tenant(t, "globex")
	k.mustPut(t, "acme", "a", `{"k":"v"}`)
	before, err := k.pages(t, "globex")
	must(t, err)
	oldKeys, oldPayload := copyOf(t, k.path("keys.db")), k.payload(t)
	must(t, k.destroy(t, t.Context(), "acme"))
	must(t, k.destroy(t, t.Context(), "acme")) // may be done again
	_, err = k.pages(t, "acme")
	wantKind(t, err, domain.Unavailable)
	_, err = k.v.Coffer(t.Context(), k.permit(t, "acme", "secret.read", "a"))
	wantKind(t, err, domain.Unavailable)
	if after, err := k.pages(t, "globex"); err != nil || after != before {
		t.Errorf("the other tenant's keys changed: %v", err)
	}

	opens := func(keys, payload []byte) error { return k.opensWith(t, keys, payload) }
	wantKind(t, opens(oldKeys, k.payload(t)), domain.Tampered)
	if err := opens(oldKeys, oldPayload); err != nil {
		t.Errorf("the old files together: %v", err) // else the line above proves nothing
	}
	wantKind(t, opens(copyOf(t, k.path("keys.db")), oldPayload), domain.Tampered)
	entries, err := os.ReadDir(k.dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "keys.db.") || strings.HasPrefix(e.Name(), durable.TempPrefix) {
			t.Errorf("left over: %s", e.Name())
		}
	}
}

const shredEnv = "COFFER_TEST_SHRED"

// TestShredCut kills a process before and after each write of the payload in a
// destruction: what is left opens, with the tenant's row gone or not, the other
// tenant's keys as before, and the destruction can be done again.
func TestShredCut(t *testing.T) {
	if spec := os.Getenv(shredEnv); spec != "" {
		shredAndDie(t, spec)
		return
	}
	for _, cut := range []string{"before-1", "after-1", "before-2", "after-2"} {
		t.Run(cut, func(t *testing.T) {
			k := newKit(t)
			k.tenant(t, "acme")
			k.tenant(t, "globex")
			before, err := k.pages(t, "globex")
			must(t, err)
			must(t, k.log.Close(t.Context()))
			must(t, k.v.Close())
			must(t, durable.WriteFile(k.path("root"), k.root))
			cmd := exec.Command(os.Args[0], "-test.run=^TestShredCut$")
			cmd.Env = append(os.Environ(), shredEnv+"="+cut+"="+k.dir)
			out, err := cmd.CombinedOutput()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
				t.Fatalf("the process was not killed: %v\n%s", err, out)
			}
			k.mustOpen(t)
			k.openLog(t)
			k.slots = 0
			k.afterCut(t, before)
		})
	}
}

// afterCut opens what a cut destruction of acme left and does it again.
func (k *kit) afterCut(t *testing.T, globex string) {
	t.Helper()
	k.register(t, "acme")
	k.register(t, "globex")
	must(t, k.v.Check(t.Context()))
	if after, err := k.pages(t, "globex"); err != nil || after != globex {
		t.Errorf("the other tenant's keys: %v", err)
	}
	must(t, k.destroy(t, t.Context(), "acme"))
	_, err := k.pages(t, "acme")
	wantKind(t, err, domain.Unavailable)
	k.reopen(t)
	k.register(t, "acme")
	k.register(t, "globex")
	if after, err := k.pages(t, "globex"); err != nil || after != globex {
		t.Errorf("the other tenant's keys after all: %v", err)
	}
	if len(k.payload(t)) > 0 && bytes.Contains(k.payload(t), []byte(`"previous"`)) {
		t.Error("the payload still has the previous key")
	}
}

func shredAndDie(t *testing.T, spec string) {
	cut, dir, _ := strings.Cut(spec, "=")
	k := &kit{dir: dir}
	k.root = copyOf(t, k.path("root"))
	k.mustOpen(t)
	k.openLog(t)
	k.register(t, "acme")
	k.register(t, "globex")
	saves := 0
	die := func(when string) {
		if fmt.Sprintf("%s-%d", when, saves) == cut {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	k.onSave = func(b []byte) error {
		saves++
		die("before")
		must(t, durable.WriteFile(k.path("payload"), b))
		die("after")
		return nil
	}
	t.Fatal("survived: ", k.destroy(t, t.Context(), "acme"))
}

// TestRewriteCut opens each state in which a kill within the rewriting of
// keys.db leaves the directory (the steps that app/store names), with the
// payload that stands meanwhile.
func TestRewriteCut(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	k.tenant(t, "globex")
	globex, err := k.pages(t, "globex")
	must(t, err)
	var during, old []byte // the payload and keys.db between the two saves
	k.onSave = func(b []byte) error {
		if during == nil {
			during, old = b, copyOf(t, k.path("keys.db"))
		}
		return nil
	}
	must(t, k.destroy(t, t.Context(), "acme"))
	replaced := copyOf(t, k.path("keys.db"))
	states := map[string]map[string][]byte{
		"copied":      {"keys.db": old, durable.TempPrefix + "keys.db-x": replaced},
		"linked":      {"keys.db": old, "keys.db.old": nil},
		"replaced":    {"keys.db": replaced, "keys.db.old": old},
		"overwritten": {"keys.db": replaced, "keys.db.old": make([]byte, len(old))},
		"removed":     {"keys.db": replaced},
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		t.Run(name, func(t *testing.T) {
			c := &kit{dir: t.TempDir(), root: k.root}
			must(t, durable.WriteFile(c.path("payload"), during))
			for file, b := range states[name] {
				if b != nil {
					must(t, durable.WriteFile(c.path(file), b))
				}
			}
			if b, listed := states[name]["keys.db.old"]; listed && b == nil {
				must(t, os.Link(c.path("keys.db"), c.path("keys.db.old")))
			}
			c.mustOpen(t)
			c.openLog(t)
			t.Cleanup(func() { c.close(t) })
			c.afterCut(t, globex)
		})
	}
}

// TestFailedRewrites: a rewrite that fails at any point, and another one after
// it, never leave a payload that does not open keys.db.
func TestFailedRewrites(t *testing.T) {
	errDisk := errors.New("the disk does not answer")
	for name, fail := range map[string]func(k *kit, saves int, b []byte, cancel func()) error{
		"the first save":                  func(_ *kit, n int, _ []byte, _ func()) error { return at(n, 1, errDisk) },
		"the first save, which was saved": func(k *kit, n int, b []byte, _ func()) error { return k.savedAndFailed(n, 1, b, errDisk) },
		"the rewriting":                   func(_ *kit, n int, _ []byte, cancel func()) error { cancelAt(n, 1, cancel); return nil },
		"the last save":                   func(_ *kit, n int, _ []byte, _ func()) error { return at(n, 2, errDisk) },
		"the last save, which was saved":  func(k *kit, n int, b []byte, _ func()) error { return k.savedAndFailed(n, 2, b, errDisk) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			for _, id := range []domain.TenantID{"acme", "globex", "third"} {
				k.tenant(t, id)
			}
			third, err := k.pages(t, "third")
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			saves := 0
			k.onSave = func(b []byte) error { saves++; return fail(k, saves, b, cancel) }
			if err := k.destroy(t, ctx, "acme"); err == nil {
				t.Fatal("the destruction did not fail")
			}
			k.onSave = nil
			k.opensFromCopy(t, third)

			// Again, cut at every save: each state must open.
			k.onSave = func([]byte) error { k.opensFromCopy(t, third); return nil }
			old := copyOf(t, k.path("keys.db"))
			must(t, k.destroy(t, t.Context(), "globex"))
			k.onSave = nil
			k.opensFromCopy(t, third)
			c := k.copied(t)
			must(t, durable.WriteFile(c.path("keys.db"), old))
			_, err = c.open(t)
			wantKind(t, err, domain.Tampered) // the older copy has globex's keys
		})
	}
}

func at(n, fails int, err error) error {
	if n == fails {
		return err
	}
	return nil
}

func (k *kit) savedAndFailed(n, fails int, b []byte, err error) error {
	if n == fails {
		return errors.Join(err, durable.WriteFile(k.path("payload"), b))
	}
	return nil
}

func cancelAt(n, fails int, cancel func()) {
	if n == fails {
		cancel()
	}
}

// copied is a copy of the files as they stand.
func (k *kit) copied(t *testing.T) *kit {
	t.Helper()
	c := &kit{dir: t.TempDir(), root: k.root}
	must(t, durable.WriteFile(c.path("payload"), k.payload(t)))
	must(t, durable.WriteFile(c.path("keys.db"), copyOf(t, k.path("keys.db"))))
	return c
}

// opensFromCopy wants that the files as they stand open, as after a power cut,
// and hold the tenant's keys.
func (k *kit) opensFromCopy(t *testing.T, third string) {
	t.Helper()
	c := k.copied(t)
	c.mustOpen(t)
	c.openLog(t)
	defer c.close(t)
	c.register(t, "third")
	if got, err := c.pages(t, "third"); err != nil || got != third {
		t.Errorf("keys of another tenant are lost: %v", err)
	}
}

// TestManyTenants: the memory for unwrapped keys is bounded.
func TestManyTenants(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 1,100 tenants, which says nothing more under the race detector")
	}
	k := newKitIn(t, memoryDir(t))
	const n = 1100 // beyond what is kept
	for i := range n {
		id := domain.TenantID(fmt.Sprintf("tenant-%04d", i))
		k.tenant(t, id)
		if _, err := k.pages(t, id); err != nil {
			t.Fatal(err)
		}
	}
	if open := vault.OpenTenants(k.v); open != 1024 {
		t.Errorf("%d tenants in memory", open)
	}
	if _, err := k.pages(t, "tenant-0000"); err != nil {
		t.Error(err)
	}
}
