package audit_test

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

// alarms collects what the log raises.
type alarms struct {
	mu   sync.Mutex
	list []audit.Alarm
}

func (a *alarms) raise(x audit.Alarm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, x)
}

func (a *alarms) count(kind audit.AlarmKind, tenant domain.TenantID) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.list {
		if x.Kind == kind && x.Tenant == tenant {
			n++
		}
	}
	return n
}

func TestShareOfATenant(t *testing.T) {
	var a alarms
	o := smallOptions(t.TempDir())
	o.Space, o.TenantShare, o.Alarm = 10<<20, 20_000, a.raise
	l := open(t, o)
	register(t, l, "acme", "globex")
	g := readGrant(t, "acme")
	n := 0
	var full error
	for n = 0; n < 100; n++ {
		p, err := l.Begin(background, g, audit.Call{})
		if err != nil {
			full = err
			break
		}
		_, err = p.Finish(background, audit.OK, nil)
		must(t, err)
	}
	wantKind(t, full, domain.Limit)
	if !strings.Contains(full.Error(), "acme") || domain.HintOf(full) == "" || n < 30 || n > 80 {
		t.Errorf("after %d events: %v", n, full)
	}
	event(t, l, "globex") // the others go on
	_, err := l.Note(background, "", "x", nil)
	must(t, err)
	s := person("p-9", domain.Analyst, "acme")
	_, err = l.Refuse(background, denied(t, s, authz.Request{Action: authz.SecretRead, Tenant: "acme"}), audit.Call{})
	wantKind(t, err, domain.Limit)
	op := authz.Subject{Principal: domain.Principal{Kind: domain.Person, ID: "op"}, Appliance: []domain.Role{domain.Operator}}
	clean, err := authz.Authorize(op, authz.Request{Action: authz.TenantDestroy, Tenant: "acme"})
	must(t, err)
	p := begin(t, l, clean) // the operator can still clean up
	_, err = p.Intent(background, nil)
	must(t, err)
	_, err = p.FinishDurable(background, audit.OK, nil)
	must(t, err)
	mustClose(t, l)
	if n := a.count(audit.SpaceLow, "acme"); n != 1 {
		t.Errorf("%d alarms, want 1", n)
	}
	l = open(t, o)
	if n := len(entries(t, l, "", audit.Filter{Action: domain.Action(audit.SpaceLow)})); n != 1 {
		t.Errorf("%d alarms in the system log, want 1", n)
	}
	if n := len(entries(t, l, "", audit.Filter{Action: audit.StrayAction})); n != 1 {
		t.Errorf("%d sums of refusals in the system log, want 1", n)
	}
}

func TestWholeSpace(t *testing.T) {
	var a alarms
	o := smallOptions(t.TempDir())
	o.Space, o.TenantShare, o.Reserve, o.Alarm = 60_000, 1<<20, 32<<10, a.raise
	l := open(t, o)
	register(t, l, "acme", "globex")
	var full error
	for range 200 {
		p, err := l.Begin(background, readGrant(t, "acme"), audit.Call{})
		if full = err; err != nil {
			break
		}
		_, err = p.Finish(background, audit.OK, nil)
		must(t, err)
	}
	wantKind(t, full, domain.Limit)
	_, err := l.Begin(background, readGrant(t, "globex"), audit.Call{})
	wantKind(t, err, domain.Limit)
	op := authz.Subject{Principal: domain.Principal{Kind: domain.Person, ID: "op"}, Appliance: []domain.Role{domain.Operator}}
	create, err := authz.Authorize(op, authz.Request{Action: authz.TenantList})
	must(t, err)
	n := 0
	for ; n < 200; n++ {
		p, err := l.Begin(background, create, audit.Call{})
		if full = err; err != nil {
			break
		}
		_, err = p.Finish(background, audit.OK, nil)
		must(t, err)
	}
	wantKind(t, full, domain.Limit)
	if n < 40 {
		t.Errorf("%d records of the system fitted the reserve", n)
	}
	if used, space := l.Usage(); used < o.Space || space != o.Space {
		t.Errorf("%d of %d used", used, space)
	}
	mustClose(t, l)
	if n := a.count(audit.SpaceLow, ""); n != 1 {
		t.Errorf("%d alarms, want 1", n)
	}
	l = open(t, o) // a full log starts
	verify(t, l)
}

// On a full disk requests are refused in time, the system log goes on, and all
// is as before once there is room.
func TestFullDisk(t *testing.T) {
	var a alarms
	d := &disk{after: 1 << 30}
	o := smallOptions(t.TempDir())
	o.Alarm, o.SegmentSize = a.raise, 64<<10
	l := open(t, audit.WithFiles(o, d))
	register(t, l, "acme")
	for made := false; !made; runtime.Gosched() { // until the reserve stands
		if _, err := os.Stat(o.Dir + "/wal/reserve"); err == nil {
			made = true
		}
	}
	d.fail(func(d *disk) { d.create = syscall.ENOSPC })
	try := func() error {
		p, err := l.Begin(background, readGrant(t, "acme"), audit.Call{})
		if err == nil {
			_, err = p.Finish(background, audit.OK, nil)
		}
		return err
	}
	var full error
	for n := 0; full == nil && n < 1_000; n++ {
		full = try()
	}
	wantKind(t, full, domain.Limit)
	for range 150 { // more than the open segment has room for: into the reserve
		_, err := l.Note(background, "", "clean-up", nil)
		must(t, err)
	}
	d.fail(func(d *disk) { d.create = nil })
	for try() != nil {
		l.Tick(1)
		runtime.Gosched()
	}
	verify(t, l)
	mustClose(t, l)
	if n := a.count(audit.DiskFull, ""); n != 1 {
		t.Errorf("%d alarms", n)
	}
}

func TestFirstStartIsSmall(t *testing.T) {
	o := smallOptions(t.TempDir())
	o.SegmentSize = 0
	l := open(t, o)
	register(t, l, "acme")
	event(t, l, "acme")
	mustClose(t, l)
	var sum int64
	for _, dir := range []string{o.Dir, o.Dir + "/wal"} {
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			if info.Mode().IsRegular() {
				sum += info.Size()
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", e.Name(), info.Mode())
			}
		}
	}
	if sum > 9<<20 {
		t.Errorf("a new log takes %d bytes of disk", sum)
	}
}
