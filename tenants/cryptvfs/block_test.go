package cryptvfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coffer/tenants/cryptvfs"
)

// TestBlockFiles compares journals and temporary files with a plain byte slice
// under random reads, writes and truncations.
func TestBlockFiles(t *testing.T) {
	for _, kind := range []string{"super", "temp"} {
		t.Run(kind, func(t *testing.T) {
			r := register(t, fixedID(1), randomKeys())
			path := filepath.Join(memoryDir(t), "f")
			rapid.Check(t, func(rt *rapid.T) {
				f := r.OpenRaw(kind, path)
				var model []byte
				offset := rapid.OneOf(rapid.Int64Range(0, 20_000), rapid.Map(rapid.Int64Range(0, 5), func(n int64) int64 { return n * 4096 }))
				length := rapid.OneOf(rapid.IntRange(1, 16), rapid.IntRange(4090, 4100), rapid.IntRange(1, 10_000))
				rt.Repeat(map[string]func(*rapid.T){
					"write": func(rt *rapid.T) {
						off, n := offset.Draw(rt, "off"), length.Draw(rt, "n")
						if off == 0 && len(model) > 0 {
							n = min(n, 4095) // a whole block at the start begins a new journal
						}
						b := bytes.Repeat([]byte{rapid.Byte().Draw(rt, "b")}, n)
						must(rt, f.Write(b, off))
						if need := int(off) + n - len(model); need > 0 {
							model = append(model, make([]byte, need)...)
						}
						copy(model[off:], b)
					},
					"truncate": func(rt *rapid.T) {
						n := offset.Draw(rt, "size")
						must(rt, f.Truncate(n))
						if n > int64(len(model)) {
							model = append(model, make([]byte, n-int64(len(model)))...)
						}
						model = model[:n]
					},
					"sync": func(rt *rapid.T) { must(rt, f.Sync()) },
					"read": func(rt *rapid.T) {
						off, n := offset.Draw(rt, "off"), length.Draw(rt, "n")
						got, err := f.Read(n, off)
						must(rt, err)
						want := make([]byte, n)
						if off < int64(len(model)) {
							copy(want, model[off:])
						}
						if !bytes.Equal(got, want) {
							rt.Fatalf("%d bytes at %d differ", n, off)
						}
					},
					"": func(rt *rapid.T) {
						n, err := f.Size()
						must(rt, err)
						if n != int64(len(model)) {
							rt.Fatalf("size %d, want %d", n, len(model))
						}
					},
				})
				must(rt, f.Close())
				if kind == "super" {
					again := r.OpenRaw(kind, path)
					got, err := again.Read(len(model), 0)
					must(rt, err)
					if !bytes.Equal(got, model) {
						rt.Fatal("after reopening: content differs")
					}
					must(rt, again.Close())
				}
				_ = os.Remove(path)
				_ = os.Remove(path + ".temp")
			})
			if r.AuthFailures() != 0 {
				t.Errorf("%d authentication failures", r.AuthFailures())
			}
		})
	}
}

func must(t interface{ Fatal(...any) }, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// TestJournalTampering: records must be right, an end may be torn.
func TestJournalTampering(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	path := filepath.Join(memoryDir(t), "f")
	f := r.OpenRaw("journal", path)
	must(t, f.Write(bytes.Repeat([]byte{7}, 5*4096-100), 0))
	must(t, f.Sync())
	if n, err := f.Size(); n != 5*4096 || err != nil {
		t.Fatalf("a synced journal has %d bytes, %v", n, err)
	}
	must(t, f.Close())
	sound := readFile(t, path)
	tests := []struct {
		name      string
		block     int // that is damaged
		amt       int
		off       int64
		fails     bool
		uncounted bool
	}{
		{"record", 2, 4096, 2*4096 + 4, true, false},
		{"number of a record", 2, 4, 2*4096 + 8, true, false},
		{"header", 2, 8, 2 * 4096, false, false},
		{"first byte", 0, 1, 0, false, false},
		{"name of a super-journal", 4, 4, 5*4096 - 16, false, false},
		{"other record", 1, 4096, 2*4096 + 4, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bad := slices.Clone(sound)
			bad[test.block*4128+50] ^= 2
			writeFile(t, path, bad)
			before := r.AuthFailures()
			f := r.OpenRaw("journal", path)
			got, err := f.Read(test.amt, test.off)
			must(t, f.Close())
			if test.fails != (err != nil) {
				t.Errorf("reading: %v", err)
			}
			if !test.uncounted && bytes.ContainsFunc(got, func(c rune) bool { return c != 0 }) {
				t.Error("reading gives content of a damaged block")
			}
			if test.uncounted != (r.AuthFailures() == before) {
				t.Errorf("counted %d", r.AuthFailures()-before)
			}
		})
	}
}

// TestEpochs goes through many epochs in one file.
func TestEpochs(t *testing.T) {
	keys := randomKeys()
	r := register(t, fixedID(1), keys)
	r.SetUnitsPerEpoch(3)
	path := filepath.Join(memoryDir(t), "a.db")
	db := openNew(t, r, path, "journal_mode(wal)", "wal_autocheckpoint(10)", "cache_size(2)")
	mustExec(t, db, fillTable)
	for range 20 {
		mustExec(t, db, "UPDATE t SET v=v||'.' WHERE id%10=3")
	}
	want := one[int](t, db, fillSum)
	if n := r.Subkeys(); n < 100 || n > cryptvfs.MaxSubkeys {
		t.Errorf("%d subkeys in memory", n)
	}
	for range 2000 {
		mustExec(t, db, "UPDATE t SET v=v||'.' WHERE id=5")
	}
	if n := r.Subkeys(); n != cryptvfs.MaxSubkeys {
		t.Errorf("%d subkeys in memory, want %d", n, cryptvfs.MaxSubkeys)
	}
	closeDB(t, db)
	later := register(t, fixedID(1), keys)
	db = openOld(t, later, path)
	checkIntegrity(t, db)
	if got := one[int](t, db, fillSum); got != want+5*2000 {
		t.Errorf("sum %d, want %d", got, want+5*2000)
	}
}

// TestKeysAreWiped looks at the ciphers' memory after Close.
func TestKeysAreWiped(t *testing.T) {
	r, err := cryptvfs.Register(fixedID(1), randomKeys())
	if err != nil {
		t.Fatal(err)
	}
	memory := r.KeyMemory()
	for i, m := range memory {
		if len(m) < 240 || !bytes.ContainsFunc(m[:200], func(c rune) bool { return c != 0 }) {
			t.Fatalf("cipher %d has no key schedule in its own memory: the test looks at the wrong place", i)
		}
	}
	r.Close()
	for i, m := range memory {
		if bytes.ContainsFunc(m, func(c rune) bool { return c != 0 }) {
			t.Errorf("the key schedule of cipher %d is still in memory", i)
		}
	}
}

// TestNothingRepeats seals the same page many times: no nonce and no
// ciphertext comes twice.
func TestNothingRepeats(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	seen := map[string]bool{}
	u := r.PageUnit(1)
	for range 10_000 {
		unit := u.Seal(make([]byte, 16))
		for _, part := range []string{string(unit[:16]), string(unit[32:44])} {
			if seen[part] {
				t.Fatal("repeated")
			}
			seen[part] = true
		}
	}
}
