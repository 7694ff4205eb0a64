package vault_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault"
)

// modelVersion is what a naive model knows of one version.
type modelVersion struct {
	number             int
	value              string
	deleted, destroyed bool
}

// model is a tenant's secrets as maps.
type model map[string][]modelVersion

func (m model) current(path string) int {
	if vs := m[path]; len(vs) > 0 {
		return vs[len(vs)-1].number
	}
	return 0
}

func (m model) find(path string, number int) *modelVersion {
	if number == 0 {
		number = m.current(path)
	}
	for i := range m[path] {
		if m[path][i].number == number {
			return &m[path][i]
		}
	}
	return nil
}

func (m model) put(path, value string, cas *int) (kind domain.Kind, ok bool) {
	if cas != nil && *cas != m.current(path) {
		return domain.Conflict, false
	}
	vs := append(m[path], modelVersion{number: m.current(path) + 1, value: value})
	m[path] = vs[max(0, len(vs)-vault.MaxVersions):]
	return 0, true
}

func (m model) mark(action domain.Action, path string, number int) (kind domain.Kind, ok bool) {
	v := m.find(path, number)
	switch {
	case v == nil:
		return domain.NotFound, false
	case v.destroyed:
		return domain.Conflict, false
	case action == authz.SecretDelete:
		v.deleted = true
	case action == authz.SecretUndelete:
		v.deleted = false
	default:
		v.destroyed = true
	}
	return 0, true
}

func (m model) under(prefix string) (paths []string) {
	for path := range m {
		if strings.HasPrefix(path, prefix) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// TestSecretsAgainstModel runs random operations on the vault and on maps.
func TestSecretsAgainstModel(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	var cases atomic.Int64
	rapid.Check(t, func(r *rapid.T) {
		prefix := fmt.Sprintf("case%d/", cases.Add(1)) // each case has paths of its own in the one vault
		m := model{}
		path := rapid.Map(rapid.SampledFrom([]string{"a", "a/b", "b"}), func(s string) string { return prefix + s })
		version := rapid.IntRange(0, vault.MaxVersions+2)
		agree := func(what string, err error, kind domain.Kind, ok bool) {
			if (err == nil) != ok || !ok && domain.KindOf(err) != kind {
				r.Fatalf("%s: %v, the model says %v %v", what, err, ok, kind)
			}
		}
		mark := func(action domain.Action) func(*rapid.T) {
			return func(r *rapid.T) {
				p, n := path.Draw(r, "path"), version.Draw(r, "version")
				kind, ok := m.mark(action, p, n)
				_, err := k.mark(t, action, p, n)
				agree(string(action), err, kind, ok)
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				p, value := path.Draw(r, "path"), fmt.Sprintf(`{"k":%d}`, rapid.Int().Draw(r, "value"))
				var cas *int
				if rapid.Bool().Draw(r, "with cas") {
					cas = ref(m.current(p) + rapid.SampledFrom([]int{0, 0, 1, -1}).Draw(r, "off"))
				}
				kind, ok := m.put(p, value, cas)
				v, err := k.put(t, "acme", p, value, cas)
				agree("put", err, kind, ok)
				if ok && v.Number != m.current(p) {
					r.Fatalf("put made version %d, not %d", v.Number, m.current(p))
				}
			},
			"delete": mark(authz.SecretDelete), "undelete": mark(authz.SecretUndelete), "destroy": mark(authz.SecretDestroy),
			"read": func(r *rapid.T) {
				p, n := path.Draw(r, "path"), version.Draw(r, "version")
				v := m.find(p, n)
				got, _, err := k.read(t, "acme", p, n)
				ok := v != nil && !v.deleted && !v.destroyed
				agree("read", err, domain.NotFound, ok)
				if ok && got != v.value {
					r.Fatalf("read %s, want %s", got, v.value)
				}
			},
			"list": func(r *rapid.T) {
				var got []string
				limit := rapid.IntRange(1, 4).Draw(r, "limit")
				for after := ""; ; after = got[len(got)-1] {
					page := k.list(t, owner("acme"), prefix, after, limit)
					got = append(got, page...)
					if len(page) < limit {
						break
					}
				}
				if diff := cmp.Diff(m.under(prefix), got); diff != "" {
					r.Fatal(diff)
				}
			},
			"": func(r *rapid.T) { k.agree(t, r, m) },
		})
	})
}

// agreeOnUsage compares the number that is kept of the bytes of all values with
// what they are. The kit has one tenant.
func (k *kit) agreeOnUsage(t *testing.T, r *rapid.T) {
	var kept, real uint64
	if err := k.db.View(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.Scan("secret-usage", nil, nil, func(_, b []byte) error { kept += binary.BigEndian.Uint64(b); return nil }),
			tx.Scan("secret-versions", nil, nil, func(_, b []byte) error { real += uint64(len(b)); return nil }),
		)
	}); err != nil {
		r.Fatal(err)
	}
	if kept != real {
		r.Fatalf("%d bytes are counted, there are %d", kept, real)
	}
}

// agree compares all versions of all paths.
func (k *kit) agree(t *testing.T, r *rapid.T, m model) {
	k.agreeOnUsage(t, r)
	for path, versions := range m {
		s, err := k.versions(t, path)
		if err != nil {
			r.Fatal(err)
		}
		if s.Current != m.current(path) || len(s.Versions) != len(versions) {
			r.Fatalf("%s: %+v, the model has %+v", path, s, versions)
		}
		for i, v := range s.Versions {
			w := versions[i]
			if v.Number != w.number || (v.Destroyed != nil) != w.destroyed || !w.destroyed && (v.Deleted != nil) != w.deleted {
				r.Fatalf("%s: %+v, the model has %+v", path, v, w)
			}
		}
	}
}
