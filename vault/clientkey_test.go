package vault_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/vault"
	"coffer/vault/seal"
)

// fileKey is a key file of 32 bytes that depend on n.
func fileKey(n byte) vault.ClientKey {
	b := make([]byte, 32)
	for i := range b {
		b[i] = n ^ byte(i*7)
	}
	return vault.ClientKey{Form: seal.ClientKeyfile, Key: domain.NewSecret(b)}
}

func passphraseKey(text string) vault.ClientKey {
	return vault.ClientKey{Form: seal.ClientPassphrase, Key: domain.SecretString(text)}
}

func (k *kit) secretRoot() domain.Secret { return domain.NewSecret(bytes.Clone(k.root)) }

// hour opens for an hour from the tests' time.
var hour = vault.Opening{Until: start.Add(time.Hour)}

func (k *kit) setClient(tb testing.TB, id domain.TenantID, key vault.ClientKey, o vault.Opening) error {
	tb.Helper()
	p := k.intend(tb, id, authz.ClientKeySet, string(key.Form))
	defer p.Abort()
	return k.v.SetClientKey(context.Background(), p, key, o)
}

func (k *kit) openClient(tb testing.TB, id domain.TenantID, key vault.ClientKey, o vault.Opening) error {
	tb.Helper()
	p := k.intend(tb, id, authz.ClientKeyOpen, string(key.Form))
	defer p.Abort()
	return k.v.OpenClient(context.Background(), p, key, o)
}

func (k *kit) removeClient(tb testing.TB, id domain.TenantID) error {
	tb.Helper()
	p := k.intend(tb, id, authz.ClientKeyRemove, "")
	defer p.Abort()
	return k.v.RemoveClientKey(context.Background(), p)
}

// tryRead reads a secret, also where no coffer is given.
func (k *kit) tryRead(tb testing.TB, id domain.TenantID, path string) (string, error) {
	tb.Helper()
	p := k.permit(tb, id, authz.SecretRead, path)
	defer p.Abort()
	if _, err := k.v.Coffer(context.Background(), p); err != nil {
		return "", err
	}
	got, _, err := k.read(tb, id, path, 0)
	return got, err
}

// closed wants nothing of the tenant to open.
func (k *kit) closed(t *testing.T, id domain.TenantID) {
	t.Helper()
	_, err := k.tryRead(t, id, "a")
	wantKind(t, err, domain.Denied)
	_, err = k.pages(t, id)
	wantKind(t, err, domain.Denied)
	if s := k.v.ClientKey(id); !s.Closed() {
		t.Errorf("%s is said to be %+v", id, s)
	}
	must(t, k.v.Check(t.Context())) // what can be seen of it is sound
}

// readable wants the tenant's secret and page keys to be those from before.
func (k *kit) readable(t *testing.T, id domain.TenantID, pages string) {
	t.Helper()
	if got, err := k.tryRead(t, id, "a"); err != nil || got != `{"of":"`+string(id)+`"}` {
		t.Errorf("the secret of %s: %s, %v", id, got, err)
	}
	if got, err := k.pages(t, id); err != nil || got != pages {
		t.Errorf("the page keys of %s: %v", id, err)
	}
}

// twoTenants are acme and globex with a secret each.
func (k *kit) twoTenants(t *testing.T) (acme, globex string) {
	t.Helper()
	for _, id := range []domain.TenantID{"acme", "globex"} {
		k.tenant(t, id)
		k.mustPut(t, id, "a", `{"of":"`+string(id)+`"}`)
	}
	acme, err := k.pages(t, "acme")
	must(t, err)
	globex, err = k.pages(t, "globex")
	must(t, err)
	return acme, globex
}

// again opens all of it anew.
func (k *kit) again(t *testing.T) {
	t.Helper()
	k.reopen(t)
	for _, id := range []domain.TenantID{"acme", "globex"} {
		k.register(t, id)
	}
}

// TestClientKey walks through the life of a client-held key of each form.
func TestClientKey(t *testing.T) {
	for name, keys := range map[string][2]vault.ClientKey{
		"keyfile":    {fileKey(1), fileKey(2)},
		"passphrase": {passphraseKey("correct horse battery"), passphraseKey("correct horse batterz")},
	} {
		t.Run(name, func(t *testing.T) {
			now := start
			k := newKit(t)
			k.now = func() time.Time { return now }
			acme, globex := k.twoTenants(t)
			k.again(t)
			right, wrong := keys[0], keys[1]
			must(t, k.setClient(t, "acme", right, hour))
			k.readable(t, "acme", acme) // for whoever works there it goes on
			wantKind(t, k.setClient(t, "acme", wrong, hour), domain.Conflict)
			if !k.v.CloseClient("acme") {
				t.Error("it was not open")
			}
			k.closed(t, "acme")
			k.readable(t, "globex", globex)

			k.again(t)
			k.closed(t, "acme")
			if err := k.openClient(t, "acme", wrong, hour); !errors.Is(err, vault.ErrWrongClientKey) || domain.KindOf(err) != domain.Denied {
				t.Errorf("another key: %v", err)
			}
			k.closed(t, "acme")
			wantKind(t, k.removeClient(t, "acme"), domain.Denied) // not without the key
			must(t, k.openClient(t, "acme", right, hour))
			k.readable(t, "acme", acme)

			now = start.Add(time.Hour)
			k.closed(t, "acme")
			if got := k.v.ExpiredClients(); len(got) != 1 || got[0] != "acme" {
				t.Errorf("ended: %v", got)
			}
			if got := k.v.ExpiredClients(); len(got) != 0 {
				t.Errorf("told twice: %v", got)
			}

			must(t, k.openClient(t, "acme", right, vault.Opening{Until: now.Add(time.Hour), Idle: time.Minute}))
			now = now.Add(59 * time.Second)
			k.readable(t, "acme", acme) // it was used
			now = now.Add(59 * time.Second)
			k.readable(t, "acme", acme)
			now = now.Add(time.Minute)
			k.closed(t, "acme")

			must(t, k.openClient(t, "acme", right, vault.Opening{Until: now.Add(time.Hour)}))
			must(t, k.removeClient(t, "acme"))
			k.readable(t, "acme", acme)
			k.again(t)
			k.readable(t, "acme", acme)
			wantKind(t, k.openClient(t, "acme", right, hour), domain.Conflict)
		})
	}
}

// TestClientKeyLeavesNoPlainWrap: an older keys.db, put back under what seal.json
// says now, does not open; the tenant can still be destroyed without its key.
func TestClientKeyLeavesNoPlainWrap(t *testing.T) {
	k := newKit(t)
	k.twoTenants(t)
	oldKeys, oldPayload := copyOf(t, k.path("keys.db")), k.payload(t)
	must(t, k.setClient(t, "acme", fileKey(1), vault.Opening{Until: time.Now().Add(time.Hour)}))
	setKeys := copyOf(t, k.path("keys.db"))
	wantKind(t, k.opensWith(t, oldKeys, k.payload(t)), domain.Tampered)
	must(t, k.opensWith(t, oldKeys, oldPayload)) // both from before: that is what a backup is, and FORMAT.md says so
	must(t, k.removeClient(t, "acme"))
	wantKind(t, k.opensWith(t, setKeys, k.payload(t)), domain.Tampered)

	must(t, k.setClient(t, "acme", fileKey(1), hour))
	k.v.CloseClient("acme")
	must(t, k.destroy(t, t.Context(), "acme"))
	_, err := k.tryRead(t, "acme", "a")
	wantKind(t, err, domain.Unavailable)
	if s := k.v.ClientKey("acme"); s.Form != "" {
		t.Errorf("a tenant that is gone has %+v", s)
	}
}

// TestWeakClientKeys are refused before anything happens.
func TestWeakClientKeys(t *testing.T) {
	k := newKit(t)
	k.twoTenants(t)
	rev := vault.KeysRevision(k.v)
	for name, key := range map[string]vault.ClientKey{
		"a short passphrase": passphraseKey("short"),
		"a short file":       {Form: seal.ClientKeyfile, Key: domain.SecretString("0123456789")},
		"a file of zeros":    {Form: seal.ClientKeyfile, Key: domain.NewSecret(make([]byte, 32))},
		"a huge file":        {Form: seal.ClientKeyfile, Key: domain.NewSecret(bytes.Repeat([]byte("0123456789"), 7000))},
		"no form":            {Key: domain.SecretString("0123456789abcdefghijklmnopqrstuvwxyz")},
	} {
		t.Run(name, func(t *testing.T) { wantKind(t, k.setClient(t, "acme", key, hour), domain.Invalid) })
	}
	if vault.KeysRevision(k.v) != rev {
		t.Error("something changed")
	}
}
