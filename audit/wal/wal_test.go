package wal_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/audit/wal"
)

func TestJournal(t *testing.T) {
	o := options(t.TempDir())
	j, rec, _ := mustOpen(t, o, wal.Mark{})
	if !rec.Created || rec.Torn {
		t.Errorf("%+v", rec)
	}
	batch(t, j, "a")
	batch(t, j, "b", "c", strings.Repeat("d", 1_000))
	batch(t, j)
	want := []string{"a", "b", "c", strings.Repeat("d", 1_000)}
	if d := cmp.Diff(want, all(t, j)); d != "" {
		t.Error(d)
	}
	m := j.Mark()
	must(t, j.Close())
	must(t, j.Close())
	j, rec, r := mustOpen(t, o, m)
	if rec.Created || rec.Torn || rec.Dropped != nil {
		t.Errorf("%+v", rec)
	}
	if d := cmp.Diff(want, texts(r)); d != "" {
		t.Error(d)
	}
	must(t, j.Rotate([]byte("more state"), 10))
	batch(t, j, "e")
	if d := cmp.Diff(append(want, "e"), all(t, j)); d != "" {
		t.Error(d)
	}
	must(t, j.Close())
	j, _, r = mustOpen(t, o, m)
	if d := cmp.Diff([][]byte{[]byte("state"), []byte("more state")}, r.snapshots); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"e"}, texts(r)); d != "" {
		t.Error(d)
	}
	if j.LSN() != 5 || j.Batches() != 4 {
		t.Errorf("next record %d, next batch %d", j.LSN(), j.Batches())
	}
}

func TestRotationWhenFull(t *testing.T) {
	o := options(t.TempDir())
	o.MaxSize = 128 << 10
	j, _, _ := mustOpen(t, o, wal.Mark{})
	rec := strings.Repeat("x", 4_000)
	n := 0
	for range 120 {
		if !j.Fits(1, int64(len(rec))) {
			must(t, j.Rotate(nil, int64(len(rec))+wal.FrameOverhead))
		}
		batch(t, j, fmt.Sprint(n, rec)[:4_000])
		n++
		must(t, j.Prepare())
	}
	if got := len(all(t, j)); got != n {
		t.Fatalf("%d records, want %d", got, n)
	}
	var sizes []int64
	for _, s := range j.Segments() {
		info, err := os.Stat(s.Path)
		must(t, err)
		sizes = append(sizes, info.Size())
	}
	last := len(sizes) - 1
	if len(sizes) < 4 || sizes[last] != o.MaxSize {
		t.Errorf("sizes %v: the last should have grown to %d", sizes, o.MaxSize)
	}
	for i, s := range j.Segments()[:last] {
		if sizes[i] != s.End {
			t.Errorf("segment %d was left with %d bytes, want %d", s.Number, sizes[i], s.End)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "reserve")); err != nil {
		t.Error(err)
	}
	used, room := j.Used()
	if used <= 0 || room <= 0 || used < int64(n*4_000) {
		t.Errorf("used %d, room %d", used, room)
	}
}

func TestLargeSnapshotMakesALargerSegment(t *testing.T) {
	o := options(t.TempDir())
	j, _, _ := mustOpen(t, o, wal.Mark{})
	must(t, j.Prepare())
	big := bytes.Repeat([]byte("state"), 20_000)
	must(t, j.Rotate(big, 1_000))
	batch(t, j, strings.Repeat("x", 1_000))
	must(t, j.Close())
	_, _, r := mustOpen(t, o, wal.Mark{First: 1})
	if !bytes.Equal(r.snapshots[1], big) {
		t.Error("the snapshot came back different")
	}
}

func TestAddRefuses(t *testing.T) {
	o := options(t.TempDir())
	j, _, _ := mustOpen(t, o, wal.Mark{})
	for _, n := range []int{0, wal.MaxRecord + 1, 40_000} { // the last does not fit this segment
		if _, err := j.Add(make([]byte, n)); err == nil {
			t.Errorf("a record of %d bytes was taken", n)
		}
	}
	_, err := j.Add([]byte("x"))
	must(t, err)
	if err := j.Rotate(nil, 0); err == nil {
		t.Error("rotated with a record pending")
	}
}

// crash leaves a journal as a crash in the middle of the last batch would: of
// its sectors only some reached the disk.
func TestTears(t *testing.T) {
	const sector = 512
	master := t.TempDir()
	o := options(master)
	j, _, _ := mustOpen(t, o, wal.Mark{})
	batch(t, j, "first", "second")
	acked := j.Mark()
	batch(t, j, strings.Repeat("x", 700), strings.Repeat("y", 700), strings.Repeat("z", 900))
	end := j.Mark().End
	must(t, j.Close())
	seg, err := os.ReadFile(j.Segments()[0].Path)
	must(t, err)
	from, to := acked.End, end
	sectors := int((to-from)/sector) + 2
	torn, whole := 0, 0
	for mask := range 1 << sectors {
		o := options(t.TempDir())
		must(t, os.MkdirAll(o.Dir, 0o700))
		b := bytes.Clone(seg)
		for i := range sectors {
			lo := max(from/sector*sector+int64(i)*sector, from)
			hi := min(from/sector*sector+int64(i+1)*sector, to)
			if mask&(1<<i) == 0 && lo < hi {
				clear(b[lo:hi])
			}
		}
		path := filepath.Join(o.Dir, "0000000000000001.wal")
		must(t, os.WriteFile(path, b, 0o600))
		j, rec, r := mustOpen(t, o, acked)
		switch n := len(r.records); {
		case n == 5:
			whole++
		case n == 2:
			after, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(after, b) {
				t.Fatalf("mask %b: the segment was changed", mask)
			}
			if rec.Torn {
				torn++
				checkQuarantine(t, o, rec, b)
			} else if !bytes.Equal(b[from:], make([]byte, len(b)-int(from))) {
				t.Fatalf("mask %b: bytes were left out silently", mask)
			}
		default:
			t.Fatalf("mask %b: %d records", mask, n)
		}
		n := len(all(t, j))
		batch(t, j, "next")
		if got := all(t, j); len(got) != n+1 || got[n] != "next" {
			t.Fatalf("mask %b: %d records after another", mask, len(got))
		}
		must(t, j.Close())
	}
	if torn == 0 || whole == 0 {
		t.Errorf("%d torn, %d whole", torn, whole)
	}
}

func checkQuarantine(t *testing.T, o wal.Options, rec wal.Recovery, seg []byte) {
	t.Helper()
	d := rec.Dropped[0]
	b, err := os.ReadFile(filepath.Join(o.Quarantine, fmt.Sprintf("%016x-%08x.torn", d.Segment, d.Offset)))
	must(t, err)
	if !bytes.Equal(b, seg[d.Offset:d.Offset+d.Bytes]) {
		t.Fatal("the quarantine holds something else")
	}
	if tail := seg[d.Offset+d.Bytes:]; !bytes.Equal(tail, make([]byte, len(tail))) {
		t.Fatal("the quarantine holds not all")
	}
}

// A tear whose report was lost by another crash is reported by the next start.
func TestTearIsReportedUntilABatchFollows(t *testing.T) {
	o := options(t.TempDir())
	j, _, _ := mustOpen(t, o, wal.Mark{})
	batch(t, j, "first")
	must(t, j.Close())
	edit(t, j.Segments()[0].Path, func(b []byte) []byte { b[j.Mark().End] = 1; return b })
	for range 3 {
		j, rec, _ := mustOpen(t, o, wal.Mark{First: 1, LSN: 1})
		if len(rec.Dropped) != 1 || rec.Dropped[0].Bytes != 1 {
			t.Fatalf("%+v", rec)
		}
		must(t, j.Close())
	}
	j, rec, _ := mustOpen(t, o, wal.Mark{First: 1, LSN: 1})
	batch(t, j, "report")
	must(t, j.Close())
	if len(rec.Dropped) != 1 {
		t.Fatalf("%+v", rec)
	}
	if _, rec, _ = mustOpen(t, o, wal.Mark{First: 1, LSN: 2}); len(rec.Dropped) != 0 {
		t.Errorf("reported again: %+v", rec)
	}
}

func wantDamage(t *testing.T, name string, err error) *wal.DamageError {
	t.Helper()
	var d *wal.DamageError
	if !errors.As(err, &d) {
		t.Errorf("%s: %v is no damage", name, err)
		return &wal.DamageError{}
	}
	return d
}

// TestDamage: what a crash cannot have done is not repaired.
func TestDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		mark   func(m *wal.Mark)
		change func(t *testing.T, o wal.Options, ends []int64)
	}{
		"flip in an earlier batch":        {nil, flip(0, 50)},
		"flip in an earlier batch header": {nil, flip(0, 10)},
		"flip in padding":                 {nil, func(t *testing.T, o wal.Options, ends []int64) { flip(1, ends[1]-ends[0]-1)(t, o, ends) }},
		"an earlier batch zeroed": {nil, func(t *testing.T, o wal.Options, ends []int64) {
			edit(t, seg(o, 2), func(b []byte) []byte { clear(b[ends[0]:ends[1]]); return b })
		}},
		"an earlier batch again at the end": {nil, func(t *testing.T, o wal.Options, ends []int64) {
			edit(t, seg(o, 2), func(b []byte) []byte { copy(b[ends[3]:], b[ends[0]:ends[1]]); return b })
		}},
		"more than a batch at the end": {nil, func(t *testing.T, o wal.Options, ends []int64) {
			edit(t, seg(o, 2), func(b []byte) []byte {
				b = append(b, make([]byte, 4<<20)...)
				b[ends[3]], b[ends[3]+3<<20] = 1, 1
				return b
			})
		}},
		"last batch flipped, and it was durable": {func(m *wal.Mark) {}, flip(2, 50)},
		"last batch cut, and it was durable": {func(m *wal.Mark) {}, func(t *testing.T, o wal.Options, ends []int64) {
			edit(t, seg(o, 2), func(b []byte) []byte { clear(b[ends[2]:]); return b })
		}},
		"one byte after an orderly end": {func(m *wal.Mark) { m.Clean = true }, func(t *testing.T, o wal.Options, ends []int64) {
			edit(t, seg(o, 2), func(b []byte) []byte { b[ends[3]] = 1; return b })
		}},
		"last segment gone":                   {func(m *wal.Mark) {}, remove(2)},
		"last segment gone, marked before it": {func(m *wal.Mark) { m.Segment, m.LSN = 2, 1 }, remove(2)},
		"first segment gone":                  {nil, remove(1)},
		"all gone":                            {func(m *wal.Mark) {}, func(t *testing.T, o wal.Options, e []int64) { remove(1)(t, o, e); remove(2)(t, o, e) }},
		"segments swapped": {nil, func(t *testing.T, o wal.Options, _ []int64) {
			must(t, os.Rename(seg(o, 1), seg(o, 3)))
			must(t, os.Rename(seg(o, 2), seg(o, 1)))
			must(t, os.Rename(seg(o, 3), seg(o, 2)))
		}},
		"first segment cut": {nil, func(t *testing.T, o wal.Options, _ []int64) {
			edit(t, seg(o, 1), func(b []byte) []byte { return b[:len(b)-1] })
		}},
		"header cut": {nil, func(t *testing.T, o wal.Options, _ []int64) {
			edit(t, seg(o, 2), func(b []byte) []byte { return b[:100] })
		}},
		"an empty file": {nil, func(t *testing.T, o wal.Options, _ []int64) {
			edit(t, seg(o, 2), func(b []byte) []byte { return nil })
		}},
	} {
		o := options(t.TempDir())
		j, _, _ := mustOpen(t, o, wal.Mark{})
		batch(t, j, "a", "b")
		must(t, j.Rotate([]byte("state"), 0))
		ends := []int64{j.Mark().End}
		for _, s := range []string{"c", "d", "e"} {
			batch(t, j, s+strings.Repeat(".", 100))
			ends = append(ends, j.Mark().End)
		}
		mark := wal.Mark{First: 1}
		if tt.mark != nil {
			mark = j.Mark()
			tt.mark(&mark)
		}
		must(t, j.Close())
		tt.change(t, o, ends)
		before := dirBytes(t, o.Dir)
		_, _, err := wal.Open(o, mark, &replayed{})
		d := wantDamage(t, name, err)
		if d.Reason == "" || d.File == "" {
			t.Errorf("%s: %+v", name, d)
		}
		if diff := cmp.Diff(before, dirBytes(t, o.Dir)); diff != "" {
			t.Errorf("%s: files changed", name)
		}
	}
}

func seg(o wal.Options, n int) string { return filepath.Join(o.Dir, fmt.Sprintf("%016x.wal", n)) }

func flip(batch int, at int64) func(*testing.T, wal.Options, []int64) {
	return func(t *testing.T, o wal.Options, ends []int64) {
		t.Helper()
		edit(t, seg(o, 2), func(b []byte) []byte { b[ends[batch]+at] ^= 1; return b })
	}
}

func remove(n int) func(*testing.T, wal.Options, []int64) {
	return func(t *testing.T, o wal.Options, _ []int64) {
		t.Helper()
		must(t, os.Remove(seg(o, n)))
	}
}

func dirBytes(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	m := map[string][32]byte{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		m[e.Name()] = sha256.Sum256(b)
	}
	return m
}

// Every flipped byte of a segment header is found.
func TestSegmentHeaderIsAuthenticated(t *testing.T) {
	o := options(t.TempDir())
	j, _, _ := mustOpen(t, o, wal.Mark{})
	batch(t, j, "a")
	must(t, j.Close())
	path := seg(o, 1)
	good, err := os.ReadFile(path)
	must(t, err)
	step := 1
	for i := 0; i < 4096; i += step {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		must(t, os.WriteFile(path, bad, 0o600))
		_, _, err := wal.Open(o, wal.Mark{}, &replayed{})
		wantDamage(t, fmt.Sprint("byte ", i), err)
		if i == 200 {
			step = 37 // zeros, up to the MAC
		}
	}
	must(t, os.WriteFile(path, good, 0o600))
	other := o
	other.Instance = [16]byte{9}
	_, _, err = wal.Open(other, wal.Mark{}, &replayed{})
	wantDamage(t, "another appliance", err)
	other = o
	other.MACKey = make([]byte, 32)
	_, _, err = wal.Open(other, wal.Mark{}, &replayed{})
	wantDamage(t, "another key", err)
}
