package record_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/audit/record"
)

func TestSealOpen(t *testing.T) {
	k := newKey(t, 1)
	seq := uint64(3)
	for _, tt := range []struct {
		kind record.Type
		p    record.Payload
	}{
		{record.Event, payload("stripe/live")},
		{record.Intent, record.Payload{Actor: "workload:w", Action: "secret.put"}},
		{record.Outcome, record.Payload{Outcome: "ok", Intent: &seq}},
		{record.Event, record.Payload{Resource: "quote \" back \\ <html> \u2028 ü"}},
		{record.Event, record.Payload{}},
	} {
		raw, err := k.Seal(head(tt.kind), tt.p)
		if err != nil {
			t.Fatal(err)
		}
		record.Place(raw, 9, record.Hash{1})
		h, err := record.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		want := head(tt.kind)
		want.Seq, want.Prev, want.KeyID = 9, record.Hash{1}, k.ID()
		if d := cmp.Diff(want, h); d != "" {
			t.Error(d)
		}
		got, err := k.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.p, got); d != "" {
			t.Error(d)
		}
	}
}

func TestSizesSayLittle(t *testing.T) {
	k := newKey(t, 1)
	sizes := map[int]bool{}
	for n := range 64 {
		raw, err := k.Seal(head(record.Event), payload(strings.Repeat("x", n)))
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(raw)] = true
	}
	if len(sizes) > 2 {
		t.Errorf("64 lengths of text gave %d lengths of record", len(sizes))
	}
}

func TestSealRefuses(t *testing.T) {
	k := newKey(t, 1)
	seq := uint64(1)
	for name, tt := range map[string]struct {
		kind record.Type
		p    record.Payload
		want error
	}{
		"clear type":        {record.Boot, record.Payload{}, nil},
		"too large":         {record.Event, payload(strings.Repeat("x", 65_400)), record.ErrTooLarge},
		"far too large":     {record.Event, payload(strings.Repeat("x", 200_000)), record.ErrTooLarge},
		"event with intent": {record.Event, record.Payload{Intent: &seq}, record.ErrFormat},
		"outcome without":   {record.Outcome, record.Payload{}, record.ErrFormat},
		"duplicate detail":  {record.Event, record.Payload{Detail: json.RawMessage(`{"a":1,"a":2}`)}, record.ErrFormat},
		"detail not object": {record.Event, record.Payload{Detail: json.RawMessage(`[1]`)}, record.ErrFormat},
		"detail far too deep": {record.Event, record.Payload{Detail: json.RawMessage(
			strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40))}, record.ErrFormat},
	} {
		if _, err := k.Seal(head(tt.kind), tt.p); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestLargestRecord(t *testing.T) {
	k := newKey(t, 1)
	n := 65_342 - len(`{"resource":""}`)
	raw, err := k.Seal(head(record.Event), record.Payload{Resource: strings.Repeat("x", n)})
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > record.MaxSize {
		t.Errorf("a record of %d bytes", len(raw))
	}
	if _, err := k.Open(raw); err != nil {
		t.Error(err)
	}
	if _, err := k.Seal(head(record.Event), record.Payload{Resource: strings.Repeat("x", n+1)}); !errors.Is(err, record.ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

// A record's place is not part of what is encrypted; all else is.
func TestEveryByteIsBound(t *testing.T) {
	k := newKey(t, 1)
	raw, err := k.Seal(head(record.Event), payload("x"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		_, err := k.Open(bad)
		place := i >= 44 && i < 52 || i >= 72 && i < 104
		if place != (err == nil) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
	if _, err := newKey(t, 2).Open(raw); !errors.Is(err, record.ErrKey) {
		t.Errorf("another key: %v", err)
	}
}

func TestNoncesAreRandom(t *testing.T) {
	k := newKey(t, 1)
	seen := map[string]bool{}
	for range 1_000 {
		raw, err := k.Seal(head(record.Event), payload("x"))
		if err != nil {
			t.Fatal(err)
		}
		if n := string(raw[128:140]); seen[n] {
			t.Fatal("a nonce came twice")
		} else {
			seen[n] = true
		}
	}
}

func TestParseRefuses(t *testing.T) {
	k := newKey(t, 1)
	good, err := k.Seal(head(record.Event), payload("x"))
	if err != nil {
		t.Fatal(err)
	}
	clear, err := record.Clear(head(0), record.OpenedTenant{Slot: 1, RetentionDays: 90})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"empty":              func([]byte) []byte { return nil },
		"cut":                func(b []byte) []byte { return b[:len(b)-1] },
		"one byte more":      func(b []byte) []byte { return append(b, 0) },
		"64 bytes too large": func(b []byte) []byte { return append(b, make([]byte, 65_535)...) },
		"version":            func(b []byte) []byte { b[7] = '2'; return b },
		"type 0":             func(b []byte) []byte { b[8] = 0; return b },
		"type 13":            func(b []byte) []byte { b[8] = 13; return b },
		"flags":              func(b []byte) []byte { b[9] = 1; return b },
		"header length":      func(b []byte) []byte { b[11] = 129; return b },
		"reserved":           func(b []byte) []byte { b[127] = 1; return b },
		"monotonic":          func(b []byte) []byte { b[64] = 0x80; return b },
	} {
		for _, from := range [][]byte{good, clear} {
			if _, err := record.Parse(change(bytes.Clone(from))); !errors.Is(err, record.ErrFormat) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if good[8] = byte(record.Boot); true {
		if _, err := record.Parse(good); !errors.Is(err, record.ErrFormat) {
			t.Errorf("clear type with a key: %v", err)
		}
	}
	if clear[8] = byte(record.Event); true {
		if _, err := record.Parse(clear); !errors.Is(err, record.ErrFormat) {
			t.Errorf("encrypted type without a key: %v", err)
		}
	}
}

func TestClearBodies(t *testing.T) {
	anchor := uint64(7)
	id := bytes.Repeat([]byte{7}, 16)
	for _, body := range []record.Body{
		record.OpenedKey{Period: "2026-W47", Commitment: record.Hash{1}},
		record.ShreddedKeys{First: 1, Last: 9, KeyIDs: []record.Hex{id}, RetentionDays: 90, Approvers: []string{"person:a"}},
		record.ClosedPeriod{Period: "2026-11", First: 1, Last: 9, KeyID: id, Count: 8},
		record.Booted{Clean: true, LastLSN: 3, Dropped: []record.Dropped{{Segment: 1, Offset: 2, Bytes: 3, SHA256: record.Hash{4}}}, Anchor: &anchor},
		record.ChangedPolicy{RetentionDays: 365, Before: 90},
		record.OpenedTenant{Slot: 7, RetentionDays: 90},
		record.ClosedTenant{Reason: "left"},
		record.ClockJump{At: 5, Jump: -int64(time.Hour), AtBoot: true},
		record.AcknowledgedRollback{Expected: 3, Found: 2, Approvers: []string{"person:a", "person:b"}},
	} {
		raw, err := record.Clear(head(0), body)
		if err != nil {
			t.Fatal(err)
		}
		h, got, err := record.DecodeClear(raw)
		if err != nil {
			t.Fatalf("%T: %v", body, err)
		}
		if d := cmp.Diff(body, got); d != "" {
			t.Error(d)
		}
		if h.Type.Encrypted() || h.KeyID != [16]byte{} {
			t.Errorf("%T: header %+v", body, h)
		}
	}
}

func TestClearBodiesRefuse(t *testing.T) {
	for _, body := range []record.Body{
		record.OpenedKey{Period: "2026-W54"},
		record.OpenedKey{Period: "2026-13"},
		record.OpenedKey{},
		record.OpenedTenant{},
		record.ShreddedKeys{First: 1, Last: 2},
		record.ShreddedKeys{KeyIDs: []record.Hex{{1}}},
		record.ClosedPeriod{Period: "2026-11", KeyID: make([]byte, 16), Count: 1},
	} {
		if _, err := record.Clear(head(0), body); !errors.Is(err, record.ErrFormat) {
			t.Errorf("%+v: %v", body, err)
		}
	}
}

// clearText makes a clear record of a type with any text.
func clearText(kind record.Type, text string) []byte {
	b := make([]byte, (2+len(text)+63)/64*64)
	binary.BigEndian.PutUint16(b, uint16(len(text)))
	copy(b[2:], text)
	return append(head(kind).Append(nil), b...)
}

func TestStrictJSON(t *testing.T) {
	good := `{"slot":1,"retention_days":90}`
	if _, _, err := record.DecodeClear(clearText(record.TenantOpen, good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"duplicate":          `{"slot":1,"retention_days":90,"slot":2}`,
		"duplicate, escaped": `{"slot":1,"retention_days":90,"\u0073lot":2}`,
		"other case":         `{"Slot":1,"retention_days":90}`,
		"unknown":            `{"slot":1,"retention_days":90,"x":1}`,
		"two values":         `{"slot":1,"retention_days":90}{}`,
		"space after":        `{"slot":1,"retention_days":90} `,
		"space before":       ` {"slot":1,"retention_days":90}`,
		"array":              `[]`,
		"empty":              ``,
		"not UTF-8":          "{\"slot\":1,\"retention_days\":90,\"\xff\":1}",
		"wrong type":         `{"slot":"1","retention_days":90}`,
		"negative":           `{"slot":-1,"retention_days":90}`,
		"truncated":          `{"slot":1,"retention_days":90`,
	} {
		if _, _, err := record.DecodeClear(clearText(record.TenantOpen, text)); !errors.Is(err, record.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	padded := clearText(record.TenantOpen, good)
	padded[len(padded)-1] = 1
	if _, _, err := record.DecodeClear(padded); !errors.Is(err, record.ErrFormat) {
		t.Errorf("padding that is not zero: %v", err)
	}
	longer := append(clearText(record.TenantOpen, good), make([]byte, 64)...)
	if _, _, err := record.DecodeClear(longer); !errors.Is(err, record.ErrFormat) {
		t.Errorf("more padding than needed: %v", err)
	}
}

func TestCheckDetail(t *testing.T) {
	for text, ok := range map[string]bool{
		`{}`: true, `{"a":[1,{"b":null,"c":[]}],"d":{"b":true}}`: true, `{ "a" : "\"}" , "b" : [ ] }`: true,
		`{"a":1,"b":{"c":1,"c":2}}`: false, `{"a":[{"c":1,"c":2}]}`: false, `{"a":1}{`: false, `{"a"}`: false,
		`{"a":"\ud83d\ude00","a":1}`: false, `{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`: false,
	} {
		if err := record.CheckDetail([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	var many strings.Builder
	many.WriteString(`{"k0":0`)
	for i := 1; i < 40; i++ {
		many.WriteString(`,"k` + strings.Repeat("x", i) + `":0`)
	}
	if err := record.CheckDetail([]byte(many.String() + `}`)); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"k0", "kx", "kxxxxxxxxxxxxxxxxxxxxx"} {
		if err := record.CheckDetail([]byte(many.String() + `,"` + key + `":1}`)); err == nil {
			t.Errorf("duplicate %s among many was not seen", key)
		}
	}
}

func TestPeriod(t *testing.T) {
	for _, tt := range []struct {
		at         string
		days       uint32
		want, from string
	}{
		{"2026-11-18T09:00:00Z", 90, "2026-W47", "2026-11-16T00:00:00Z"},
		{"2026-11-18T09:00:00Z", 91, "2026-11", "2026-11-01T00:00:00Z"},
		{"2027-01-01T00:00:00Z", 30, "2026-W53", "2026-12-28T00:00:00Z"},
		{"2024-12-30T00:00:00Z", 90, "2025-W01", "2024-12-30T00:00:00Z"},
		{"2023-01-01T23:59:59Z", 90, "2022-W52", "2022-12-26T00:00:00Z"},
		{"2026-12-01T00:30:00+01:00", 365, "2026-11", "2026-11-01T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		got := record.Period(at, tt.days)
		from, err := record.PeriodStart(got)
		if got != tt.want || err != nil || from.Format(time.RFC3339) != tt.from {
			t.Errorf("%s: %s from %v (%v), want %s from %s", tt.at, got, from, err, tt.want, tt.from)
		}
	}
	for _, bad := range []string{"", "2026", "2026-W00", "2026-W54", "2025-W53", "2026-W1", "2026-w01", "2026-00", "2026-1 ", "2026-W47x"} {
		if _, err := record.PeriodStart(bad); !errors.Is(err, record.ErrFormat) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestKeys(t *testing.T) {
	if _, err := record.NewKey(instance, make([]byte, 32)); err == nil {
		t.Error("a key of zeros was taken")
	}
	if _, err := record.NewKey(instance, make([]byte, 31)); err == nil {
		t.Error("a short key was taken")
	}
	raw := bytes.Repeat([]byte{9}, 32)
	k, err := record.NewKey(instance, raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw) // the key must not lean on the caller's bytes
	sealed, err := k.Seal(head(record.Event), payload("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open(sealed); err != nil {
		t.Error(err)
	}
	if k.Commitment() != record.Commit(instance, bytes.Repeat([]byte{9}, 32)) {
		t.Error("the commitment is of another key")
	}
	if record.Commit(instance, raw) == record.Commit([16]byte{}, raw) {
		t.Error("the commitment does not bind the appliance")
	}
}
