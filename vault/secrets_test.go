package vault_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault"
)

func ref(n int) *int { return &n }

func (k *kit) mark(tb testing.TB, action domain.Action, path string, version int) (vault.Version, error) {
	tb.Helper()
	return k.change(tb, "acme", action, path, func(c *vault.Coffer, tx *store.Tx) (vault.Version, error) {
		switch action {
		case authz.SecretDelete:
			return c.Delete(tx, version, start)
		case authz.SecretUndelete:
			return c.Undelete(tx, version)
		}
		return c.Destroy(tx, version, start)
	})
}

func (k *kit) versions(tb testing.TB, path string) (s vault.Secret, err error) {
	tb.Helper()
	err = k.view(tb, "acme", authz.SecretVersions, path, func(c *vault.Coffer, tx *store.Tx) error {
		s, err = c.Versions(tx)
		return err
	})
	return s, err
}

func (k *kit) list(tb testing.TB, s authz.Subject, prefix, after string, limit int) (paths []string) {
	tb.Helper()
	p := k.begin(tb, s, authz.Request{Action: authz.SecretList, Tenant: "acme", Resource: prefix})
	defer p.Abort()
	c := k.coffer(tb, p)
	must(tb, k.db.View(tb.Context(), func(tx *store.Tx) error {
		found, err := c.List(tx, domain.SecretPath(after), limit)
		for _, s := range found {
			paths = append(paths, string(s.Path))
		}
		return err
	}))
	return paths
}

func TestSecretLife(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	_, err := k.put(t, "acme", "a", `{"k":1}`, ref(1))
	wantKind(t, err, domain.Conflict)
	_, _, err = k.read(t, "acme", "a", 0)
	wantKind(t, err, domain.NotFound)
	v, err := k.put(t, "acme", "a", `{"k":1}`, ref(0))
	if diff := cmp.Diff(vault.Version{Number: 1, Created: start, By: "person:p_test"}, v); diff != "" || err != nil {
		t.Error(diff, err)
	}
	_, err = k.put(t, "acme", "a", `{"k":2}`, ref(0))
	wantKind(t, err, domain.Conflict)
	if _, err := k.put(t, "acme", "a", "{\"k\": 2}\n", ref(1)); err != nil {
		t.Error(err)
	}
	for version, want := range map[int]string{0: "{\"k\": 2}\n", 1: `{"k":1}`, 2: "{\"k\": 2}\n"} { // byte for byte
		if got, _, err := k.read(t, "acme", "a", version); got != want || err != nil {
			t.Errorf("version %d: %q, %v", version, got, err)
		}
	}
	_, _, err = k.read(t, "acme", "a", 3)
	wantKind(t, err, domain.NotFound)

	for _, step := range []struct {
		action  domain.Action
		version int
		kind    domain.Kind // of the change's error; Internal: none
		read    domain.Kind // of reading version 1 then
	}{
		{authz.SecretDelete, 1, domain.Internal, domain.NotFound},
		{authz.SecretDelete, 1, domain.Internal, domain.NotFound},
		{authz.SecretUndelete, 1, domain.Internal, domain.Internal},
		{authz.SecretUndelete, 1, domain.Internal, domain.Internal},
		{authz.SecretDestroy, 1, domain.Internal, domain.NotFound},
		{authz.SecretDestroy, 1, domain.Conflict, domain.NotFound},
		{authz.SecretUndelete, 1, domain.Conflict, domain.NotFound},
		{authz.SecretDelete, 1, domain.Conflict, domain.NotFound},
		{authz.SecretDelete, 9, domain.NotFound, domain.NotFound},
	} {
		_, err := k.mark(t, step.action, "a", step.version)
		if domain.KindOf(err) != step.kind || (err == nil) != (step.kind == domain.Internal) {
			t.Errorf("%s: %v", step.action, err)
		}
		if _, _, err := k.read(t, "acme", "a", 1); domain.KindOf(err) != step.read || (err == nil) != (step.read == domain.Internal) {
			t.Errorf("reading after %s: %v", step.action, err)
		}
	}
	if got, _, err := k.read(t, "acme", "a", 0); err != nil || got != "{\"k\": 2}\n" {
		t.Errorf("the other version: %s, %v", got, err)
	}
	_, err = k.mark(t, authz.SecretDelete, "no/such", 0)
	wantKind(t, err, domain.NotFound)
	_, err = k.versions(t, "no/such")
	wantKind(t, err, domain.NotFound)
}

// TestMaxVersions: the oldest goes, with its value.
func TestMaxSecrets(t *testing.T) {
	defer vault.SetMaxSecrets(2)()
	k := newKit(t)
	k.tenant(t, "acme")
	k.mustPut(t, "acme", "a", `{"k":"v"}`)
	k.mustPut(t, "acme", "b", `{"k":"v"}`)
	_, err := k.put(t, "acme", "c", `{"k":"v"}`, nil)
	wantKind(t, err, domain.Limit)
	k.mustPut(t, "acme", "a", `{"k":"w"}`) // a further version takes no further place
}

func TestMaxVersions(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	for range vault.MaxVersions + 3 {
		k.mustPut(t, "acme", "a", `{"k":"v"}`)
	}
	s, err := k.versions(t, "a")
	must(t, err)
	if len(s.Versions) != vault.MaxVersions || s.Versions[0].Number != 4 || s.Latest().Number != s.Current || s.Current != vault.MaxVersions+3 {
		t.Errorf("%+v", s)
	}
	if n := len(k.rows(t)); n != 1+vault.MaxVersions {
		t.Errorf("%d rows", n)
	}
	_, _, err = k.read(t, "acme", "a", 3)
	wantKind(t, err, domain.NotFound)
}

func TestList(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	k.tenant(t, "globex")
	k.mustPut(t, "globex", "stripe/other", `{"k":"v"}`)
	all := []string{"a", "a/b", "ab", "stripe/live", "stripe/test/eu", "stripe/test/us", "zz"}
	for i := range all {
		k.mustPut(t, "acme", all[(i*3)%len(all)], `{"k":"v"}`) // in another order
	}
	capability, err := authz.ParseCapability("secret:list:stripe/*")
	must(t, err)
	narrow, err := authz.ParseCapability("secret:list:stripe/test/us")
	must(t, err)
	workload := func(layers ...authz.Layer) authz.Subject {
		return authz.Subject{
			Principal: domain.Principal{Kind: domain.Workload, ID: "w_1"}, Home: "acme",
			Tenants: map[domain.TenantID][]authz.Layer{"acme": layers},
		}
	}
	caps := func(c ...authz.Capability) authz.Layer { return authz.Layer{Capabilities: c} }
	for name, c := range map[string]struct {
		subject       authz.Subject
		prefix, after string
		limit         int
		want          []string
	}{
		"all":             {owner("acme"), "", "", 100, all},
		"a page":          {owner("acme"), "", "", 2, all[:2]},
		"the next page":   {owner("acme"), "", "a/b", 3, all[2:5]},
		"after the last":  {owner("acme"), "", "zz", 3, nil},
		"a prefix":        {owner("acme"), "stripe/test/", "", 100, all[4:6]},
		"only segments":   {owner("acme"), "a/", "", 100, all[1:2]},
		"none there":      {owner("acme"), "nothing/", "", 100, nil},
		"capability":      {workload(caps(capability)), "", "", 100, all[3:6]},
		"two bounds":      {workload(caps(capability), caps(narrow)), "", "", 100, all[5:6]},
		"seen page":       {workload(caps(capability)), "", "stripe/live", 1, all[4:5]},
		"role and narrow": {workload(authz.Layer{Role: domain.Owner}, caps(narrow)), "stripe/", "", 100, all[5:6]},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, k.list(t, c.subject, c.prefix, c.after, c.limit)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMovedAndChangedRows: a row that was changed, or put where another one
// belongs, is an error and never a value, even to somebody who has the control
// store's own key.
func TestMovedAndChangedRows(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	acme, globex := k.tenant(t, "acme"), k.tenant(t, "globex")
	for _, tenant := range []domain.TenantID{"acme", "globex"} {
		for _, path := range []string{"a", "b"} {
			k.mustPut(t, tenant, path, `{"k":"first"}`)
			k.mustPut(t, tenant, path, `{"k":"second"}`)
		}
	}
	type row struct{ key, value string }
	rowsOf := func(uid [vault.UIDSize]byte, keyLen int) (out []row) {
		for key, value := range k.rows(t) {
			if strings.HasPrefix(key, string(uid[:])) && len(key) == keyLen {
				out = append(out, row{key, value})
			}
		}
		return out
	}
	const metaLen, valueLen = 2 * vault.UIDSize, 2*vault.UIDSize + 4
	bucketOf := map[int]string{metaLen: vault.BucketSecrets, valueLen: vault.BucketVersions}
	// Every path and version is read; what is wrong must be an error.
	check := func(t *testing.T, what string) {
		t.Helper()
		failures := 0
		for _, tenant := range []domain.TenantID{"acme", "globex"} {
			for _, path := range []string{"a", "b"} {
				for version, want := range map[int]string{1: `{"k":"first"}`, 2: `{"k":"second"}`} {
					got, _, err := k.read(t, tenant, path, version)
					if err != nil {
						wantKind(t, err, domain.Tampered)
						failures++
					} else if got != want {
						t.Errorf("%s: %s of %s in version %d is %s", what, path, tenant, version, got)
					}
				}
			}
		}
		if failures == 0 {
			t.Errorf("%s: nothing was noticed", what)
		}
	}
	with := func(t *testing.T, what string, target row, value string) {
		t.Helper()
		set := func(v []byte) {
			must(t, k.commit(func(tx *store.Tx) error { return tx.Put(bucketOf[len(target.key)], []byte(target.key), v) }))
		}
		set([]byte(value))
		check(t, what)
		set([]byte(target.value))
	}
	for _, size := range []int{metaLen, valueLen} {
		mine, other := rowsOf(acme, size), rowsOf(globex, size)
		for _, target := range mine {
			for i := range len(target.value) {
				if i%7 == 0 || i < 8 || i > len(target.value)-20 {
					b := []byte(target.value)
					b[i] ^= 1
					with(t, "a flipped bit", target, string(b))
				}
			}
			with(t, "a cut row", target, target.value[:len(target.value)-1])
			with(t, "an empty row", target, "")
			for _, from := range append(mine, other...) {
				if from.key != target.key {
					with(t, "a row from elsewhere", target, from.value)
				}
			}
		}
	}
	target := rowsOf(acme, valueLen)[0]
	must(t, k.commit(func(tx *store.Tx) error { return tx.Delete(vault.BucketVersions, []byte(target.key)) }))
	check(t, "a lost value")
}

// TestNothingReadable: paths, names, values and tenants' ids of secrets stand in
// no file, whatever happens to the secrets.
func TestNothingReadable(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	canaries := []string{"pathcanary", "namecanary", "valuecanary", "othercanary"}
	k.mustPut(t, "acme", "pathcanary/live", `{"namecanary":"valuecanary"}`)
	for range vault.MaxVersions + 1 {
		k.mustPut(t, "acme", "pathcanary/live", `{"namecanary":"othercanary"}`)
	}
	for _, a := range []domain.Action{authz.SecretDelete, authz.SecretUndelete, authz.SecretDestroy} {
		if _, err := k.mark(t, a, "pathcanary/live", 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := k.read(t, "acme", "pathcanary/live", 5); err != nil {
		t.Fatal(err)
	}
	k.list(t, owner("acme"), "pathcanary/", "", 10)
	must(t, k.destroy(t, t.Context(), "acme"))
	must(t, k.log.Close(t.Context()))
	files := 0
	must(t, filepath.WalkDir(k.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		for _, c := range canaries {
			if bytes.Contains(b, []byte(c)) || strings.Contains(path, c) {
				t.Errorf("%s holds %s", path, c)
			}
		}
		return err
	}))
	if files < 4 {
		t.Errorf("only %d files were looked at", files)
	}
}

// TestDamagedControlStore: a flipped byte in the file is found when it is opened.
func TestDamagedControlStore(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	k.mustPut(t, "acme", "a", `{"k":"v"}`)
	must(t, k.db.Close())
	path := k.path("control.db")
	b, err := os.ReadFile(path)
	must(t, err)
	flipped := 0
	seen := 0
	for off := range b {
		if b[off] == 0 {
			continue
		}
		if seen++; seen%61 != 0 { // not all of them: each is a file written and opened
			continue
		}
		c := bytes.Clone(b)
		c[off] ^= 0x10
		must(t, os.WriteFile(path, c, 0o600))
		db, err := store.Open(path, k.v.ControlAEAD())
		if err == nil { // a page that is free, or the older meta page
			k2 := *k
			k2.db = db
			if got, _, err := k2.read(t, "acme", "a", 0); err == nil && got != `{"k":"v"}` {
				t.Errorf("offset %d: wrong data %s", off, got)
			}
			must(t, db.Close())
			continue
		}
		wantKind(t, err, domain.Tampered)
		flipped++
	}
	if flipped == 0 {
		t.Error("no flip was found")
	}
	must(t, os.WriteFile(path, b, 0o600))
	k.db, err = store.Open(path, k.v.ControlAEAD())
	must(t, err)
}

func TestCofferOfClosedStore(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	c := k.coffer(t, k.permit(t, "acme", authz.SecretRead, "a"))
	must(t, k.db.Close())
	err := k.db.View(context.Background(), func(tx *store.Tx) error { _, _, err := c.Read(tx, 0); return err })
	wantKind(t, err, domain.Unavailable)
}

// TestValuesStayRedacted: a value prints as nothing.
func TestValuesStayRedacted(t *testing.T) {
	v := parse(t, `{"k":"canary"}`)
	for _, text := range []string{v.String(), cmp.Diff(v.JSON().String(), "")} {
		if strings.Contains(text, "canary") {
			t.Error(text)
		}
	}
	if (vault.Version{Number: 1, Created: time.Time{}}).Live() != true {
		t.Error("a plain version is not live")
	}
}
