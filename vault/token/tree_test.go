package token_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/vault/token"
)

// childSpec describes a child of a token.
func childSpec(parent token.Token) token.Spec {
	s := spec(parent.Tenant, time.Hour)
	s.Parent = &parent
	return s
}

// TestLargeTree: a tree of which one transaction removes a part is dead at once,
// and sweeps remove the rest of it, however they are cut.
func TestLargeTree(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	_, root := issue(t, db, spec("acme", time.Hour), start)
	_, other := issue(t, db, spec("acme", time.Hour), start)
	var texts []domain.Secret
	update(t, db, func(tx *store.Tx) error {
		for range 30 {
			_, mid, err := token.Issue(tx, childSpec(root), start)
			if err != nil {
				return err
			}
			for range token.TreeMost / 20 {
				text, _, err := token.Issue(tx, childSpec(mid), start)
				if err != nil {
					return err
				}
				texts = append(texts, text)
			}
		}
		return nil
	})
	gone, err := storetest.Change(t, db, func(tx *store.Tx) ([]string, error) { return token.Revoke(tx, root) })
	must(t, err)
	if len(gone) != token.TreeMost+1 || gone[0] != root.Accessor {
		t.Errorf("%d tokens were removed at once", len(gone))
	}
	for _, text := range texts {
		if _, err := lookup(t, db, text, start); !errors.Is(err, token.ErrUnknown) {
			t.Fatalf("a token of a revoked tree: %v", err)
		}
	}
	if all := list(t, db, "acme", start); len(all) != 1 || all[0].Accessor != other.Accessor {
		t.Errorf("%d tokens are listed", len(all))
	}
	for range 1000 {
		due := false
		must(t, view(t, db, func(tx *store.Tx) (err error) {
			due, err = token.AnyExpired(tx, start)
			return err
		}))
		if !due {
			break
		}
		n, err := storetest.Change(t, db, func(tx *store.Tx) (int, error) { return token.Sweep(tx, start, 7) })
		must(t, err)
		if n > 7 {
			t.Fatalf("%d tokens removed at once", n)
		}
	}
	if n := token.Counted(t, db, "acme"); n != 1 {
		t.Errorf("%d tokens are left", n)
	}
	must(t, view(t, db, func(tx *store.Tx) error {
		for bucket, want := range map[string]int{token.BucketTokens: 1, token.BucketExpiries: 1, token.BucketChildren: 0, token.BucketDoomed: 0} {
			if n, err := tx.Count(bucket, nil); n != want || err != nil {
				t.Errorf("%d rows in %s, %v", n, bucket, err)
			}
		}
		return nil
	}))
}

// TestDepth: a chain of tokens ends, and each look-up walks all of it.
func TestDepth(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	text, last := issue(t, db, spec("acme", time.Hour), start)
	for range token.MaxDepth {
		text, last = issue(t, db, childSpec(last), start)
	}
	if _, err := lookup(t, db, text, start); err != nil {
		t.Error(err)
	}
	_, _, err := token.Issue3(t, db, childSpec(last), start)
	wantKind(t, err, domain.Limit)
}

// TestParents: no token has a parent of another tenant, or one that holds for a
// number of requests.
func TestParents(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	_, foreign := issue(t, db, spec("globex", time.Hour), start)
	s := childSpec(foreign)
	s.Tenant = "acme"
	_, _, err := token.Issue3(t, db, s, start)
	wantKind(t, err, domain.Internal)
	s = spec("acme", time.Hour)
	s.Uses = 3
	_, counted := issue(t, db, s, start)
	if _, _, err := token.Issue3(t, db, childSpec(counted), start); !errors.Is(err, token.ErrRestricted) {
		t.Errorf("a child of a token with a number of uses: %v", err)
	}
}

// TestSpecBounds: what does not fit is refused before anything is stored.
func TestSpecBounds(t *testing.T) {
	for name, spoil := range map[string]func(*token.Spec){
		"maximum": func(s *token.Spec) { s.MaxTTL = domain.MaxTTL + 1 }, "negative maximum": func(s *token.Spec) { s.MaxTTL = -1 },
		"period": func(s *token.Spec) { s.Period = domain.MaxTTL + 1 }, "uses": func(s *token.Spec) { s.Uses = -1 },
		"many uses": func(s *token.Spec) { s.Uses = token.MaxUses + 1 },
		"meta key":  func(s *token.Spec) { s.Meta = map[string]string{"a\nb": "x"} }, "meta value": func(s *token.Spec) { s.Meta = map[string]string{"a": "\x00"} },
		"long meta": func(s *token.Spec) { s.Meta = map[string]string{"a": strings.Repeat("x", token.MaxText+1)} },
		"much meta": func(s *token.Spec) {
			s.Meta = map[string]string{}
			for i := range token.MaxMeta + 1 {
				s.Meta[fmt.Sprint(i)] = ""
			}
		},
	} {
		s := spec("acme", time.Hour)
		spoil(&s)
		wantKind(t, s.Check(), domain.Invalid)
		_, _, err := token.Issue(nil, s, start)
		if err == nil {
			t.Errorf("%s: issued", name)
		}
	}
}

// TestPeriod: one with a period has that for at each renewal, and ends a day
// after it was made all the same.
func TestPeriod(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	s := spec("acme", time.Hour)
	s.Renewable, s.Period = true, 2*time.Hour
	_, k := issue(t, db, s, start)
	now := start
	for now.Before(start.Add(22 * time.Hour)) {
		now = now.Add(30 * time.Minute)
		renewed, err := storetest.Change(t, db, func(tx *store.Tx) (token.Token, error) { return token.Renew(tx, k, time.Minute, now) })
		must(t, err)
		if k = renewed; !k.Expires.Equal(now.Add(2*time.Hour)) && now.Before(start.Add(22*time.Hour)) {
			t.Fatalf("at %v it ends %v", now, k.Expires)
		}
	}
	now = now.Add(time.Hour)
	k, err := storetest.Change(t, db, func(tx *store.Tx) (token.Token, error) { return token.Renew(tx, k, 0, now) })
	if must(t, err); !k.Expires.Equal(start.Add(domain.MaxTTL)) {
		t.Errorf("it ends %v", k.Expires)
	}
}

// TestUsesRace: of many requests at once exactly as many are let in as it has
// uses.
func TestUsesRace(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	s := spec("acme", time.Hour)
	s.Uses = 5
	text, k := issue(t, db, s, start)
	var wg sync.WaitGroup
	used := make(chan token.Token, 32)
	for range 32 {
		wg.Go(func() {
			if k, err := storetest.Change(t, db, func(tx *store.Tx) (token.Token, error) { return token.Spend(tx, text, start) }); err == nil {
				used <- k
			} else if !errors.Is(err, token.ErrUnknown) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(used) != 5 {
		t.Errorf("%d of 5 uses", len(used))
	}
	must(t, view(t, db, func(tx *store.Tx) error {
		if _, err := token.LookupUsed(tx, text, start); err != nil {
			t.Errorf("the request that spent the last use: %v", err)
		}
		if _, err := token.Held(tx, "acme", k.Accessor, start); err != nil {
			t.Errorf("the request that spent the last use: %v", err)
		}
		_, err := token.ByAccessor(tx, "acme", k.Accessor, start)
		wantKind(t, err, domain.NotFound)
		return nil
	}))
}

// TestIndexOld: rows as the first version wrote them are indexed, once, in
// transactions as small as can be and wherever they are cut.
func TestIndexOld(t *testing.T) {
	defer token.SetIndexAtOnce(1)()
	db := storetest.New(t, t.TempDir())
	putVectors(t, db, "testdata/v1/rows.jsonl")
	_, fresh := issue(t, db, spec("acme", time.Minute), start) // by this version, before
	check := func() {
		t.Helper()
		must(t, token.Index(t.Context(), db))
		if a, g := token.Counted(t, db, "acme"), token.Counted(t, db, "globex"); a != 2 || g != 1 {
			t.Errorf("%d and %d tokens are counted", a, g)
		}
		must(t, view(t, db, func(tx *store.Tx) error {
			if n, err := tx.Count(token.BucketExpiries, nil); n != 3 || err != nil {
				t.Errorf("%d expiries, %v", n, err)
			}
			return nil
		}))
	}
	check()
	rev := db.Revision()
	check()
	if db.Revision() != rev {
		t.Error("what was indexed is indexed again")
	}
	n, err := storetest.Change(t, db, func(tx *store.Tx) (int, error) { return token.Sweep(tx, start.Add(100*time.Hour), 10) })
	if err != nil || n != 3 || token.Stored(t, db, "acme", fresh.Accessor) {
		t.Errorf("%d swept, %v", n, err)
	}
}
