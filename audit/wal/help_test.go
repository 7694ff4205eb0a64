package wal_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"coffer/audit/wal"
)

var instance = [16]byte{1, 2, 3}

func options(dir string) wal.Options {
	key := sha256.Sum256([]byte("mac"))
	return wal.Options{
		Dir: filepath.Join(dir, "wal"), Quarantine: filepath.Join(dir, "quarantine"), Instance: instance, MACKey: key[:],
		FirstSize: 32 << 10, Reserve: 32 << 10, Now: func() time.Time { return time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC) },
	}
}

// replayed is what a start read.
type replayed struct {
	snapshots [][]byte
	records   []wal.Record
}

func (r *replayed) Segment(_ wal.Segment, snapshot []byte) error {
	r.snapshots = append(r.snapshots, bytes.Clone(snapshot))
	r.records = nil // those of the last segment count
	return nil
}

func (r *replayed) Record(rec wal.Record) error {
	rec.Bytes = bytes.Clone(rec.Bytes)
	r.records = append(r.records, rec)
	return nil
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// mustOpen opens a journal and starts a segment where the owner would.
func mustOpen(tb testing.TB, o wal.Options, m wal.Mark) (*wal.Journal, wal.Recovery, *replayed) {
	tb.Helper()
	var r replayed
	j, rec, err := wal.Open(o, m, &r)
	must(tb, err)
	tb.Cleanup(func() { _ = j.Close() })
	if rec.Created || rec.Torn {
		must(tb, j.Rotate([]byte("state"), 0))
	}
	return j, rec, &r
}

// batch writes records as one batch.
func batch(tb testing.TB, j *wal.Journal, records ...string) {
	tb.Helper()
	for _, s := range records {
		_, err := j.Add([]byte(s))
		must(tb, err)
	}
	must(tb, j.Commit())
}

// all reads every record of a journal.
func all(tb testing.TB, j *wal.Journal) []string {
	tb.Helper()
	var list []string
	for _, s := range j.Segments() {
		r, err := wal.NewReader(s)
		must(tb, err)
		must(tb, r.Each(func(rec wal.Record) error {
			if rec.LSN != uint64(len(list)) {
				return fmt.Errorf("record %d has number %d", len(list), rec.LSN)
			}
			list = append(list, string(rec.Bytes))
			return nil
		}))
		must(tb, r.Close())
	}
	return list
}

func edit(tb testing.TB, path string, change func([]byte) []byte) {
	tb.Helper()
	b, err := os.ReadFile(path)
	must(tb, err)
	must(tb, os.WriteFile(path, change(bytes.Clone(b)), 0o600))
}

func texts(r *replayed) []string {
	var list []string
	for _, rec := range r.records {
		list = append(list, string(rec.Bytes))
	}
	return list
}
