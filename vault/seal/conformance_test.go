package seal_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/vault/seal"
	"coffer/vault/seal/sealtest"
)

// fixture makes protectors of one kind for the suite.
type fixture struct {
	// right gives a protector; each call gives one that opens nothing of the
	// others.
	right func(tb testing.TB) seal.Protector
	// denied is the kind of the error with another protector of the kind.
	denied domain.Kind
}

var fixtures = map[seal.Kind]fixture{
	seal.TPM: {
		func(tb testing.TB) seal.Protector { return mustTPM(tb, sealtest.StartTPM(tb).Path()) },
		domain.Sealed,
	},
	seal.Passphrase: {
		func(tb testing.TB) seal.Protector { return mustPassphrase(tb, testPassphrase+domain.NewID("")) },
		domain.Unauthentic,
	},
	seal.Keyfile: {
		func(tb testing.TB) seal.Protector { return mustKeyfile(tb) },
		domain.Unauthentic,
	},
	seal.Recovery: {
		func(tb testing.TB) seal.Protector { _, p := mustRecovery(tb); return p },
		domain.Unauthentic,
	},
}

// TestConformance is what holds for every kind.
func TestConformance(t *testing.T) {
	if len(fixtures) != len(seal.Kinds()) {
		t.Fatalf("%d fixtures for the kinds %v", len(fixtures), seal.Kinds())
	}
	for _, k := range seal.Kinds() {
		fx, ok := fixtures[k]
		if !ok {
			t.Fatalf("no fixture for %s", k)
		}
		t.Run(string(k), func(t *testing.T) {
			p := fx.right(t)
			if p.Kind() != k {
				t.Fatalf("the protector says it is %s", p.Kind())
			}
			// One file for all, because a passphrase takes its time.
			f, root, path := mustCreate(t, p)
			raw := mustRead(t, path)
			t.Run("opens", func(t *testing.T) { testOpens(t, p, f, root, path) })
			t.Run("another is refused", func(t *testing.T) { refuses(t, path, fx.right(t), fx.denied, "") })
			t.Run("slots are bound to their place", func(t *testing.T) { testBound(t, p, fx, raw, root) })
			t.Run("cancelled", func(t *testing.T) { testCancelled(t, p, f, root, path) })
			t.Run("parameters are strict", func(t *testing.T) { testStrictParams(t, p, raw, root) })
			t.Run("several of a kind", func(t *testing.T) { testSeveral(t, p, fx) })
			t.Run("replace", func(t *testing.T) { testReplace(t, p, fx, f, root, path) })
		})
	}
}

func testOpens(t *testing.T, p seal.Protector, f *seal.File, root domain.Secret, path string) {
	opens(t, path, p, root)
	if root.Len() != seal.RootSize {
		t.Errorf("a root key of %d bytes", root.Len())
	}
	st := f.Status()
	if len(st) != 1 || st[0].Kind != p.Kind() || st[0].Detail == "" || !st[0].Created.Equal(testTime.Add(time.Hour)) {
		t.Errorf("status %+v", st)
	}
	if diff := cmp.Diff(st, mustLoad(t, path).Status()); diff != "" {
		t.Errorf("status changed by loading (-made +loaded):\n%s", diff)
	}
	if err := mustLoad(t, path).Verify(root); err != nil {
		t.Error(err)
	}
}

// testBound moves a slot, its key unchanged, to another id, instance and file,
// each with a right checksum and a MAC under the right root key.
func testBound(t *testing.T, p seal.Protector, fx fixture, raw []byte, root domain.Secret) {
	path := filepath.Join(t.TempDir(), "seal.json")
	for name, edit := range map[string]func(*seal.Body){
		"slot id":  func(b *seal.Body) { b.Slots[0].ID = domain.NewID("") },
		"instance": func(b *seal.Body) { b.Instance = domain.NewID("") },
		"salt":     func(b *seal.Body) { b.Slots[0].Salt[0] ^= 1 },
		"wrapped":  func(b *seal.Body) { b.Slots[0].Wrapped[40] ^= 1 },
	} {
		forged, err := seal.Forge(raw, root, edit)
		mustWrite(t, path, must(t, forged, err))
		got, _, err := mustLoad(t, path).Unlock(context.Background(), p)
		if err == nil || got.Len() != 0 || domain.KindOf(err) != fx.denied {
			t.Errorf("moved to another %s: %v", name, err)
		}
	}
}

func testSeveral(t *testing.T, p seal.Protector, fx fixture) {
	other, third := fx.right(t), fx.right(t)
	f, root, path := mustCreate(t, other, p)
	opens(t, path, p, root)
	opens(t, path, other, root)
	_, _, err := f.Unlock(context.Background(), third)
	if domain.KindOf(err) != fx.denied || domain.HintOf(err) == "" {
		t.Errorf("with a third: %v", err)
	}
}

func testReplace(t *testing.T, p seal.Protector, fx fixture, f *seal.File, root domain.Secret, path string) {
	fresh := fx.right(t)
	st, err := f.Replace(context.Background(), change(2), root, f.Status()[0].ID, seal.Enrolment{Name: "fresh", By: fresh})
	if err != nil {
		t.Fatal(err)
	}
	if st.Name != "fresh" || len(f.Status()) != 1 {
		t.Errorf("replaced by %+v, slots %+v", st, f.Status())
	}
	opens(t, path, fresh, root)
	refuses(t, path, p, fx.denied, "")
}

func testCancelled(t *testing.T, p seal.Protector, f *seal.File, root domain.Secret, path string) {
	before := mustRead(t, path)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	got, _, err := f.Unlock(ctx, p)
	if domain.KindOf(err) != domain.Unavailable || got.Len() != 0 {
		t.Errorf("unlocking: %v", err)
	}
	if _, err := f.Add(ctx, change(2), root, seal.Enrolment{Name: "more", By: p}); err == nil {
		t.Error("a slot was added")
	}
	if diff := cmp.Diff(before, mustRead(t, path)); diff != "" {
		t.Errorf("the file changed:\n%s", diff)
	}
}

func testStrictParams(t *testing.T, p seal.Protector, raw []byte, root domain.Secret) {
	var params []byte
	_, err := seal.Forge(raw, root, func(b *seal.Body) { params = b.Slots[0].Params })
	must(t, params, err)
	if err := seal.CheckParams(p.Kind(), params); err != nil {
		t.Fatalf("what was written is refused: %v", err)
	}
	inner := string(params[1 : len(params)-1])
	comma := ","
	if inner == "" {
		comma = ""
	}
	for _, bad := range []string{
		``, `null`, `[]`, `""`, `{} {}`, `{"unknown": 1` + comma + inner + `}`,
		string(params) + string(params), `{"UNKNOWN": null}`, string(params[:len(params)-1]),
	} {
		if err := seal.CheckParams(p.Kind(), []byte(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func BenchmarkUnlock(b *testing.B) {
	for _, k := range seal.Kinds() {
		b.Run(string(k), func(b *testing.B) {
			p := fixtures[k].right(b)
			f, _, _ := mustCreate(b, p)
			for b.Loop() {
				root, _, err := f.Unlock(context.Background(), p)
				if err != nil {
					b.Fatal(err)
				}
				root.Zero()
			}
		})
	}
}
