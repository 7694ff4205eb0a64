package audit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"coffer/app/domain"
	"coffer/audit/record"
	"coffer/audit/wal"
)

const (
	tickEvery  = time.Second // between looks at the open segment
	headsEvery = 4_096       // records after which the heads file is written
	headsTicks = 10          // ticks after which it is written if anything changed
	strayTicks = 60          // ticks between two events about the same kind of stray
	warmEvery  = 16          // keys made ahead at each tick
	maxTodo    = 4_096       // things for the keeper that may be dropped
)

// keeper does what no request should wait for: it looks after the open
// segment, writes the heads file, records what was left over, and raises
// alarms. A second goroutine, the preparer, fills segments with zeros.
type keeper struct {
	l    *Log
	stop chan struct{}
	once sync.Once

	wake    chan struct{} // there is something to do
	prepare chan struct{} // a segment should be prepared
	heads   atomic.Bool   // the heads file should be written

	headsBad atomic.Bool // the last try to write them failed

	diskFull atomic.Bool
	free     atomic.Int64 // bytes of the disk that are free, as last measured

	mu   sync.Mutex
	todo []func()
}

func (k *keeper) init(l *Log) {
	k.l, k.stop = l, make(chan struct{})
	k.wake, k.prepare = make(chan struct{}, 1), make(chan struct{}, 1)
}

func (k *keeper) start() {
	k.l.running.Add(2)
	go k.loop()
	go k.prepareLoop()
	k.prepareSoon()
}

// halt ends both goroutines; Log.running tells when they have.
func (k *keeper) halt() { k.once.Do(func() { close(k.stop) }) }

// later queues something for the keeper.
func (k *keeper) later(fn func()) {
	k.mu.Lock()
	k.todo = append(k.todo, fn)
	k.mu.Unlock()
	signal(k.wake)
}

// maybe is later for what may be left out when there is too much.
func (k *keeper) maybe(fn func()) bool {
	k.mu.Lock()
	full := len(k.todo) >= maxTodo
	k.mu.Unlock()
	if !full {
		k.later(fn)
	}
	return !full
}

// runTodo does what is queued and says whether there was anything.
func (k *keeper) runTodo() bool {
	k.mu.Lock()
	todo := k.todo
	k.todo = nil
	k.mu.Unlock()
	for _, fn := range todo {
		fn()
	}
	return len(todo) > 0
}

func (k *keeper) headsSoon() {
	k.heads.Store(true)
	signal(k.wake)
}

func (k *keeper) prepareSoon() { signal(k.prepare) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// alarm raises an alarm from the keeper's goroutine, and records it if the log
// can still be written.
func (k *keeper) alarm(a Alarm) {
	k.later(func() {
		if k.l.queue.err() == nil {
			_, _ = k.l.event(context.Background(), k.l.system, own(domain.Action(a.Kind)),
				Detail{"text": a.Text, "tenant": string(a.Tenant)})
		}
		if k.l.o.Alarm != nil {
			k.l.o.Alarm(a)
		}
	})
}

func (k *keeper) loop() {
	defer k.l.running.Done()
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	if k.l.o.still {
		ticker.Stop()
	}
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
			k.tick(n)
		case <-k.wake:
			n--
		case <-k.stop:
			k.l.flushStrays(true)
			k.runTodo()
			return
		}
		if k.heads.CompareAndSwap(true, false) {
			k.saveHeads()
		}
		k.runTodo()
	}
}

// tick is what happens every second; n counts.
func (k *keeper) tick(n int) {
	l := k.l
	if err := l.journal.Check(); err != nil && l.queue.fail(err) {
		k.alarm(Alarm{Kind: SegmentLost, Text: "somebody changed the audit journal while it was open: " + err.Error()})
	}
	k.measure()
	if k.diskFull.Load() || l.journal.NeedsNext() {
		k.prepareSoon()
	}
	if n%headsTicks == 0 {
		k.saveHeads()
	}
	k.warm()
	l.flushStrays(false)
}

// saveHeads writes the heads file if there are new records.
func (k *keeper) saveHeads() {
	l := k.l
	l.mu.Lock()
	changed := l.journal.LSN() != l.headsAt
	l.mu.Unlock()
	if !changed || l.queue.err() != nil {
		return
	}
	err := l.writeHeads(false)
	if err == nil {
		k.headsBad.Store(false)
		return
	}
	if !k.headsBad.Swap(true) { // once, not every ten seconds
		k.alarm(Alarm{Kind: HeadsFailed, Text: "the audit log's heads file cannot be written: " + err.Error()})
	}
}

// warm has some keys made before they are needed: after a start, and when a
// period begins. See Refuse for why that matters.
func (k *keeper) warm() {
	l := k.l
	now := l.o.Now()
	l.mu.Lock()
	logs := append([]*tenantLog(nil), l.order...)
	l.mu.Unlock()
	if len(logs) > l.keys.limit {
		return
	}
	n := 0
	for _, t := range logs {
		if n == warmEvery {
			return
		}
		if l.keys.ready(t.tag, t.period(now)) != nil {
			continue
		}
		n++
		_, _ = l.keys.key(context.Background(), t.tag, t.period(now)) // a failure comes again where it matters
	}
}

// prepareLoop makes segments ahead.
func (k *keeper) prepareLoop() {
	defer k.l.running.Done()
	for {
		select {
		case <-k.prepare:
		case <-k.stop:
			return
		}
		err := k.l.journal.Prepare()
		full := wal.IsDiskFull(err)
		if full && !k.diskFull.Swap(true) {
			k.alarm(Alarm{Kind: DiskFull, Text: "no room for the next segment of the audit log; only its reserve is left"})
		}
		if err == nil {
			k.diskFull.Store(false)
		}
	}
}

// event records something for which there was no permit.
func (l *Log) event(ctx context.Context, t *tenantLog, p record.Payload, d Detail) (Receipt, error) {
	detail, err := d.encode()
	if err != nil {
		return Receipt{}, err
	}
	p.Detail = detail
	it, err := l.seal(ctx, t, record.Event, p)
	if err != nil {
		return Receipt{}, err
	}
	items, err := l.append(it)
	if err != nil {
		return Receipt{}, err
	}
	return items[0].receipt, nil
}

// own is what the events of the appliance itself have in common.
func own(action domain.Action) record.Payload {
	return record.Payload{
		Actor: domain.SystemPrincipal.String(), Role: string(domain.System), Action: string(action), Outcome: string(OK),
	}
}

// Note records, durably, something that the appliance did or found by itself,
// in a tenant's log or ("") the system log.
func (l *Log) Note(ctx context.Context, tenant domain.TenantID, action domain.Action, d Detail) (Receipt, error) {
	if err := l.queue.usable(); err != nil {
		return Receipt{}, err
	}
	t := l.find(tenant)
	if t == nil {
		return Receipt{}, errNoTenant()
	}
	return l.event(ctx, t, own(action), d)
}

// NoteClock records, durably, a jump of the wall clock in the system log.
func (l *Log) NoteClock(_ context.Context, j record.ClockJump) (Receipt, error) {
	if err := l.queue.usable(); err != nil {
		return Receipt{}, err
	}
	return l.appendClear(l.system, j)
}
