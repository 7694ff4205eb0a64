package vault_test

import (
	"context"
	"reflect"
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/vault"
)

// needsNone are the exported methods that give no key and so take no permit.
var needsNone = map[string]string{
	"Check": "unwraps and forgets", "Tenants": "names alone", "Close": "forgets", "Forget": "forgets", "LogKeys": "keys of the log alone",
	"ControlAEAD": "the control store's key, for the appliance", "Rewrapped": "takes the root key itself", "WatchKeys": "waits",
	"ClientKey": "what can be shown", "CheckClient": "an error alone", "CloseClient": "forgets", "ExpiredClients": "forgets",
	"Changed": "a yes or no", "DropMarks": "forgets", "Tidy": "a new key for the file, which it keeps", "RootRows": "a number",
}

// vaultMethods call each method of Vault that takes a permit, for tenant acme.
var vaultMethods = map[string]struct {
	tenant domain.TenantID // of the right permit
	action domain.Action
	change bool
	call   func(k *kit, p *audit.Permit) error
}{
	"Coffer": {"acme", authz.SecretRead, false, func(k *kit, p *audit.Permit) error {
		c, err := k.v.Coffer(context.Background(), p)
		return some(c != nil, err)
	}},
	"TenantPages": {"acme", authz.SQLQuery, false, func(k *kit, p *audit.Permit) error {
		keys, uid, err := k.v.TenantPages(context.Background(), p, "acme")
		return some(keys != nil || uid != [vault.UIDSize]byte{}, err)
	}},
	"CreateTenant": {"", authz.TenantCreate, true, func(k *kit, p *audit.Permit) error {
		uid, err := k.v.CreateTenant(context.Background(), p, "acme")
		return some(uid != [vault.UIDSize]byte{}, err)
	}},
	"AbandonTenant": {"", authz.TenantCreate, true, func(k *kit, p *audit.Permit) error {
		return k.v.AbandonTenant(context.Background(), p, "acme")
	}},
	"DestroyTenant": {"acme", authz.TenantDestroy, true, func(k *kit, p *audit.Permit) error {
		return k.v.DestroyTenant(context.Background(), p, "acme")
	}},
	"Purge": {"acme", authz.TenantDestroy, true, func(k *kit, p *audit.Permit) error {
		return k.commit(func(tx *store.Tx) error { return k.v.Purge(context.Background(), tx, p, [vault.UIDSize]byte{1}) })
	}},
	"SetClientKey": {"acme", authz.ClientKeySet, true, func(k *kit, p *audit.Permit) error {
		return k.v.SetClientKey(context.Background(), p, fileKey(1), vault.Opening{Until: start})
	}},
	"OpenClient": {"acme", authz.ClientKeyOpen, true, func(k *kit, p *audit.Permit) error {
		return k.v.OpenClient(context.Background(), p, fileKey(1), vault.Opening{Until: start})
	}},
	"RemoveClientKey": {"acme", authz.ClientKeyRemove, true, func(k *kit, p *audit.Permit) error {
		return k.v.RemoveClientKey(context.Background(), p)
	}},
	"RotateKEK": {"acme", authz.RotateTenant, true, func(k *kit, p *audit.Permit) error {
		return k.v.RotateKEK(context.Background(), p, "acme")
	}},
	"BeginSecrets": {"acme", authz.RotateTenant, true, func(k *kit, p *audit.Permit) error {
		return k.v.BeginSecrets(context.Background(), p, "acme")
	}},
	"EndSecrets": {"acme", authz.RotateTenant, true, func(k *kit, p *audit.Permit) error {
		return k.v.EndSecrets(context.Background(), p, "acme")
	}},
	"Rewrap": {"acme", authz.RotateTenant, true, func(k *kit, p *audit.Permit) error {
		r, err := k.v.Rewrap(context.Background(), p, "acme")
		return some(r != nil, err)
	}},
	"BeginControl": {"", authz.RotateStart, true, func(k *kit, p *audit.Permit) error {
		stale, err := k.v.BeginControl(context.Background(), p)
		return some(stale != nil, err)
	}},
	"EndControl": {"", authz.RotateStart, true, func(k *kit, p *audit.Permit) error {
		return k.v.EndControl(context.Background(), p)
	}},
	"BeginRoot": {"", authz.RotateStart, true, func(k *kit, p *audit.Permit) error {
		return k.v.BeginRoot(context.Background(), p, k.secretRoot())
	}},
	"EndRoot": {"", authz.RotateStart, true, func(k *kit, p *audit.Permit) error {
		_, err := k.v.EndRoot(context.Background(), p, k.secretRoot())
		return err
	}},
	"RootRewrap": {"", authz.RotateStart, true, func(k *kit, p *audit.Permit) error {
		r, err := k.v.RootRewrap(p, k.secretRoot())
		return some(r != nil, err)
	}},
	"RotateTable": {"", authz.RotateStart, true, func(k *kit, p *audit.Permit) error {
		return k.v.RotateTable(context.Background(), p)
	}},
}

// selfNaming are the methods that take the tenant from the permit alone, so that
// another tenant's permit is a good one, for that tenant.
var selfNaming = map[string]bool{"Coffer": true, "Purge": true, "SetClientKey": true, "OpenClient": true, "RemoveClientKey": true}

var errGave = domain.Errorf(domain.Invalid, "something was handed out beside an error")

// some is an error of its own if something was given beside an error.
func some(given bool, err error) error {
	if given && err != nil {
		return errGave
	}
	return err
}

// commit runs fn in a transaction and commits whatever it did, error or not.
func (k *kit) commit(fn func(*store.Tx) error) (err error) {
	if _, commitErr := k.db.Update(context.Background(), func(tx *store.Tx) error {
		err = fn(tx)
		return nil
	}); commitErr != nil {
		return commitErr
	}
	return err
}

// cofferMethods call each method of Coffer.
var cofferMethods = map[string]struct {
	action domain.Action
	change bool
	call   func(*vault.Coffer, *store.Tx, vault.Value) error
}{
	"Put": {authz.SecretPut, true, func(c *vault.Coffer, tx *store.Tx, value vault.Value) error {
		_, err := c.Put(tx, value, nil, start)
		return err
	}},
	"Patch": {authz.SecretPut, true, func(c *vault.Coffer, tx *store.Tx, value vault.Value) error {
		_, err := c.Patch(tx, value.JSON(), nil, start)
		return err
	}},
	"Read": {authz.SecretRead, false, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		v, _, err := c.Read(tx, 0)
		return some(v.JSON().Len() > 0, err)
	}},
	"Versions": {authz.SecretVersions, false, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		s, err := c.Versions(tx)
		return some(s.Path != "", err)
	}},
	"List": {authz.SecretList, false, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		list, err := c.List(tx, "", 10)
		return some(list != nil, err)
	}},
	"Delete": {authz.SecretDelete, true, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		_, err := c.Delete(tx, 0, start)
		return err
	}},
	"Undelete": {authz.SecretUndelete, true, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		_, err := c.Undelete(tx, 0)
		return err
	}},
	"Destroy": {authz.SecretDestroy, true, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		_, err := c.Destroy(tx, 0, start)
		return err
	}},
	"TransitCreate": {authz.TransitCreate, true, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		_, made, err := c.TransitCreate(tx, aesMaterial(), start)
		return some(made, err)
	}},
	"TransitRotate": {authz.TransitRotate, true, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		_, err := c.TransitRotate(tx, aesMaterial(), start)
		return err
	}},
	"TransitConfigure": {authz.TransitConfig, true, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		_, err := c.TransitConfigure(tx, vault.TransitSettings{})
		return err
	}},
	"TransitTrim": {authz.TransitTrim, true, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		_, err := c.TransitTrim(tx, 1)
		return err
	}},
	"TransitRemove": {authz.TransitRemove, true, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		_, err := c.TransitRemove(tx)
		return err
	}},
	"TransitRead": {authz.TransitRead, false, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		k, err := c.TransitRead(tx)
		return some(k.Name != "", err)
	}},
	"TransitTypeOf": {authz.TransitRotate, false, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		kind, err := c.TransitTypeOf(tx)
		return some(kind != "", err)
	}},
	"TransitList": {authz.TransitList, false, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		list, err := c.TransitList(tx)
		return some(list != nil, err)
	}},
	"Transit": {authz.TransitDecrypt, false, func(c *vault.Coffer, tx *store.Tx, _ vault.Value) error {
		opened, err := c.Transit(tx, []int{0})
		return some(opened != nil, err)
	}},
}

// aesMaterial makes a version of a key of the default type.
func aesMaterial() *vault.TransitMaterial {
	m, err := vault.NewTransitMaterial(vault.AES256GCM)
	if err != nil {
		panic(err)
	}
	return m
}

// TestPermitTablesAreComplete fails when a method is added that no test below
// calls without a permit.
func TestPermitTablesAreComplete(t *testing.T) {
	for m := range reflect.TypeFor[*vault.Vault]().Methods() {
		if _, tested := vaultMethods[m.Name]; !tested && needsNone[m.Name] == "" {
			t.Errorf("Vault.%s is neither tested without a permit nor said to need none", m.Name)
		}
	}
	for m := range reflect.TypeFor[*vault.Coffer]().Methods() {
		if _, tested := cofferMethods[m.Name]; !tested && m.Name != "Bound" { // it gives and changes nothing
			t.Errorf("Coffer.%s is not tested without a permit", m.Name)
		}
	}
}

// TestNoPermitNoKey calls every method of the vault with every wrong permit:
// each refuses as a fault of ours, gives nothing and changes nothing.
func TestNoPermitNoKey(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	k.tenant(t, "globex")
	k.mustPut(t, "acme", "stripe/live", `{"key":"v"}`)
	for name, m := range vaultMethods {
		resource := ""
		if m.tenant == "" {
			resource = "acme"
		}
		finished := k.permit(t, m.tenant, m.action, resource)
		finished.Abort()
		wrong := map[string]*audit.Permit{
			"none": nil, "zero": new(audit.Permit), "finished": finished,
			"for another thing": k.intend(t, "acme", authz.MemberAdd, ""),
			"to read the log":   k.permit(t, "acme", authz.AuditRead, ""),
			"of the appliance":  k.permit(t, "", authz.TenantList, ""),
			"to create another": k.intend(t, "", authz.TenantCreate, "globex"),
		}
		if m.tenant != "" && !selfNaming[name] {
			wrong["another tenant's"] = k.intendIfChange(t, "globex", m.action, "")
		}
		if m.change {
			wrong["without an intent"] = k.permit(t, m.tenant, m.action, resource)
		}
		for why, p := range wrong {
			t.Run(name+" "+why, func(t *testing.T) {
				keys, control := vault.KeysRevision(k.v), k.db.Revision()
				wantKind(t, m.call(k, p), domain.Internal)
				if vault.KeysRevision(k.v) != keys || k.db.Revision() != control {
					t.Error("something changed")
				}
			})
		}
	}
	if got, _, err := k.read(t, "acme", "stripe/live", 0); err != nil || got != `{"key":"v"}` {
		t.Errorf("afterwards: %s, %v", got, err)
	}
}

// intendIfChange is intend for a change, else permit.
func (k *kit) intendIfChange(tb testing.TB, tenant domain.TenantID, action domain.Action, resource string) *audit.Permit {
	tb.Helper()
	if info, _ := authz.Lookup(action); info.Changes {
		return k.intend(tb, tenant, action, resource)
	}
	return k.permit(tb, tenant, action, resource)
}

// TestNoPermitNoSecret calls every method of every coffer that is not for it.
func TestNoPermitNoSecret(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	k.mustPut(t, "acme", "stripe/live", `{"key":"v"}`)
	value := parse(t, `{"key":"w"}`)
	refused := func(t *testing.T, c *vault.Coffer, call func(*vault.Coffer, *store.Tx, vault.Value) error, kind domain.Kind) {
		t.Helper()
		rev := k.db.Revision()
		wantKind(t, k.commit(func(tx *store.Tx) error { return call(c, tx, value) }), kind)
		if k.db.Revision() != rev {
			t.Error("something changed")
		}
	}
	for name, m := range cofferMethods {
		t.Run(name, func(t *testing.T) {
			refused(t, nil, m.call, domain.Internal)
			refused(t, new(vault.Coffer), m.call, domain.Internal)
			for other, o := range cofferMethods {
				if o.action == m.action {
					continue
				}
				c := k.coffer(t, k.intendIfChange(t, "acme", o.action, "stripe/live"))
				t.Run("opened for "+other, func(t *testing.T) { refused(t, c, m.call, domain.Internal) })
			}
			p := k.intendIfChange(t, "acme", m.action, "stripe/live")
			c := k.coffer(t, p)
			if m.change {
				refused(t, k.coffer(t, k.permit(t, "acme", m.action, "stripe/live")), m.call, domain.Internal)
			}
			if _, err := p.Finish(t.Context(), audit.Failed, nil); err != nil {
				t.Fatal(err)
			}
			refused(t, c, m.call, domain.Internal)
		})
	}
	c := k.coffer(t, k.permit(t, "acme", authz.SecretRead, "stripe/live"))
	must(t, k.v.Close())
	refused(t, c, cofferMethods["Read"].call, domain.Unavailable)
	must(t, k.v.Close())
}

// TestOnlyTheGrantsPath: a coffer touches the one path that its grant names.
func TestOnlyTheGrantsPath(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	k.tenant(t, "globex")
	for _, tenant := range []domain.TenantID{"acme", "globex"} {
		for _, path := range []string{"a", "a/b", "b"} {
			k.mustPut(t, tenant, path, `{"at":"`+string(tenant)+"/"+path+`"}`)
		}
	}
	for _, name := range []string{"Put", "Patch", "Delete", "Undelete", "Destroy"} { // transit keys: see TestTransitOther
		m := cofferMethods[name]
		before := k.rows(t)
		p := k.intend(t, "acme", m.action, "a/b")
		must(t, k.commit(func(tx *store.Tx) error { return m.call(k.coffer(t, p), tx, parse(t, `{"k":"v"}`)) }))
		p.Abort()
		after := k.rows(t)
		changed := map[string]bool{} // by what a row's key begins with: uid and blinded path
		for key, value := range before {
			if after[key] != value {
				changed[key[:2*vault.UIDSize]] = true
			}
		}
		for key, value := range after {
			if before[key] != value {
				changed[key[:2*vault.UIDSize]] = true
			}
		}
		if len(changed) != 1 {
			t.Errorf("%s touched the rows of %d paths", name, len(changed))
		}
	}
	if got, _, err := k.read(t, "globex", "a/b", 0); err != nil || got != `{"at":"globex/a/b"}` {
		t.Errorf("%s, %v", got, err)
	}
}

// rows are all rows of secrets, without their buckets.
func (k *kit) rows(tb testing.TB) map[string]string {
	tb.Helper()
	all := map[string]string{}
	must(tb, k.db.View(tb.Context(), func(tx *store.Tx) error {
		for _, bucket := range []string{vault.BucketSecrets, vault.BucketVersions, vault.BucketTransit, vault.BucketTransitKeys} {
			if err := tx.Scan(bucket, nil, nil, func(key, value []byte) error {
				all[string(key)] = string(value)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	return all
}

// TestPurge removes the rows of a tenant without keys, and of no other.
func TestPurge(t *testing.T) {
	k := newKit(t)
	acme, globex := k.tenant(t, "acme"), k.tenant(t, "globex")
	for range 3 {
		k.mustPut(t, "acme", "a", `{"k":"v"}`)
		k.mustPut(t, "globex", "a", `{"k":"v"}`)
	}
	k.transitCreate(t, "acme", "a", vault.AES256GCM)
	k.transitCreate(t, "globex", "a", vault.AES256GCM)
	before := k.rows(t)
	must(t, k.destroy(t, t.Context(), "acme"))
	p := k.intend(t, "acme", authz.TenantDestroy, "")
	purge := func(uid [vault.UIDSize]byte) error {
		return k.commit(func(tx *store.Tx) error { return k.v.Purge(t.Context(), tx, p, uid) })
	}
	wantKind(t, purge(globex), domain.Internal)
	if after := k.rows(t); len(after) != len(before) {
		t.Errorf("%d rows after a refused purge, %d before", len(after), len(before))
	}
	must(t, purge(acme))
	must(t, purge(acme))
	if after := k.rows(t); len(after) != len(before)/2 {
		t.Errorf("%d rows after the purge, %d before", len(after), len(before))
	}
	if _, _, err := k.read(t, "globex", "a", 3); err != nil {
		t.Error(err)
	}
}
