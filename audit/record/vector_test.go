package record_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/audit/record"
)

var writeVectors = flag.Bool("write-vectors", false, "make test vectors that do not exist yet; existing ones are never replaced")

const vectorFile = "testdata/v1/chain.json"

// vectors are records that every later version must read.
type vectors struct {
	Instance record.Hex
	Tag      record.Hex
	Key      record.Hex
	Records  []vector
}

type vector struct {
	Type    string
	Raw     record.Hex
	Leaf    record.Hash
	Payload *record.Payload `json:",omitempty"`
	Body    json.RawMessage `json:",omitempty"`
}

func vectorChain(t *testing.T) vectors {
	k := newKey(t, 1)
	id := k.ID()
	b := newBuilder(t).begin().clear(record.Booted{Clean: true, LastLSN: 1}).open(k, "2026-W47").event(k, "stripe/live")
	b.add(k.Seal(b.header(record.Intent), record.Payload{Actor: "workload:w-1", Action: "secret.put", Resource: "stripe/live"}))
	seq := uint64(4)
	b.add(k.Seal(b.header(record.Outcome), record.Payload{Action: "secret.put", Outcome: "ok", Intent: &seq}))
	b.clear(record.ClockJump{At: epoch, Jump: -5, AtBoot: false}).
		clear(record.ChangedPolicy{Before: 90, RetentionDays: 365}).
		clear(record.ClosedPeriod{Period: "2026-W47", First: 2, Last: 7, KeyID: id[:], Count: 3}).
		clear(record.ShreddedKeys{First: 2, Last: 7, KeyIDs: []record.Hex{id[:]}, RetentionDays: 90, Approvers: []string{"person:a"}}).
		clear(record.AcknowledgedRollback{Expected: 5, Found: 4, Approvers: []string{"person:a", "person:b"}}).
		clear(record.ClosedTenant{Reason: "left"})
	raw := make([]byte, 32)
	raw[0] = 1
	v := vectors{Instance: instance[:], Tag: tag[:], Key: raw}
	for _, r := range b.records {
		v.Records = append(v.Records, describe(t, k, r))
	}
	return v
}

func describe(t *testing.T, k *record.Key, raw []byte) vector {
	t.Helper()
	h, err := record.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	v := vector{Type: h.Type.String(), Raw: raw, Leaf: record.LeafHash(raw)}
	if h.Type.Encrypted() {
		p, err := k.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		v.Payload = &p
		return v
	}
	if v.Body, err = record.Text(raw); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	if *writeVectors {
		b, err := json.MarshalIndent(vectorChain(t), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(vectorFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(append(b, '\n')); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Records) != 12 {
		t.Fatalf("%d records", len(v.Records))
	}
	k, err := record.NewKey([16]byte(v.Instance), bytes.Clone(v.Key))
	if err != nil {
		t.Fatal(err)
	}
	c := record.NewChain([16]byte(v.Instance), [16]byte(v.Tag))
	for i, want := range v.Records {
		if _, err := c.Add(want.Raw); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		got := describe(t, k, want.Raw)
		got.Body = compact(t, got.Body)
		want.Body = compact(t, want.Body)
		if want.Payload != nil && want.Payload.Detail != nil {
			want.Payload.Detail = compact(t, want.Payload.Detail)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("record %d (%s): %s", i, hex.EncodeToString(want.Raw[:16]), d)
		}
		if c.Leaf() != want.Leaf {
			t.Errorf("record %d: leaf %s, want %s", i, c.Leaf(), want.Leaf)
		}
	}
}

func compact(t *testing.T, b json.RawMessage) json.RawMessage {
	t.Helper()
	if b == nil {
		return nil
	}
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func BenchmarkSeal(b *testing.B) {
	k := newKey(b, 1)
	for b.Loop() {
		if _, err := k.Seal(head(record.Event), payload("stripe/live")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := newKey(b, 1)
	raw, err := k.Seal(head(record.Event), payload("stripe/live"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := k.Open(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChain(b *testing.B) {
	k := newKey(b, 1)
	l := newBuilder(b).begin().open(k, "2026-W47")
	for range 1_000 {
		l.event(k, "stripe/live")
	}
	for b.Loop() {
		if _, err := verify(instance, tag, l.records); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(l.records)*b.N)/b.Elapsed().Seconds(), "records/s")
}
