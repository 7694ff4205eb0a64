package actions

import (
	"context"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/tenants"
	"coffer/vault"
)

// SecretRef names a secret, and for some actions a version (0: the current one).
type SecretRef struct {
	Tenant  string `path:"tenant" json:"-"`
	Path    string `query:"path" json:"-" doc:"path of the secret, such as stripe/live" schema:"required,maxLength=512"`
	Version int    `query:"version" json:"-" doc:"a version, counted from 1; 0 is the current one" schema:"minimum=0,maximum=2147483647,default=0"`

	Several []int `json:"-"` // versions in place of Version; those that are not there are left out
}

// each calls fn with the versions that are meant, in one transaction of its caller.
func (r SecretRef) each(fn func(version int) (vault.Version, error)) (v vault.Version, err error) {
	if len(r.Several) == 0 {
		return fn(r.Version)
	}
	for _, n := range r.Several {
		one, err := fn(n)
		if kind := domain.KindOf(err); kind == domain.NotFound || kind == domain.Conflict {
			continue
		}
		if v = one; err != nil {
			return v, err
		}
	}
	return v, nil
}

func (r SecretRef) ask(context.Context, *Service) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(r.Tenant)
	if err != nil {
		return authz.Request{}, err
	}
	path, err := domain.ParseSecretPath(r.Path)
	if err != nil {
		return authz.Request{}, err
	}
	if r.Version < 0 || r.Version > 1<<31-1 {
		return authz.Request{}, domain.Fieldf("version", "%d is not a version", r.Version).WithHint("versions count from 1; 0 is the current one")
	}
	return authz.Request{Tenant: tenant, Resource: string(path)}, nil
}

// SecretPutIn is a new version of a secret.
type SecretPutIn struct {
	Tenant string      `path:"tenant" json:"-"`
	Path   string      `query:"path" json:"-" doc:"path of the secret, such as stripe/live" schema:"required,maxLength=512"`
	CAS    *int        `json:"cas,omitempty" doc:"the version that must be the current one for this to be written; 0: there is none yet" schema:"minimum=0"`
	Data   domain.JSON `json:"data" doc:"names and values; 512000 bytes at most in all" schema:"minProperties=1,maxProperties=128"`
}

// SecretVersion is what an answer says of one version.
type SecretVersion struct {
	Path string `json:"path"`
	vault.Version
}

// SecretPut writes a new version.
var SecretPut = Operation[SecretPutIn, SecretVersion]{
	action: authz.SecretPut,
	ask: func(ctx context.Context, s *Service, in SecretPutIn) (authz.Request, error) {
		if _, err := vault.ParseValue(in.Data.Secret); err != nil {
			return authz.Request{}, err
		}
		if in.CAS != nil && *in.CAS < 0 {
			return authz.Request{}, domain.Fieldf("cas", "%d is not a version", *in.CAS)
		}
		r, err := SecretRef{Tenant: in.Tenant, Path: in.Path}.ask(ctx, s)
		if in.CAS != nil { // it can only make the secret, or only change it
			r.Route, _ = authz.RouteOf(authz.SecretPut, r.Resource)
			r.Route.Powers = authz.MayUpdate
			if *in.CAS == 0 {
				r.Route.Powers = authz.MayCreate
			}
		}
		return r, err
	},
	act: func(ctx context.Context, c *call, in SecretPutIn) (SecretVersion, error) {
		value, err := vault.ParseValue(in.Data.Secret)
		if err != nil {
			return SecretVersion{}, err
		}
		return c.changeSecret(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.Version, error) {
			r, err := tenants.Find(tx, c.permit.Tenant())
			if err != nil {
				return vault.Version{}, err
			}
			coffer.Bound(r.Quota.WithDefaults().Secrets)
			return coffer.Put(tx, value, in.CAS, c.clock.Now().UTC())
		})
	},
}

// SecretPatch merges names and values into the current version, as a new one.
var SecretPatch = Operation[SecretPutIn, SecretVersion]{
	action: authz.SecretPut,
	ask: func(ctx context.Context, s *Service, in SecretPutIn) (authz.Request, error) {
		switch {
		case in.Data.Len() == 0 || in.Data.Len() > domain.MaxSecretValue:
			return authz.Request{}, domain.Fieldf("data", "%d bytes are not between 1 and %d", in.Data.Len(), domain.MaxSecretValue)
		case in.CAS != nil && *in.CAS < 0:
			return authz.Request{}, domain.Fieldf("cas", "%d is not a version", *in.CAS)
		}
		return SecretRef{Tenant: in.Tenant, Path: in.Path}.ask(ctx, s)
	},
	act: func(ctx context.Context, c *call, in SecretPutIn) (SecretVersion, error) {
		return c.changeSecret(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.Version, error) {
			r, err := tenants.Find(tx, c.permit.Tenant())
			if err != nil {
				return vault.Version{}, err
			}
			coffer.Bound(r.Quota.WithDefaults().Secrets)
			return coffer.Patch(tx, in.Data.Secret, in.CAS, c.clock.Now().UTC())
		})
	},
}

// SecretValue is a secret with its value, for the one who asked for it.
type SecretValue struct {
	SecretVersion
	Data domain.Disclosure `json:"data" doc:"names and values" schema:"type=object"`
}

// SecretRead gives a version's value.
var SecretRead = Operation[SecretRef, SecretValue]{
	action: authz.SecretRead,
	ask:    askSecret,
	act: func(ctx context.Context, c *call, in SecretRef) (out SecretValue, err error) {
		err = c.viewSecrets(ctx, func(coffer *vault.Coffer, tx *store.Tx) error {
			value, version, err := coffer.Read(tx, in.Version)
			out = SecretValue{SecretVersion{c.permit.Grant().Resource(), version}, domain.Disclose(value.JSON())}
			c.detail["version"] = version.Number
			return err
		})
		return out, err
	},
}

// SecretListIn asks for a page of the secrets under a prefix.
type SecretListIn struct {
	Tenant string `path:"tenant" json:"-"`
	Prefix string `query:"prefix" json:"-" doc:"only secrets under this path" schema:"maxLength=513"`
	Page
}

// SecretItem is one line of a list.
type SecretItem struct {
	Path     string    `json:"path"`
	Current  int       `json:"current"`
	Versions int       `json:"versions"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Deleted  bool      `json:"deleted"` // the current version has no readable value
}

// SecretListOut is a page; Next is the cursor of the one after it, if any.
type SecretListOut struct {
	Secrets []SecretItem `json:"secrets"`
	Next    string       `json:"next,omitempty"`
}

// SecretList lists paths and ages.
var SecretList = Operation[SecretListIn, SecretListOut]{
	action: authz.SecretList,
	ask: func(_ context.Context, _ *Service, in SecretListIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		prefix, err := domain.ParseSecretPrefix(in.Prefix)
		if err != nil {
			return authz.Request{}, err
		}
		if err := in.Page.check(); err != nil {
			return authz.Request{}, err
		}
		return authz.Request{Tenant: tenant, Resource: prefix}, nil
	},
	act: func(ctx context.Context, c *call, in SecretListIn) (SecretListOut, error) {
		out := SecretListOut{Secrets: []SecretItem{}}
		err := c.viewSecrets(ctx, func(coffer *vault.Coffer, tx *store.Tx) error {
			limit := in.Page.size()
			found, err := coffer.List(tx, domain.SecretPath(in.After), limit+1)
			if len(found) > limit {
				found = found[:limit]
				out.Next = string(found[limit-1].Path)
			}
			for _, s := range found {
				last := s.Latest()
				out.Secrets = append(out.Secrets, SecretItem{
					Path: string(s.Path), Current: s.Current, Versions: len(s.Versions),
					Created: s.Created, Updated: last.Created, Deleted: !last.Live(),
				})
			}
			return err
		})
		c.detail["count"] = len(out.Secrets)
		return out, err
	},
}

// SecretVersions lists a secret's versions.
var SecretVersions = Operation[SecretRef, vault.Secret]{
	action: authz.SecretVersions,
	ask:    askSecret,
	act: func(ctx context.Context, c *call, _ SecretRef) (out vault.Secret, err error) {
		err = c.viewSecrets(ctx, func(coffer *vault.Coffer, tx *store.Tx) error {
			out, err = coffer.Versions(tx)
			return err
		})
		return out, err
	},
}

// SecretDelete hides a version so that it can be brought back.
var SecretDelete = Operation[SecretRef, SecretVersion]{
	action: authz.SecretDelete,
	ask: func(ctx context.Context, s *Service, in SecretRef) (authz.Request, error) {
		r, err := in.ask(ctx, s)
		if in.Version > 0 { // which clients of Vault do elsewhere than with the current one
			r.Route = authz.Route{Path: "secret/delete/" + r.Resource, Powers: authz.MayUpdate}
		}
		return r, err
	},
	act: func(ctx context.Context, c *call, in SecretRef) (SecretVersion, error) {
		return c.changeSecret(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.Version, error) {
			return in.each(func(n int) (vault.Version, error) { return coffer.Delete(tx, n, c.clock.Now().UTC()) })
		})
	},
}

// SecretUndelete brings a deleted version back.
var SecretUndelete = Operation[SecretRef, SecretVersion]{
	action: authz.SecretUndelete,
	ask:    askSecret,
	act: func(ctx context.Context, c *call, in SecretRef) (SecretVersion, error) {
		return c.changeSecret(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.Version, error) {
			return in.each(func(n int) (vault.Version, error) { return coffer.Undelete(tx, n) })
		})
	},
}

// SecretDestroy removes a version's value for good.
var SecretDestroy = Operation[SecretRef, SecretVersion]{
	action: authz.SecretDestroy,
	ask:    askSecret,
	act: func(ctx context.Context, c *call, in SecretRef) (SecretVersion, error) {
		return c.changeSecret(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.Version, error) {
			return in.each(func(n int) (vault.Version, error) { return coffer.Destroy(tx, n, c.clock.Now().UTC()) })
		})
	},
}

func askSecret(ctx context.Context, s *Service, in SecretRef) (authz.Request, error) {
	return in.ask(ctx, s)
}

func (c *call) viewSecrets(ctx context.Context, fn func(*vault.Coffer, *store.Tx) error) error {
	coffer, err := c.vault.Coffer(ctx, c.permit)
	if err != nil {
		return err
	}
	return c.db.View(ctx, func(tx *store.Tx) error {
		if err := c.checkActive(tx); err != nil { // it may have been closed since it was looked at
			return err
		}
		return fn(coffer, tx)
	})
}

func (c *call) changeSecret(ctx context.Context, fn func(*vault.Coffer, *store.Tx) (vault.Version, error)) (SecretVersion, error) {
	coffer, err := c.vault.Coffer(ctx, c.permit)
	if err != nil {
		return SecretVersion{}, err
	}
	var v vault.Version
	err = c.change(ctx, func(tx *store.Tx) error {
		v, err = fn(coffer, tx)
		return err
	})
	c.detail["version"] = v.Number
	return SecretVersion{c.permit.Grant().Resource(), v}, err
}
