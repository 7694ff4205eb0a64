package audit_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/audit"
)

// The records of the log are alike, so that a step that is prime to their size
// still changes every byte of the format in one of them. Step 1 found the same.
var flipStep = flag.Int("flip-step", 7, "bytes between two flips in the mutation tests")

// fortyRecords is a closed log of 40 records of a tenant, one a batch, and
// where each batch begins.
func fortyRecords(tb testing.TB, kill bool) (o audit.Options, path string, starts []int64) {
	tb.Helper()
	o = smallOptions(tb.TempDir())
	o.SegmentSize = 32 << 10
	l := open(tb, o)
	register(tb, l, "acme")
	end := func() int64 { return l.Journal()[0].End }
	for i := range 38 {
		starts = append(starts, end())
		if i == 37 {
			must(tb, l.SaveHeads())
		}
		event(tb, l, "acme")
	}
	starts = append(starts, end())
	path = l.Journal()[0].Path
	if kill {
		l.Kill()
	} else {
		mustClose(tb, l)
	}
	return o, path, starts
}

// copyLog copies a log's directory, without what was made ahead.
func copyLog(tb testing.TB, from, to string) {
	tb.Helper()
	must(tb, filepath.Walk(from, func(p string, info os.FileInfo, err error) error {
		rel, rerr := filepath.Rel(from, p)
		if err != nil || rerr != nil || info.Name() == "reserve" || info.Name() == "next" {
			return err
		}
		if info.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	}))
}

// try opens a changed log. It is found if it does not open, or opens after a
// start that says what it left out.
func try(tb testing.TB, o audit.Options) (refused bool, records uint64) {
	tb.Helper()
	l, err := audit.Open(background, o)
	if err != nil {
		if domain.KindOf(err) != domain.Tampered || domain.HintOf(err) == "" {
			tb.Fatalf("refused with kind %v and hint %q: %v", domain.KindOf(err), domain.HintOf(err), err)
		}
		return true, 0
	}
	must(tb, l.Register("acme", audit.Ref{Tag: tagOf("acme"), Slot: 1}))
	records, _, err = l.Head("acme")
	must(tb, err)
	l.Kill()
	return false, records
}

// TestMutationsOfTheJournal is the table of attacks on the files of 40
// records. After an orderly end all are found. After a crash, what came after
// the last heads file (here the last batch) can be made to look like a tear or
// like nothing; only a receipt finds that.
func TestMutationsOfTheJournal(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(map[bool]string{false: "orderly end", true: "crash"}[kill], func(t *testing.T) {
			o, path, starts := fortyRecords(t, kill)
			good, err := os.ReadFile(path)
			must(t, err)
			master := t.TempDir()
			copyLog(t, o.Dir, master)
			end := starts[len(starts)-1]
			last := starts[len(starts)-2]
			missed := map[string]int{}
			cases := map[string]int{}
			attack := func(name string, b []byte) {
				cases[name]++
				must(t, os.WriteFile(path, b, 0o600))
				refused, records := try(t, o)
				if !refused {
					missed[name]++
					if records != 39 {
						t.Errorf("%s: opened with %d records", name, records)
					}
					must(t, os.RemoveAll(o.Dir))
					copyLog(t, master, o.Dir)
				}
			}
			for i := int64(0); i < end; i++ {
				if n := int64(*flipStep); i%n != 0 && (kill || i < last) {
					continue
				}
				if i > 200 && i < 4000 {
					i += 97 // zeros
				}
				b := bytes.Clone(good)
				b[i] ^= 1
				name := "flip"
				if i >= last {
					name = "flip in the last batch"
				}
				attack(name, b)
			}
			for i := end - 1; i > last; i -= 7 {
				b := bytes.Clone(good)
				if clear(b[i:]); !bytes.Equal(b, good) {
					attack("zero the end of the last batch", b)
				}
			}
			for _, at := range starts[:len(starts)-1] {
				b := bytes.Clone(good)
				clear(b[at:])
				name := "zero from a batch on"
				if at == last {
					name = "zero the last batch"
				}
				attack(name, b)
			}
			for i, at := range starts[:len(starts)-2] {
				next := starts[i+1]
				attack("delete a batch", append(append(bytes.Clone(good[:at]), good[next:]...), make([]byte, next-at)...))
				attack("duplicate a batch", append(append(bytes.Clone(good[:next]), good[at:next]...), good[next:len(good)-int(next-at)]...))
				if n := starts[i+2] - next; i > 0 && n == next-at {
					b := bytes.Clone(good)
					copy(b[at:], good[next:starts[i+2]])
					copy(b[at+n:], good[at:next])
					attack("swap two batches", b)
				}
			}
			want := map[string]int{}
			if kill {
				for _, name := range []string{"flip in the last batch", "zero the end of the last batch", "zero the last batch"} {
					want[name] = missed[name]
				}
				if missed["zero the last batch"] != 1 || missed["flip in the last batch"] == 0 {
					t.Error("what no heads file names should not be found; if it is, say so in FORMAT.md")
				}
			}
			if d := cmp.Diff(want, missed); d != "" {
				t.Errorf("missed: %s", d)
			}
			t.Logf("cases %v, missed %v", cases, missed)
		})
	}
}

// fixSums makes the checksums of the batch at an offset right again, as
// somebody would who edits the file with the format at hand.
func fixSums(b []byte, at int64) {
	c := crc32.MakeTable(crc32.Castagnoli)
	h := b[at:]
	binary.BigEndian.PutUint32(h[36:], crc32.Checksum(h[:36], c))
	frames := h[40 : 40+binary.BigEndian.Uint32(h[28:])]
	for len(frames) > 0 {
		n := 16 + binary.BigEndian.Uint32(frames)
		sum := crc32.Update(crc32.Update(0, c, frames[:4]), c, frames[8:n])
		binary.BigEndian.PutUint32(frames[4:], sum)
		frames = frames[n:]
	}
}

// Edits with right checksums are found by the chain, and in the last record by
// the heads file.
func TestForgeries(t *testing.T) {
	o, path, starts := fortyRecords(t, false)
	good, err := os.ReadFile(path)
	must(t, err)
	const inRecord = 40 + 16
	for name, at := range map[string]int64{
		"wall clock of the first": starts[1] + inRecord + 52,
		"boot of the last":        starts[37] + inRecord + 60,
		"seq of the last":         starts[37] + inRecord + 51,
		"text of the last":        starts[37] + inRecord + 200,
		"prev of one":             starts[9] + inRecord + 80,
		"instance of one":         starts[9] + inRecord + 12,
		"tag of one":              starts[9] + inRecord + 28,
		"key of one":              starts[9] + inRecord + 104,
		"type of one":             starts[9] + inRecord + 8,
	} {
		b := bytes.Clone(good)
		b[at] ^= 3
		for i := range starts[:len(starts)-1] {
			if at >= starts[i] && at < starts[i+1] {
				fixSums(b, starts[i])
			}
		}
		must(t, os.WriteFile(path, b, 0o600))
		if refused, n := try(t, o); !refused {
			t.Fatalf("%s: opened with %d records", name, n)
		}
	}
}

func TestMissingPieces(t *testing.T) {
	for name, change := range map[string]func(o audit.Options) error{
		"heads gone":   func(o audit.Options) error { return os.Remove(filepath.Join(o.Dir, "heads")) },
		"journal gone": func(o audit.Options) error { return os.RemoveAll(filepath.Join(o.Dir, "wal")) },
		"heads cut":    func(o audit.Options) error { return os.Truncate(filepath.Join(o.Dir, "heads"), 90) },
		"heads empty":  func(o audit.Options) error { return os.Truncate(filepath.Join(o.Dir, "heads"), 0) },
	} {
		for _, kill := range []bool{false, true} {
			o, _, _ := fortyRecords(t, kill)
			must(t, change(o))
			if refused, _ := try(t, o); !refused {
				t.Errorf("%s: opened", name)
			}
		}
	}
	o, _, _ := fortyRecords(t, false)
	good, err := os.ReadFile(filepath.Join(o.Dir, "heads"))
	must(t, err)
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		must(t, os.WriteFile(filepath.Join(o.Dir, "heads"), b, 0o600))
		if refused, _ := try(t, o); !refused {
			t.Fatalf("heads flipped at %d: opened", i)
		}
	}
}

// An older copy of the journal, or of the heads, does not pass for the newer.
func TestRollback(t *testing.T) {
	o := smallOptions(t.TempDir())
	l := open(t, o)
	register(t, l, "acme")
	event(t, l, "acme")
	mustClose(t, l)
	old := t.TempDir()
	copyLog(t, o.Dir, old)
	l = open(t, o)
	register(t, l, "acme")
	event(t, l, "acme")
	must(t, l.SaveHeads())
	l.Kill()
	newer := t.TempDir()
	copyLog(t, o.Dir, newer)
	must(t, os.RemoveAll(filepath.Join(o.Dir, "wal")))
	copyLog(t, filepath.Join(old, "wal"), filepath.Join(o.Dir, "wal"))
	if refused, _ := try(t, o); !refused {
		t.Error("an older journal under newer heads was opened")
	}
	must(t, os.RemoveAll(o.Dir))
	copyLog(t, newer, o.Dir)
	b, err := os.ReadFile(filepath.Join(old, "heads"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(o.Dir, "heads"), b, 0o600))
	if refused, _ := try(t, o); !refused {
		t.Error("a newer journal under heads of an orderly end was opened")
	}
}

func TestSpliceBetweenAppliances(t *testing.T) {
	a, pathA, _ := fortyRecords(t, false)
	other := smallOptions(t.TempDir())
	other.Instance, other.SegmentSize = instanceOf("two"), 32<<10
	l := open(t, other)
	register(t, l, "acme")
	event(t, l, "acme")
	pathB := l.Journal()[0].Path
	mustClose(t, l)
	b, err := os.ReadFile(pathB)
	must(t, err)
	must(t, os.WriteFile(pathA, b, 0o600))
	if refused, _ := try(t, a); !refused {
		t.Error("another appliance's journal was opened")
	}
}

// Verify finds what happens to segments while the log is open, and says where.
func TestVerifyNamesThePlace(t *testing.T) {
	o := smallOptions(t.TempDir())
	o.SegmentSize = 32 << 10
	l := open(t, o)
	register(t, l, "acme", "globex")
	for range 100 {
		event(t, l, "acme")
	}
	segments := l.Journal()
	if len(segments) < 2 {
		t.Fatal("one segment is not enough")
	}
	verify(t, l)
	path := segments[0].Path
	good, err := os.ReadFile(path)
	must(t, err)
	for at := segments[0].Start; at < segments[0].End; at += 333 {
		b := bytes.Clone(good)
		b[at] ^= 1
		must(t, os.WriteFile(path, b, 0o600))
		_, err := l.VerifyAll(background)
		wantKind(t, err, domain.Tampered)
		if !strings.Contains(err.Error(), filepath.Base(path)) || !strings.Contains(err.Error(), "offset") {
			t.Fatalf("offset %d: %v", at, err)
		}
	}
	// With right checksums the record is named.
	b := bytes.Clone(good)
	at := segments[0].Start
	for n := 0; n < 5; n++ {
		at += (40 + int64(binary.BigEndian.Uint32(b[at+28:])) + 7) / 8 * 8
	}
	b[at+40+16+300] ^= 1
	fixSums(b, at)
	must(t, os.WriteFile(path, b, 0o600))
	_, err = l.Verify(background, "acme")
	wantKind(t, err, domain.Tampered)
	if !strings.Contains(err.Error(), `record `) || !strings.Contains(err.Error(), `tenant "acme"`) ||
		!strings.Contains(err.Error(), fmt.Sprint("offset ", at+40)) {
		t.Error(err)
	}
	if _, err := l.Verify(background, "globex"); err != nil {
		t.Errorf("another tenant's log: %v", err)
	}
	must(t, os.WriteFile(path, append(good, 1), 0o600))
	_, err = l.VerifyAll(background)
	wantKind(t, err, domain.Tampered)
	must(t, os.WriteFile(path, good, 0o600))
	verify(t, l)
}
