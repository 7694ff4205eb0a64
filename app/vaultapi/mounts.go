package vaultapi

import (
	"context"
	"net/http"
	"strings"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// mounts are the endpoints that say what is mounted.
func (a *API) mounts() []endpoint {
	return []endpoint{
		{kind: "sys", op: opRead, pattern: "mounts", action: authz.PolicySelf, handle: listMounts},
		{kind: "sys", op: opRead, pattern: "internal/ui/mounts/{path...}", action: authz.PolicySelf, handle: preflight},
	}
}

// mounted is what is said of a mount. Every tenant has the same ones.
func mounted(kind string) map[string]any {
	m := map[string]any{
		"type": kind, "description": "", "accessor": kind + "_coffer", "uuid": kind, "local": false, "seal_wrap": false,
		"external_entropy_access": false, "options": nil, "plugin_version": "", "running_plugin_version": "", "running_sha256": "", "deprecation_status": "supported",
		"config": map[string]any{"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": false},
	}
	if kind == "kv" {
		m["options"] = map[string]string{"version": "2"} // clients compare it as text
	}
	return m
}

// visible are the mounts that clients are told of, by their paths.
var visible = map[string]string{"secret/": "kv", "sys/": "system", "transit/": "transit"}

func listMounts(ctx context.Context, r *request) (*reply, error) {
	if _, err := powers(ctx, r, "secret/data/"); err != nil {
		return nil, err
	}
	data := map[string]any{}
	for path, kind := range visible {
		data[path] = mounted(kind)
	}
	return &reply{data: data, top: true}, nil
}

// powers says what the caller may on paths.
func powers(ctx context.Context, r *request, paths ...string) (may bool, err error) {
	out, err := do(ctx, r, actions.PolicySelf, actions.PolicySelfIn{Tenant: r.tenant, Paths: paths})
	for _, names := range out.Capabilities {
		may = may || len(names) > 0 && names[0] != "deny"
	}
	return may, err
}

// preflight is what clients ask before they read or write a secret by the path that a
// person typed: which mount it is in, and of which kind. A mount that is not there is
// refused like one in which the caller may nothing.
func preflight(ctx context.Context, r *request) (*reply, error) {
	path := r.params["path"]
	mount, rest, _ := strings.Cut(path, "/")
	refused := failf(http.StatusForbidden, "preflight capability check returned 403, please ensure client's policies grant access to path "+`"`+clip(path)+`/"`)
	if mount != "secret" {
		if _, err := powers(ctx, r, "secret/data/"); err != nil {
			return nil, err
		}
		return nil, refused
	}
	asked := []string{"secret/data/", "secret/metadata/"}
	if _, err := domain.ParseSecretPath(rest); err == nil {
		asked = append(asked, "secret/data/"+rest, "secret/metadata/"+rest, "secret/metadata/"+rest+"/")
	}
	may, err := powers(ctx, r, asked...)
	if err != nil {
		return nil, err
	}
	if !may {
		return nil, refused
	}
	m := mounted("kv")
	m["path"] = "secret/"
	return &reply{data: m}, nil
}
