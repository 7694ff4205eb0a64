package record_test

import (
	"bytes"
	"errors"
	"testing"

	"coffer/audit/record"
)

// FuzzParse: what is decoded is encoded to the same bytes, and nothing panics.
func FuzzParse(f *testing.F) {
	b := fortyRecords(f)
	for _, raw := range b.records[:4] {
		f.Add(raw)
	}
	f.Add(b.records[20])
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := record.Parse(raw)
		if err != nil {
			if !errors.Is(err, record.ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if again := h.Append(nil); !bytes.Equal(again, raw[:record.HeaderSize]) {
			t.Fatalf("header %x became %x", raw[:record.HeaderSize], again)
		}
		if h.Type.Encrypted() {
			return
		}
		_, body, err := record.DecodeClear(raw)
		if err != nil {
			return
		}
		// JSON has more than one form; ours must mean the same.
		again, err := record.Clear(h, body)
		if err != nil {
			t.Fatalf("%+v was decoded and cannot be encoded: %v", body, err)
		}
		if _, _, err := record.DecodeClear(again); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzJSON: the strict reader agrees with itself and never runs off the end.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{"b":null}],"c":"\u0061\""}`, `{"a":1,"a":2}`, `{"a":-1.5e3 , "b":[ ] }`, `{"a"`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	k := newKey(f, 1)
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := record.CheckDetail(text); err != nil {
			return
		}
		if text[0] != '{' {
			return
		}
		p := record.Payload{Detail: text}
		raw, err := k.Seal(head(record.Event), p)
		if errors.Is(err, record.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatalf("%q was accepted and then refused: %v", text, err)
		}
		if _, err := k.Open(raw); err != nil {
			t.Fatal(err)
		}
	})
}
