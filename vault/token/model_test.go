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
	text domain.Secret
	token.Token
	gone bool
}

// TestTokensAgainstModel runs random operations under a clock that jumps.
func TestTokensAgainstModel(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	rapid.Check(t, func(r *rapid.T) {
		update(t, db, func(tx *store.Tx) error { // what the case before left
			for _, tenant := range []domain.TenantID{"acme", "globex"} {
				if _, err := token.RevokeWhere(tx, tenant, func(token.Token) bool { return true }); err != nil {
					return err
				}
			}
			return nil
		})
		var all []*held
		now := start
		tenant := rapid.SampledFrom([]domain.TenantID{"acme", "globex"})
		minutes := func(most int) *rapid.Generator[time.Duration] {
			return rapid.Map(rapid.IntRange(1, most), func(n int) time.Duration { return time.Duration(n) * time.Minute })
		}
		live := func(of domain.TenantID) (accessors []string) {
			for _, h := range all {
				if !h.gone && h.Tenant == of && now.Before(h.Expires) {
					accessors = append(accessors, h.Accessor)
				}
			}
			slices.Sort(accessors)
			return accessors
		}
		r.Repeat(map[string]func(*rapid.T){
			"issue": func(r *rapid.T) {
				s := spec(tenant.Draw(r, "tenant"), minutes(24*60).Draw(r, "ttl"))
				s.Principal.ID = rapid.SampledFrom([]string{"p_1", "p_2"}).Draw(r, "principal")
				text, made := issue(t, db, s, now)
				all = append(all, &held{text: text, Token: made})
			},
			"time": func(r *rapid.T) { now = now.Add(minutes(13*60).Draw(r, "passes")) },
			"revoke": func(r *rapid.T) {
				if len(all) == 0 {
					r.Skip()
				}
				h := rapid.SampledFrom(all).Draw(r, "token")
				_, err := db.Update(t.Context(), func(tx *store.Tx) error { return token.Revoke(tx, h.Token) })
				if (err == nil) == h.gone {
					r.Fatalf("revoking: %v, gone before: %v", err, h.gone)
				}
				h.gone = true
			},
			"revoke where": func(r *rapid.T) {
				of, person := tenant.Draw(r, "tenant"), rapid.SampledFrom([]string{"p_1", "p_2"}).Draw(r, "principal")
				want, got := 0, 0
				for _, h := range all {
					if !h.gone && h.Tenant == of && h.Principal.ID == person {
						h.gone = true
						want++
					}
				}
				update(t, db, func(tx *store.Tx) (err error) {
					got, err = token.RevokeWhere(tx, of, func(k token.Token) bool { return k.Principal.ID == person })
					return err
				})
				if got != want {
					r.Fatalf("%d revoked, want %d", got, want)
				}
			},
			"sweep": func(r *rapid.T) {
				limit, ended, got := rapid.IntRange(0, 3).Draw(r, "limit"), 0, 0
				update(t, db, func(tx *store.Tx) (err error) {
					got, err = token.Sweep(tx, now, limit)
					return err
				})
				for _, h := range all {
					if !h.gone && h.Expires.Before(now) {
						ended++
						h.gone = gone(t, db, h)
					}
				}
				if got != min(limit, ended) {
					r.Fatalf("%d swept of %d, at most %d", got, ended, limit)
				}
			},
			"": func(r *rapid.T) {
				for _, h := range all {
					_, err := lookup(t, db, h.text, now)
					if ok := !h.gone && now.Before(h.Expires); ok != (err == nil) || !ok && !errors.Is(err, token.ErrUnknown) {
						r.Fatalf("%+v at %v: %v", h.Token, now, err)
					}
				}
				for _, of := range []domain.TenantID{"acme", "globex"} {
					var got []string
					for _, k := range list(t, db, of, now) {
						got = append(got, k.Accessor)
					}
					if diff := cmp.Diff(live(of), got); diff != "" {
						r.Fatal(diff)
					}
				}
			},
		})
	})
}

// gone says whether the token's record is not there any more.
func gone(t *testing.T, db *store.Store, h *held) bool {
	_, err := lookup(t, db, h.text, h.Issued)
	return errors.Is(err, token.ErrUnknown)
}
