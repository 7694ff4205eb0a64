package actions

import (
	"sync"
	"time"

	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/token"
)

// summary is what is counted in a tenant.
type summary struct {
	tokens, workloads, members int
	oldest                     time.Time // credential; zero for none
	until                      time.Time // the first of them ends then; zero for never
}

func (s *summary) credential(made, ends time.Time) {
	if s.oldest.IsZero() || made.Before(s.oldest) {
		s.oldest = made
	}
	s.ending(ends)
}

func (s *summary) ending(at time.Time) {
	if s.until.IsZero() || at.Before(s.until) {
		s.until = at
	}
}

// summarize counts the tokens and workloads whose owner the functions pick.
func summarize(tx *store.Tx, id domain.TenantID, now time.Time, tokens, workloads func(owner string) bool) (s summary, err error) {
	live, err := token.List(tx, id, now)
	if err != nil {
		return s, err
	}
	for _, t := range live {
		if tokens(ownerOf(t)) {
			s.tokens++
			s.credential(t.Issued, t.Expires)
		}
	}
	all, err := directory.Workloads(tx, id)
	if err != nil {
		return s, err
	}
	picked := map[string]bool{}
	for _, w := range all {
		if workloads(w.CreatedBy) {
			s.workloads++
			picked[w.ID] = true
		}
	}
	if err := directory.EachSecretID(tx, id, now, func(h directory.HeldSecretID) error {
		if picked[h.Workload] {
			s.credential(h.Created, h.Expires)
		}
		return nil
	}); err != nil {
		return s, err
	}
	members, err := directory.Members(tx, id, now)
	for _, m := range members {
		s.members++
		if m.Expires != nil {
			s.ending(*m.Expires)
		}
	}
	return s, err
}

// overviews remembers what was counted in each tenant until something in it
// changes or ends, so that a page of a hundred tenants need not open their
// thousands of records each time.
type overviews struct {
	mu     sync.Mutex
	seq    uint64                     // changes so far
	last   map[domain.TenantID]uint64 // seq of the last change in a tenant
	all    uint64                     // seq of the last change that may concern any tenant
	counts map[domain.TenantID]summary
}

// changed is called after a change in a tenant was committed; "" is one that may
// concern any tenant.
func (o *overviews) changed(id domain.TenantID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq++
	if id == "" {
		o.all = o.seq
		clear(o.counts)
		clear(o.last)
		return
	}
	if o.last == nil {
		o.last, o.counts = map[domain.TenantID]uint64{}, map[domain.TenantID]summary{}
	}
	o.last[id] = o.seq
	delete(o.counts, id)
}

// stamp is taken before the store is read: what is counted then is kept only if
// nothing changed meanwhile.
func (o *overviews) stamp() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seq
}

func (o *overviews) find(id domain.TenantID, now time.Time) (summary, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, found := o.counts[id]
	return s, found && (s.until.IsZero() || now.Before(s.until))
}

func (o *overviews) keep(id domain.TenantID, s summary, before uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all > before || o.last[id] > before {
		return
	}
	if o.counts == nil {
		o.last, o.counts = map[domain.TenantID]uint64{}, map[domain.TenantID]summary{}
	}
	o.counts[id] = s
}

// summaryOf counts everything in a tenant, or remembers it.
func (v viewer) summaryOf(tx *store.Tx, id domain.TenantID) (summary, error) {
	if s, found := v.overviews.find(id, v.now); found {
		return s, nil
	}
	everybody := func(string) bool { return true }
	s, err := summarize(tx, id, v.now, everybody, everybody)
	if err == nil {
		v.overviews.keep(id, s, v.before)
	}
	return s, err
}
