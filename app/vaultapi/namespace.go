package vaultapi

import (
	"context"
	"strings"

	"coffer/app/authz"
	"coffer/app/domain"
)

// NamespaceHeader names the tenant, with or without a slash at its end.
const NamespaceHeader = "X-Vault-Namespace"

// place is where a request goes: a namespace, a mount in it, and a path below that.
type place struct {
	tenant string   // "" for the appliance itself
	named  bool     // the request names the namespace; else it is the token's own
	kind   string   // of the mount
	mount  string   // its path without a slash at the end, such as secret or auth/approle
	path   []string // below the mount
}

// The mounts that are always there, by their first segment.
var builtin = map[string]string{"sys": "sys", "identity": "identity", "cubbyhole": "cubbyhole", "secret": "kv", "transit": "transit"}

// The ways to log in that are always there.
var builtinAuth = map[string]string{"token": "token", "approle": "approle"}

// namespaceOf takes the namespace from the header or, without one, from the front of
// the path. A prefix behind a header would name a namespace inside that one; there
// are none, so it is read as a mount, and never as another tenant.
func namespaceOf(header string, path []string, isMount func(string) bool) (tenant string, rest []string, named bool) {
	if header = strings.TrimSuffix(header, "/"); header != "" {
		return header, path, true
	}
	if len(path) > 1 {
		if _, err := domain.ParseTenantID(path[0]); err == nil && !isMount(path[0]) {
			return path[0], path[1:], true
		}
	}
	return "", path, false
}

// locate finds the place of a path for a caller, who may be nobody: what a token's
// own tenant has mounted is nobody else's business.
func (a *API) locate(ctx context.Context, header string, path []string, s authz.Subject) (p place, err error) {
	mounts, err := a.mountsOf(ctx, s.Home)
	if err != nil {
		return p, err
	}
	isMount := func(name string) bool { return mounts[name] != "" }
	p.tenant, path, p.named = namespaceOf(header, path, isMount)
	if !p.named {
		p.tenant = string(s.Home)
	}
	if p.tenant != string(s.Home) { // a person's session, or a foreign namespace, where all is refused
		if mounts, err = a.mountsOf(ctx, a.visible(s, p.tenant)); err != nil {
			return p, err
		}
	}
	switch first := path[0]; {
	case first == "auth" && len(path) > 1:
		p.kind, p.mount, p.path = mounts["auth/"+path[1]], "auth/"+path[1], path[2:]
	case first == "auth":
	default:
		p.kind, p.mount, p.path = mounts[first], first, path[1:]
	}
	return p, nil
}

// visible is the tenant, if the caller holds something there.
func (a *API) visible(s authz.Subject, tenant string) domain.TenantID {
	if len(s.Tenants[domain.TenantID(tenant)]) > 0 {
		return domain.TenantID(tenant)
	}
	return ""
}

// mountsOf gives the kinds of a tenant's mounts by their path; "" stands for what
// every tenant has.
func (a *API) mountsOf(context.Context, domain.TenantID) (map[string]string, error) {
	mounts := map[string]string{}
	for name, kind := range builtin {
		mounts[name] = kind
	}
	for name, kind := range builtinAuth {
		mounts["auth/"+name] = kind
	}
	return mounts, nil
}
