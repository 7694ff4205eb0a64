package app_test

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"coffer/app/actions"
)

// list is one list that comes in pages, over the front door.
type list struct {
	path string
	read func(r *running, query url.Values) (ids []string, next string)
}

func listOf[Out any](path string, take func(Out) ([]string, string)) list {
	return list{path, func(r *running, query url.Values) ([]string, string) {
		var out Out
		r.must("", "GET", path+"?"+query.Encode(), nil, &out)
		return take(out)
	}}
}

func lists(tenant string) map[string]list {
	base := "/api/v1/tenants/" + tenant
	return map[string]list{
		"tokens": listOf(base+"/tokens", func(out actions.TokenListOut) (ids []string, _ string) {
			for _, t := range out.Tokens {
				ids = append(ids, t.Accessor)
			}
			return ids, out.Next
		}),
		"workloads": listOf(base+"/workloads", func(out actions.WorkloadListOut) (ids []string, _ string) {
			for _, w := range out.Workloads {
				ids = append(ids, w.Name)
			}
			return ids, out.Next
		}),
		"members": listOf(base+"/members", func(out actions.MemberListOut) (ids []string, _ string) {
			for _, m := range out.Members {
				ids = append(ids, m.Name)
			}
			return ids, out.Next
		}),
		"mine": listOf("/api/v1/mine", func(out actions.MineOut) (ids []string, _ string) {
			for _, v := range out.Tenants {
				ids = append(ids, string(v.ID))
			}
			return ids, out.Next
		}),
	}
}

// all reads every page.
func (l list) all(r *running, limit int, between func()) (ids []string) {
	for after, n := "", 0; n < 1000; n++ {
		got, next := l.read(r, url.Values{"limit": {strconv.Itoa(limit)}, "after": {after}})
		if len(got) > limit || next != "" && len(got) != limit {
			r.tb.Errorf("%s: %d entries of %d with next %q", l.path, len(got), limit, next)
		}
		ids = append(ids, got...)
		if after = next; after == "" {
			return ids
		}
		between()
	}
	r.tb.Errorf("%s: the pages do not end", l.path)
	return ids
}

// TestPages: whatever the size of a page, each entry comes exactly once and those
// of another tenant never, while others make entries there and here.
func TestPages(t *testing.T) {
	r := serveTemp(t)
	made := map[string]map[string][]string{} // tenant → list → entries
	grow := func(tenant string, n int) {
		base := "/api/v1/tenants/" + tenant
		var issued actions.Issued
		r.must("", "POST", base+"/tokens", object{}, &issued)
		r.must("", "POST", base+"/workloads", object{"name": fmt.Sprintf("w-%s-%d", tenant, n), "grants": []string{"sql:analyst"}}, nil)
		r.must("", "POST", base+"/members", object{"name": fmt.Sprintf("m-%s-%d", tenant, n), "role": "viewer"}, nil)
		made[tenant]["tokens"] = append(made[tenant]["tokens"], issued.Accessor)
		made[tenant]["workloads"] = append(made[tenant]["workloads"], fmt.Sprintf("w-%s-%d", tenant, n))
		made[tenant]["members"] = append(made[tenant]["members"], fmt.Sprintf("m-%s-%d", tenant, n))
	}
	for _, id := range []string{"acme", "acme-2", "zeta"} { // one name begins the other
		r.must("", "POST", "/api/v1/tenants", object{"id": id, "name": id}, nil)
		made[id] = map[string][]string{}
		for n := range 7 {
			grow(id, n)
		}
	}
	n := 100
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 9).Draw(rt, "limit")
		for name, l := range lists("acme") {
			foreign, here := rapid.Bool().Draw(rt, "foreign"), rapid.IntRange(0, 3).Draw(rt, "here") == 0
			wanted := slices.Clone(made["acme"][name])
			got := l.all(r, limit, func() {
				if n++; foreign && n < 130 {
					grow("acme-2", n)
				}
				if here && n < 130 {
					grow("acme", n)
				}
			})
			seen := map[string]int{}
			for _, id := range got {
				if seen[id]++; seen[id] > 1 {
					rt.Errorf("%s: %s came twice", name, id)
				}
			}
			if name == "mine" {
				wanted = []string{"acme", "acme-2", "zeta"}
			}
			for _, id := range wanted {
				if seen[id] != 1 {
					rt.Errorf("%s: %s came %d times in pages of %d", name, id, seen[id], limit)
				}
			}
			for _, other := range []string{"acme-2", "zeta"} {
				for _, id := range made[other][name] {
					if seen[id] > 0 {
						rt.Errorf("%s: %s is %s's", name, id, other)
					}
				}
			}
		}
	})
}

// TestPagesOfOthersCursors: a cursor is a place in the order of the own list.
func TestPagesOfOthersCursors(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	for range 3 {
		r.issue("acme", object{})
		r.issue("globex", object{})
	}
	foreign := lists("globex")["tokens"].all(r, 9, func() {})
	mine := lists("acme")["tokens"].all(r, 9, func() {})
	for _, after := range append(foreign, "", "globex\x00ta_", "\x00", "\xff", strings.Repeat("z", 1024)) {
		got, _ := lists("acme")["tokens"].read(r, url.Values{"after": {after}})
		for _, id := range got {
			if !slices.Contains(mine, id) || id <= after {
				t.Errorf("after %q: %s", after, id)
			}
		}
	}
	for _, q := range []string{"limit=0x", "limit=-1", "limit=1001", "after=" + strings.Repeat("z", 1025)} {
		if a := r.do("", "GET", "/api/v1/tenants/acme/tokens?"+q, nil); a.status != 400 {
			t.Errorf("%.20s: %d", q, a.status)
		}
	}
}

// TestPagesBesideWriters: readers of one tenant's tokens beside writers of another.
func TestPagesBesideWriters(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	for range 12 {
		r.issue("acme", object{})
	}
	want := lists("acme")["tokens"].all(r, 100, func() {})
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				r.issue("globex", object{})
			}
		}
	})
	for range 10 {
		if got := lists("acme")["tokens"].all(r, 5, func() {}); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	close(stop)
	group.Wait()
}
