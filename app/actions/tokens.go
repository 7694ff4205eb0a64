package actions

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/token"
)

// TokenIssueIn asks for a token of a tenant. Without role and grants it is as
// wide as the caller; with a workload it stands for that workload.
type TokenIssueIn struct {
	Tenant   string   `path:"tenant" json:"-"`
	Role     string   `json:"role,omitempty" doc:"a role no wider than the caller's; without it and grants, all that the caller holds"`
	Grants   []string `json:"grants,omitempty" doc:"capabilities such as secret:read:stripe/*, in place of a role" schema:"maxItems=64"`
	Workload string   `json:"workload,omitempty" doc:"name of the workload for which it stands, in place of a role"`
	TTL      Duration `json:"ttl,omitempty" doc:"lifetime, 1s to 24h" schema:"default=1h"`
	Name     string   `json:"name,omitempty" doc:"a note for people" schema:"maxLength=128"`
}

// Issued is a new token; its text is shown this once.
type Issued struct {
	Token        domain.Disclosure  `json:"token" doc:"the token, shown this once"`
	Accessor     string             `json:"accessor" doc:"names the token and opens nothing"`
	Tenant       domain.TenantID    `json:"tenant"`
	Role         domain.Role        `json:"role,omitempty"`
	Capabilities []authz.Capability `json:"capabilities,omitempty"`
	Expires      time.Time          `json:"expires"`
}

func issued(text domain.Secret, t token.Token) Issued {
	return Issued{
		Token: domain.DiscloseText(text), Accessor: t.Accessor, Tenant: t.Tenant,
		Role: t.Layer.Role, Capabilities: t.Layer.Capabilities, Expires: t.Expires,
	}
}

// TokenIssue issues a token no wider than its maker.
var TokenIssue = Operation[TokenIssueIn, Issued]{
	action:  authz.TokenIssue,
	creates: true,
	ask: func(_ context.Context, _ *Service, in TokenIssueIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		_, err = in.spec()
		return authz.Request{Tenant: tenant}, err
	},
	act: func(ctx context.Context, c *call, in TokenIssueIn) (out Issued, err error) {
		spec, err := in.spec()
		if err != nil {
			return Issued{}, err
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			now := c.clock.Now()
			if err := c.fill(tx, &spec, in.Workload, now); err != nil {
				return err
			}
			text, t, err := token.Issue(tx, spec, now)
			out = issued(text, t)
			return err
		})
		if err == nil {
			c.detail["accessor"], c.detail["for"], c.detail["expires"] = out.Accessor, spec.Principal.String(), out.Expires
		}
		return out, err
	},
}

// spec reads what can be read without the directory.
func (in TokenIssueIn) spec() (token.Spec, error) {
	ttl, err := domain.ParseTTL(time.Duration(in.TTL))
	if err != nil {
		return token.Spec{}, err
	}
	s := token.Spec{TTL: ttl, Tenant: domain.TenantID(in.Tenant)}
	switch {
	case in.Role != "" && (len(in.Grants) > 0 || in.Workload != ""):
		return token.Spec{}, domain.Fieldf("role", "give a role, or grants, not both; a workload has no role")
	case in.Role != "":
		s.Layer.Role, err = domain.ParseTenantRole(in.Role)
	case len(in.Grants) > 0:
		s.Layer.Capabilities, err = authz.ParseCapabilities(in.Grants)
		err = inField("grants", err)
	}
	if err != nil {
		return token.Spec{}, err
	}
	if in.Workload != "" {
		if _, err := domain.ParseName("workload", in.Workload); err != nil {
			return token.Spec{}, err
		}
	}
	if in.Name != "" {
		s.Name, err = domain.ParseText("name", in.Name, domain.MaxDisplayName)
	}
	return s, err
}

// fill decides for whom the token stands and checks that its maker may.
func (c *call) fill(tx *store.Tx, s *token.Spec, workload string, now time.Time) error {
	me := c.who.Subject
	s.Principal, s.IssuedBy = me.Principal, me.Principal.ID
	if workload != "" {
		w, err := directory.WorkloadByName(tx, s.Tenant, workload)
		if err != nil {
			return err
		}
		if m, found, err := directory.Membership(tx, s.Tenant, me.Principal.ID, now); err != nil || !found || m.Expires != nil {
			return cmp.Or[error](err, domain.Errorf(domain.Denied, "a workload's token would outlast the break-glass membership"))
		}
		if c.permit.Grant().OwnOnly() && w.CreatedBy != me.Principal.ID {
			return domain.Errorf(domain.Denied, "the workload %q is not yours", workload)
		}
		s.Principal = domain.Principal{Kind: domain.Workload, ID: w.ID}
		if len(s.Layer.Capabilities) == 0 {
			s.Layer.Capabilities = w.Capabilities
		}
	} else if s.Layer.Role == "" && len(s.Layer.Capabilities) == 0 {
		own := me.Tenants[s.Tenant]
		if len(own) == 0 {
			return domain.Errorf(domain.Denied, "only a member can have a token of %s", s.Tenant)
		}
		s.Layer = own[len(own)-1] // the narrowest: a token's own bound comes last
	}
	if err := c.shorten(tx, s, now); err != nil {
		return err
	}
	return authz.MayDelegate(me, s.Tenant, s.Layer)
}

// shorten lets a token that was asked for with a token end no later than that
// one: else a stolen token could be made to last for ever.
func (c *call) shorten(tx *store.Tx, s *token.Spec, now time.Time) error {
	me := c.who.Subject
	if me.Token == "" {
		return nil
	}
	held, err := token.ByAccessor(tx, me.Home, me.Token, now)
	if err == nil {
		s.TTL = min(s.TTL, held.Expires.Sub(now))
	}
	return err
}

// TokenInfo is what can be shown of a token.
type TokenInfo struct {
	Accessor     string             `json:"accessor"`
	Tenant       domain.TenantID    `json:"tenant"`
	Principal    string             `json:"principal"`
	IssuedBy     string             `json:"issued_by"`
	Name         string             `json:"name,omitempty"`
	Role         domain.Role        `json:"role,omitempty"`
	Capabilities []authz.Capability `json:"capabilities,omitempty"`
	Issued       time.Time          `json:"issued"`
	Expires      time.Time          `json:"expires"`
}

func infoOf(t token.Token) TokenInfo {
	return TokenInfo{
		Accessor: t.Accessor, Tenant: t.Tenant, Principal: t.Principal.String(), IssuedBy: t.IssuedBy, Name: t.Name,
		Role: t.Layer.Role, Capabilities: t.Layer.Capabilities, Issued: t.Issued, Expires: t.Expires,
	}
}

// TokenHeld names a token by its text, which proves that one holds it.
type TokenHeld struct {
	Token domain.Secret `json:"token" doc:"the token itself, which proves that one holds it"`
}

// askHeld finds the tenant of the token, in whose log the event belongs.
func askHeld(ctx context.Context, s *Service, in TokenHeld) (r authz.Request, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		t, err := token.Lookup(tx, in.Token, s.clock.Now())
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
	ask:    askHeld,
	act: func(ctx context.Context, c *call, in TokenHeld) (out TokenInfo, err error) {
		err = c.db.View(ctx, func(tx *store.Tx) error {
			t, err := token.Lookup(tx, in.Token, c.clock.Now())
			out = infoOf(t)
			return err
		})
		return out, err
	},
}

// TokenDiscard revokes a token that one holds.
var TokenDiscard = Operation[TokenHeld, TokenInfo]{
	action: authz.TokenDiscard,
	ask:    askHeld,
	act: func(ctx context.Context, c *call, in TokenHeld) (out TokenInfo, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			t, err := token.Lookup(tx, in.Token, c.clock.Now())
			if err != nil {
				return err
			}
			out = infoOf(t)
			return token.Revoke(tx, t)
		})
		if err == nil {
			c.endStreams(out.Accessor)
		}
		return out, err
	},
}

// TokenRef names a token of a tenant by its accessor.
type TokenRef struct {
	Tenant   string `path:"tenant" json:"-"`
	Accessor string `path:"accessor" json:"-"`
}

// TokenRevoke revokes a token by its accessor.
var TokenRevoke = Operation[TokenRef, TokenInfo]{
	action: authz.TokenRevoke,
	ask: func(ctx context.Context, s *Service, in TokenRef) (authz.Request, error) {
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
	},
	act: func(ctx context.Context, c *call, in TokenRef) (out TokenInfo, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			t, err := token.ByAccessor(tx, c.permit.Tenant(), in.Accessor, c.clock.Now())
			if err != nil {
				return err
			}
			out = infoOf(t)
			return token.Revoke(tx, t)
		})
		if err == nil {
			c.endStreams(out.Accessor)
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

// Login is a workload's role id and secret id.
type Login struct {
	RoleID   string        `json:"role_id" doc:"the workload's role id, w_…"`
	SecretID domain.Secret `json:"secret_id" doc:"one of its secret ids, cfs_…"`
	TTL      Duration      `json:"ttl,omitempty" doc:"lifetime of the token, 1s to 24h; never longer than the workload's own bound"`
}

// WorkloadLogin gives a workload a token for its role id and secret id.
var WorkloadLogin = Operation[Login, Issued]{
	action: authz.WorkloadLogin,
	prove: func(ctx context.Context, s *Service, who *Caller, in *Login) error {
		who.Subject, who.Call.Auth = authz.Subject{Principal: domain.Principal{Kind: domain.Nobody, ID: "login"}}, "approle"
		err := s.db.View(ctx, func(tx *store.Tx) error {
			_, _, err := authn.AppRole(tx, in.RoleID, in.SecretID, s.clock.Now())
			return err
		})
		if errors.Is(err, authn.ErrLogin) {
			s.log.Unauthenticated(who.Call.Source, "workload login")
		}
		return err
	},
	ask: func(ctx context.Context, s *Service, in Login) (r authz.Request, err error) {
		if _, err := domain.ParseTTL(time.Duration(in.TTL)); err != nil {
			return r, err
		}
		err = s.db.View(ctx, func(tx *store.Tx) error {
			w, _, err := authn.AppRole(tx, in.RoleID, in.SecretID, s.clock.Now())
			r = authz.Request{Tenant: w.Tenant, Resource: w.ID}
			return err
		})
		return r, err
	},
	act: func(ctx context.Context, c *call, in Login) (out Issued, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			w, secretID, err := authn.AppRole(tx, in.RoleID, in.SecretID, c.clock.Now())
			if err != nil {
				return err
			}
			if err := directory.SpendSecretID(tx, w, secretID); err != nil {
				return err
			}
			ttl := w.TokenTTL
			if in.TTL > 0 {
				ttl = min(ttl, time.Duration(in.TTL))
			}
			text, t, err := token.Issue(tx, token.Spec{
				Tenant: w.Tenant, Principal: domain.Principal{Kind: domain.Workload, ID: w.ID},
				Layer: authz.Layer{Capabilities: w.Capabilities}, IssuedBy: w.ID, TTL: ttl,
			}, c.clock.Now())
			out = issued(text, t)
			c.detail["secret_id"] = secretID.Accessor
			return err
		})
		if err == nil {
			c.detail["accessor"] = out.Accessor
		}
		return out, err
	},
}
