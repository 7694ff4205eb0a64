package audit_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

func TestPermitMisuse(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme", "globex")
	_, err := l.Begin(background, authz.Grant{}, audit.Call{})
	wantKind(t, err, domain.Internal)
	_, err = l.Begin(background, readGrant(t, "unknown"), audit.Call{})
	wantKind(t, err, domain.Denied)
	_, refused := authz.Authorize(person("x", domain.Owner), authz.Request{Action: authz.SecretRead, Tenant: "unknown"})
	if err.Error() != refused.Error() {
		t.Errorf("an unknown tenant reads %q, a refusal %q", err, refused)
	}

	for name, p := range map[string]*audit.Permit{"nil": nil, "zero": {}} {
		if p.Check("") == nil || p.Check("acme", authz.SecretRead) == nil || p.CheckChange("acme") == nil {
			t.Errorf("%s permit passes", name)
		}
		_, intentErr := p.Intent(background, nil)
		_, finishErr := p.Finish(background, audit.OK, nil)
		_, durableErr := p.FinishDurable(background, audit.OK, nil)
		if intentErr == nil || finishErr == nil || durableErr == nil {
			t.Errorf("%s permit records something", name)
		}
		if p.Grant().Valid() || p.Tenant() != "" || p.Action() != "" {
			t.Errorf("%s permit names something", name)
		}
		p.Abort()
	}

	p := begin(t, l, readGrant(t, "acme"))
	must(t, p.Check("acme"))
	must(t, p.Check("acme", authz.SecretList, authz.SecretRead))
	for name, err := range map[string]error{
		"another tenant": p.Check("globex", authz.SecretRead),
		"the appliance":  p.Check("", authz.SecretRead),
		"another action": p.Check("acme", authz.SecretPut),
		"a change":       p.CheckChange("acme", authz.SecretRead),
	} {
		if domain.KindOf(err) != domain.Internal || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = p.Finish(background, "fine", nil)
	wantKind(t, err, domain.Internal)
	_, err = p.Finish(background, audit.OK, nil)
	must(t, err)
	if p.Check("acme", authz.SecretRead) == nil {
		t.Error("a finished permit passes")
	}
	_, err = p.Finish(background, audit.OK, nil)
	wantKind(t, err, domain.Internal)
	_, err = p.Intent(background, nil)
	wantKind(t, err, domain.Internal)
	p.Abort()
	if n := l.OpenPermits(); n != 0 {
		t.Errorf("%d permits open", n)
	}
	if d := cmp.Diff([]string{"tenant-open", "key-open", "event ok"}, shape(t, l, "acme")); d != "" {
		t.Error(d)
	}
}

func TestChangesNeedIntents(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	p := begin(t, l, grant(t, "acme", authz.SecretPut, "x"))
	must(t, p.Check("acme", authz.SecretPut))
	if p.CheckChange("acme", authz.SecretPut) == nil {
		t.Error("a change without an intent passes")
	}
	if _, ok := p.IntentID(); ok {
		t.Error("an intent id without an intent")
	}
	_, err := p.Finish(background, audit.OK, nil)
	wantKind(t, err, domain.Internal)
	_, err = p.Intent(background, audit.Detail{"x": strings.Repeat("x", audit.MaxDetail)})
	wantKind(t, err, domain.Limit)
	id, err := p.Intent(background, nil)
	must(t, err)
	if got, ok := p.IntentID(); !ok || got != id {
		t.Errorf("intent id %v, want %v", got, id)
	}
	_, err = p.Intent(background, nil)
	wantKind(t, err, domain.Internal)
	must(t, p.CheckChange("acme", authz.SecretPut))
	if p.CheckChange("acme", authz.SecretDelete) == nil || p.CheckChange("globex") == nil {
		t.Error("a mismatched change passes")
	}
	streamed, ok := p.Receipt()
	r, err := p.Finish(background, audit.OK, nil)
	must(t, err)
	if !ok || r != streamed || r.Seq != id.Seq() {
		t.Errorf("the receipt is %v, want the intent's %v", r, streamed)
	}
	if p.CheckChange("acme", authz.SecretPut) == nil {
		t.Error("a finished permit passes")
	}
	// A change that did not come to its effect needs none.
	p = begin(t, l, grant(t, "acme", authz.SecretPut, "x"))
	_, err = p.Finish(background, audit.Failed, nil)
	must(t, err)
	mustClose(t, l)
}

func TestOutcomeNamesItsIntent(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	id := change(t, l, "acme")
	list := entries(t, l, "acme", audit.Filter{Outcome: audit.OK})
	if len(list) != 1 || list[0].Event.Intent == nil || *list[0].Event.Intent != id.Seq() {
		t.Errorf("%+v", list)
	}
}

func TestAbort(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	p := begin(t, l, readGrant(t, "acme"))
	p.Abort()
	p.Abort()
	if p.Check("acme") == nil {
		t.Error("an aborted permit passes")
	}
	p = begin(t, l, grant(t, "acme", authz.SecretPut, "x"))
	_, err := p.Intent(background, nil)
	must(t, err)
	p.Abort()
	event(t, l, "acme") // comes after them
	want := []string{"tenant-open", "key-open", "event unknown", "intent", "outcome unknown", "event ok"}
	if d := cmp.Diff(want, shape(t, l, "acme")); d != "" {
		t.Error(d)
	}
}

// A permit that nobody finished ends as unknown, with an alarm.
func TestDroppedPermit(t *testing.T) {
	alarms := make(chan audit.Alarm, 10)
	o := smallOptions(t.TempDir())
	o.Alarm = func(a audit.Alarm) { alarms <- a }
	l := open(t, o)
	register(t, l, "acme")
	func() { must(t, begin(t, l, readGrant(t, "acme")).Check("acme")) }()
	var a audit.Alarm
	for a.Kind == "" {
		runtime.GC()
		select {
		case a = <-alarms:
		default:
			runtime.Gosched()
		}
	}
	if a.Kind != audit.PermitDropped || a.Tenant != "acme" {
		t.Errorf("%+v", a)
	}
	mustClose(t, l)
	l = open(t, o)
	register(t, l, "acme")
	if d := cmp.Diff([]string{"tenant-open", "key-open", "event unknown"}, shape(t, l, "acme")); d != "" {
		t.Error(d)
	}
}

func TestCloseEndsPermits(t *testing.T) {
	o := smallOptions(t.TempDir())
	l := open(t, o)
	register(t, l, "acme")
	p := begin(t, l, readGrant(t, "acme"))
	q := begin(t, l, grant(t, "acme", authz.SecretPut, "x"))
	_, err := q.Intent(background, nil)
	must(t, err)
	mustClose(t, l)
	if _, err := p.Finish(background, audit.OK, nil); err == nil {
		t.Error("finished after the end")
	}
	l = open(t, o)
	register(t, l, "acme")
	if list := l.OpenIntents(); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if n := len(entries(t, l, "acme", audit.Filter{Outcome: audit.Unknown})); n != 2 {
		t.Errorf("%d unknown outcomes, want 2", n)
	}
}

func TestIntentsSurviveACrash(t *testing.T) {
	c := newClock()
	o := smallOptions(t.TempDir())
	o.Now = c.Now
	l := open(t, o)
	register(t, l, "acme")
	change(t, l, "acme")
	p := begin(t, l, grant(t, "acme", authz.SecretPut, "stripe/live"))
	id, err := p.Intent(background, audit.Detail{"version": 7})
	must(t, err)
	// Over a day and a period, so that it is only in a segment's header.
	c.Set(time.Date(2026, 12, 9, 0, 0, 0, 0, time.UTC))
	event(t, l, "acme")
	l.Kill()

	l = open(t, o)
	list := l.OpenIntents()
	if len(list) != 1 || list[0].Tenant != "" {
		t.Fatalf("%+v", list)
	}
	register(t, l, "acme")
	list = l.OpenIntents()
	got := list[0]
	got.Time = time.Time{}
	want := audit.Intent{
		ID: id, Tenant: "acme", Actor: "person:p-owner", Action: authz.SecretPut, Resource: "stripe/live", Detail: []byte(`{"version":7}`),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	wantKind(t, l.Resolve(background, audit.IntentID{}, audit.OK, nil), domain.Conflict)
	wantKind(t, l.Resolve(background, id, "fine", nil), domain.Internal)
	must(t, l.Resolve(background, id, audit.OK, audit.Detail{"derived": true}))
	wantKind(t, l.Resolve(background, id, audit.OK, nil), domain.Conflict)
	if len(l.OpenIntents()) != 0 {
		t.Error("still open")
	}
	live := begin(t, l, grant(t, "acme", authz.SecretPut, "y"))
	liveID, err := live.Intent(background, nil)
	must(t, err)
	wantKind(t, l.Resolve(background, liveID, audit.OK, nil), domain.Conflict)
	_, err = live.FinishDurable(background, audit.Failed, nil)
	must(t, err)
	verify(t, l)
	mustClose(t, l)
	if l = open(t, o); len(l.OpenIntents()) != 0 {
		t.Error("open again after a start")
	}
}

func TestCancelledRequestIsRecorded(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	p := begin(t, l, readGrant(t, "acme"))
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := p.Finish(ctx, audit.Failed, nil); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(entries(t, l, "acme", audit.Filter{Outcome: audit.Failed})); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestConcurrentUseOfOnePermit(t *testing.T) {
	l := open(t, smallOptions(t.TempDir()))
	register(t, l, "acme")
	p := begin(t, l, readGrant(t, "acme"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	finished := 0
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_ = p.Check("acme")
			if _, err := p.Finish(background, audit.OK, nil); err == nil {
				mu.Lock()
				finished++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	if finished != 1 || len(entries(t, l, "acme", audit.Filter{Outcome: audit.OK})) != 1 {
		t.Errorf("finished %d times", finished)
	}
}
