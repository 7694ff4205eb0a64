package token_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/vault/token"
)

// line is one of testdata/v1/rows.jsonl: a row of the control store. Kept for
// ever.
type line struct {
	Bucket string          `json:"bucket"`
	Key    string          `json:"key"` // hexadecimal
	JSON   json.RawMessage `json:"json,omitempty"`
	Hex    string          `json:"hex,omitempty"`
}

// putVectors puts rows into a store.
func putVectors(t *testing.T, db *store.Store, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var l line
		must(t, json.Unmarshal(lines.Bytes(), &l))
		key, err := hex.DecodeString(l.Key)
		must(t, err)
		value := []byte(l.JSON)
		if l.JSON == nil {
			value, err = hex.DecodeString(l.Hex)
			must(t, err)
		} else if again, err := token.Recode(value); err != nil || !bytes.Equal(again, value) {
			t.Errorf("%s is written as %s, %v", value, again, err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.Put(l.Bucket, key, value) })
	}
}

// TestVectors2 reads rows of version 2: a token, its child that was renewed and
// used, and what leads to them.
func TestVectors2(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	putVectors(t, db, "testdata/v2/rows.jsonl")
	at := time.Date(2026, 11, 18, 9, 20, 0, 0, time.UTC)
	parent, err := lookup(t, db, domain.SecretString("cft_"+strings.Repeat("c", 52)), at)
	must(t, err)
	child, err := lookup(t, db, domain.SecretString("cft_"+strings.Repeat("d", 52)), at)
	must(t, err)
	want := token.Token{
		Accessor: child.Accessor, Tenant: "acme", Principal: domain.Principal{Kind: domain.Workload, ID: "w_1"}, Layer: child.Layer,
		IssuedBy: "w_1", Name: "terraform", Issued: start, Expires: start.Add(30 * time.Minute), Parent: parent.Accessor, Depth: 1,
		Renewable: true, Max: start.Add(2 * time.Hour), TTL: 20 * time.Minute, MaxTTL: 2 * time.Hour, Period: 20 * time.Minute, Uses: 9, Left: 8,
		Meta: map[string]string{"role_name": "load"}, Path: "auth/token/create", Renewed: start.Add(10 * time.Minute),
	}
	if diff := cmp.Diff(want, child, cmp.AllowUnexported(authz.Capability{})); diff != "" {
		t.Error(diff)
	}
	if n := token.Counted(t, db, "acme"); n != 2 {
		t.Errorf("%d tokens are counted", n)
	}
	must(t, second(db.Update(t.Context(), func(tx *store.Tx) error { return token.CutOff(tx, "acme", "", start) })))
	if _, err := lookup(t, db, domain.SecretString("cft_"+strings.Repeat("d", 52)), at); err == nil {
		t.Error("it outlived the cut-off")
	}
}

// TestVectors puts the rows into a store and looks the tokens up by their texts.
func TestVectors(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	putVectors(t, db, "testdata/v1/rows.jsonl")
	capability, err := authz.ParseCapability("secret:read:stripe/*")
	must(t, err)
	sql, err := authz.ParseCapability("sql:analyst")
	must(t, err)
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		must(t, err)
		return v
	}
	for text, want := range map[string]token.Token{
		"cft_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": {
			Accessor: "ta_3n2i6vvqhcm5qnvjm2ahcpqrxa", Tenant: "acme", Principal: domain.Principal{Kind: domain.Person, ID: "p_7"},
			Layer: authz.Layer{Role: domain.Analyst}, IssuedBy: "p_7", Name: "nightly <report> & more",
			Issued: at("2026-11-18T09:00:00.000000001Z"), Expires: at("2026-11-18T10:00:00.000000001Z"),
			Max: at("2026-11-18T10:00:00.000000001Z"), TTL: time.Hour,
		},
		"cft_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb": {
			Accessor: "ta_bbi6vvqhcm5qnvjm2ahcpqrxa3", Tenant: "globex", Principal: domain.Principal{Kind: domain.Workload, ID: "w_1"},
			Layer: authz.Layer{Capabilities: []authz.Capability{capability, sql}}, IssuedBy: "w_1",
			Issued: at("2026-11-18T09:00:00Z"), Expires: at("2026-11-19T09:00:00Z"),
			Max: at("2026-11-19T09:00:00Z"), TTL: 24 * time.Hour,
		},
	} {
		got, err := lookup(t, db, domain.SecretString(text), want.Issued)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(authz.Capability{})); diff != "" || err != nil {
			t.Error(diff, err)
		}
		if all := list(t, db, want.Tenant, want.Issued); len(all) != 1 || all[0].Accessor != want.Accessor {
			t.Errorf("%+v", all)
		}
	}
	if sum := sha256.Sum256([]byte("cft_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")); hex.EncodeToString(sum[:4]) != "5dd5d852" {
		t.Errorf("the key of the first row is not SHA-256: %x", sum)
	}
}

func FuzzRecord(f *testing.F) {
	for _, s := range []string{
		`{"version":1,"accessor":"ta_1","tenant":"acme","principal":{"kind":"person","id":"p_1"},"layer":{"role":"analyst"},"issued_by":"p_1","issued":"2026-11-18T09:00:00Z","expires":"2026-11-18T10:00:00Z"}`,
		`{"version":1,"accessor":"","tenant":"","principal":{"kind":"","id":""},"layer":{"capabilities":["sql:analyst"]},"issued_by":"","name":"n","issued":"2026-11-18T09:00:00Z","expires":"2026-11-18T10:00:00Z"}`,
		`{"version":2,"accessor":"ta_2","tenant":"acme","principal":{"kind":"person","id":"p_1"},"layer":{"role":"analyst"},"issued_by":"p_1","issued":"2026-11-18T09:00:00Z","expires":"2026-11-18T10:00:00Z","parent":"ta_1","depth":1,"renewable":true,"max":"2026-11-18T12:00:00Z","ttl":3600000000000,"max_ttl":10800000000000,"uses":3,"left":2,"meta":{"a":"b"},"path":"auth/token/create","renewed":"2026-11-18T09:30:00Z"}`,
		`{"version":3}`, `{"version":2}`, `{"version":1}`, `{}`, ``, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := token.Recode(b)
		if err != nil {
			if k := domain.KindOf(err); k != domain.Tampered && k != domain.Unavailable {
				t.Fatalf("%v is of kind %v", err, k)
			}
			return
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%s was accepted, is written as %s", b, again)
		}
	})
}

func BenchmarkIssue(b *testing.B) {
	db := storetest.New(b, b.TempDir())
	s := spec("acme", time.Hour)
	one := func() error {
		_, err := db.Update(b.Context(), func(tx *store.Tx) error { _, _, err := token.Issue(tx, s, start); return err })
		return err
	}
	b.Run("1", func(b *testing.B) {
		for b.Loop() {
			must(b, one())
		}
	})
	b.Run("16", func(b *testing.B) {
		b.SetParallelism(8) // on two cores
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := one(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkLookup(b *testing.B) {
	db := storetest.New(b, storetest.MemoryDir(b))
	var text domain.Secret
	for range 1000 {
		text, _ = issue(b, db, spec("acme", time.Hour), start)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := lookup(b, db, text, start); err != nil {
			b.Fatal(err)
		}
	}
}
