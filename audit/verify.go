package audit

import (
	"context"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/audit/record"
	"coffer/audit/wal"
)

// Summary is what Verify found a log to be.
type Summary struct {
	Tenant      domain.TenantID // "" for the system log and for tenants not registered
	Tag         Tag
	Slot        uint32
	Records     uint64
	Leaf        record.Hash // of the last record
	First, Last time.Time   // wall clock of the first and the last record
}

// verifier reads the whole journal and follows the chains of some logs.
type verifier struct {
	l    *Log
	ctx  context.Context
	only *tenantLog // nil for all logs
	logs map[Tag]*verified
}

type verified struct {
	log   *tenantLog
	want  record.State // what was durable when the verification began
	chain *record.Chain
	sum   Summary
}

// Verify reads a tenant's log ("" for the system log) from its first record
// through all segments, as it stands on disk: every batch and segment header,
// the chain, the commitment to every key, and that every record decrypts to
// well-formed text. The error is of kind Tampered and names the first bad
// record with its file and offset.
func (l *Log) Verify(ctx context.Context, tenant domain.TenantID) (Summary, error) {
	t, done, err := l.read(tenant)
	if err != nil {
		return Summary{}, err
	}
	defer done()
	v := &verifier{l: l, ctx: ctx, only: t, logs: map[Tag]*verified{}}
	if err := v.run(); err != nil {
		return Summary{}, err
	}
	return v.logs[t.tag].sum, nil
}

// VerifyAll is Verify for every log that is in the journal, in one pass, in
// the order in which they began.
func (l *Log) VerifyAll(ctx context.Context) ([]Summary, error) {
	_, done, err := l.read("")
	if err != nil {
		return nil, err
	}
	defer done()
	v := &verifier{l: l, ctx: ctx, logs: map[Tag]*verified{}}
	if err := v.run(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	order := append([]*tenantLog(nil), l.order...)
	l.mu.Unlock()
	var list []Summary
	for _, t := range order {
		if w := v.logs[t.tag]; w != nil && w.sum.Records > 0 {
			list = append(list, w.sum)
		}
	}
	return list, nil
}

func (v *verifier) run() error {
	l := v.l
	l.mu.Lock()
	for _, t := range l.order {
		if v.only == nil || v.only == t {
			v.follow(t)
		}
	}
	segments := l.journal.Segments() // these hold at least what the heads say
	l.mu.Unlock()
	var last *wal.Hash
	for i, s := range segments {
		end, err := v.segment(s, last, i+1 < len(segments))
		if err != nil {
			return l.explain(err)
		}
		last = &end
	}
	for _, w := range v.logs {
		if w.chain.Size() < w.want.Size {
			s := segments[len(segments)-1]
			return l.tampered(w.log, w.chain.Size(), s.Path, s.End, "it is missing")
		}
	}
	return nil
}

// follow begins the chain of a log; l.mu is held.
func (v *verifier) follow(t *tenantLog) *verified {
	w := &verified{log: t, want: t.pub, chain: record.NewChain(v.l.o.Instance, t.tag)}
	w.sum = Summary{Tenant: t.id, Tag: t.tag, Slot: t.slot}
	v.logs[t.tag] = w
	return w
}

func (v *verifier) segment(s wal.Segment, lastBatch *wal.Hash, left bool) (wal.Hash, error) {
	r, err := wal.NewReader(s)
	if err != nil {
		return wal.Hash{}, err
	}
	defer r.Close()
	b, prev, err := r.Head(v.l.headKey, v.l.o.Instance)
	if err != nil {
		return wal.Hash{}, err
	}
	if lastBatch != nil && prev != *lastBatch {
		return wal.Hash{}, &wal.DamageError{File: s.Path, Reason: "the last batch before this segment is another one"}
	}
	if err := v.heads(s, b); err != nil {
		return wal.Hash{}, err
	}
	if err := r.Each(func(rec wal.Record) error { return v.record(s, rec) }); err != nil {
		return wal.Hash{}, err
	}
	if left {
		err = r.VerifyTail()
	}
	return r.LastBatch(), err
}

// heads compares the state in a segment's header with the chains.
func (v *verifier) heads(s wal.Segment, b []byte) error {
	snap, err := decodeSnapshot(b)
	if err != nil {
		return &wal.DamageError{File: s.Path, Reason: err.Error()}
	}
	seen := 0
	for _, h := range snap.heads {
		w := v.logs[h.tag]
		if w == nil {
			if v.only != nil {
				continue
			}
			return &wal.DamageError{File: s.Path, Reason: "the header speaks of an unknown log"}
		}
		if w.chain.State() != h.state {
			return v.l.tampered(w.log, w.chain.Size(), s.Path, 0, "the segment's header says otherwise")
		}
		seen++
	}
	for _, w := range v.logs {
		if w.chain.Size() > 0 {
			seen--
		}
	}
	if seen != 0 {
		return &wal.DamageError{File: s.Path, Reason: "the header leaves out a log"}
	}
	return nil
}

func (v *verifier) record(s wal.Segment, rec wal.Record) error {
	h, err := record.Parse(rec.Bytes)
	if err != nil {
		return &wal.DamageError{File: s.Path, Offset: rec.Offset, Reason: err.Error()}
	}
	w := v.logs[h.Tag]
	if w == nil {
		if v.only != nil {
			return nil
		}
		if w = v.late(h.Tag); w == nil {
			return &wal.DamageError{File: s.Path, Offset: rec.Offset, Reason: "a record of an unknown log"}
		}
	}
	if err := v.ctx.Err(); err != nil {
		return err
	}
	seq := w.chain.Size()
	if _, err := w.chain.Add(rec.Bytes); err != nil {
		return v.l.tampered(w.log, seq, s.Path, rec.Offset, err.Error())
	}
	if h.Type.Encrypted() {
		if err := v.decrypt(w, h, rec.Bytes); err != nil {
			if errors.Is(err, record.ErrKey) || errors.Is(err, record.ErrFormat) {
				return v.l.tampered(w.log, seq, s.Path, rec.Offset, err.Error())
			}
			return err
		}
	}
	if seq+1 == w.want.Size && w.chain.Leaf() != w.want.Leaf {
		return v.l.tampered(w.log, seq, s.Path, rec.Offset, "another record was durable in its place")
	}
	if seq == 0 {
		w.sum.First = h.Time()
	}
	w.sum.Last, w.sum.Records, w.sum.Leaf = h.Time(), seq+1, w.chain.Leaf()
	return nil
}

// late follows a log that began after the verification did.
func (v *verifier) late(tag Tag) *verified {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	t := v.l.byTag[tag]
	if t == nil {
		return nil
	}
	w := v.follow(t)
	w.want = record.State{}
	return w
}

func (v *verifier) decrypt(w *verified, h record.Header, raw []byte) error {
	state, _, _ := w.chain.Key(h.KeyID) // the chain accepted the record, so it knows the key
	key, err := v.l.keys.committed(v.ctx, w.log.tag, state)
	if err != nil {
		return err
	}
	_, err = key.Open(raw)
	return err
}
