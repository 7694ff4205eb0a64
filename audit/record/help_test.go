package record_test

import (
	"encoding/json"
	"testing"
	"time"

	"coffer/audit/record"
)

var (
	instance = [16]byte{1, 2, 3}
	tag      = [16]byte{4, 5, 6}
	epoch    = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC).UnixNano()
)

func newKey(tb testing.TB, b byte) *record.Key {
	tb.Helper()
	raw := make([]byte, record.KeySize)
	raw[0] = b
	k, err := record.NewKey(instance, raw)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func head(kind record.Type) record.Header {
	return record.Header{Type: kind, Instance: instance, Tag: tag, Wall: epoch, Boot: 1, Mono: time.Second}
}

func payload(resource string) record.Payload {
	return record.Payload{
		Actor: "person:p-1", Role: "owner", Action: "secret.read", Resource: resource, Outcome: "ok",
		RequestID: "r-1", Source: "192.0.2.1", Client: "coffer", Auth: "password", Detail: json.RawMessage(`{"version":1}`),
	}
}

// builder makes a chain as a log does.
type builder struct {
	tb       testing.TB
	chain    *record.Chain
	tag      [16]byte
	instance [16]byte
	records  [][]byte
}

func newBuilder(tb testing.TB) *builder {
	return &builder{tb: tb, chain: record.NewChain(instance, tag), tag: tag, instance: instance}
}

func (b *builder) add(raw []byte, err error) *builder {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatal(err)
	}
	prev := b.chain.Leaf()
	if b.chain.Size() == 0 {
		prev = record.Genesis(b.instance, b.tag, 7, 90)
	}
	record.Place(raw, b.chain.Size(), prev)
	if _, err := b.chain.Add(raw); err != nil {
		b.tb.Fatal(err)
	}
	b.records = append(b.records, raw)
	return b
}

func (b *builder) header(kind record.Type) record.Header {
	h := head(kind)
	h.Tag, h.Instance = b.tag, b.instance
	h.Wall += int64(len(b.records)) * int64(time.Second)
	return h
}

func (b *builder) clear(body record.Body) *builder {
	b.tb.Helper()
	return b.add(record.Clear(b.header(0), body))
}

func (b *builder) begin() *builder {
	b.tb.Helper()
	return b.clear(record.OpenedTenant{Slot: 7, RetentionDays: 90})
}

func (b *builder) open(k *record.Key, period string) *builder {
	b.tb.Helper()
	return b.clear(record.OpenedKey{Period: period, Commitment: k.Commitment()})
}

func (b *builder) event(k *record.Key, resource string) *builder {
	b.tb.Helper()
	return b.add(k.Seal(b.header(record.Event), payload(resource)))
}

// verify feeds records to a new chain and gives how many were accepted.
func verify(instance, tag [16]byte, records [][]byte) (n int, err error) {
	c := record.NewChain(instance, tag)
	for i, raw := range records {
		if _, err := c.Add(raw); err != nil {
			return i, err
		}
	}
	return len(records), nil
}
