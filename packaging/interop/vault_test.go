package interop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
)

// vaultClient is HashiCorp's client in a namespace, with a token or without.
func vaultClient(t *testing.T, namespace, token string) *vault.Client {
	t.Helper()
	config := vault.DefaultConfig() // takes the authority from SSL_CERT_FILE
	config.Address = running.url
	c, err := vault.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	c.SetNamespace(namespace)
	c.SetToken(token)
	return c
}

// wantStatus checks that an error is an answer with a status and a text.
func wantStatus(t *testing.T, err error, status int, text string) {
	t.Helper()
	var answer *vault.ResponseError
	if !errors.As(err, &answer) || answer.StatusCode != status || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %d with %q", err, status, text)
	}
}

func check[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestVaultKV: HashiCorp's helper for versioned secrets.
func TestVaultKV(t *testing.T) {
	ctx := t.Context()
	kv := vaultClient(t, "acme", issue(t, "owner", "15m")).KVv2("secret")
	put := check[*vault.KVSecret](t)
	if s := put(kv.Put(ctx, "stripe/live", map[string]any{"key": "sk_1", "nested": map[string]any{"n": 1.5, "list": []any{"a"}}})); s.VersionMetadata.Version != 1 {
		t.Errorf("%+v", s.VersionMetadata)
	}
	put(kv.Put(ctx, "stripe/live", map[string]any{"key": "sk_2"}, vault.WithCheckAndSet(1)))
	if _, err := kv.Put(ctx, "stripe/live", map[string]any{"key": "sk_3"}, vault.WithCheckAndSet(1)); err == nil {
		t.Error("a stale version was taken")
	} else {
		wantStatus(t, err, 400, "check-and-set parameter did not match the current version")
	}
	s := put(kv.Get(ctx, "stripe/live"))
	if s.Data["key"] != "sk_2" || s.VersionMetadata.Version != 2 || s.VersionMetadata.CreatedTime.IsZero() {
		t.Errorf("%v %+v", s.Data, s.VersionMetadata)
	}
	if s := put(kv.GetVersion(ctx, "stripe/live", 1)); fmt.Sprint(s.Data["nested"]) != "map[list:[a] n:1.5]" {
		t.Errorf("%v", s.Data)
	}
	put(kv.Patch(ctx, "stripe/live", map[string]any{"more": "x"}))
	put(kv.Patch(ctx, "stripe/live", map[string]any{"again": "y"}, vault.WithMergeMethod("rw")))
	if s := put(kv.Get(ctx, "stripe/live")); s.Data["key"] != "sk_2" || s.Data["more"] != "x" || s.Data["again"] != "y" {
		t.Errorf("after patches: %v", s.Data)
	}
	if err := kv.Delete(ctx, "stripe/live"); err != nil {
		t.Fatal(err)
	}
	if s := put(kv.Get(ctx, "stripe/live")); s.Data != nil || s.VersionMetadata.DeletionTime.IsZero() {
		t.Errorf("a deleted version: %+v %+v", s.Data, s.VersionMetadata)
	}
	for _, err := range []error{
		kv.Undelete(ctx, "stripe/live", []int{4}), kv.Destroy(ctx, "stripe/live", []int{1}), kv.DeleteVersions(ctx, "stripe/live", []int{3}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	m := check[*vault.KVMetadata](t)(kv.GetMetadata(ctx, "stripe/live"))
	if m.CurrentVersion != 4 || !m.Versions["1"].Destroyed || m.Versions["3"].DeletionTime.IsZero() {
		t.Errorf("%+v", m)
	}
	put(kv.Rollback(ctx, "stripe/live", 2))
	if s := put(kv.Get(ctx, "stripe/live")); s.Data["key"] != "sk_2" || s.VersionMetadata.Version != 5 {
		t.Errorf("rolled back: %v", s.Data)
	}
	if all := check[[]vault.KVVersionMetadata](t)(kv.GetVersionsAsList(ctx, "stripe/live")); len(all) != 5 {
		t.Errorf("%d versions", len(all))
	}
	if _, err := kv.Get(ctx, "stripe/none"); !errors.Is(err, vault.ErrSecretNotFound) {
		t.Errorf("%v", err)
	}
}

// TestVaultNamespaces: a client of one tenant sees nothing of another, whichever way
// it names it.
func TestVaultNamespaces(t *testing.T) {
	token := issue(t, "owner", "15m")
	if _, err := vaultClient(t, "acme", token).Logical().Write("secret/data/ns", map[string]any{"data": map[string]any{"of": "acme"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ namespace, path string }{{"", "secret/data/ns"}, {"acme/", "secret/data/ns"}, {"", "acme/secret/data/ns"}} {
		s, err := vaultClient(t, c.namespace, token).Logical().Read(c.path)
		if err != nil || s == nil || fmt.Sprint(s.Data["data"]) != "map[of:acme]" {
			t.Errorf("%q %q: %v, %v", c.namespace, c.path, s, err)
		}
	}
	for _, c := range []struct{ namespace, path string }{
		{"globex", "secret/data/ns"}, {"nobody", "secret/data/ns"}, {"", "globex/secret/data/ns"}, {"acme", "acme/secret/data/ns"}, {"globex", "acme/secret/data/ns"}, {"acme/globex", "secret/data/ns"},
	} {
		if s, err := vaultClient(t, c.namespace, token).Logical().Read(c.path); err == nil && s != nil {
			t.Errorf("%q %q: %v", c.namespace, c.path, s.Data)
		}
	}
}

// TestVaultAppRole: a role with a policy, its secret id delivered in a wrapping, a
// login, a token that is renewed by the client's watcher, and ends with its parent.
func TestVaultAppRole(t *testing.T) {
	ctx := t.Context()
	owner := vaultClient(t, "acme", issue(t, "owner", "15m"))
	if err := owner.Sys().PutPolicy("load", `path "secret/data/load/*" { capabilities = ["read"] }`); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Logical().Write("secret/data/load/db", map[string]any{"data": map[string]any{"password": "p"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Logical().Write("auth/approle/role/load", map[string]any{"token_policies": "load", "token_ttl": "10m"}); err != nil {
		t.Fatal(err)
	}
	read := check[*vault.Secret](t)
	roleID := read(owner.Logical().Read("auth/approle/role/load/role-id")).Data["role_id"].(string)
	wrapping := vaultClient(t, "acme", owner.Token())
	wrapping.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	wrapped := read(wrapping.Logical().Write("auth/approle/role/load/secret-id", map[string]any{"num_uses": 3})).WrapInfo
	if wrapped == nil || wrapped.CreationPath != "auth/approle/role/load/secret-id" {
		t.Fatalf("%+v", wrapped)
	}
	app := vaultClient(t, "acme", "")
	login, err := approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: wrapped.Token}, approle.WithWrappingToken())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := app.Auth().Login(ctx, login)
	if err != nil {
		t.Fatal(err)
	}
	if secret.Auth.LeaseDuration != 600 || !secret.Auth.Renewable || !strings.Contains(strings.Join(secret.Auth.Policies, ","), "load") {
		t.Errorf("%+v", secret.Auth)
	}
	if _, err := app.Logical().Unwrap(wrapped.Token); err == nil {
		t.Error("a wrapping token works twice")
	}
	if s := read(app.Logical().Read("secret/data/load/db")); fmt.Sprint(s.Data["data"]) != "map[password:p]" {
		t.Errorf("%v", s.Data)
	}
	_, err = app.Logical().Read("secret/data/stripe")
	wantStatus(t, err, 403, "permission denied")

	watcher, err := app.NewLifetimeWatcher(&vault.LifetimeWatcherInput{Secret: secret, Increment: 300})
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
	self := read(app.Auth().Token().LookupSelf())
	for _, field := range []string{"accessor", "ttl", "expire_time", "type", "policies", "display_name", "num_uses", "orphan", "path"} {
		if _, ok := self.Data[field]; !ok {
			t.Errorf("lookup-self has no %s", field)
		}
	}
}

// TestVaultTokens: a child is no wider and no longer than its parent, and ends with it.
func TestVaultTokens(t *testing.T) {
	parent := vaultClient(t, "acme", issue(t, "owner", "15m"))
	read := check[*vault.Secret](t)
	middle := read(parent.Auth().Token().Create(&vault.TokenCreateRequest{DisplayName: "terraform", TTL: "1200s", ExplicitMaxTTL: "1200s"}))
	if middle.Auth.LeaseDuration > 900 || middle.Auth.ClientToken == "" || middle.Auth.Accessor == "" {
		t.Errorf("%+v", middle.Auth)
	}
	child := read(vaultClient(t, "acme", middle.Auth.ClientToken).Auth().Token().Create(&vault.TokenCreateRequest{TTL: "5m"}))
	held := vaultClient(t, "acme", child.Auth.ClientToken)
	read(held.Auth().Token().LookupSelf())
	if err := parent.Auth().Token().RevokeTree(middle.Auth.ClientToken); err != nil {
		t.Fatal(err)
	}
	_, err := held.Auth().Token().LookupSelf()
	wantStatus(t, err, 403, "permission denied")
	_, err = vaultClient(t, "acme", middle.Auth.ClientToken).Auth().Token().LookupSelf()
	wantStatus(t, err, 403, "permission denied")
}

// TestVaultSys: what clients ask of the server.
func TestVaultSys(t *testing.T) {
	c := vaultClient(t, "acme", issue(t, "owner", "15m"))
	root := vaultClient(t, "", "")
	health := check[*vault.HealthResponse](t)(root.Sys().Health())
	if !health.Initialized || health.Sealed || health.Standby {
		t.Errorf("%+v", health)
	}
	if s := check[*vault.SealStatusResponse](t)(c.Sys().SealStatus()); s.Sealed || s.Version == "" || strings.Contains(s.Version, "ent") {
		t.Errorf("%+v", s)
	}
	mounts := check[map[string]*vault.MountOutput](t)(c.Sys().ListMounts())
	if m := mounts["secret/"]; m == nil || m.Type != "kv" || m.Options["version"] != "2" {
		t.Errorf("%+v", mounts)
	}
	policies := check[[]string](t)(c.Sys().ListPolicies())
	for _, name := range []string{"default", "owner", "viewer"} {
		if !strings.Contains(strings.Join(policies, ","), name) {
			t.Errorf("no policy %s in %v", name, policies)
		}
	}
	if got := check[[]string](t)(c.Sys().CapabilitiesSelf("secret/data/x")); !strings.Contains(strings.Join(got, ","), "read") {
		t.Errorf("%v", got)
	}
	viewer := vaultClient(t, "acme", issue(t, "viewer", "15m"))
	if got := check[[]string](t)(viewer.Sys().CapabilitiesSelf("secret/data/x")); fmt.Sprint(got) != "[deny]" {
		t.Errorf("%v", got)
	}
}

// TestVaultTransit: encryption as a service.
func TestVaultTransit(t *testing.T) {
	c := vaultClient(t, "acme", issue(t, "owner", "15m")).Logical()
	read := check[*vault.Secret](t)
	if _, err := c.Write("transit/keys/orders", nil); err != nil {
		t.Fatal(err)
	}
	first := read(c.Write("transit/encrypt/orders", map[string]any{"plaintext": "aGVsbG8="})).Data["ciphertext"].(string)
	if _, err := c.Write("transit/keys/orders/rotate", nil); err != nil {
		t.Fatal(err)
	}
	second := read(c.Write("transit/rewrap/orders", map[string]any{"ciphertext": first})).Data["ciphertext"].(string)
	if !strings.HasPrefix(first, "vault:v1:") || !strings.HasPrefix(second, "vault:v2:") {
		t.Errorf("%.12s %.12s", first, second)
	}
	for _, text := range []string{first, second} {
		if got := read(c.Write("transit/decrypt/orders", map[string]any{"ciphertext": text})).Data["plaintext"]; got != "aGVsbG8=" {
			t.Errorf("%v", got)
		}
	}
}

// TestConsulTemplate renders a file with the program itself.
func TestConsulTemplate(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "consul-template")
	command(t, ".", []string{"CGO_ENABLED=0"}, "go", "build", "-o", bin, "github.com/hashicorp/consul-template")
	token := issue(t, "owner", "15m")
	if _, err := vaultClient(t, "acme", token).KVv2("secret").Put(context.Background(), "template", map[string]any{"user": "app", "password": "p&w"}); err != nil {
		t.Fatal(err)
	}
	in, out := filepath.Join(dir, "in.tpl"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte(`{{ with secret "secret/data/template" }}{{ .Data.data.user }}:{{ .Data.data.password }}{{ end }}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "-once", "-template", in+":"+out, "-vault-renew-token=true")
	cmd.Env = append(os.Environ(), "VAULT_ADDR="+running.url, "VAULT_NAMESPACE=acme", "VAULT_TOKEN="+token, "VAULT_CACERT="+filepath.Join(running.data, "ca.crt"))
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "app:p&w" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestVaultBearer: curl and the like send the token as a bearer.
func TestVaultBearer(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), "GET", running.url+"/v1/acme/auth/token/lookup-self", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+issue(t, "viewer", "15m"))
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}
