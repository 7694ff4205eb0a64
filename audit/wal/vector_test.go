package wal_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"coffer/audit/wal"
)

// TestVectors reads the segments that version 1 wrote. Package audit keeps
// them, since their records are its own.
func TestVectors(t *testing.T) {
	o := options(t.TempDir())
	must(t, os.MkdirAll(o.Dir, 0o700))
	from := filepath.Join("..", "testdata", "v1", "journal", "wal")
	entries, err := os.ReadDir(from)
	must(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(o.Dir, e.Name()), b, 0o600))
	}
	key, id := sha256.Sum256([]byte("test|head")), sha256.Sum256([]byte("instance|one"))
	o.MACKey, o.Instance = key[:], [16]byte(id[:16])
	var r replayed
	j, rec, err := wal.Open(o, wal.Mark{}, &r)
	must(t, err)
	defer j.Close()
	if rec.Torn || len(r.snapshots) != 2 || len(r.records) != 5 || j.LSN() != 17 {
		t.Errorf("%+v, %d snapshots, %d records, next %d", rec, len(r.snapshots), len(r.records), j.LSN())
	}
	first := j.Segments()[0]
	if d := first.Dropped; d.Bytes != 12 || d.Offset != first.End {
		t.Errorf("%+v", d)
	}
	if n := len(all(t, j)); n != 17 {
		t.Errorf("%d records", n)
	}
	for _, s := range j.Segments() {
		rd, err := wal.NewReader(s)
		must(t, err)
		_, _, err = rd.Head(o.MACKey, o.Instance)
		must(t, err)
		must(t, rd.Each(func(wal.Record) error { return nil }))
		if s.Number == 1 {
			must(t, rd.VerifyTail())
		}
		must(t, rd.Close())
	}
}
