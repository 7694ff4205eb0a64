package actions

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer/app/alerts"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/tenants"
	"coffer/vault/seal"
)

// standingPrefix begins the ids of conditions that stand. An id names its
// condition, so that the same one has the same id each time.
const standingPrefix = "st_"

// The kinds of conditions that stand. They are found out when somebody asks and
// stored nowhere.
const (
	NoRecoveryKey     alerts.Kind = "seal.no-recovery-key"
	SlotWarning       alerts.Kind = "seal.slot-warning"
	ClockUntrusted    alerts.Kind = "clock.untrusted"
	BreakGlassOpen    alerts.Kind = "break-glass.open"
	SecretIDsEnd      alerts.Kind = "secret-id.ends"
	DestroyUnfinished alerts.Kind = "tenant.destroying"
	LogSpaceLow       alerts.Kind = "audit.space"
)

const (
	endsSoon     = 7 * 24 * time.Hour // secret ids that end within it are said to
	clockBehind  = time.Minute        // what the trusted time may be behind unsaid
	spacePercent = 80                 // of the log's space that may be used unsaid
)

// standing gives the conditions that stand in a tenant, all of them for "", by id.
func (c *call) standing(tx *store.Tx, tenant domain.TenantID) ([]AlertInfo, error) {
	s := standing{now: c.clock.Now()}
	if tenant == "" {
		s.seal(c.seal)
		s.clock(c.clock.Trusted())
		s.space(c.log.Usage())
	}
	for _, look := range []func(*store.Tx, domain.TenantID) error{s.breakGlasses, s.secretIDs, s.destructions} {
		if err := look(tx, tenant); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(s.list, func(a, b AlertInfo) int { return strings.Compare(a.ID, b.ID) })
	return s.list, nil
}

// standing collects conditions.
type standing struct {
	now  time.Time
	list []AlertInfo
}

// add adds a condition; which tells it from others of its kind.
func (s *standing) add(kind alerts.Kind, tenant domain.TenantID, which, format string, args ...any) {
	id := standingPrefix + strings.Join(slices.DeleteFunc([]string{string(kind), string(tenant), which}, func(part string) bool { return part == "" }), "_")
	s.list = append(s.list, AlertInfo{
		ID: id, Time: s.now.UTC(), Kind: kind, Tenant: tenant, Standing: true, Text: fmt.Sprintf(format, args...),
	})
}

func (s *standing) seal(k *Keyholder) {
	if !k.file.Has(seal.Recovery) {
		s.add(NoRecoveryKey, "", "", "there is no recovery key: if the %s is lost, everything is; make one with: coffer seal recovery", k.file.Strongest())
	}
	for _, slot := range k.file.Status() {
		if slot.Warning != "" { // a key file in the data directory says so here
			s.add(SlotWarning, "", slot.ID, "key slot %s: %s", slot.Name, slot.Warning)
		}
	}
}

func (s *standing) clock(trusted time.Time) {
	if by := s.now.Sub(trusted); by > clockBehind {
		s.add(ClockUntrusted, "", "", "the clock stands %v ahead of the time that is trusted after a jump; what ends by it ended, but nothing is erased by it",
			by.Round(time.Minute))
	}
}

func (s *standing) space(used, space int64) {
	if used >= space/100*spacePercent {
		s.add(LogSpaceLow, "", "", "the audit log uses %d of the %d bytes that it may; make room on the disk or raise audit-space", used, space)
	}
}

func (s *standing) breakGlasses(tx *store.Tx, tenant domain.TenantID) error {
	open, err := directory.BreakGlasses(tx, tenant, s.now)
	for _, m := range open {
		s.add(BreakGlassOpen, m.Tenant, m.Person, "an operator is owner of %s by breaking the glass until %s: %s",
			m.Tenant, m.Expires.Format(time.RFC3339), m.Reason)
	}
	return err
}

// secretIDs says for each tenant how many secret ids end soon.
func (s *standing) secretIDs(tx *store.Tx, tenant domain.TenantID) error {
	type ending struct {
		n     int
		first directory.HeldSecretID
	}
	soon := map[domain.TenantID]ending{}
	if err := directory.EndingSecretIDs(tx, tenant, s.now, s.now.Add(endsSoon), func(h directory.HeldSecretID) error {
		e := soon[h.Tenant]
		if e.n++; e.n == 1 || h.Expires.Before(e.first.Expires) {
			e.first = h
		}
		soon[h.Tenant] = e
		return nil
	}); err != nil {
		return err
	}
	for id, e := range soon {
		w, _, err := directory.WorkloadByID(tx, id, e.first.Workload)
		if err != nil {
			return err
		}
		s.add(SecretIDsEnd, id, "", "%d secret ids of %s end within 7 days, the first, of workload %s, on %s; issue another with: coffer workload secret-id -t %s %s",
			e.n, id, w.Name, e.first.Expires.Format(time.RFC3339), id, w.Name)
	}
	return nil
}

func (s *standing) destructions(tx *store.Tx, tenant domain.TenantID) error {
	if tenant != "" {
		r, err := tenants.Find(tx, tenant)
		if err == nil && r.State == tenants.Destroying {
			s.destroying(r.ID)
		}
		return err
	}
	list, err := tenants.Unfinished(tx)
	for _, r := range list {
		s.destroying(r.ID)
	}
	return err
}

func (s *standing) destroying(id domain.TenantID) {
	s.add(DestroyUnfinished, id, "", "the destruction of %s was decided and is not finished; the next start finishes it", id)
}
