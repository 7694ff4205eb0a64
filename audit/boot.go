package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/audit/record"
	"coffer/audit/wal"
)

// Names in the log's directory besides the heads file.
const (
	walName        = "wal"
	quarantineName = "quarantine"
)

// Open reads the log and makes it ready, or begins one in an empty directory.
//
// It refuses, with kind Tampered and the file and offset, a journal that is
// damaged anywhere but in a batch that nobody was told about, that does not
// reach what the heads file says, or that was changed after an orderly end;
// nothing on disk is changed then. A half-written last batch is copied to
// quarantine/. Every start is a BOOT record in the system log.
//
// Only the holder of the data directory's lock may call Open. When it returns,
// every tenant has to be registered, and OpenIntents resolved, before requests
// are taken.
func Open(ctx context.Context, o Options) (*Log, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	l := &Log{
		o: o, headKey: bytes.Clone(o.Keys.HeadKey().Reveal()), started: time.Now(), closed: make(chan struct{}),
		keys: newKeyring(o.Keys, o.Instance, o.keyCache), byTag: map[Tag]*tenantLog{},
		byID: map[domain.TenantID]*tenantLog{}, intents: map[IntentID]position{},
	}
	l.queue.init()
	l.keeper.init(l)
	if err := l.load(ctx); err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", l.explain(err))
	}
	return l, nil
}

// explain makes an error about damaged files one that people can act on.
func (l *Log) explain(err error) error {
	var d *wal.DamageError
	switch {
	case errors.As(err, &d):
		e := domain.Errorf(domain.Tampered, "the audit journal is not as it was written: %s at offset %d: %s", d.File, d.Offset, d.Reason).
			WithHint("nothing was changed; keep a copy of %s, find out what happened, then restore a copy of the whole data directory", l.o.Dir)
		e.Err = err
		return e
	case errors.Is(err, errHeads) || errors.Is(err, errSnapshot):
		e := domain.Errorf(domain.Tampered, "the audit log is not as it was written: %v", err).
			WithHint("nothing was changed; keep a copy of %s, find out what happened, then restore a copy of the whole data directory", l.o.Dir)
		e.Err = err
		return e
	}
	return err
}

// load is Open after the checks of its options.
func (l *Log) load(ctx context.Context) error {
	if err := durable.MkdirAll(l.o.Dir); err != nil {
		return err
	}
	if err := durable.SweepTemp(l.o.Dir); err != nil {
		return err
	}
	h, found, err := readHeads(l.o.Dir, l.headKey, l.o.Instance)
	if err != nil {
		return err
	}
	if err := l.expect(found); err != nil {
		return err
	}
	r := &replay{l: l, ctx: ctx, want: map[Tag]head{}}
	for _, e := range h.logs {
		r.want[e.tag] = e
	}
	j, rec, err := wal.Open(wal.Options{
		Dir: filepath.Join(l.o.Dir, walName), Quarantine: filepath.Join(l.o.Dir, quarantineName),
		Instance: l.o.Instance, MACKey: l.headKey, FirstSize: l.o.SegmentSize, MaxSize: l.o.MaxSegmentSize,
		Reserve: l.o.Reserve, Now: l.o.Now, Files: l.o.files,
	}, h.mark, r)
	if err != nil {
		return err
	}
	l.journal = j
	if err := l.resume(ctx, r, h, rec); err != nil {
		return errors.Join(err, j.Close())
	}
	return nil
}

// expect compares what is there with whether something should be. The heads
// file is written before the first segment, so one without the other was
// removed.
func (l *Log) expect(heads bool) error {
	if heads {
		return nil
	}
	entries, err := filepath.Glob(filepath.Join(l.o.Dir, walName, "*.wal"))
	if err != nil {
		return err
	}
	if len(entries) > 0 || l.o.MustExist {
		return fmt.Errorf("%w: %s is gone", errHeads, filepath.Join(l.o.Dir, headsName))
	}
	return nil
}

// resume checks what was read against the heads and starts the log.
func (l *Log) resume(ctx context.Context, r *replay, h heads, rec wal.Recovery) error {
	if err := r.reached(); err != nil {
		return err
	}
	if l.system = l.byTag[l.o.System.Tag]; l.system == nil {
		if !rec.Created && l.journal.LSN() > 0 {
			return domain.Errorf(domain.Tampered, "the system log is not in the journal, or it is the log of another appliance")
		}
		l.system = l.addLog(l.o.System.Tag, 0, l.o.System.Policy.days(), record.State{}, 0)
	}
	if l.system.slot != 0 {
		return domain.Errorf(domain.Conflict, "the system log's tag is that of a tenant's log")
	}
	l.system.known = true
	l.boot++
	l.lastWall = max(l.lastWall, h.lastWall)
	if err := l.findIntents(ctx); err != nil {
		return err
	}
	// From here on the journal is written: the file must not say any more that
	// it is at an orderly end.
	if err := l.writeHeads(false); err != nil {
		return err
	}
	if rec.Created || rec.Torn {
		if err := l.rotate(0); err != nil {
			return err
		}
		if err := l.writeHeads(false); err != nil {
			return err
		}
	}
	l.keeper.measure()
	go l.commitLoop()
	if err := l.recordBoot(h.mark.Clean || rec.Created, rec.Dropped); err != nil {
		return errors.Join(err, l.queue.stop())
	}
	l.keeper.start()
	return nil
}

func (l *Log) recordBoot(clean bool, drops []wal.Drop) error {
	body := record.Booted{Clean: clean, LastLSN: l.journal.LSN()}
	for _, d := range drops {
		body.Dropped = append(body.Dropped, record.Dropped{
			Segment: d.Segment, Offset: uint64(d.Offset), Bytes: uint64(d.Bytes), SHA256: record.Hash(d.SHA256),
		})
	}
	_, err := l.appendClear(l.system, body)
	return err
}

// appendClear records something about a log itself, durably.
func (l *Log) appendClear(t *tenantLog, body record.Body) (Receipt, error) {
	raw, err := record.Clear(l.header(t, 0, l.o.Now()), body)
	if err != nil {
		return Receipt{}, err
	}
	items, err := l.append(item{log: t, raw: raw})
	if err != nil {
		return Receipt{}, err
	}
	return items[0].receipt, nil
}

// replay rebuilds the state of all logs from the last segment.
type replay struct {
	l    *Log
	ctx  context.Context
	want map[Tag]head // from the heads file, until it is reached
}

// Segment takes the state at the start of a segment; that of the last one
// counts.
func (r *replay) Segment(s wal.Segment, b []byte) error {
	snap, err := decodeSnapshot(b)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	l := r.l
	l.boot, l.lastWall = snap.boot, snap.lastWall
	clear(l.intents)
	for _, i := range snap.intents {
		l.intents[i.id] = position{i.segment, i.offset}
	}
	for _, h := range snap.heads {
		t := l.byTag[h.tag]
		if t == nil {
			t = l.addLog(h.tag, h.state.Slot, h.state.RetentionDays, record.State{}, 0)
		}
		if h.state.Size < t.pub.Size {
			return fmt.Errorf("%s: %w: a log shrank", s.Path, errSnapshot)
		}
		t.pub, t.used, t.retention = h.state, h.used, h.state.RetentionDays
		t.chain = record.Resume(l.o.Instance, h.tag, h.state)
		t.noteKey()
	}
	l.indexes.begin(s.Number, l.order)
	return nil
}

// Record takes one record of the last segment.
func (r *replay) Record(rec wal.Record) error {
	l := r.l
	damage := func(err error) error {
		return &wal.DamageError{
			File: filepath.Join(l.o.Dir, walName, fmt.Sprintf("%016x.wal", rec.Segment)), Offset: rec.Offset, Reason: err.Error(),
		}
	}
	h, err := record.Parse(rec.Bytes)
	if err != nil {
		return damage(err)
	}
	t := l.byTag[h.Tag]
	if t == nil {
		if t, err = l.adopt(rec.Bytes); err != nil {
			return damage(err)
		}
	}
	if _, err := t.chain.Add(rec.Bytes); err != nil {
		return damage(err)
	}
	p := placed{
		log: t, kind: h.Type, seq: h.Seq, at: positionOf(rec), wall: h.Wall,
		size: int64(len(rec.Bytes)) + recordOverhead, key: t.chain.State().Key,
	}
	switch h.Type {
	case record.KeyOpen:
		t.noteKey()
	case record.Intent:
		l.intents[intentID(t.tag, h.Seq)] = p.at
	case record.Outcome:
		if err := r.closeIntent(t, p.key, rec.Bytes); err != nil {
			return err
		}
	}
	l.boot, l.lastWall = max(l.boot, h.Boot), max(l.lastWall, h.Wall)
	t.pub, t.used, t.last = t.chain.State(), t.used+p.size, h.Wall
	l.indexes.add(t.tag, p)
	if w, ok := r.want[t.tag]; ok && w.size == t.pub.Size && w.leaf != t.pub.Leaf {
		return damage(fmt.Errorf("record %d is not the one that the heads file names", h.Seq))
	}
	return nil
}

// adopt makes a log known by its first record.
func (l *Log) adopt(raw []byte) (*tenantLog, error) {
	h, body, err := record.DecodeClear(raw)
	if err != nil {
		return nil, err
	}
	b, ok := body.(record.OpenedTenant)
	if !ok {
		return nil, errors.New("a log begins with another record than tenant-open")
	}
	return l.addLog(h.Tag, b.Slot, b.RetentionDays, record.State{}, 0), nil
}

func (r *replay) closeIntent(t *tenantLog, key record.KeyState, raw []byte) error {
	k, err := r.l.keys.committed(r.ctx, t.tag, key)
	if err != nil {
		return err
	}
	p, err := k.Open(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name(), err)
	}
	delete(r.l.intents, intentID(t.tag, *p.Intent))
	return nil
}

// reached checks that every log has at least the size in the heads file.
func (r *replay) reached() error {
	for tag, w := range r.want {
		t := r.l.byTag[tag]
		if t == nil || t.pub.Size < w.size || t.pub.Size == w.size && t.pub.Leaf != w.leaf {
			return domain.Errorf(domain.Tampered, "log %s does not reach record %d, which was durable: it was cut or is an older copy", tag, w.size).
				WithHint("nothing was changed; keep a copy of %s and restore the newest copy of the whole data directory", r.l.o.Dir)
		}
	}
	return nil
}

// findIntents reads the intents that have no outcome.
func (l *Log) findIntents(ctx context.Context) error {
	for id := range l.intents {
		t := l.byTag[id.Tag()]
		e, err := l.entry(ctx, t, id.Seq())
		if err != nil {
			return fmt.Errorf("reading intent %s: %w", id, err)
		}
		if e.Header.Type != record.Intent {
			return domain.Errorf(domain.Tampered, "record %d of %s is not the intent that it should be", id.Seq(), t.name())
		}
		l.lost = append(l.lost, Intent{
			ID: id, Actor: e.Event.Actor, Action: domain.Action(e.Event.Action),
			Resource: e.Event.Resource, Detail: e.Event.Detail, Time: e.Header.Time(),
		})
	}
	slices.SortFunc(l.lost, func(a, b Intent) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return nil
}

func sortIntents(list []openIntent) {
	slices.SortFunc(list, func(a, b openIntent) int { return bytes.Compare(a.id[:], b.id[:]) })
}

// OpenIntents gives the changes of runs before of which nobody wrote what
// became of them. Whoever can tell from the stores resolves each.
func (l *Log) OpenIntents() []Intent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lost)
}

// Settled says whether what became of an intent of this run stands durably in
// the log, so that the mark of its change is needed no more.
func (l *Log) Settled(id IntentID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, open := l.intents[id]
	return !open
}

// Resolve records what became of an intent of a run before, durably. An intent
// that is not open, or that belongs to a permit of this run, is a Conflict.
func (l *Log) Resolve(_ context.Context, id IntentID, o Outcome, d Detail) error {
	if !o.valid() {
		return domain.Errorf(domain.Internal, "%q is no outcome", string(o))
	}
	detail, err := d.encode()
	if err != nil {
		return err
	}
	l.mu.Lock()
	i := slices.IndexFunc(l.lost, func(i Intent) bool { return i.ID == id })
	if i < 0 {
		l.mu.Unlock()
		return domain.Errorf(domain.Conflict, "intent %s is not open", id)
	}
	intent := l.lost[i]
	l.lost = slices.Delete(slices.Clone(l.lost), i, i+1)
	t := l.byTag[id.Tag()]
	l.mu.Unlock()
	seq := id.Seq()
	err = l.resolve(t, record.Payload{
		Actor: domain.SystemPrincipal.String(), Action: string(intent.Action), Resource: intent.Resource,
		Outcome: string(o), Intent: &seq, Detail: detail,
	})
	if err != nil {
		l.mu.Lock()
		l.lost = append(l.lost, intent)
		l.mu.Unlock()
	}
	return err
}

func (l *Log) resolve(t *tenantLog, p record.Payload) error {
	if err := l.queue.usable(); err != nil {
		return err
	}
	it, err := l.seal(context.Background(), t, record.Outcome, p)
	if err != nil {
		return err
	}
	_, err = l.append(it)
	return err
}
