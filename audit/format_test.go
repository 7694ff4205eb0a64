package audit_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

var writeVectors = flag.Bool("write-vectors", false, "make test vectors that do not exist yet; existing ones are never replaced")

const vectorDir = "testdata/v1/journal"

func vectorOptions(dir string) audit.Options {
	o := smallOptions(dir)
	o.SegmentSize = 16 << 10
	return o
}

// makeVector writes the journal of the vectors: two tenants, two days, two
// periods, a torn tail and an open intent, ended by a crash.
func makeVector(t *testing.T) {
	if _, err := os.Stat(vectorDir); err == nil {
		t.Fatal("the vectors exist and are never replaced")
	}
	c := newClock()
	dir := t.TempDir()
	o := vectorOptions(dir)
	o.Now = c.Now
	l := open(t, o)
	register(t, l, "acme", "globex")
	event(t, l, "acme")
	change(t, l, "acme")
	refuse(t, l, denied(t, person("p-9", "owner", "acme"), authz.Request{Action: authz.SecretRead, Tenant: "globex", Resource: "x"}))
	must(t, l.SaveHeads())
	s := l.Journal()[0]
	l.Kill()
	f, err := os.OpenFile(s.Path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("half a batch"), s.End)
	must(t, err)
	must(t, f.Close())
	c.Set(time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC))
	l = open(t, o)
	register(t, l, "acme", "globex")
	event(t, l, "acme")
	p := begin(t, l, grant(t, "acme", authz.SecretPut, "stripe/test"))
	_, err = p.Intent(background, audit.Detail{"version": 3})
	must(t, err)
	must(t, l.SaveHeads())
	l.Kill()
	copyLog(t, dir, vectorDir)
}

// TestVectors: the journal that version 1 wrote starts, verifies, and shows
// what it held, for ever.
func TestVectors(t *testing.T) {
	if *writeVectors {
		makeVector(t)
	}
	o := vectorOptions(t.TempDir())
	c := newClock()
	c.Set(time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC))
	o.Now = c.Now
	copyLog(t, vectorDir, o.Dir)
	l := open(t, o)
	register(t, l, "acme", "globex")
	if d := cmp.Diff([]string{
		"tenant-open", "key-open", "event ok", "intent", "outcome ok", "period-close", "key-open", "event ok", "intent",
	}, shape(t, l, "acme")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"tenant-open", "key-open", "event refused"}, shape(t, l, "globex")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"tenant-open", "boot", "key-open", "event refused", "boot", "boot"}, shape(t, l, "")); d != "" {
		t.Error(d)
	}
	lost := l.OpenIntents()
	if len(lost) != 1 || lost[0].ID.Seq() != 8 || lost[0].Resource != "stripe/test" || string(lost[0].Detail) != `{"version":3}` {
		t.Errorf("%+v", lost)
	}
	verify(t, l)
	want, err := os.ReadFile(filepath.Join("testdata", "v1", "heads.txt"))
	if *writeVectors {
		must(t, os.WriteFile(filepath.Join("testdata", "v1", "heads.txt"), []byte(headLines(t, l)), 0o600))
		want, err = []byte(headLines(t, l)), nil
	}
	must(t, err)
	if d := cmp.Diff(string(want), headLines(t, l)); d != "" {
		t.Error(d)
	}
	must(t, l.Resolve(background, lost[0].ID, audit.OK, nil))
	event(t, l, "acme")
	verify(t, l)
}

// headLines names the last record of each log that the vectors hold.
func headLines(t *testing.T, l *audit.Log) string {
	t.Helper()
	var b bytes.Buffer
	for _, x := range []struct {
		id  domain.TenantID
		seq uint64
	}{{"", 4}, {"acme", 8}, {"globex", 2}} {
		e, err := l.Entry(background, x.id, x.seq)
		must(t, err)
		b.WriteString(string(x.id) + " " + e.Receipt().String() + "\n")
	}
	return b.String()
}

func FuzzSnapshot(f *testing.F) {
	l := open(f, smallOptions(f.TempDir()))
	register(f, l, "acme")
	event(f, l, "acme")
	p := begin(f, l, grant(f, "acme", authz.SecretPut, "x"))
	_, err := p.Intent(background, nil)
	must(f, err)
	good := l.Snapshot()
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good[:24])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := audit.RecodeSnapshot(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func FuzzHeads(f *testing.F) {
	o := smallOptions(f.TempDir())
	l := open(f, o)
	register(f, l, "acme")
	event(f, l, "acme")
	mustClose(f, l)
	good, err := os.ReadFile(filepath.Join(o.Dir, "heads"))
	must(f, err)
	key := o.Keys.HeadKey().Reveal()
	f.Add(good[:len(good)-32])
	f.Add(good[:80])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		b := audit.SealHeads(body, key, o.Instance)
		again, err := audit.RecodeHeads(b, key, o.Instance)
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		if len(body) > 0 {
			b[len(b)-1] ^= 1
			if _, err := audit.RecodeHeads(b, key, o.Instance); err == nil {
				t.Fatal("a heads file that is not authentic was read")
			}
		}
	})
}
