package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"coffer/app/domain"
	"coffer/audit/record"
	"coffer/audit/wal"
)

// Options say where the log is and how much room it may take.
type Options struct {
	Dir      string   // the log's own directory
	Instance [16]byte // of the appliance, random, for ever the same
	System   Ref      // of the system log; its slot is 0
	Keys     Keys
	Now      func() time.Time // nil means time.Now

	// MustExist refuses to begin a new log: the appliance has run before.
	MustExist bool

	SegmentSize    int64 // bytes of the first segment; 0 means wal.DefaultFirstSize
	MaxSegmentSize int64 // bytes of the largest; 0 means wal.DefaultMaxSize
	Reserve        int64 // bytes kept for a full disk; 0 means wal.DefaultReserveSize
	Space          int64 // bytes for all logs together; 0 means DefaultSpace
	TenantShare    int64 // bytes for one tenant's log; 0 means a quarter of Space

	// Alarm is called from a goroutine of the log, one call at a time. It must
	// not wait for Close. It may be nil.
	Alarm func(Alarm)

	files    wal.Files // tests put failing disks here
	keyCache int
	still    bool // the keeper does nothing by itself: tests that count its ticks make them
}

// DefaultSpace is how many bytes all logs together may take if nobody said
// otherwise, and if the disk has them.
const DefaultSpace = 10 << 30

func (o *Options) setDefaults() error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Space == 0 {
		o.Space = DefaultSpace
	}
	if o.TenantShare == 0 {
		o.TenantShare = o.Space / 4
	}
	if o.Reserve == 0 {
		o.Reserve = wal.DefaultReserveSize
	}
	if o.SegmentSize != 0 {
		o.Reserve = min(o.Reserve, o.SegmentSize)
	}
	switch {
	case o.Keys == nil || o.Keys.HeadKey().Len() != record.KeySize:
		return errors.New("opening the audit log: no keys, or a head key of another size than 32 bytes")
	case o.System.Slot != 0 || o.System.Tag == Tag{} || o.Instance == [16]byte{}:
		return errors.New("opening the audit log: the system log needs slot 0 and a tag, the appliance an id")
	case o.Space < 0 || o.TenantShare < 0:
		return errors.New("opening the audit log: a negative amount of space")
	}
	return nil
}

// Log is the audit log of the whole appliance. It is safe for concurrent use.
type Log struct {
	o       Options
	headKey []byte
	journal *wal.Journal
	keys    *keyring
	started time.Time // for the monotonic time in records
	boot    uint32
	system  *tenantLog

	queue    queue          // submissions on their way to the committer
	permits  permits        // those that are not finished
	keeper   keeper         // what is done beside the requests
	attempts attempts       // of strangers, by tenant
	strays   strays         // refusals without a credential
	indexes  indexes        // where records stand
	running  sync.WaitGroup // keeper and preparer

	closing  sync.Once
	closed   chan struct{}
	closeErr error
	ended    bool // guarded by reading

	headsMu sync.Mutex   // held while the heads file is written
	reading sync.RWMutex // held for reading while the files are read for somebody

	mu       sync.Mutex // guards what follows
	byTag    map[Tag]*tenantLog
	byID     map[domain.TenantID]*tenantLog
	order    []*tenantLog // by first appearance; t.index is the place in it
	lastWall int64
	intents  map[IntentID]position // without an outcome, of this run and before
	lost     []Intent              // those of runs before
	changed  chan struct{}         // closed at the next publication; nil if nobody waits
	headsAt  uint64                // LSN in the heads file
	headsDue bool                  // the keeper was told to write them
	lowSpace bool                  // an alarm about space was raised
}

// tenantLog is one log. What is not marked otherwise does not change.
type tenantLog struct {
	tag       Tag
	index     int // in Log.order
	retention uint32
	slot      uint32

	chain *record.Chain                   // of the committer alone
	open  atomic.Pointer[record.KeyState] // the key in use, as far as the committer is

	// Guarded by Log.mu.
	id       domain.TenantID // "" for the system log and before Register
	known    bool            // registered
	pub      record.State    // what is durable
	used     int64           // bytes of the journal
	last     int64           // wall clock of the last record; 0 if only an older segment says it
	lowSpace bool            // an alarm about the share was raised
}

// name is how messages call the log.
func (t *tenantLog) name() string {
	if t.slot == 0 {
		return "the system log"
	}
	if t.id == "" {
		return "log " + t.tag.String()
	}
	return fmt.Sprintf("the log of tenant %q", t.id)
}

// addLog makes a log known; l.mu is held, or the log is not open yet.
func (l *Log) addLog(tag Tag, slot, retention uint32, s record.State, used int64) *tenantLog {
	t := &tenantLog{tag: tag, index: len(l.order), slot: slot, retention: retention, pub: s, used: used}
	t.chain = record.Resume(l.o.Instance, tag, s)
	t.noteKey()
	l.byTag[tag] = t
	l.order = append(l.order, t)
	return t
}

// noteKey tells those who encrypt which key the committer has open.
func (t *tenantLog) noteKey() {
	if k := t.chain.State().Key; k.Period != "" {
		t.open.Store(&k)
	}
}

// Register makes a tenant's log known under the tenant's id, at every start
// for every tenant and when one is created. It writes nothing: a log begins
// with its first record. A ref that contradicts the log, or an earlier
// Register, is a Conflict.
func (l *Log) Register(id domain.TenantID, ref Ref) error {
	t, fresh, err := l.register(id, ref)
	if err != nil || !fresh {
		return err
	}
	// A first refusal must not take longer for a tenant that exists, so its
	// key is made before anybody can ask.
	_, err = l.keys.key(context.Background(), t.tag, t.period(l.o.Now()))
	return err
}

// register gives nil if the same was registered before.
func (l *Log) register(id domain.TenantID, ref Ref) (t *tenantLog, fresh bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	conflict := func(why string) error {
		return domain.Errorf(domain.Conflict, "registering the log of tenant %q: %s", id, why)
	}
	if id == "" || ref.Tag == (Tag{}) || ref.Slot == 0 {
		return nil, false, conflict("it needs an id, a tag and a slot above 0")
	}
	t = l.byTag[ref.Tag]
	if other := l.byID[id]; other != nil && other != t {
		return nil, false, conflict("it has another log")
	}
	if t == nil {
		for _, o := range l.order {
			if o.slot == ref.Slot {
				return nil, false, conflict(fmt.Sprintf("slot %d is taken", ref.Slot))
			}
		}
		t = l.addLog(ref.Tag, ref.Slot, ref.Policy.days(), record.State{}, 0)
	}
	switch {
	case t.slot != ref.Slot:
		return nil, false, conflict(fmt.Sprintf("its log stands in slot %d", t.slot))
	case t.known && t.id != id:
		return nil, false, conflict("the log belongs to another tenant")
	case t.known:
		return nil, false, nil
	}
	t.id, t.known = id, true
	l.byID[id] = t
	for i := range l.lost {
		if l.lost[i].ID.Tag() == t.tag {
			l.lost[i].Tenant = id
		}
	}
	return t, t.pub.Size == 0, nil
}

// find gives a registered tenant's log, or the system log for "".
func (l *Log) find(id domain.TenantID) *tenantLog {
	if id == "" {
		return l.system
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[id]
}

// errNoTenant reads as authz's refusal does: whether a tenant exists is not
// for everybody to know.
func errNoTenant() error {
	return domain.Errorf(domain.Denied, "not allowed, or there is no such tenant")
}

// Head is how many records a tenant's log has durably ("" for the system log),
// and the leaf hash of the last.
func (l *Log) Head(tenant domain.TenantID) (size uint64, leaf record.Hash, err error) {
	t := l.find(tenant)
	if t == nil {
		return 0, leaf, errNoTenant()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.pub.Size, t.pub.Leaf, nil
}

// LastTime is the largest wall clock of any record, zero for none. The clock
// of the appliance must not stand before it.
func (l *Log) LastTime() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastWall == 0 {
		return time.Time{}
	}
	return time.Unix(0, l.lastWall).UTC()
}

// Failed is closed when the log takes no more writes. The process must then
// end with an error: recovery starts from what is on disk.
func (l *Log) Failed() <-chan struct{} { return l.queue.failed }

// Err is why the log takes no more writes, nil as long as it does.
func (l *Log) Err() error { return l.queue.err() }

// Close finishes what is open and ends the log in order. Permits that are not
// finished end with outcome "unknown"; outcomes on their way become durable;
// the heads file is marked clean, so that a change of the files afterwards is
// found. Closing again gives the first answer. If ctx ends before that, the
// error is ctx's, closing goes on, and Close may be called again to wait.
func (l *Log) Close(ctx context.Context) error {
	l.closing.Do(func() {
		go func() {
			l.closeErr = l.end()
			close(l.closed)
		}()
	})
	select {
	case <-l.closed:
		return l.closeErr
	case <-ctx.Done():
		return fmt.Errorf("closing the audit log: %w", ctx.Err())
	}
}

func (l *Log) end() error {
	l.queue.close()
	l.permits.abandonAll()
	l.keeper.halt()
	l.running.Wait() // the keeper has flushed the strays, the preparer is done
	for again := true; again; {
		l.queue.drain()
		again = l.keeper.runTodo()
	}
	err := l.queue.stop()
	l.keeper.runTodo() // the alarm about a last batch that failed
	if err == nil {
		err = l.writeHeads(true)
	}
	l.reading.Lock() // reading needs the keys
	defer l.reading.Unlock()
	err = errors.Join(err, l.journal.Close())
	l.ended = true
	l.keys.clear()
	clear(l.headKey)
	if err != nil {
		return fmt.Errorf("closing the audit log: %w", err)
	}
	return nil
}
