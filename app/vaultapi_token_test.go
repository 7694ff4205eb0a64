package app_test

import (
	"testing"
)

// TestVaultTokenTranscript: each row of the tokens' API, as its clients see it.
func TestVaultTokenTranscript(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	owner := r.issue("acme", object{"role": "owner", "ttl": "2h", "renewable": true, "name": "ops"})
	tr := newTranscript(r)
	tr.ask(owner, "", "GET", "auth/token/lookup-self", nil)
	tr.ask(owner, "acme/", "POST", "auth/token/lookup", object{"token": owner})
	tr.ask(owner, "", "POST", "auth/token/lookup", object{"token": "s.unknown"})
	// As Terraform does at each start.
	var child authBlock
	tr.ask(owner, "acme", "POST", "auth/token/create", object{
		"policies": nil, "lease": "", "display_name": "terraform", "ttl": "1200s", "explicit_max_ttl": "1200s", "renewable": false, "no_parent": false, "num_uses": 0,
	}).in(t, &child)
	tr.ask(child.Auth.ClientToken, "", "GET", "auth/token/lookup-self", nil)
	tr.ask(child.Auth.ClientToken, "", "PUT", "auth/token/renew-self", object{"increment": 0})
	tr.ask(owner, "", "POST", "auth/token/lookup-accessor", object{"accessor": child.Auth.Accessor})
	tr.ask(owner, "", "POST", "auth/token/lookup-accessor", object{"accessor": "ta_unknown"})
	tr.ask(owner, "", "PUT", "auth/token/renew-self", object{"increment": 0})
	tr.ask(owner, "", "POST", "auth/token/renew-self", nil)
	tr.ask(owner, "", "PUT", "auth/token/renew", object{"token": owner, "increment": "30h"})
	tr.ask(owner, "", "PUT", "auth/token/renew", object{"token": "s.unknown"})
	var other authBlock
	tr.ask(owner, "", "PUT", "auth/token/create", object{
		"policies": []string{"viewer", "default"}, "ttl": 3600, "num_uses": 5, "meta": object{"team": "web"}, "period": "20m",
	}).in(t, &other)
	tr.ask(other.Auth.ClientToken, "", "GET", "auth/token/lookup-self", nil)
	tr.ask(other.Auth.ClientToken, "", "POST", "auth/token/create", object{"policies": []string{"owner"}})
	tr.ask(owner, "", "POST", "auth/token/create", object{"ttl": "768h", "no_parent": true, "policies": "analyst"})
	tr.ask(owner, "", "POST", "auth/token/create-orphan", object{"policies": []string{"sql:analyst", "secret:read:stripe/*"}})
	tr.ask(owner, "", "POST", "auth/token/create/ci", nil)
	for _, wrong := range []object{
		{"type": "batch"},
		{"type": "x"},
		{"id": "s.mine"},
		{"policies": []string{"root"}},
		{"ttl": "-1h"},
		{"ttl": "1x"},
		{"num_uses": -1},
		{"policies": []string{"owner", "viewer"}},
		{"meta": []int{1}},
		{"entity_alias": "x"},
	} {
		tr.ask(owner, "", "POST", "auth/token/create", wrong)
	}
	tr.ask(owner, "", "PUT", "auth/token/revoke-accessor", object{"accessor": other.Auth.Accessor})
	tr.ask(owner, "", "PUT", "auth/token/revoke-accessor", object{"accessor": "ta_unknown"})
	tr.ask(other.Auth.ClientToken, "", "GET", "auth/token/lookup-self", nil)
	tr.ask(owner, "", "PUT", "auth/token/revoke", object{"token": child.Auth.ClientToken})
	tr.ask(owner, "", "PUT", "auth/token/revoke", object{"token": child.Auth.ClientToken})
	tr.ask(owner, "globex", "GET", "auth/token/lookup-self", nil)
	tr.ask(owner, "nobody", "GET", "auth/token/lookup-self", nil)
	tr.ask("", "acme", "GET", "auth/token/lookup-self", nil)
	tr.ask("s.unknown", "acme", "GET", "auth/token/lookup-self", nil)
	tr.ask(owner, "", "POST", "auth/token/revoke-self", nil)
	tr.ask(owner, "", "POST", "auth/token/revoke-self", nil)
	tr.compare("token")
}

// TestVaultTokenLists: accessors are listed to who may see them, and children live
// on only where an owner says so.
func TestVaultTokenLists(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	owner, admin := r.issue("acme", object{"role": "owner"}), r.issue("acme", object{"role": "admin"})
	make := func(token string) (out authBlock) {
		r.wantVault(200, "client_token", token, "", "POST", "auth/token/create", object{"policies": []string{"viewer"}}).in(t, &out)
		return out
	}
	parent := r.issue("acme", object{"role": "admin"})
	child := make(parent)
	for _, ask := range [][2]string{{"LIST", "auth/token/accessors"}, {"GET", "auth/token/accessors/?list=true"}} {
		r.wantVault(200, child.Auth.Accessor, owner, "", ask[0], ask[1], nil)
	}
	r.wantVault(403, "permission denied", admin, "", "POST", "auth/token/revoke-orphan", object{"token": parent})
	r.wantVault(204, "", owner, "", "POST", "auth/token/revoke-orphan", object{"token": parent})
	r.wantVault(403, "permission denied", parent, "", "GET", "auth/token/lookup-self", nil)
	r.wantVault(200, `"orphan":true`, child.Auth.ClientToken, "", "GET", "auth/token/lookup-self", nil)
	r.wantVault(204, "", child.Auth.ClientToken, "", "POST", "auth/token/revoke-self", nil)
	r.wantVault(403, "permission denied", admin, "", "POST", "auth/token/create", object{"no_parent": true})
	r.wantVault(403, "permission denied", admin, "", "POST", "auth/token/create-orphan", object{"policies": []string{"viewer"}})
	// A token in the wrong place is no token.
	r.wantVault(403, "permission denied", "", "acme", "GET", "auth/token/lookup-self?token="+owner, nil)
}
