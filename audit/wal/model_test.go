package wal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"coffer/audit/wal"
)

// TestModel compares a journal with a list under random batches, rotations,
// orderly ends and crashes with torn last writes.
func TestModel(t *testing.T) {
	base := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		dir := filepath.Join(base, fmt.Sprint(run))
		defer os.RemoveAll(dir)
		o := options(dir)
		o.FirstSize, o.Reserve = 16<<10, 16<<10
		var mark wal.Mark
		var model []string
		j := reopen(rt, o, mark, nil)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				check(rt, j.Rotate([]byte(fmt.Sprint(len(model))), 0))
			case 1:
				mark = j.Mark()
				mark.Clean = true
				check(rt, j.Close())
				j = reopen(rt, o, mark, model)
				mark.Clean = false
			case 2:
				mark = j.Mark()
				check(rt, j.Close())
				tearLast(rt, o, mark, rapid.SliceOfN(rapid.Byte(), 1, 3_000).Draw(rt, "tear"))
				j = reopen(rt, o, mark, model)
			case 3:
				check(rt, j.Prepare())
			default:
				model = append(model, randomBatch(rt, j, len(model))...)
			}
		}
		compare(rt, j, model)
		check(rt, j.Close())
	})
}

func check(rt *rapid.T, err error) {
	if err != nil {
		rt.Fatal(err)
	}
}

func reopen(rt *rapid.T, o wal.Options, m wal.Mark, model []string) *wal.Journal {
	var r replayed
	j, rec, err := wal.Open(o, m, &r)
	check(rt, err)
	if rec.Created || rec.Torn {
		check(rt, j.Rotate(nil, 0))
	}
	if len(model) > 0 {
		compare(rt, j, model)
	}
	return j
}

func randomBatch(rt *rapid.T, j *wal.Journal, n int) []string {
	var added []string
	for i := range rapid.IntRange(1, 6).Draw(rt, "records") {
		rec := fmt.Sprint(n+i, ":") + string(bytes.Repeat([]byte{'x'}, rapid.IntRange(0, 2_000).Draw(rt, "size")))
		if !j.Fits(1, int64(len(rec))) {
			check(rt, j.Commit())
			check(rt, j.Rotate(nil, int64(len(rec)+wal.FrameOverhead)))
		}
		_, err := j.Add([]byte(rec))
		check(rt, err)
		added = append(added, rec)
	}
	check(rt, j.Commit())
	return added
}

func compare(rt *rapid.T, j *wal.Journal, model []string) {
	var got []string
	for _, s := range j.Segments() {
		r, err := wal.NewReader(s)
		check(rt, err)
		check(rt, r.Each(func(rec wal.Record) error {
			got = append(got, string(rec.Bytes))
			return nil
		}))
		check(rt, r.Close())
	}
	if len(got) != len(model) {
		rt.Fatalf("%d records, want %d", len(got), len(model))
	}
	for i := range got {
		if got[i] != model[i] {
			rt.Fatalf("record %d differs", i)
		}
	}
}

// tearLast writes what a crash could leave behind the last durable batch.
func tearLast(rt *rapid.T, o wal.Options, m wal.Mark, junk []byte) {
	path := filepath.Join(o.Dir, fmt.Sprintf("%016x.wal", m.Segment))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(rt, err)
	info, err := f.Stat()
	check(rt, err)
	junk = junk[:min(int64(len(junk)), max(0, info.Size()-m.End))]
	_, err = f.WriteAt(junk, m.End)
	check(rt, err)
	check(rt, f.Close())
}

// FuzzSegment: whatever stands behind a segment's header, a start ends with an
// error or with a journal that can be written and read again.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	o := options(dir)
	o.FirstSize, o.Reserve = 16<<10, 16<<10
	j, _, _ := mustOpen(f, o, wal.Mark{})
	batch(f, j, "a", "b")
	batch(f, j, "c")
	end := j.Mark().End
	must(f, j.Close())
	path := j.Segments()[0].Path
	good, err := os.ReadFile(path)
	must(f, err)
	f.Add(good[4096:end])
	f.Add(good[4096 : end-5])
	f.Add(bytes.Repeat([]byte{0xC0}, 100))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		o := o
		o.Dir, o.Quarantine = filepath.Join(t.TempDir(), "wal"), filepath.Join(t.TempDir(), "q")
		must(t, os.MkdirAll(o.Dir, 0o700))
		b := append(bytes.Clone(good[:4096]), body...)
		b = append(b, make([]byte, max(0, 16<<10-len(b)))...)
		must(t, os.WriteFile(filepath.Join(o.Dir, filepath.Base(path)), b, 0o600))
		j, rec, err := wal.Open(o, wal.Mark{}, &replayed{})
		if err != nil {
			wantDamage(t, "open", err)
			return
		}
		defer j.Close()
		if rec.Torn {
			must(t, j.Rotate(nil, 100))
		}
		n := len(all(t, j))
		if !j.Fits(1, 4) {
			must(t, j.Rotate(nil, 100))
		}
		batch(t, j, "next")
		if got := all(t, j); len(got) != n+1 {
			t.Fatalf("%d records, then %d", n, len(got))
		}
	})
}

// FuzzSegmentHeader: nothing that is not authentic is read.
func FuzzSegmentHeader(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0xC0, 0xFF}, 100))
	f.Add([]byte{0xC0, 0xFF, 'W', 'a', 'l', 0, 0, 1, 0, 0, 0x10, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		o := options(t.TempDir())
		must(t, os.MkdirAll(o.Dir, 0o700))
		must(t, os.WriteFile(filepath.Join(o.Dir, "0000000000000001.wal"), b, 0o600))
		_, _, err := wal.Open(o, wal.Mark{}, &replayed{})
		wantDamage(t, "a file that we did not write", err)
	})
}
