package actions

import (
	"context"
	"errors"
	"strings"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/lease"
	"coffer/vault/token"
)

// TokenRef names a token of a tenant by its accessor.
type TokenRef struct {
	Tenant   string `path:"tenant" json:"-"`
	Accessor string `path:"accessor" json:"-"`
}

// askAccessor finds whose the token is.
func askAccessor(ctx context.Context, s *Service, in TokenRef) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(in.Tenant)
	if err != nil {
		return authz.Request{}, err
	}
	// It will stand in the log: a token that somebody puts here must not.
	if _, err := domain.ParseName("accessor", in.Accessor); err != nil || !strings.HasPrefix(in.Accessor, token.AccessorPrefix) {
		return authz.Request{}, domain.Fieldf("accessor", "not the accessor of a token, such as %s…", token.AccessorPrefix).
			WithHint("see: coffer token list; a token itself is revoked with: coffer token revoke -")
	}
	r := authz.Request{Tenant: tenant, Resource: in.Accessor}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		t, err := token.ByAccessor(tx, tenant, in.Accessor, s.clock.Now())
		r.OwnedBy = ownerOf(t)
		if domain.KindOf(err) == domain.NotFound {
			err = nil // act says so to those who may know
		}
		return err
	})
	return r, err
}

// TokenShow shows a token by its accessor.
var TokenShow = Operation[TokenRef, TokenInfo]{
	action: authz.TokenShow,
	ask:    askAccessor,
	act: func(ctx context.Context, c *call, in TokenRef) (out TokenInfo, err error) {
		err = c.db.View(ctx, func(tx *store.Tx) error {
			t, err := token.ByAccessor(tx, c.permit.Tenant(), in.Accessor, c.clock.Now())
			out = infoOf(t)
			return err
		})
		return out, err
	},
}

// TokenRevokeIn names a token by its accessor, and says what becomes of its
// children.
type TokenRevokeIn struct {
	TokenRef
	Children string `query:"children" json:"-" doc:"keep: those made with it live on without it, until they end; for owners"`
}

// TokenRevoke revokes a token by its accessor, with its tree.
var TokenRevoke = Operation[TokenRevokeIn, TokenRevoked]{
	action: authz.TokenRevoke,
	also:   authz.TokenRevokeAlone,
	ask: func(ctx context.Context, s *Service, in TokenRevokeIn) (authz.Request, error) {
		r, err := askAccessor(ctx, s, in.TokenRef)
		switch in.Children {
		case "":
		case "keep":
			r.Action = authz.TokenRevokeAlone
		default:
			err = domain.Fieldf("children", "keep them, or leave it out")
		}
		return r, err
	},
	act: func(ctx context.Context, c *call, in TokenRevokeIn) (out TokenRevoked, err error) {
		find := func(tx *store.Tx) (token.Token, error) {
			return token.ByAccessor(tx, c.permit.Tenant(), in.Accessor, c.clock.Now())
		}
		if in.Children == "" {
			return c.revokeTree(ctx, find)
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			t, err := find(tx)
			if err != nil {
				return err
			}
			out = TokenRevoked{infoOf(t), 1}
			return errors.Join(token.RevokeAlone(tx, t), lease.OwnersGone(tx, t.Tenant, c.clock.Now()))
		})
		if err == nil {
			c.wakeLeases()
			c.endStreams(in.Accessor)
		}
		return out, err
	},
}

// ownerOf is the principal to whom a token belongs for "own only" roles: who
// asked for it.
func ownerOf(t token.Token) string { return t.IssuedBy }

// TenantRef names a tenant.
type TenantRef struct {
	Tenant string `path:"tenant" json:"-"`
}

func askTenant(_ context.Context, _ *Service, in TenantRef) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(in.Tenant)
	return authz.Request{Tenant: tenant}, err
}

// TokenListOut is a page of a tenant's live tokens; Next is the cursor of the one
// after it.
type TokenListOut struct {
	Tokens []TokenInfo `json:"tokens"`
	Next   string      `json:"next,omitempty"`
}

// TokenList lists live tokens by accessor; some roles see their own only.
var TokenList = Operation[TenantPage, TokenListOut]{
	action: authz.TokenList,
	ask:    askTenantPage,
	act: func(ctx context.Context, c *call, in TenantPage) (TokenListOut, error) {
		out := TokenListOut{Tokens: []TokenInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			mine := func(t token.Token) bool {
				return !c.permit.Grant().OwnOnly() || ownerOf(t) == c.who.Subject.Principal.ID
			}
			limit := in.size()
			page, err := token.Page(tx, c.permit.Tenant(), c.clock.Now(), in.After, limit+1, mine)
			page, out.Next = cut(page, limit, func(t token.Token) string { return t.Accessor })
			for _, t := range page {
				out.Tokens = append(out.Tokens, infoOf(t))
			}
			return err
		})
		c.detail["count"] = len(out.Tokens)
		return out, err
	},
}

// Accessor gives the accessor of a live token of a tenant, for operations that name
// it so; of one that does not hold, an accessor that no token has.
func (s *Service) Accessor(ctx context.Context, text domain.Secret, tenant domain.TenantID) string {
	accessor := token.AccessorPrefix + "unknown"
	_ = s.db.View(ctx, func(tx *store.Tx) error {
		t, err := token.Lookup(tx, text, s.clock.Now())
		if err == nil && t.Tenant == tenant {
			accessor = t.Accessor
		}
		return err
	})
	return accessor
}

// Holder gives the subject of a token that Coffer has just made, without a use of it.
func (s *Service) Holder(ctx context.Context, text domain.Secret) (subject authz.Subject, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		now := s.clock.Now()
		t, err := token.Lookup(tx, text, now)
		if err != nil {
			return err
		}
		subject, err = authn.SubjectOf(tx, t, now)
		return err
	})
	return subject, err
}
