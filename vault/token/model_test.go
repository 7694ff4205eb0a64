package token_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/vault/token"
)

// held is a token as a naive model has it.
type held struct {
	text          domain.Secret
	accessor      string
	tenant        domain.TenantID
	person        string
	parent        *held
	issued, ends  time.Time
	most          time.Time
	ttl           time.Duration
	renewable     bool
	uses, left    int
	gone, removed bool // revoked by itself; its record is not there any more
}

// model is what was issued and revoked.
type model struct {
	all  []*held
	cuts map[domain.TenantID]map[string]time.Time
	now  time.Time
}

// lives is the definition: neither the token nor anything above it ended.
func (m *model) lives(h *held) bool {
	for ; h != nil; h = h.parent {
		if h.gone || !m.now.Before(h.ends) {
			return false
		}
		for _, whose := range []string{"", h.person} {
			if cut, is := m.cuts[h.tenant][whose]; is && !h.issued.After(cut) {
				return false
			}
		}
	}
	return true
}

func (m *model) usable(h *held) bool { return m.lives(h) && (h.uses == 0 || h.left > 0) }

func (m *model) listed(of domain.TenantID) (accessors []string) {
	for _, h := range m.all {
		if h.tenant == of && m.usable(h) {
			accessors = append(accessors, h.accessor)
		}
	}
	slices.Sort(accessors)
	return accessors
}

func (m *model) under(root, h *held) bool {
	for ; h != nil; h = h.parent {
		if h == root {
			return true
		}
	}
	return false
}

var drawTenant = rapid.SampledFrom([]domain.TenantID{"acme", "globex"})

func drawMinutes(most int) *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.IntRange(1, most), func(n int) time.Duration { return time.Duration(n) * time.Minute })
}

// issueOne issues what is drawn, in the store and in the model.
func (m *model) issueOne(t *testing.T, r *rapid.T, db *store.Store) {
	s := spec(drawTenant.Draw(r, "tenant"), drawMinutes(24*60).Draw(r, "ttl"))
	s.Principal.ID = rapid.SampledFrom([]string{"p_1", "p_2"}).Draw(r, "principal")
	s.IssuedBy = s.Principal.ID
	s.Renewable, s.Uses = rapid.Bool().Draw(r, "renewable"), rapid.IntRange(0, 2).Draw(r, "uses")
	h := &held{tenant: s.Tenant, person: s.Principal.ID, issued: m.now, ttl: s.TTL, renewable: s.Renewable, uses: s.Uses, left: s.Uses}
	h.ends, h.most = m.now.Add(s.TTL), m.now.Add(24*time.Hour)
	if len(m.all) > 0 && rapid.Bool().Draw(r, "is a child") {
		h.parent = rapid.SampledFrom(m.all).Draw(r, "parent")
		s.Tenant, h.tenant = h.parent.tenant, h.parent.tenant
		p, err := lookup(t, db, h.parent.text, m.now)
		if (err == nil) != m.usable(h.parent) {
			r.Fatalf("the parent: %v", err)
		}
		if err != nil {
			return
		}
		s.Parent = &p
		for _, end := range []*time.Time{&h.ends, &h.most} {
			for _, bound := range []time.Time{h.parent.most, h.parent.ends} {
				if end == &h.ends && bound.Before(*end) || end == &h.most && bound == h.parent.most && bound.Before(*end) {
					*end = bound
				}
			}
		}
	}
	text, made, err := token.Issue3(t, db, s, m.now)
	if refused := h.parent != nil && h.parent.uses > 0; refused || err != nil {
		if !refused || !errors.Is(err, token.ErrRestricted) {
			r.Fatalf("issuing: %v", err)
		}
		return
	}
	if !h.renewable {
		h.most = h.ends
	}
	h.text, h.accessor = text, made.Accessor
	if !made.Expires.Equal(h.ends) || !made.Max.Equal(h.most) {
		r.Fatalf("ends %v at most %v, want %v and %v", made.Expires, made.Max, h.ends, h.most)
	}
	m.all = append(m.all, h)
}

// renewOne renews one, which may not be there any more.
func (m *model) renewOne(t *testing.T, r *rapid.T, db *store.Store) {
	h := m.pick(r)
	by := rapid.SampledFrom([]time.Duration{0, time.Minute, 3 * time.Hour, 100 * time.Hour}).Draw(r, "increment")
	_, err := db.Update(t.Context(), func(tx *store.Tx) error {
		k, err := token.Lookup(tx, h.text, m.now)
		if err == nil {
			_, err = token.Renew(tx, k, by, m.now)
		}
		return err
	})
	if may := m.usable(h) && h.renewable; may != (err == nil) {
		r.Fatalf("renewing: %v, may %v", err, may)
	} else if !may {
		return
	}
	if by == 0 {
		by = h.ttl
	}
	h.ends = m.now.Add(min(by, 24*time.Hour))
	if h.most.Before(h.ends) {
		h.ends = h.most
	}
	if h.parent != nil && h.parent.ends.Before(h.ends) {
		h.ends = h.parent.ends
	}
}

func (m *model) pick(r *rapid.T) *held {
	if len(m.all) == 0 {
		r.Skip()
	}
	return rapid.SampledFrom(m.all).Draw(r, "token")
}

// see takes over which records are there, after what may remove some or more.
func (m *model) see(t *testing.T, db *store.Store) {
	for _, h := range m.all {
		h.removed = h.removed || !token.Stored(t, db, h.tenant, h.accessor)
	}
}

func (m *model) steps(t *testing.T, db *store.Store) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"issue": func(r *rapid.T) { m.issueOne(t, r, db) },
		"again": func(r *rapid.T) { m.issueOne(t, r, db) },
		"renew": func(r *rapid.T) { m.renewOne(t, r, db) },
		"time":  func(r *rapid.T) { m.now = m.now.Add(drawMinutes(9*60).Draw(r, "passes")) },
		"use": func(r *rapid.T) {
			h := m.pick(r)
			_, err := storetest.Change(t, db, func(tx *store.Tx) (token.Token, error) { return token.Spend(tx, h.text, m.now) })
			if (err == nil) != m.usable(h) {
				r.Fatalf("using: %v", err)
			}
			if err == nil && h.uses > 0 {
				h.left--
			}
		},
		"revoke": func(r *rapid.T) {
			h := m.pick(r)
			_, err := storetest.Change(t, db, func(tx *store.Tx) ([]string, error) {
				return token.Revoke(tx, token.Token{Tenant: h.tenant, Accessor: h.accessor})
			})
			if (err == nil) == h.removed {
				r.Fatalf("revoking: %v, removed before: %v", err, h.removed)
			}
			h.gone = true
			m.see(t, db)
			for _, k := range m.all {
				if m.under(h, k) && !k.removed {
					r.Fatal("a part of the tree is left")
				}
			}
		},
		"revoke alone": func(r *rapid.T) {
			h := m.pick(r)
			_, err := db.Update(t.Context(), func(tx *store.Tx) error {
				return token.RevokeAlone(tx, token.Token{Tenant: h.tenant, Accessor: h.accessor})
			})
			if (err == nil) == h.removed {
				r.Fatalf("revoking: %v, removed before: %v", err, h.removed)
			}
			if h.gone = true; err != nil {
				return
			}
			for _, k := range m.all {
				if k.parent == h {
					k.parent = nil
				}
			}
			m.see(t, db)
		},
		"revoke where": func(r *rapid.T) {
			of, person := drawTenant.Draw(r, "tenant"), rapid.SampledFrom([]string{"p_1", "p_2"}).Draw(r, "principal")
			update(t, db, func(tx *store.Tx) error {
				return second(token.RevokeWhere(tx, of, func(k token.Token) bool { return k.Principal.ID == person }))
			})
			for _, h := range m.all {
				h.gone = h.gone || h.tenant == of && h.person == person
			}
			m.see(t, db)
		},
		"cut off": func(r *rapid.T) {
			of, whose := drawTenant.Draw(r, "tenant"), rapid.SampledFrom([]string{"p_1", "p_2", ""}).Draw(r, "whose")
			update(t, db, func(tx *store.Tx) error { return token.CutOff(tx, of, whose, m.now) })
			m.cuts[of][whose] = m.now
			m.now = m.now.Add(time.Nanosecond)
		},
		"sweep": func(r *rapid.T) {
			limit := rapid.IntRange(1, 3).Draw(r, "limit")
			n, err := storetest.Change(t, db, func(tx *store.Tx) (int, error) { return token.Sweep(tx, m.now, limit) })
			must(t, err)
			m.see(t, db)
			any := false
			for _, h := range m.all {
				any = any || !h.removed && h.ends.Before(m.now)
			}
			if n > limit || any && n == 0 {
				r.Fatalf("%d swept, at most %d, something to sweep: %v", n, limit, any)
			}
		},
		"": func(r *rapid.T) { m.check(t, r, db) },
	}
}

func (m *model) check(t *testing.T, r *rapid.T, db *store.Store) {
	stored := map[domain.TenantID]int{}
	for _, h := range m.all {
		_, err := lookup(t, db, h.text, m.now)
		if ok := m.usable(h); ok != (err == nil) || !ok && !errors.Is(err, token.ErrUnknown) {
			r.Fatalf("%s of %s at %v: %v, want %v", h.accessor, h.tenant, m.now, err, ok)
		}
		if m.lives(h) && h.removed {
			r.Fatal("the record of a live token is gone")
		}
		if !h.removed {
			stored[h.tenant]++
		}
	}
	for _, of := range []domain.TenantID{"acme", "globex"} {
		var got []string
		for _, k := range list(t, db, of, m.now) {
			got = append(got, k.Accessor)
		}
		if diff := cmp.Diff(m.listed(of), got); diff != "" {
			r.Fatal(diff)
		}
		if n := token.Counted(t, db, of); n != stored[of] {
			r.Fatalf("%d tokens of %s are counted, %d are there", n, of, stored[of])
		}
	}
}

// TestTokensAgainstModel runs random operations under a clock that jumps.
func TestTokensAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		db := storetest.New(t, storetest.MemoryDir(t))
		m := &model{now: start, cuts: map[domain.TenantID]map[string]time.Time{"acme": {}, "globex": {}}}
		r.Repeat(m.steps(t, db))
	})
}
