package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// made is what the answer to an issue says.
type made struct {
	Token    string    `json:"token"`
	Accessor string    `json:"accessor"`
	Parent   string    `json:"parent"`
	Expires  time.Time `json:"expires"`
	Max      time.Time `json:"max"`
	Warnings []string  `json:"warnings"`
}

func (r *running) make(token, tenant string, in object) (out made) {
	r.tb.Helper()
	r.must(token, http.MethodPost, "/api/v1/tenants/"+tenant+"/tokens", in, &out)
	return out
}

const listTokens = "/api/v1/tenants/acme/tokens"

// TestTokenTree: what was made with a token is dead in the moment in which that
// one is revoked; an orphan lives on, and only an owner makes one.
func TestTokenTree(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	root := r.make("", "acme", object{"role": "owner", "renewable": true})
	other := r.make("", "acme", object{"role": "owner"})
	child := r.make(root.Token, "acme", object{"role": "admin"})
	grandchild := r.make(child.Token, "acme", object{"role": "viewer"})
	orphan := r.make(root.Token, "acme", object{"role": "viewer", "orphan": true})
	if child.Parent != root.Accessor || grandchild.Parent != child.Accessor || orphan.Parent != "" || root.Parent != "" {
		t.Errorf("parents: %q, %q, %q, %q", root.Parent, child.Parent, grandchild.Parent, orphan.Parent)
	}
	if a := r.do(child.Token, http.MethodPost, listTokens, object{"orphan": true}); a.status != http.StatusForbidden {
		t.Errorf("an admin's orphan: %d %s", a.status, a.body)
	}
	if a := r.do(child.Token, http.MethodPost, listTokens, object{"role": "owner"}); a.status != http.StatusForbidden {
		t.Errorf("a child wider than its parent: %d %s", a.status, a.body)
	}
	var shown struct{ Parent string }
	r.must(other.Token, http.MethodGet, listTokens+"/"+grandchild.Accessor, nil, &shown)
	if shown.Parent != child.Accessor {
		t.Errorf("its parent is %q", shown.Parent)
	}
	var gone struct{ Revoked int }
	r.must(other.Token, http.MethodDelete, listTokens+"/"+root.Accessor, nil, &gone)
	if gone.Revoked != 3 {
		t.Errorf("%d tokens were revoked", gone.Revoked)
	}
	for name, token := range map[string]string{"root": root.Token, "child": child.Token, "grandchild": grandchild.Token} {
		if a := r.do(token, http.MethodGet, listTokens, nil); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	r.must(orphan.Token, http.MethodGet, listTokens, nil, nil)

	mid := r.make(other.Token, "acme", object{"role": "admin"})
	leaf := r.make(mid.Token, "acme", object{"role": "viewer"})
	if a := r.do(mid.Token, http.MethodDelete, listTokens+"/"+leaf.Accessor+"?children=keep", nil); a.status != http.StatusForbidden {
		t.Errorf("an admin keeps children: %d %s", a.status, a.body)
	}
	r.must(other.Token, http.MethodDelete, listTokens+"/"+mid.Accessor+"?children=keep", nil, nil)
	r.must(leaf.Token, http.MethodGet, listTokens, nil, nil)
}

// TestTokenDiesWithItsParent: while a parent is revoked its child is used by many
// at once. No request that begins after the answer is let in.
func TestTokenDiesWithItsParent(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	root := r.make("", "acme", object{"role": "owner"})
	child := r.make(root.Token, "acme", object{"role": "viewer"})
	var revoked atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for done := false; !done; {
				done = revoked.Load()
				a := r.do(child.Token, http.MethodGet, listTokens, nil)
				if done && a.status != http.StatusUnauthorized || a.status != http.StatusUnauthorized && a.status != http.StatusOK {
					t.Errorf("a child of a revoked token: %d %s", a.status, a.body)
				}
			}
		})
	}
	r.must("", http.MethodDelete, listTokens+"/"+root.Accessor, nil, nil)
	revoked.Store(true)
	wg.Wait()
}

// TestTokenRenew: a token lives longer up to its maximum and its parent's end, and
// one that was not made for it does not.
func TestTokenRenew(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	renew := func(token, increment string) (out struct{ Expires, Max time.Time }, a answer) {
		a = r.do(token, http.MethodPost, "/api/v1/token/renew", object{"token": token, "increment": increment})
		if a.status == http.StatusOK {
			if err := json.Unmarshal(a.body, &out); err != nil {
				t.Fatal(err)
			}
		}
		return out, a
	}
	root := r.make("", "acme", object{"role": "owner", "ttl": "1h", "renewable": true, "max_ttl": "3h"})
	out, _ := renew(root.Token, "2h")
	if !out.Expires.After(root.Expires) || out.Expires.After(root.Max) {
		t.Errorf("renewed to %v from %v", out.Expires, root.Expires)
	}
	if out, _ = renew(root.Token, "100h"); !out.Expires.Equal(root.Max) {
		t.Errorf("renewed to %v, its maximum is %v", out.Expires, root.Max)
	}
	child := r.make(root.Token, "acme", object{"role": "viewer", "ttl": "10m", "renewable": true})
	if out, _ = renew(child.Token, "24h"); !out.Expires.Equal(root.Max) {
		t.Errorf("the child ends %v, its parent %v", out.Expires, root.Max)
	}
	if long := r.make(root.Token, "acme", object{"role": "viewer", "ttl": "24h"}); long.Expires.After(root.Max) || len(long.Warnings) != 1 {
		t.Errorf("a child that was asked for longer: %+v", long.Warnings)
	}
	fixed := r.make("", "acme", object{"role": "viewer"})
	if _, a := renew(fixed.Token, ""); a.status != http.StatusBadRequest {
		t.Errorf("one that is not renewable: %d %s", a.status, a.body)
	}
	if _, a := renew(root.Token, "-1h"); a.status != http.StatusBadRequest {
		t.Errorf("a negative increment: %d %s", a.status, a.body)
	}
	if a := r.do(root.Token, http.MethodPost, "/api/v1/token/renew", object{"token": child.Accessor}); a.status != http.StatusNotFound {
		t.Errorf("by its accessor: %d %s", a.status, a.body)
	}
}

// TestTokenUses: a token that holds for a number of requests is let in as often,
// however many ask at once, and the last request is answered.
func TestTokenUses(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	k := r.make("", "acme", object{"role": "owner", "uses": 4})
	if a := r.do(k.Token, http.MethodPost, listTokens, object{}); a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "restricted use token") {
		t.Errorf("a child of it: %d %s", a.status, a.body)
	}
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			switch a := r.do(k.Token, http.MethodPut, "/api/v1/tenants/acme/secret?path=a", object{"data": object{"k": "v"}}); a.status {
			case http.StatusOK:
				in.Add(1)
			case http.StatusUnauthorized:
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if n := in.Load(); n != 3 {
		t.Errorf("%d requests after the first were let in, of 3", n)
	}
	if _, ok := r.look(k.Token); ok {
		t.Error("one without uses left is shown")
	}
	last := r.make("", "acme", object{"uses": 1})
	r.must(last.Token, http.MethodPost, "/api/v1/token/lookup", object{"token": last.Token}, nil)
}

// TestForeignAccessors: an accessor of another tenant looks like one that does not
// exist.
func TestForeignAccessors(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	foreign := r.make("", "globex", object{"role": "owner"})
	mine := r.make("", "acme", object{"role": "owner"})
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		there, nowhere := r.do(mine.Token, method, listTokens+"/"+foreign.Accessor, nil), r.do(mine.Token, method, listTokens+"/ta_none", nil)
		if there.status != http.StatusNotFound || there.words() != nowhere.words() {
			t.Errorf("%s: %d %s and %d %s", method, there.status, there.body, nowhere.status, nowhere.body)
		}
	}
	r.must(foreign.Token, http.MethodGet, "/api/v1/tenants/globex/tokens", nil, nil)
}
