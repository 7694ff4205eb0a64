package actions

import (
	"slices"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/lease"
	"coffer/vault/token"
	"coffer/vault/wrap"
)

// LeaseInfo is one thing that ends. Tokens, secret ids and wrapped answers are
// leases of Coffer's own; their records are what package token, directory and wrap
// keep, and nothing stands twice.
type LeaseInfo struct {
	ID        string     `json:"id" doc:"such as auth/token/create/ta_…"`
	Kind      string     `json:"kind" doc:"token, secret-id, wrapping-token, or what made it in another system"`
	State     string     `json:"state" doc:"live, making, revoking, or overdue if it could not be taken back for long"`
	Principal string     `json:"principal" doc:"id of whose it is"`
	Token     string     `json:"token,omitempty" doc:"accessor of the token with which it was asked for"`
	Issued    time.Time  `json:"issued"`
	Expires   time.Time  `json:"expires"`
	Renewable bool       `json:"renewable,omitempty"`
	Renewed   *time.Time `json:"renewed,omitempty"`
	Max       *time.Time `json:"max,omitempty" doc:"what renewing never goes past"`
	Attempts  int        `json:"attempts,omitempty" doc:"at taking it back that failed"`
	Next      *time.Time `json:"next,omitempty" doc:"when it is tried again"`
}

// The kinds of Coffer's own.
const (
	kindToken    = "token"
	kindSecretID = "secret-id"
	kindWrap     = "wrapping-token"
)

func tokenLease(t token.Token) LeaseInfo {
	path := t.Path
	if path == "" {
		path = "auth/token/create"
	}
	out := LeaseInfo{
		ID: path + "/" + t.Accessor, Kind: kindToken, State: string(lease.Live), Principal: t.Principal.ID, Token: t.Parent,
		Issued: t.Issued, Expires: t.Expires, Renewable: t.Renewable, Max: &t.Max,
	}
	if !t.Renewed.IsZero() {
		out.Renewed = &t.Renewed
	}
	return out
}

func wrapLease(t wrap.Token) LeaseInfo {
	_, principal, _ := strings.Cut(t.Maker, ":")
	return LeaseInfo{
		ID: wrapPath + "/" + t.Accessor, Kind: kindWrap, State: string(lease.Live), Principal: principal, Token: t.Parent,
		Issued: t.Created, Expires: t.Expires,
	}
}

func secretIDLease(workload directory.Workload, s directory.HeldSecretID) LeaseInfo {
	return LeaseInfo{
		ID: "auth/approle/role/" + workload.Name + "/secret-id/" + s.Accessor, Kind: kindSecretID, State: string(lease.Live),
		Principal: workload.ID, Issued: s.Created, Expires: s.Expires,
	}
}

func elsewhereLease(l lease.Lease, now time.Time) LeaseInfo {
	out := LeaseInfo{
		ID: l.ID, Kind: l.Kind, State: string(l.State), Principal: l.Principal, Token: l.Owner,
		Issued: l.Issued, Expires: l.Expires, Renewable: l.Renewable, Max: &l.Max, Attempts: l.Attempts,
	}
	if !l.Renewed.IsZero() {
		out.Renewed = &l.Renewed
	}
	if l.State == lease.Live && !now.Before(l.Expires) {
		out.State = string(lease.Revoking)
	}
	if l.Attempts > 0 {
		out.Next = &l.Due
	}
	return out
}

// last is the last segment of a lease's id, which for those of Coffer's own is an
// accessor.
func last(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// parseLeaseID checks what is taken for the id of a lease: it will stand in the log,
// so no credential may be in it.
func parseLeaseID(field, id string) error {
	for segment := range strings.SplitSeq(id, "/") {
		for _, secret := range []string{token.Prefix, wrap.Prefix, directory.SessionPrefix, "cfs_"} {
			if strings.HasPrefix(segment, secret) {
				return domain.Fieldf(field, "not the id of a lease: it holds a credential").WithHint("a token is revoked with: coffer token revoke -")
			}
		}
	}
	_, err := domain.ParseText(field, id, 512)
	return err
}

// findLease finds a lease of a tenant that lives.
func findLease(tx *store.Tx, tenant domain.TenantID, id string, now time.Time) (out LeaseInfo, err error) {
	switch accessor := last(id); {
	case strings.HasPrefix(accessor, token.AccessorPrefix):
		t, err := token.ByAccessor(tx, tenant, accessor, now)
		if err == nil {
			out = tokenLease(t)
		}
		return checkLease(out, id, err)
	case strings.HasPrefix(accessor, wrap.AccessorPrefix):
		t, err := wrap.ByAccessor(tx, tenant, accessor, now)
		if err == nil {
			out = wrapLease(t)
		}
		return checkLease(out, id, err)
	case strings.HasPrefix(accessor, "sa_"):
		err := eachSecretIDLease(tx, tenant, now, func(l LeaseInfo) error {
			if l.ID == id {
				out = l
				return store.ErrStop
			}
			return nil
		})
		return checkLease(out, id, err)
	}
	l, err := lease.Find(tx, tenant, id, now)
	if err == nil && l.Owner != "" {
		_, err = token.Held(tx, tenant, l.Owner, now)
	}
	if err == nil {
		out = elsewhereLease(l, now)
	}
	return checkLease(out, id, err)
}

// checkLease makes every way in which a lease is not there one answer.
func checkLease(l LeaseInfo, id string, err error) (LeaseInfo, error) {
	if domain.KindOf(err) == domain.NotFound || err == nil && l.ID != id {
		return LeaseInfo{}, lease.ErrUnknown
	}
	return l, err
}

func eachSecretIDLease(tx *store.Tx, tenant domain.TenantID, now time.Time, fn func(LeaseInfo) error) error {
	known := map[string]directory.Workload{}
	return directory.EachSecretID(tx, tenant, now, func(s directory.HeldSecretID) error {
		w, seen := known[s.Workload]
		if !seen {
			var err error
			if w, _, err = directory.WorkloadByID(tx, tenant, s.Workload); err != nil {
				return err
			}
			known[s.Workload] = w
		}
		return fn(secretIDLease(w, s))
	})
}

// leasePage gives at most limit leases whose ids begin with a prefix, of those that
// the caller may see, from the cursor on. The cursor of a place is the kind that is
// listed there, a colon, and the last id or accessor.
func (c *call) leasePage(tx *store.Tx, prefix, cursor string, limit int) (out []LeaseInfo, next string, err error) {
	tenant, now := c.permit.Tenant(), c.clock.Now()
	shown := func(l LeaseInfo) bool {
		return strings.HasPrefix(l.ID, prefix) && (!c.permit.Grant().OwnOnly() || l.Principal == c.who.Subject.Principal.ID)
	}
	from, after, _ := strings.Cut(cursor, ":")
	sources := []struct {
		mark string
		page func(after string, limit int) ([]LeaseInfo, error)
	}{
		{"t", func(after string, limit int) (page []LeaseInfo, err error) {
			list, err := token.Page(tx, tenant, now, after, limit, func(t token.Token) bool { return shown(tokenLease(t)) })
			for _, t := range list {
				page = append(page, tokenLease(t))
			}
			return page, err
		}},
		{"s", func(after string, limit int) (page []LeaseInfo, err error) {
			err = eachSecretIDLease(tx, tenant, now, func(l LeaseInfo) error {
				if shown(l) && last(l.ID) > after {
					page = append(page, l)
				}
				return nil
			})
			slices.SortFunc(page, func(a, b LeaseInfo) int { return strings.Compare(last(a.ID), last(b.ID)) })
			return page[:min(limit, len(page))], err
		}},
		{"w", func(after string, limit int) (page []LeaseInfo, err error) {
			list, err := wrap.Page(tx, tenant, now, after, limit, func(t wrap.Token) bool { return shown(wrapLease(t)) })
			for _, t := range list {
				page = append(page, wrapLease(t))
			}
			return page, err
		}},
		{"x", func(after string, limit int) (page []LeaseInfo, err error) {
			list, err := lease.Page(tx, tenant, prefix, after, limit, func(l lease.Lease) bool { return shown(elsewhereLease(l, now)) })
			for _, l := range list {
				page = append(page, elsewhereLease(l, now))
			}
			return page, err
		}},
	}
	begun := from == ""
	for _, s := range sources {
		if begun = begun || s.mark == from; !begun {
			continue
		}
		page, err := s.page(after, limit+1-len(out))
		if err != nil {
			return nil, "", err
		}
		after = ""
		for _, l := range page {
			if len(out) == limit {
				return out, next, nil
			}
			out = append(out, l)
			next = s.mark + ":" + last(l.ID)
			if s.mark == "x" {
				next = s.mark + ":" + l.ID
			}
		}
	}
	return out, "", nil
}

// mine says, for roles and workloads that may touch their own only, whose a lease is.
func mine(r *authz.Request, l LeaseInfo) { r.OwnedBy = l.Principal }
