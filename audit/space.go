package audit

import (
	"fmt"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit/wal"
)

const (
	// recordOverhead is what a record takes in the journal besides its bytes.
	recordOverhead = wal.FrameOverhead
	// An alarm is raised above alarmPercent of the space, and again only after
	// it was below rearmPercent.
	alarmPercent = 80
	rearmPercent = 70
)

// Usage is how many bytes of disk the records take, and how many they may: the
// configured space, or less if the disk does not have it.
func (l *Log) Usage() (used, space int64) {
	used, room := l.journal.Used()
	space = l.o.Space
	if free := l.keeper.free.Load(); free >= 0 {
		space = min(space, used+room+free)
	}
	return used, space
}

// measure looks how much the disk has left.
func (k *keeper) measure() { k.free.Store(freeSpace(k.l.o.Dir)) }

// cleansUp says whether a grant is one with which room can be made: those of
// the operator and of the appliance itself.
func cleansUp(g authz.Grant) bool {
	return g.Role() == string(domain.Operator) || g.Role() == string(domain.System)
}

// admit says whether another request may begin. What has begun is always
// recorded; the overshoot is at most one record for each request under way.
//
// The system log and clean-up by the operator may use the reserve as well, so
// that a full log can be seen and dealt with.
func (l *Log) admit(t *tenantLog, cleanup bool) error {
	used, space := l.Usage()
	reserved := cleanup || t == l.system
	if reserved {
		space += l.o.Reserve
	}
	if used >= space || l.diskFull() && !reserved {
		return domain.Errorf(domain.Limit, "the audit log is full: %s of %s are used", size(used), size(space)).
			WithHint("make room on the disk of %s or raise the log's space in the configuration", l.o.Dir)
	}
	if reserved {
		return nil
	}
	l.mu.Lock()
	mine, name := t.used, t.name()
	l.mu.Unlock()
	if mine >= l.o.TenantShare {
		return domain.Errorf(domain.Limit, "%s has used its share of %s", name, size(l.o.TenantShare)).
			WithHint("ask the operator to raise the share of the audit log's space in the configuration")
	}
	return nil
}

// diskFull: no next segment can be made, and less than half of the open one is
// left.
func (l *Log) diskFull() bool {
	if !l.keeper.diskFull.Load() {
		return false
	}
	_, room := l.journal.Used()
	return room < l.journal.Active().End
}

// watchSpace raises an alarm when a share or the whole crosses its mark; l.mu
// is held.
func (l *Log) watchSpace(done []placed) {
	for _, p := range done {
		t := p.log
		if t == l.system {
			continue
		}
		if crossed(&t.lowSpace, t.used, l.o.TenantShare) {
			l.keeper.alarm(Alarm{
				Kind: SpaceLow, Tenant: t.id,
				Text: fmt.Sprintf("%s uses %s of its share of %s", t.name(), size(t.used), size(l.o.TenantShare)),
			})
		}
	}
	used, space := l.Usage()
	if crossed(&l.lowSpace, used, space) {
		l.keeper.alarm(Alarm{Kind: SpaceLow, Text: fmt.Sprintf("the audit log uses %s of %s", size(used), size(space))})
	}
}

// crossed says whether used has just come above the mark.
func crossed(above *bool, used, space int64) bool {
	switch {
	case !*above && used >= space/100*alarmPercent:
		*above = true
		return true
	case *above && used < space/100*rearmPercent:
		*above = false
	}
	return false
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
