package actions

import (
	"context"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault"
)

// TransitRef names a transit key.
type TransitRef struct {
	Tenant string `path:"tenant" json:"-"`
	Name   string `path:"name" json:"-" doc:"name of the key"`
}

func (r TransitRef) ask(context.Context, *Service) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(r.Tenant)
	if err != nil {
		return authz.Request{}, err
	}
	name, err := vault.ParseTransitName(r.Name)
	return authz.Request{Tenant: tenant, Resource: name}, err
}

func askTransit(ctx context.Context, s *Service, in TransitRef) (authz.Request, error) {
	return in.ask(ctx, s)
}

// TransitCreateIn is a new key.
type TransitCreateIn struct {
	Tenant string `path:"tenant" json:"-"`
	Name   string `path:"name" json:"-" doc:"name of the key"`
	Type   string `json:"type,omitempty" doc:"what the key is for: aes256-gcm96, aes128-gcm96, chacha20-poly1305, xchacha20-poly1305, ed25519, ecdsa-p256, ecdsa-p384, ecdsa-p521, rsa-2048, rsa-3072, rsa-4096 or hmac" schema:"default=aes256-gcm96"`
}

// TransitMade is a key, and whether it was made now.
type TransitMade struct {
	vault.TransitKey
	Made bool `json:"made"`
}

// TransitCreate makes a key. One that is there already stays as it is.
var TransitCreate = Operation[TransitCreateIn, TransitMade]{
	action: authz.TransitCreate,
	ask: func(ctx context.Context, s *Service, in TransitCreateIn) (authz.Request, error) {
		if _, err := vault.ParseTransitType(in.Type); err != nil {
			return authz.Request{}, err
		}
		return TransitRef{in.Tenant, in.Name}.ask(ctx, s)
	},
	act: func(ctx context.Context, c *call, in TransitCreateIn) (out TransitMade, err error) {
		kind, err := vault.ParseTransitType(in.Type)
		if err != nil {
			return out, err
		}
		material, err := vault.NewTransitMaterial(kind)
		if err != nil {
			return out, err
		}
		out.TransitKey, err = c.changeTransit(ctx, func(coffer *vault.Coffer, tx *store.Tx) (k vault.TransitKey, err error) {
			k, out.Made, err = coffer.TransitCreate(tx, material, c.clock.Now().UTC())
			return k, err
		})
		return out, err
	},
}

// TransitRead shows a key's versions and settings.
var TransitRead = Operation[TransitRef, vault.TransitKey]{
	action: authz.TransitRead,
	ask:    askTransit,
	act: func(ctx context.Context, c *call, _ TransitRef) (out vault.TransitKey, err error) {
		err = c.viewSecrets(ctx, func(coffer *vault.Coffer, tx *store.Tx) error {
			out, err = coffer.TransitRead(tx)
			return err
		})
		return out, err
	},
}

// TransitListOut are all keys of a tenant, by name.
type TransitListOut struct {
	Keys []vault.TransitKey `json:"keys"`
}

// TransitList lists the keys.
var TransitList = Operation[TenantRef, TransitListOut]{
	action: authz.TransitList,
	ask:    askTenant,
	act: func(ctx context.Context, c *call, _ TenantRef) (out TransitListOut, err error) {
		out.Keys = []vault.TransitKey{}
		err = c.viewSecrets(ctx, func(coffer *vault.Coffer, tx *store.Tx) error {
			keys, err := coffer.TransitList(tx)
			out.Keys = append(out.Keys, keys...)
			return err
		})
		c.detail["count"] = len(out.Keys)
		return out, err
	},
}

// TransitConfigIn changes settings; what is left out stays as it is.
type TransitConfigIn struct {
	Tenant        string `path:"tenant" json:"-"`
	Name          string `path:"name" json:"-" doc:"name of the key"`
	MinDecryption *int   `json:"min_decryption_version,omitempty" doc:"versions below this one do not decrypt or verify any more" schema:"minimum=0"`
	MinEncryption *int   `json:"min_encryption_version,omitempty" doc:"versions below this one do not encrypt or sign, also if one is asked for; 0 for no such bound" schema:"minimum=0"`
	Deletable     *bool  `json:"deletion_allowed,omitempty" doc:"whether the key may be removed"`
}

// TransitConfig changes which versions of a key are used.
var TransitConfig = Operation[TransitConfigIn, vault.TransitKey]{
	action: authz.TransitConfig,
	ask: func(ctx context.Context, s *Service, in TransitConfigIn) (authz.Request, error) {
		return TransitRef{in.Tenant, in.Name}.ask(ctx, s)
	},
	act: func(ctx context.Context, c *call, in TransitConfigIn) (vault.TransitKey, error) {
		settings := vault.TransitSettings{MinDecryption: in.MinDecryption, MinEncryption: in.MinEncryption, Deletable: in.Deletable}
		k, err := c.changeTransit(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
			return coffer.TransitConfigure(tx, settings)
		})
		if err == nil {
			c.detail["min_decryption"], c.detail["min_encryption"], c.detail["deletion_allowed"] = k.MinDecryption, k.MinEncryption, k.Deletable
		}
		return k, err
	},
}

// TransitRotate adds a version to a key.
var TransitRotate = Operation[TransitRef, vault.TransitKey]{
	action: authz.TransitRotate,
	ask:    askTransit,
	act: func(ctx context.Context, c *call, _ TransitRef) (vault.TransitKey, error) {
		var kind vault.TransitType
		err := c.viewSecrets(ctx, func(coffer *vault.Coffer, tx *store.Tx) (err error) {
			kind, err = coffer.TransitTypeOf(tx)
			return err
		})
		if err != nil {
			return vault.TransitKey{}, err
		}
		material, err := vault.NewTransitMaterial(kind)
		if err != nil {
			return vault.TransitKey{}, err
		}
		return c.changeTransit(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
			return coffer.TransitRotate(tx, material, c.clock.Now().UTC())
		})
	},
}

// TransitTrimIn says which versions are destroyed.
type TransitTrimIn struct {
	Tenant  string `path:"tenant" json:"-"`
	Name    string `path:"name" json:"-" doc:"name of the key"`
	Minimum int    `json:"min_available_version" doc:"versions below this one are destroyed" schema:"minimum=1"`
}

// TransitTrim destroys old versions of a key.
var TransitTrim = Operation[TransitTrimIn, vault.TransitKey]{
	action: authz.TransitTrim,
	ask: func(ctx context.Context, s *Service, in TransitTrimIn) (authz.Request, error) {
		return TransitRef{in.Tenant, in.Name}.ask(ctx, s)
	},
	act: func(ctx context.Context, c *call, in TransitTrimIn) (vault.TransitKey, error) {
		c.detail["below"] = in.Minimum
		return c.changeTransit(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
			return coffer.TransitTrim(tx, in.Minimum)
		})
	},
}

// TransitRemove destroys a key.
var TransitRemove = Operation[TransitRef, vault.TransitKey]{
	action: authz.TransitRemove,
	ask:    askTransit,
	act: func(ctx context.Context, c *call, _ TransitRef) (vault.TransitKey, error) {
		return c.changeTransit(ctx, func(coffer *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
			return coffer.TransitRemove(tx)
		})
	},
}

func (c *call) changeTransit(ctx context.Context, fn func(*vault.Coffer, *store.Tx) (vault.TransitKey, error)) (k vault.TransitKey, err error) {
	coffer, err := c.vault.Coffer(ctx, c.permit)
	if err != nil {
		return k, err
	}
	err = c.change(ctx, func(tx *store.Tx) error {
		k, err = fn(coffer, tx)
		return err
	})
	if err == nil {
		c.detail["version"] = k.Latest
	}
	return k, err
}
