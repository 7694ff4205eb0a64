package actions

import (
	"context"
	"errors"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/lease"
	"coffer/vault/token"
)

// TokenHeld names a token by its text, which proves that one holds it.
type TokenHeld struct {
	Token domain.Secret `json:"token" doc:"the token itself, which proves that one holds it"`

	own string // accessor of the token with which the caller asks
}

// proveHeld notes with which token the caller asks: the last use of one that has a
// number of them is for what is done with itself too.
func proveHeld(_ context.Context, _ *Service, who *Caller, in *TokenHeld) error {
	in.own = who.Subject.Token
	return nil
}

// find gives the token.
func (in TokenHeld) find(tx *store.Tx, now time.Time) (token.Token, error) {
	t, err := token.LookupUsed(tx, in.Token, now)
	if err == nil && t.Spent() && t.Accessor != in.own {
		return token.Token{}, token.ErrUnknown
	}
	return t, err
}

// askHeld finds the tenant of the token, in whose log the event belongs.
func askHeld(ctx context.Context, s *Service, in TokenHeld) (r authz.Request, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		t, err := in.find(tx, s.clock.Now())
		r = authz.Request{Tenant: t.Tenant, Resource: t.Accessor}
		return err
	})
	if errors.Is(err, token.ErrUnknown) {
		e := domain.Errorf(domain.NotFound, "the token is not valid: it may have expired or been revoked")
		e.Err = err
		return r, e
	}
	return r, err
}

// TokenLookup shows what a token that one holds may do and when it ends.
var TokenLookup = Operation[TokenHeld, TokenInfo]{
	action: authz.TokenLookup,
	prove:  proveHeld,
	ask:    askHeld,
	act: func(ctx context.Context, c *call, in TokenHeld) (out TokenInfo, err error) {
		err = c.db.View(ctx, func(tx *store.Tx) error {
			t, err := in.find(tx, c.clock.Now())
			out = infoOf(t)
			return err
		})
		return out, err
	},
}

// TokenRenewIn names a token by its text, and for how long it shall live.
type TokenRenewIn struct {
	TokenHeld
	Increment Duration `json:"increment,omitempty" doc:"for which it lives from now on; without it, what it was made with"`
}

// TokenRenew lets a token that one holds live longer, up to its maximum.
var TokenRenew = Operation[TokenRenewIn, TokenInfo]{
	action: authz.TokenRenew,
	prove: func(ctx context.Context, s *Service, who *Caller, in *TokenRenewIn) error {
		return proveHeld(ctx, s, who, &in.TokenHeld)
	},
	ask: func(ctx context.Context, s *Service, in TokenRenewIn) (authz.Request, error) {
		if in.Increment < 0 {
			return authz.Request{}, domain.Fieldf("increment", "not a duration after which it ends")
		}
		return askHeld(ctx, s, in.TokenHeld)
	},
	act: func(ctx context.Context, c *call, in TokenRenewIn) (out TokenInfo, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			now := c.clock.Now()
			t, err := in.find(tx, now)
			if err != nil {
				return err
			}
			t, err = token.Renew(tx, t, time.Duration(in.Increment), now)
			out = infoOf(t)
			return err
		})
		if err == nil {
			c.detail["expires"] = out.Expires
		}
		return out, err
	},
}

// TokenRevoked is a token that was revoked, and how many there were with it.
type TokenRevoked struct {
	TokenInfo
	Revoked int `json:"revoked" doc:"tokens that were removed: the token and those made with it; of a large tree the others are dead too, and are removed later"`
}

// revokeTree revokes a token and all that were made with it.
func (c *call) revokeTree(ctx context.Context, find func(tx *store.Tx) (token.Token, error)) (out TokenRevoked, err error) {
	var gone []string
	err = c.change(ctx, func(tx *store.Tx) error {
		t, err := find(tx)
		if err != nil {
			return err
		}
		gone, err = token.Revoke(tx, t)
		out = TokenRevoked{infoOf(t), len(gone)}
		return errors.Join(err, lease.OwnersGone(tx, t.Tenant, c.clock.Now()))
	})
	if err == nil {
		c.wakeLeases()
		c.detail["revoked"] = len(gone)
		c.endStreams(gone...)
	}
	return out, err
}

// TokenDiscard revokes a token that one holds, with its tree.
var TokenDiscard = Operation[TokenHeld, TokenRevoked]{
	action: authz.TokenDiscard,
	prove:  proveHeld,
	ask:    askHeld,
	act: func(ctx context.Context, c *call, in TokenHeld) (TokenRevoked, error) {
		return c.revokeTree(ctx, func(tx *store.Tx) (token.Token, error) {
			return in.find(tx, c.clock.Now())
		})
	},
}
