package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/policies"
	"coffer/app/store"
	"coffer/vault/token"
)

// TokenIssueIn asks for a token of a tenant. Without role and grants it is as
// wide as the caller; with a workload it stands for that workload.
type TokenIssueIn struct {
	Tenant   string   `path:"tenant" json:"-"`
	Role     string   `json:"role,omitempty" doc:"a role no wider than the caller's; without it and grants, all that the caller holds"`
	Grants   []string `json:"grants,omitempty" doc:"capabilities such as secret:read:stripe/*, in place of a role" schema:"maxItems=64"`
	Policies []string `json:"policies,omitempty" doc:"names of ACL policies, in place of a role and grants" schema:"maxItems=64"`
	Workload string   `json:"workload,omitempty" doc:"name of the workload for which it stands, in place of a role"`
	TTL      Duration `json:"ttl,omitempty" doc:"lifetime, 1s to 24h" schema:"default=1h"`
	Name     string   `json:"name,omitempty" doc:"a note for people" schema:"maxLength=128"`

	Renewable bool              `json:"renewable,omitempty" doc:"whether it can be renewed, until 24h or max_ttl after its issue"`
	MaxTTL    Duration          `json:"max_ttl,omitempty" doc:"what renewing never goes past, up to 24h" schema:"default=24h"`
	Period    Duration          `json:"period,omitempty" doc:"what each renewal gives, up to 24h; it ends 24h after its issue all the same"`
	Uses      int               `json:"uses,omitempty" doc:"requests for which it holds; any number if 0" schema:"minimum=0,maximum=1000000,default=0"`
	Meta      map[string]string `json:"meta,omitempty" doc:"notes for programs, at most 32"`
	Orphan    bool              `json:"orphan,omitempty" doc:"whether it lives on when the token ends with which it is made; for owners"`
	Path      string            `json:"-"` // of the Vault API, "" for none
}

// Issued is a new token; its text is shown this once.
type Issued struct {
	Token        domain.Disclosure  `json:"token" doc:"the token, shown this once"`
	Accessor     string             `json:"accessor" doc:"names the token and opens nothing"`
	Tenant       domain.TenantID    `json:"tenant"`
	Role         domain.Role        `json:"role,omitempty"`
	Capabilities []authz.Capability `json:"capabilities,omitempty"`
	Policies     []string           `json:"policies,omitempty"`
	Expires      time.Time          `json:"expires"`
	Renewable    bool               `json:"renewable,omitempty"`
	TTL          Duration           `json:"ttl" doc:"for which it lives from now on"`
	Max          time.Time          `json:"max" doc:"what renewing never goes past"`
	Parent       string             `json:"parent,omitempty" doc:"accessor of the token with which it was made, and with which it ends"`
	Uses         int                `json:"uses,omitempty" doc:"requests for which it holds; any number if 0"`
	Meta         map[string]string  `json:"meta,omitempty"`
	Warnings     []string           `json:"warnings,omitempty" doc:"what it is other than was asked for"`
}

func issued(text domain.Secret, t token.Token) Issued {
	return Issued{
		Token: domain.DiscloseText(text), Accessor: t.Accessor, Tenant: t.Tenant,
		Role: t.Layer.Role, Capabilities: t.Layer.Capabilities, Policies: t.Layer.Policies, Expires: t.Expires,
		TTL: Duration(t.Expires.Sub(t.Issued)), Renewable: t.Renewable, Max: t.Max, Parent: t.Parent, Uses: t.Uses, Meta: t.Meta,
	}
}

// TokenIssue issues a token no wider than its maker. What is made with a token is
// its child, and ends with it; an orphan is none.
var TokenIssue = Operation[TokenIssueIn, Issued]{
	action:  authz.TokenIssue,
	also:    authz.TokenOrphan,
	creates: true,
	ask: func(_ context.Context, _ *Service, in TokenIssueIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		r := authz.Request{Tenant: tenant}
		if in.Orphan {
			r.Action = authz.TokenOrphan
		}
		_, err = in.spec()
		return r, err
	},
	act: func(ctx context.Context, c *call, in TokenIssueIn) (out Issued, err error) {
		spec, err := in.spec()
		if err != nil {
			return Issued{}, err
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			now := c.clock.Now()
			if err := c.fill(tx, &spec, in, now); err != nil {
				return err
			}
			text, t, err := token.Issue(tx, spec, now)
			out = issued(text, t)
			out.Warnings = in.warnings(t)
			return err
		})
		if err == nil {
			if out.Parent != "" {
				c.detail["parent"] = out.Parent
			}
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
	s := token.Spec{
		TTL: ttl, Tenant: domain.TenantID(in.Tenant), Renewable: in.Renewable, MaxTTL: time.Duration(in.MaxTTL),
		Period: time.Duration(in.Period), Uses: in.Uses, Meta: in.Meta, Path: in.Path,
	}
	if err := s.Check(); err != nil {
		return token.Spec{}, err
	}
	switch {
	case len(in.Policies) > 0 && (in.Role != "" || len(in.Grants) > 0):
		return token.Spec{}, domain.Fieldf("policies", "give policies, a role, or grants: one of them")
	case len(in.Policies) > 0:
		s.Layer.Policies, err = policies.ParseNames(in.Policies)
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
func (c *call) fill(tx *store.Tx, s *token.Spec, in TokenIssueIn, now time.Time) error {
	me := c.who.Subject
	s.Principal, s.IssuedBy = me.Principal, me.Principal.ID
	if workload := in.Workload; workload != "" {
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
		if len(s.Layer.Capabilities) == 0 && len(s.Layer.Policies) == 0 {
			s.Layer = w.Layer()
		}
	} else if s.Layer.Role == "" && len(s.Layer.Capabilities) == 0 && len(s.Layer.Policies) == 0 {
		own := me.Tenants[s.Tenant]
		if len(own) == 0 {
			return domain.Errorf(domain.Denied, "only a member can have a token of %s", s.Tenant)
		}
		s.Layer = own[len(own)-1] // the narrowest: a token's own bound comes last
	}
	if me.Token != "" && !in.Orphan {
		parent, err := token.Held(tx, me.Home, me.Token, now)
		if err != nil {
			return err
		}
		s.Parent = &parent
	}
	return c.mayGive(tx, s.Layer)
}

// warnings say what the token is other than was asked for.
func (in TokenIssueIn) warnings(t token.Token) (out []string) {
	asked := cmp.Or(time.Duration(in.TTL), domain.DefaultTTL)
	switch got := t.Expires.Sub(t.Issued); {
	case got > asked-time.Second: // as long as was asked for, but for what the request took
	case t.Parent != "":
		out = append(out, fmt.Sprintf("it lives for %v instead of %v: no token outlives the one with which it is made, or its maximum", got.Round(time.Second), asked))
	default:
		out = append(out, fmt.Sprintf("it lives for %v instead of %v, which is more than its maximum", got.Round(time.Second), asked))
	}
	if in.Period > 0 {
		out = append(out, "a token with a period ends too, 24h after its issue at the latest")
	}
	return out
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
	Policies     []string           `json:"policies,omitempty"`
	Issued       time.Time          `json:"issued"`
	Expires      time.Time          `json:"expires"`

	Parent    string            `json:"parent,omitempty" doc:"accessor of the token with which it was made, and with which it ends"`
	Renewable bool              `json:"renewable,omitempty"`
	Max       time.Time         `json:"max" doc:"what renewing never goes past"`
	Renewed   *time.Time        `json:"renewed,omitempty"`
	TTL       Duration          `json:"ttl" doc:"for which it was made"`
	MaxTTL    Duration          `json:"max_ttl,omitempty" doc:"that was asked for"`
	Period    Duration          `json:"period,omitempty"`
	Uses      int               `json:"uses,omitempty" doc:"requests for which it was made; any number if 0"`
	UsesLeft  int               `json:"uses_left,omitempty"`
	Meta      map[string]string `json:"meta,omitempty"`
	Path      string            `json:"path,omitempty" doc:"of the Vault API, by which it was made"`
}

func infoOf(t token.Token) TokenInfo {
	out := TokenInfo{
		Accessor: t.Accessor, Tenant: t.Tenant, Principal: t.Principal.String(), IssuedBy: t.IssuedBy, Name: t.Name,
		Role: t.Layer.Role, Capabilities: t.Layer.Capabilities, Policies: t.Layer.Policies, Issued: t.Issued, Expires: t.Expires,
		Parent: t.Parent, Renewable: t.Renewable, Max: t.Max, TTL: Duration(t.TTL), MaxTTL: Duration(t.MaxTTL), Period: Duration(t.Period),
		Uses: t.Uses, UsesLeft: t.Left, Meta: t.Meta, Path: t.Path,
	}
	if !t.Renewed.IsZero() {
		out.Renewed = &t.Renewed
	}
	return out
}

// Login is a workload's role id and secret id.
type Login struct {
	RoleID   string        `json:"role_id" doc:"the workload's role id, w_…"`
	SecretID domain.Secret `json:"secret_id" doc:"one of its secret ids, cfs_…"`
	TTL      Duration      `json:"ttl,omitempty" doc:"lifetime of the token, 1s to 24h; never longer than the workload's own bound"`

	Tenant string `json:"-"` // to which the workload must belong, "" for any
}

// prove finds the workload whose credentials they are.
func (in Login) prove(tx *store.Tx, now time.Time) (directory.Workload, directory.SecretID, error) {
	w, s, err := authn.AppRole(tx, in.RoleID, in.SecretID, now)
	if err == nil && in.Tenant != "" && in.Tenant != string(w.Tenant) {
		err = authn.ErrLogin
	}
	return w, s, err
}

// WorkloadLogin gives a workload a token for its role id and secret id.
var WorkloadLogin = Operation[Login, Issued]{
	action: authz.WorkloadLogin,
	prove: func(ctx context.Context, s *Service, who *Caller, in *Login) error {
		who.Subject, who.Call.Auth = authz.Subject{Principal: domain.Principal{Kind: domain.Nobody, ID: "login"}}, "approle"
		err := s.db.View(ctx, func(tx *store.Tx) error {
			_, _, err := in.prove(tx, s.clock.Now())
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
			w, _, err := in.prove(tx, s.clock.Now())
			r = authz.Request{Tenant: w.Tenant, Resource: w.ID}
			return err
		})
		return r, err
	},
	act: func(ctx context.Context, c *call, in Login) (out Issued, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			w, secretID, err := in.prove(tx, c.clock.Now())
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
				Layer: w.Layer(), IssuedBy: w.ID, TTL: ttl,
				Renewable: true, Meta: map[string]string{"role_name": w.Name}, Path: "auth/approle/login",
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
