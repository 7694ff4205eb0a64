package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	bao "github.com/openbao/openbao/api/v2"
)

// baoClient is OpenBao's client in a namespace.
func baoClient(t *testing.T, namespace, token string) *bao.Client {
	t.Helper()
	config := bao.DefaultConfig()
	config.Address = running.url
	c, err := bao.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	c.SetNamespace(namespace)
	c.SetToken(token)
	return c
}

// TestOpenBao: what differs in OpenBao's client is small, and here.
func TestOpenBao(t *testing.T) {
	ctx := t.Context()
	owner := baoClient(t, "acme", issue(t, "owner", "15m"))
	read := check[*bao.Secret](t)
	kv := owner.KVv2("secret")
	if _, err := kv.Put(ctx, "bao/app", map[string]any{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Patch(ctx, "bao/app", map[string]any{"b": "2"}); err != nil {
		t.Fatal(err)
	}
	if s, err := kv.Get(ctx, "bao/app"); err != nil || fmt.Sprint(s.Data) != "map[a:1 b:2]" {
		t.Errorf("%v, %v", s, err)
	}
	if keys := read(owner.Logical().List("secret/metadata/")).Data["keys"]; !strings.Contains(fmt.Sprint(keys), "bao/") {
		t.Errorf("%v", keys)
	}
	if h, err := baoClient(t, "", "").Sys().Health(); err != nil || h.Sealed {
		t.Errorf("%+v, %v", h, err)
	}

	if _, err := owner.Logical().Write("auth/approle/role/bao", map[string]any{"token_policies": "sql:analyst", "token_ttl": "5m"}); err != nil {
		t.Fatal(err)
	}
	roleID := read(owner.Logical().Read("auth/approle/role/bao/role-id")).Data["role_id"]
	secretID := read(owner.Logical().Write("auth/approle/role/bao/secret-id", nil)).Data["secret_id"]
	app := baoClient(t, "acme", "s.stale") // as SDKs send an old one
	login := read(app.Logical().Write("auth/approle/login", map[string]any{"role_id": roleID, "secret_id": secretID}))
	app.SetToken(login.Auth.ClientToken)
	if login.Auth.LeaseDuration != 300 || !login.Auth.Renewable {
		t.Errorf("%+v", login.Auth)
	}
	watcher, err := app.NewLifetimeWatcher(&bao.LifetimeWatcherInput{Secret: login})
	if err != nil {
		t.Fatal(err)
	}
	go watcher.Start()
	defer watcher.Stop()
	select {
	case <-watcher.RenewCh():
	case err := <-watcher.DoneCh():
		t.Errorf("the watcher gave up: %v", err)
	case <-time.After(20 * time.Second):
		t.Error("the watcher renewed nothing")
	}
	if _, err := app.Logical().Write("auth/approle/login", map[string]any{"role_id": roleID, "secret_id": "wrong"}); err == nil || !strings.Contains(err.Error(), "invalid role or secret ID") {
		t.Errorf("%v", err)
	}
	if err := app.Auth().Token().RevokeSelf(""); err != nil {
		t.Error(err)
	}
	if _, err := app.Auth().Token().LookupSelf(); err == nil {
		t.Error("a token that revoked itself works")
	}
}
