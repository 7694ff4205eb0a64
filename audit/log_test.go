package audit_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/audit/record"
)

var background = context.Background()

func TestLifeOfALog(t *testing.T) {
	o := smallOptions(t.TempDir())
	l := open(t, o)
	register(t, l, "acme", "globex")
	first := event(t, l, "acme")
	id := change(t, l, "acme")
	event(t, l, "globex")
	if first.Seq != 2 || id.Seq() != 3 || id.Tag() != tagOf("acme") {
		t.Errorf("first event %v, intent %v", first, id)
	}
	want := []string{"tenant-open", "key-open", "event ok", "intent", "outcome ok"}
	if d := cmp.Diff(want, shape(t, l, "acme")); d != "" {
		t.Error(d)
	}
	verify(t, l)
	last := l.LastTime()
	mustClose(t, l)
	mustClose(t, l)

	l = open(t, o)
	register(t, l, "acme", "globex")
	if l.LastTime().Before(last) {
		t.Errorf("last time went from %v to %v", last, l.LastTime())
	}
	if list := l.OpenIntents(); len(list) != 0 {
		t.Errorf("open intents after an orderly end: %v", list)
	}
	event(t, l, "acme")
	if d := cmp.Diff(append(want, "event ok"), shape(t, l, "acme")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"tenant-open", "boot", "boot"}, shape(t, l, "")); d != "" {
		t.Error(d)
	}
	if n := len(verify(t, l)); n != 3 {
		t.Errorf("%d logs verified, want 3", n)
	}
}

func TestEventSaysWhatHappened(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	r := event(t, l, "acme")
	e, err := l.Entry(background, "acme", r.Seq)
	must(t, err)
	want := record.Payload{
		Actor: "person:p-owner", Role: "owner", Action: "secret.read", Resource: "stripe/live", Outcome: "ok",
		RequestID: "r-1", Source: "192.0.2.1", Client: "test", Auth: "password", Detail: []byte(`{"version":1}`),
	}
	if d := cmp.Diff(want, e.Event); d != "" {
		t.Error(d)
	}
	raw, err := l.Record(background, "acme", r.Seq)
	must(t, err)
	if record.LeafHash(raw) != r.Leaf || e.Leaf != r.Leaf || e.Receipt() != r {
		t.Error("the receipt is not that of the stored bytes")
	}
	if bytes.Contains(raw, []byte("stripe")) {
		t.Error("the stored bytes are not encrypted")
	}
	if _, err := l.Record(background, "acme", 99); domain.KindOf(err) != domain.NotFound {
		t.Errorf("a record that is not there: %v", err)
	}
}

func TestHostileText(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	long := string(bytes.Repeat([]byte("\x00ü\xff"), 5_000))
	p, err := l.Begin(background, grant(t, "acme", authz.SecretRead, long), audit.Call{RequestID: long, Source: long, Client: long, Auth: long})
	must(t, err)
	r, err := p.Finish(background, audit.Failed, audit.Detail{"x": long})
	must(t, err)
	e, err := l.Entry(background, "acme", r.Seq)
	must(t, err)
	if len(e.Event.Resource) > audit.MaxResource || len(e.Event.Client) > audit.MaxField {
		t.Error("text was not cut")
	}
	if d := cmp.Diff(`{"omitted":"the detail could not be recorded"}`, string(e.Event.Detail)); d != "" {
		t.Error(d)
	}
	verify(t, l)
}

func TestRegister(t *testing.T) {
	o := smallOptions(t.TempDir())
	l := open(t, o)
	register(t, l, "acme")
	register(t, l, "acme")
	event(t, l, "acme")
	ref := func(tag string, slot uint32) audit.Ref { return audit.Ref{Tag: tagOf(tag), Slot: slot} }
	for name, tt := range map[string]struct {
		id  domain.TenantID
		ref audit.Ref
	}{
		"no id":         {"", ref("x", 9)},
		"no tag":        {"x", audit.Ref{Slot: 9}},
		"system's slot": {"x", ref("x", 0)},
		"taken slot":    {"x", ref("x", 1)},
		"taken tag":     {"x", ref("acme", 1)},
		"another log":   {"acme", ref("x", 9)},
		"another slot":  {"acme", ref("acme", 2)},
		"the system's":  {"x", ref("system", 9)},
	} {
		if err := l.Register(tt.id, tt.ref); domain.KindOf(err) != domain.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustClose(t, l)
	l = open(t, o)
	if err := l.Register("acme", ref("acme", 2)); domain.KindOf(err) != domain.Conflict {
		t.Errorf("another slot after a start: %v", err)
	}
	if err := l.Register("globex", ref("acme", 1)); err != nil {
		t.Fatal(err) // the journal holds no names; the control store is believed
	}
}

func TestOptions(t *testing.T) {
	for name, change := range map[string]func(*audit.Options){
		"no keys":        func(o *audit.Options) { o.Keys = nil },
		"no instance":    func(o *audit.Options) { o.Instance = [16]byte{} },
		"no system tag":  func(o *audit.Options) { o.System.Tag = audit.Tag{} },
		"system slot":    func(o *audit.Options) { o.System.Slot = 1 },
		"negative space": func(o *audit.Options) { o.Space = -1 },
		"tiny segments":  func(o *audit.Options) { o.SegmentSize = 1 },
		"must exist":     func(o *audit.Options) { o.MustExist = true },
	} {
		o := smallOptions(t.TempDir())
		change(&o)
		if l, err := audit.Open(background, o); err == nil {
			mustClose(t, l)
			t.Errorf("%s: opened", name)
		}
	}
}

func TestQuery(t *testing.T) {
	c := newClock()
	o := smallOptions(t.TempDir())
	o.Now, o.SegmentSize = c.Now, 32<<10
	l := open(t, o)
	register(t, l, "acme", "globex")
	var at []time.Time
	for i := range 60 { // over some segments
		at = append(at, c.Now())
		g := grant(t, "acme", authz.SecretRead, []string{"a", "b", "c"}[i%3])
		p := begin(t, l, g)
		_, err := p.Finish(background, []audit.Outcome{audit.OK, audit.Failed}[i%2], nil)
		must(t, err)
		event(t, l, "globex")
	}
	if n := len(l.Journal()); n < 2 {
		t.Fatalf("%d segments", n)
	}
	count := func(f audit.Filter) int { return len(entries(t, l, "acme", f)) }
	for name, tt := range map[string]struct {
		f    audit.Filter
		want int
	}{
		"all":      {audit.Filter{}, 62},
		"resource": {audit.Filter{Resource: "a"}, 20},
		"outcome":  {audit.Filter{Outcome: audit.Failed}, 30},
		"both":     {audit.Filter{Outcome: audit.Failed, Resource: "b"}, 10},
		"actor":    {audit.Filter{Actor: "person:p-owner"}, 60},
		"nobody":   {audit.Filter{Actor: "person:x"}, 0},
		"action":   {audit.Filter{Action: authz.SecretPut}, 0},
		"request":  {audit.Filter{RequestID: "r-1"}, 60},
		"from":     {audit.Filter{From: at[50]}, 10},
		"to":       {audit.Filter{To: at[50], Action: authz.SecretRead}, 50},
		"after":    {audit.Filter{After: 51}, 10},
		"limit":    {audit.Filter{Limit: 7, After: 3}, 7},
	} {
		if got := count(tt.f); got != tt.want {
			t.Errorf("%s: %d records, want %d", name, got, tt.want)
		}
	}
	for _, n := range []int{0, 1, 5, 61, 62, 63, 500} {
		list, err := l.Tail(background, "acme", n)
		must(t, err)
		if len(list) != min(n, 62) || n > 0 && list[len(list)-1].Header.Seq != 61 {
			t.Errorf("tail of %d has %d records", n, len(list))
		}
	}
	stop := errors.New("stop")
	if err := l.Query(background, "acme", audit.Filter{}, func(audit.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the caller: %v", err)
	}
	wantKind(t, l.Query(background, "nobody", audit.Filter{}, nil), domain.Denied)
	ctx, cancel := context.WithCancel(background)
	cancel()
	if err := l.Query(ctx, "acme", audit.Filter{}, func(audit.Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a query that was ended: %v", err)
	}
	// A start knows nothing of the segments before the last, and reads them.
	mustClose(t, l)
	l = open(t, o)
	register(t, l, "acme", "globex")
	if got := count(audit.Filter{Outcome: audit.OK}); got != 30 {
		t.Errorf("after a start: %d records", got)
	}
	verify(t, l)
}

func TestWait(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	event(t, l, "acme")
	size, _, err := l.Head("acme")
	must(t, err)
	if n, err := l.Wait(background, "acme", size-1); n != size || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		if n, err := l.Wait(background, "acme", size); n != size+1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}()
	event(t, l, "acme")
	wg.Wait()
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := l.Wait(ctx, "acme", size+1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	mustClose(t, l)
	if _, err := l.Wait(background, "acme", size+1); err == nil {
		t.Error("waited on a closed log")
	}
}

func TestPeriods(t *testing.T) {
	c := newClock()
	o := smallOptions(t.TempDir())
	o.Now = c.Now
	l := open(t, o)
	register(t, l, "weekly")
	must(t, l.Register("monthly", audit.Ref{Tag: tagOf("monthly"), Slot: 9, Policy: audit.Policy{RetentionDays: 365}}))
	event(t, l, "weekly")
	event(t, l, "monthly")
	pending := begin(t, l, readGrant(t, "weekly")) // begun in one week, finished in the next
	c.Set(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))
	event(t, l, "weekly")
	event(t, l, "monthly")
	_, err := pending.Finish(background, audit.OK, nil)
	must(t, err)
	c.Set(time.Date(2026, 11, 17, 0, 0, 0, 0, time.UTC)) // set back: the key stays, the order too
	back := event(t, l, "weekly")
	c.Set(time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC))
	event(t, l, "weekly")
	event(t, l, "monthly")
	if d := cmp.Diff([]string{
		"tenant-open", "key-open", "event ok", "period-close", "key-open", "event ok", "event ok", "event ok",
		"period-close", "key-open", "event ok",
	}, shape(t, l, "weekly")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{
		"tenant-open", "key-open", "event ok", "event ok", "period-close", "key-open", "event ok",
	}, shape(t, l, "monthly")); d != "" {
		t.Error(d)
	}
	var periods []string
	for _, e := range entries(t, l, "weekly", audit.Filter{}) {
		if e.Header.Type == record.KeyOpen || e.Header.Type == record.PeriodClose {
			periods = append(periods, string(e.Body))
		}
	}
	for i, want := range []string{"2026-W47", "2026-W47", "2026-W48", "2026-W48", "2026-W53"} {
		if !bytes.Contains([]byte(periods[i]), []byte(want)) {
			t.Errorf("record %d is %s, want period %s", i, periods[i], want)
		}
	}
	e, err := l.Entry(background, "weekly", back.Seq)
	must(t, err)
	if e.Header.Time().After(time.Date(2026, 11, 18, 0, 0, 0, 0, time.UTC)) {
		t.Error("the wall clock in the record is not what the clock said")
	}
	if n := len(l.Journal()); n < 3 {
		t.Errorf("%d segments over three days", n)
	}
	verify(t, l)
	mustClose(t, l)
	l = open(t, o)
	register(t, l, "weekly")
	event(t, l, "weekly")
	verify(t, l)
}

// Writers in the middle of a change of period are encrypted again, none fails
// and none is left under a closed key.
func TestPeriodChangesUnderLoad(t *testing.T) {
	c := newClock()
	o := smallOptions(t.TempDir())
	o.Now = c.Now
	l := open(t, o)
	register(t, l, "acme")
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 40 {
				if w == 0 {
					c.Set(time.Date(2026, 11, 18+7*(i/8), 0, 0, 0, 0, time.UTC))
				}
				change(t, l, "acme")
			}
		}()
	}
	wg.Wait()
	outcomes := entries(t, l, "acme", audit.Filter{Outcome: audit.OK})
	if len(outcomes) != 320 {
		t.Errorf("%d outcomes, want 320", len(outcomes))
	}
	verify(t, l)
}

func TestThousandTenants(t *testing.T) {
	o := audit.WithKeyCache(smallOptions(t.TempDir()), 50)
	o.SegmentSize = 1 << 20
	l := open(t, o)
	const n = 1_000
	for i := range n {
		must(t, l.Register(tenantN(i), audit.Ref{Tag: tagOf(string(tenantN(i))), Slot: uint32(i + 1)}))
	}
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < n; i += 32 {
				event(t, l, tenantN(i))
			}
		}()
	}
	wg.Wait()
	if held := l.HeldKeys(); held > 50 {
		t.Errorf("%d keys are held", held)
	}
	if got := len(verify(t, l)); got != n+1 {
		t.Errorf("%d logs", got)
	}
	mustClose(t, l)
	l = open(t, o)
	for i := range n {
		must(t, l.Register(tenantN(i), audit.Ref{Tag: tagOf(string(tenantN(i))), Slot: uint32(i + 1)}))
		if size, _, err := l.Head(tenantN(i)); size != 3 || err != nil {
			t.Fatalf("tenant %d has %d records, %v", i, size, err)
		}
	}
}

func TestNotes(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	_, err := l.Note(background, "acme", "lease.expired", audit.Detail{"lease": "l-1"})
	must(t, err)
	_, err = l.NoteClock(background, record.ClockJump{At: 1, Jump: -5})
	must(t, err)
	_, err = l.Note(background, "nobody", "x", nil)
	wantKind(t, err, domain.Denied)
	if d := cmp.Diff([]string{"tenant-open", "key-open", "event ok"}, shape(t, l, "acme")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"tenant-open", "boot", "clock"}, shape(t, l, "")); d != "" {
		t.Error(d)
	}
}

func TestClosedLogRefuses(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	mustClose(t, l)
	_, err := l.Begin(background, readGrant(t, "acme"), audit.Call{})
	wantKind(t, err, domain.Unavailable)
	_, err = l.Note(background, "", "x", nil)
	wantKind(t, err, domain.Unavailable)
	l.Unauthenticated("x", "y")
}

func TestKeysThatFail(t *testing.T) {
	keys := &testKeys{seed: "test"}
	o := audit.WithKeyCache(smallOptions(t.TempDir()), 1)
	o.Keys = keys
	l := open(t, o)
	register(t, l, "acme")
	event(t, l, "acme")
	keys.mu.Lock()
	keys.fail = domain.Errorf(domain.Sealed, "sealed")
	keys.mu.Unlock()
	if err := l.Register("globex", audit.Ref{Tag: tagOf("globex"), Slot: 2}); domain.KindOf(err) != domain.Sealed {
		t.Errorf("registering without keys: %v", err)
	}
	_, err := l.Begin(background, readGrant(t, "globex"), audit.Call{})
	wantKind(t, err, domain.Sealed)
	keys.mu.Lock()
	keys.fail, keys.seed = nil, "another vault"
	keys.mu.Unlock()
	event(t, l, "globex") // begins under the new key; acme's leaves the cache
	p := begin(t, l, readGrant(t, "acme"))
	_, err = p.Finish(background, audit.OK, nil)
	wantKind(t, err, domain.Tampered)
	event(t, l, "globex") // the others go on
}

// TestLastEvent: when a log was written last is known at any time, also of a log
// that has nothing in the newest segment after a start, and without a key.
func TestLastEvent(t *testing.T) {
	o, clock := smallOptions(t.TempDir()), newClock()
	o.Now = clock.Now
	l := open(t, o)
	register(t, l, "acme", "globex", "empty")
	last := func(tenant domain.TenantID, want time.Time) {
		t.Helper()
		if at, err := l.LastEvent(t.Context(), tenant); err != nil || at.Truncate(time.Second) != want.Truncate(time.Second) { // the test's clock moves at each look
			t.Errorf("%s: %v %v, want %v", tenant, at, err, want)
		}
	}
	quiet := clock.Now()
	event(t, l, "acme")
	for n := range 3000 {
		clock.Set(quiet.Add(time.Duration(n) * time.Second))
		event(t, l, "globex")
	}
	busy := clock.Now()
	for range 2 {
		last("acme", quiet)
		last("globex", busy)
		last("empty", time.Time{})
		mustClose(t, l)
		l = open(t, o)
		register(t, l, "acme", "globex", "empty")
	}
	last("acme", quiet)
	if _, err := l.LastEvent(t.Context(), "nobody"); domain.KindOf(err) != domain.Denied {
		t.Errorf("an unknown tenant: %v", err)
	}
	mustClose(t, l)
}
