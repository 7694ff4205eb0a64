package audit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit/record"
)

// anonymous stands as the actor of what a stranger tried in a tenant.
const anonymous = "anonymous"

// Refuse records a refusal, durably: in the log of the one who asked, and, when
// that one holds nothing in the tenant that was named and the tenant exists,
// without any trace of who it was in that tenant's log, in the same batch.
// The receipt is of the first.
//
// It does the same work whether the named tenant exists or not; the one
// difference is some hundred bytes in the batch. A tenant's log takes ten such
// attempts a minute; the others are counted in the next one and in the system
// log. If the tenant's key is not at
// hand, having it would take longer than for a tenant that does not exist, so
// the second record then follows without being waited for.
func (l *Log) Refuse(ctx context.Context, d *authz.Denied, c Call) (Receipt, error) {
	if d == nil {
		return Receipt{}, domain.Errorf(domain.Internal, "a refusal without a reason")
	}
	if err := l.queue.usable(); err != nil {
		return Receipt{}, err
	}
	home := l.homeOf(d)
	if err := l.admit(home, false); err != nil {
		l.stray(c.Source, "refused while the log is full")
		return Receipt{}, err
	}
	p := callPayload(c, d.Subject.Credential())
	p.Actor, p.Outcome = d.Subject.Principal.String(), string(Refused)
	p.Action, p.Resource = string(d.Request.Action), clip(d.Request.Resource, MaxResource)
	detail, err := Detail{"tenant": clip(string(d.Request.Tenant), MaxField), "foreign": d.Foreign}.encode()
	if err != nil {
		return Receipt{}, err
	}
	p.Detail = detail
	it, err := l.seal(ctx, home, record.Event, p)
	if err != nil {
		return Receipt{}, err
	}
	items := []item{it}
	if d.Foreign {
		if other, ok := l.forTarget(d, home); ok {
			items = append(items, other)
		}
	}
	items, err = l.append(items...)
	if err != nil {
		return Receipt{}, fmt.Errorf("recording a refusal: %w", err)
	}
	return items[0].receipt, nil
}

// homeOf is the log of the one who asked: that of the tenant to which the
// credential belongs, else of the named tenant if the one holds something
// there, else the system log.
func (l *Log) homeOf(d *authz.Denied) *tenantLog {
	if h := d.Subject.Home; h != "" {
		if t := l.find(h); t != nil {
			return t
		}
		return l.system
	}
	if n := d.Request.Tenant; n != "" && len(d.Subject.Tenants[n]) > 0 {
		if t := l.find(n); t != nil {
			return t
		}
	}
	return l.system
}

// forTarget makes the record for the tenant that was named. For a tenant that
// does not exist it does the work in vain.
func (l *Log) forTarget(d *authz.Denied, home *tenantLog) (item, bool) {
	p := record.Payload{
		Actor: anonymous, Action: string(d.Request.Action), Resource: clip(d.Request.Resource, maxAttemptText),
		Outcome: string(Refused),
	}
	target := l.find(d.Request.Tenant)
	exists := target != nil && d.Request.Tenant != "" && target != home
	if !exists {
		target = home
	}
	if exists && l.admit(target, false) != nil {
		l.stray("", "attempts in a tenant whose log is full")
		return item{}, false
	}
	if exists {
		more, ok := l.attempts.take(target.tag, l.o.Now())
		if !ok {
			l.stray("", "attempts in a tenant beyond those that its log takes")
			return item{}, false
		}
		if more > 0 {
			p.Detail, _ = Detail{"more_before": more}.encode()
		}
	}
	if l.keys.ready(target.tag, target.period(l.o.Now())) == nil {
		if exists {
			l.keeper.maybe(func() {
				if it, err := l.seal(context.Background(), target, record.Event, p); err == nil {
					_, _ = l.append(it) // a failure has poisoned the log
				}
			})
		}
		return item{}, false
	}
	it, err := l.seal(context.Background(), target, record.Event, p)
	return it, err == nil && exists
}

// Bounds on what strangers can write into a tenant's log: without them one
// tenant's program could use another's share up.
const (
	attemptsPerMinute = 10
	maxAttemptText    = 128 // bytes of the resource
)

// attempts counts what strangers tried in each tenant.
type attempts struct {
	mu    sync.Mutex
	byTag map[Tag]*attempt
}

type attempt struct {
	minute  int64
	written int
	more    uint64 // not written since the last one that was
}

// take says whether one more attempt may be written, and how many were not
// since the last one.
func (a *attempts) take(tag Tag, now time.Time) (more uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byTag == nil {
		a.byTag = map[Tag]*attempt{}
	}
	e := a.byTag[tag]
	if e == nil {
		e = &attempt{}
		a.byTag[tag] = e
	}
	if minute := now.Unix() / 60; minute != e.minute {
		e.minute, e.written = minute, 0
	}
	if e.written >= attemptsPerMinute {
		e.more++
		return 0, false
	}
	e.written++
	more, e.more = e.more, 0
	return more, true
}

const (
	maxReasons = 32 // kinds of strays that are counted apart
	maxSources = 16 // sources of one kind that are counted apart
	otherName  = "other"

	maxStrayText = 128 // bytes of a source or reason
	// StrayAction is the action of the events that sum up what
	// Unauthenticated counted.
	StrayAction domain.Action = "access.unauthenticated"
)

// strays counts refusals to those who showed no valid credential. Anybody can
// cause those, so they must not each take room in the log.
type strays struct {
	mu       sync.Mutex
	byReason map[string]*stray
}

type stray struct {
	count       uint64
	first, last time.Time
	sources     map[string]uint64
	ticks       int // since the last event
}

// Unauthenticated counts a refusal to somebody without a valid credential. At
// most once a minute for each reason, and at Close, one event in the system
// log sums up how many there were and from where.
func (l *Log) Unauthenticated(source, reason string) { l.stray(source, reason) }

func (l *Log) stray(source, reason string) {
	now := l.o.Now()
	s := &l.strays
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byReason == nil {
		s.byReason = map[string]*stray{}
	}
	reason = clip(reason, maxStrayText)
	e := s.byReason[reason]
	if e == nil {
		if len(s.byReason) >= maxReasons {
			reason = otherName
		}
		if e = s.byReason[reason]; e == nil {
			e = &stray{ticks: strayTicks}
			s.byReason[reason] = e
		}
	}
	if e.count == 0 {
		e.first, e.sources = now, map[string]uint64{}
	}
	e.count++
	e.last = now
	source = clip(source, maxStrayText)
	if _, known := e.sources[source]; !known && len(e.sources) >= maxSources {
		source = otherName
	}
	e.sources[source]++
}

// flushStrays writes the events that are due; all of them at the end.
func (l *Log) flushStrays(all bool) {
	if l.queue.err() != nil {
		return
	}
	for _, d := range l.strays.due(all) {
		p := record.Payload{Actor: string(domain.Nobody), Action: string(StrayAction), Outcome: string(Refused)}
		_, _ = l.event(context.Background(), l.system, p, d) // a failure has poisoned the log
	}
}

// due takes the counts of the reasons whose minute is over. A reason that was
// quiet for a minute is forgotten.
func (s *strays) due(all bool) []Detail {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Detail
	for reason, e := range s.byReason {
		e.ticks++
		if e.ticks < strayTicks && !all {
			continue
		}
		if e.count == 0 {
			delete(s.byReason, reason)
			continue
		}
		list = append(list, Detail{
			"reason": reason, "count": e.count, "sources": e.sources,
			"first": e.first.UTC().Format(time.RFC3339), "last": e.last.UTC().Format(time.RFC3339),
		})
		e.count, e.sources, e.ticks = 0, nil, 0
	}
	return list
}
