package vaultapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/vault"
)

// kv are the endpoints of versioned secrets (KV version 2).
func (a *API) kv() []endpoint {
	e := func(o op, pattern string, action domain.Action, handle func(context.Context, *request) (*reply, error)) endpoint {
		return endpoint{kind: "kv", op: o, pattern: pattern, action: action, handle: handle}
	}
	return []endpoint{
		e(opRead, "data/{path...}", authz.SecretRead, readSecret),
		e(opWrite, "data/{path...}", authz.SecretPut, writeSecret),
		e(opPatch, "data/{path...}", authz.SecretPut, patchSecret),
		e(opDelete, "data/{path...}", authz.SecretDelete, deleteSecret),
		e(opRead, "metadata/{path...}", authz.SecretVersions, readMetadata),
		e(opList, "metadata/{path...}", authz.SecretList, listSecrets),
		e(opWrite, "delete/{path...}", authz.SecretDelete, onVersions(actions.SecretDelete)),
		e(opWrite, "undelete/{path...}", authz.SecretUndelete, onVersions(actions.SecretUndelete)),
		e(opWrite, "destroy/{path...}", authz.SecretDestroy, onVersions(actions.SecretDestroy)),
	}
}

func (r *request) secret() actions.SecretRef {
	return actions.SecretRef{Tenant: r.tenant, Path: r.params["path"]}
}

// versionBlock is what is said of one version. No member is ever null but the last:
// clients take any other deletion time than "" for a deleted version.
func versionBlock(v vault.Version) map[string]any {
	return map[string]any{
		"version": v.Number, "created_time": v.Created, "deletion_time": timeText(v.Deleted), "destroyed": v.Destroyed != nil, "custom_metadata": nil,
	}
}

func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func readSecret(ctx context.Context, r *request) (*reply, error) {
	in := r.secret()
	var err error
	if in.Version, err = r.number("version"); err != nil {
		return nil, err
	}
	out, err := do(ctx, r, actions.SecretRead, in)
	if gone, is := errors.AsType[*vault.GoneError](err); is {
		// Who may read it sees that it was there, and when it went.
		return nil, &fault{status: http.StatusNotFound, reply: &reply{data: map[string]any{"data": nil, "metadata": versionBlock(gone.Version)}}}
	}
	if err != nil {
		return nil, err
	}
	return &reply{data: map[string]any{"data": out.Data, "metadata": versionBlock(out.Version)}}, nil
}

// secretIn reads the body of a write: of its fields data and options.cas count, and
// one beside options is not looked at.
func (r *request) secretIn() (in actions.SecretPutIn, err error) {
	in.Tenant, in.Path = r.tenant, r.params["path"]
	f, err := r.fields()
	if err != nil {
		return in, err
	}
	if !f.has("data") {
		return in, failf(http.StatusBadRequest, "no data provided")
	}
	in.Data = domain.JSON{Secret: domain.NewSecret(slices.Clone(f["data"]))}
	options, err := f.object("options")
	if err != nil || !options.has("cas") {
		return in, err
	}
	cas, err := options.number("cas")
	in.CAS = &cas
	return in, err
}

func writeSecret(ctx context.Context, r *request) (*reply, error) {
	in, err := r.secretIn()
	if err != nil {
		return nil, err
	}
	r.who.Route.Powers = authz.MayCreate | authz.MayUpdate // which of the two is known only when it is done
	return written(do(ctx, r, actions.SecretPut, in))
}

func patchSecret(ctx context.Context, r *request) (*reply, error) {
	in, err := r.secretIn()
	if err != nil {
		return nil, err
	}
	return written(do(ctx, r, actions.SecretPatch, in))
}

func written(out actions.SecretVersion, err error) (*reply, error) {
	if domain.KindOf(err) == domain.Conflict {
		return nil, failf(http.StatusBadRequest, "check-and-set parameter did not match the current version")
	}
	if err != nil {
		return nil, err
	}
	return &reply{data: versionBlock(out.Version)}, nil
}

func deleteSecret(ctx context.Context, r *request) (*reply, error) {
	_, err := do(ctx, r, actions.SecretDelete, r.secret())
	switch kind := domain.KindOf(err); {
	case err == nil, kind == domain.NotFound, kind == domain.Conflict: // there is nothing left to delete
		return &reply{}, nil
	}
	return nil, err
}

// onVersions does something to the versions that the body names, numbers or texts.
func onVersions(o actions.Operation[actions.SecretRef, actions.SecretVersion]) func(context.Context, *request) (*reply, error) {
	return func(ctx context.Context, r *request) (*reply, error) {
		f, err := r.fields()
		if err != nil {
			return nil, err
		}
		in := r.secret()
		if in.Several, err = f.numbers("versions"); err != nil {
			return nil, err
		}
		if len(in.Several) == 0 || len(in.Several) > vault.MaxVersions*10 || slices.Min(in.Several) < 1 {
			return nil, failf(http.StatusBadRequest, "no version number provided")
		}
		if _, err := do(ctx, r, o, in); err != nil {
			return nil, err
		}
		return &reply{}, nil
	}
}

func readMetadata(ctx context.Context, r *request) (*reply, error) {
	out, err := do(ctx, r, actions.SecretVersions, r.secret())
	if err != nil {
		return nil, err
	}
	versions := map[string]any{}
	for _, v := range out.Versions {
		versions[strconv.Itoa(v.Number)] = map[string]any{
			"created_time": v.Created, "deletion_time": timeText(v.Deleted), "destroyed": v.Destroyed != nil,
		}
	}
	oldest, updated := 0, out.Created
	if n := len(out.Versions); n > 0 {
		oldest, updated = out.Versions[0].Number, out.Versions[n-1].Created
	}
	return &reply{data: map[string]any{
		"cas_required": false, "created_time": out.Created, "current_version": out.Current, "oldest_version": oldest,
		"max_versions": vault.MaxVersions, "delete_version_after": "0s", "updated_time": updated, "custom_metadata": nil, "versions": versions,
	}}, nil
}

// listSecrets lists what is in one folder; what is in one below it is the folder.
func listSecrets(ctx context.Context, r *request) (*reply, error) {
	prefix := r.params["path"]
	if prefix != "" {
		prefix += "/"
	}
	in := actions.SecretListIn{Tenant: r.tenant, Prefix: prefix, Page: actions.Page{Limit: actions.MaxPage}}
	keys := []string{}
	for {
		out, err := do(ctx, r, actions.SecretList, in)
		if err != nil {
			return nil, err
		}
		for _, s := range out.Secrets {
			name, _, folder := strings.Cut(strings.TrimPrefix(s.Path, prefix), "/")
			if folder {
				name += "/"
			}
			if len(keys) == 0 || keys[len(keys)-1] != name {
				keys = append(keys, name)
			}
		}
		if in.After = out.Next; in.After == "" {
			break
		}
	}
	slices.Sort(keys)
	if keys = slices.Compact(keys); len(keys) == 0 {
		return nil, missing()
	}
	return &reply{data: map[string]any{"keys": keys}}, nil
}
