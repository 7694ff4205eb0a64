package actions

import (
	"context"
	"errors"
	"time"

	"coffer/app/alerts"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/wrap"
)

// WrapIn is what to wrap, and for how long. Wrapping the answer of a request is an
// act of its own, with an event of its own beside that of the request: what was
// done stays done if wrapping it fails, and the wrapped answer is durable before
// its token is shown.
type WrapIn struct {
	Tenant string      `path:"tenant" json:"-"`
	Data   domain.JSON `json:"data" doc:"names and values" schema:"minProperties=1"`
	TTL    Duration    `json:"ttl,omitempty" doc:"how long it waits to be unwrapped, 1s to 24h" schema:"default=1h"`

	Path    string     `json:"-"` // of the request whose answer it is, "" for data
	Wrapped string     `json:"-"` // accessor of a credential in it, "" for none
	Shape   wrap.Shape `json:"-"` // "" for data
}

// Wrapped is a new wrapping token, shown this once.
type Wrapped struct {
	Token    domain.Disclosure `json:"token" doc:"the wrapping token, shown this once"`
	Accessor string            `json:"accessor" doc:"names the token and opens nothing"`
	Path     string            `json:"creation_path" doc:"of the request whose answer is wrapped"`
	Created  time.Time         `json:"created"`
	Expires  time.Time         `json:"expires"`
	TTL      Duration          `json:"ttl"`
	Wrapped  string            `json:"wrapped_accessor,omitempty" doc:"accessor of the credential in it"`
}

func wrapped(text domain.Secret, t wrap.Token) Wrapped {
	return Wrapped{
		Token: domain.DiscloseText(text), Accessor: t.Accessor, Path: t.Path, Created: t.Created, Expires: t.Expires,
		TTL: Duration(t.Expires.Sub(t.Created)), Wrapped: t.Wrapped,
	}
}

// wrapPath is said to have made what nobody asked for by another request.
const wrapPath = "sys/wrapping/wrap"

// WrapCreate keeps something for whoever presents a token, once.
var WrapCreate = Operation[WrapIn, Wrapped]{
	action:  authz.WrapCreate,
	creates: true,
	ask: func(_ context.Context, _ *Service, in WrapIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		if in.Shape == "" && !wrap.IsObject(in.Data.Secret) {
			return authz.Request{}, domain.Fieldf("data", "an object is expected")
		}
		_, err = domain.ParseTTL(time.Duration(in.TTL))
		return authz.Request{Tenant: tenant, Resource: in.path()}, err
	},
	act: func(ctx context.Context, c *call, in WrapIn) (out Wrapped, err error) {
		ttl, err := domain.ParseTTL(time.Duration(in.TTL))
		if err != nil {
			return out, err
		}
		s := wrap.Spec{
			Tenant: c.permit.Tenant(), Path: in.path(), Maker: c.who.Subject.Principal.String(), Wrapped: in.Wrapped, Parent: c.who.Subject.Token,
			Shape: in.Shape, TTL: ttl, Content: in.Data.Secret,
		}
		if s.Shape == "" {
			s.Shape = wrap.Data
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			text, t, err := wrap.Create(tx, s, c.clock.Now())
			out = wrapped(text, t)
			return err
		})
		if err == nil {
			c.detail["accessor"], c.detail["expires"] = out.Accessor, out.Expires
			if out.Wrapped != "" {
				c.detail["wrapped"] = out.Wrapped
			}
		}
		return out, err
	},
}

func (in WrapIn) path() string {
	if in.Path == "" {
		return wrapPath
	}
	return in.Path
}

// WrapHeld names a wrapping token by its text, which proves that one holds it.
type WrapHeld struct {
	Token  domain.Secret `json:"token" doc:"the wrapping token itself"`
	Tenant string        `json:"-"` // to which it must belong, "" for any
}

// stranger makes who presents nothing but a wrapping token a subject.
func (in WrapHeld) stranger(who *Caller) {
	if who.Subject.Principal.Kind == "" || who.Subject.Principal.Kind == domain.Nobody {
		who.Subject = authz.Subject{Principal: domain.Principal{Kind: domain.Nobody, ID: "wrapping-token"}}
		who.Call.Auth = "wrapping-token"
	}
}

func proveWrap(ctx context.Context, s *Service, who *Caller, in *WrapHeld) error {
	in.stranger(who)
	return nil
}

// askWrap finds the tenant of the wrapping token, in whose log the event belongs,
// also of one that was used before.
func askWrap(ctx context.Context, s *Service, in WrapHeld) (r authz.Request, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		t, err := wrap.Lookup(tx, in.Token, s.clock.Now())
		if used, is := errors.AsType[*wrap.UsedError](err); is {
			t, err = used.Token, nil
		}
		if err == nil && in.Tenant != "" && in.Tenant != string(t.Tenant) {
			err = wrap.ErrUnknown
		}
		r = authz.Request{Tenant: t.Tenant, Resource: t.Accessor}
		return err
	})
	return r, err
}

// WrapInfo is what can be shown of a wrapping token that was not used.
type WrapInfo struct {
	Accessor string          `json:"accessor"`
	Tenant   domain.TenantID `json:"tenant"`
	Path     string          `json:"creation_path" doc:"of the request whose answer is wrapped"`
	Maker    string          `json:"maker" doc:"principal"`
	Created  time.Time       `json:"created"`
	Expires  time.Time       `json:"expires"`
	TTL      Duration        `json:"ttl" doc:"for which it was made"`
}

// WrapLookup shows what a wrapping token is for, and burns nothing.
var WrapLookup = Operation[WrapHeld, WrapInfo]{
	action: authz.WrapLookup,
	prove:  proveWrap,
	ask:    askWrap,
	act: func(ctx context.Context, c *call, in WrapHeld) (out WrapInfo, err error) {
		err = c.db.View(ctx, func(tx *store.Tx) error {
			t, err := wrap.Lookup(tx, in.Token, c.clock.Now())
			out = WrapInfo{
				Accessor: t.Accessor, Tenant: t.Tenant, Path: t.Path, Maker: t.Maker, Created: t.Created, Expires: t.Expires,
				TTL: Duration(t.Expires.Sub(t.Created)),
			}
			return err
		})
		return out, c.usedBefore(err)
	},
}

// usedBefore raises an alert if a wrapping token comes a second time: whoever was
// meant to have what it held may have come too late.
func (c *call) usedBefore(err error) error {
	used, is := errors.AsType[*wrap.UsedError](err)
	if !is {
		return err
	}
	t := used.Token
	c.detail["used_before"], c.detail["accessor"] = t.Used, t.Accessor
	if c.raise != nil {
		c.raise(alerts.Wrap, t.Tenant, "a wrapping token was presented again after it was used at "+t.Used.Format(time.RFC3339)+
			": "+t.Accessor+", for the answer of "+t.Path+", wrapped by "+t.Maker+"; if whoever it was meant for got nothing, somebody else did: revoke what it held")
	}
	return wrap.ErrUnknown
}

// Unwrapped is what was wrapped.
type Unwrapped struct {
	Data  domain.Disclosure `json:"data" doc:"what was wrapped" schema:"type=object"`
	Path  string            `json:"creation_path" doc:"of the request whose answer was wrapped"`
	Shape wrap.Shape        `json:"shape" doc:"data, or envelope for a whole answer of the Vault API"`
}

// WrapUnwrap hands out what was wrapped, once. That it is burnt is durable before
// anybody sees it.
var WrapUnwrap = Operation[WrapHeld, Unwrapped]{
	action: authz.WrapUnwrap,
	prove:  proveWrap,
	ask:    askWrap,
	act: func(ctx context.Context, c *call, in WrapHeld) (out Unwrapped, err error) {
		var t wrap.Token
		err = c.change(ctx, func(tx *store.Tx) error {
			var content domain.Secret
			var err error
			t, content, err = wrap.Burn(tx, in.Token, c.clock.Now())
			out = Unwrapped{domain.Disclose(content), t.Path, t.Shape}
			return err
		})
		if err != nil {
			return Unwrapped{}, c.usedBefore(err)
		}
		c.detail["path"], c.detail["maker"] = t.Path, t.Maker
		return out, nil
	},
}

// WrapRewrap moves what was wrapped under another token, for as long as the first
// was made: for what has to wait longer, and nobody needs to see it.
var WrapRewrap = Operation[WrapHeld, Wrapped]{
	action: authz.WrapRewrap,
	prove:  proveWrap,
	ask:    askWrap,
	act: func(ctx context.Context, c *call, in WrapHeld) (out Wrapped, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			now := c.clock.Now()
			t, content, err := wrap.Burn(tx, in.Token, now)
			if err != nil {
				return err
			}
			defer content.Zero()
			text, again, err := wrap.Create(tx, wrap.Spec{
				Tenant: t.Tenant, Path: t.Path, Maker: t.Maker, Wrapped: t.Wrapped, Parent: t.Parent, Shape: t.Shape,
				TTL: t.Expires.Sub(t.Created), Content: content,
			}, now)
			out = wrapped(text, again)
			return err
		})
		if err != nil {
			return Wrapped{}, c.usedBefore(err)
		}
		c.detail["accessor"], c.detail["expires"] = out.Accessor, out.Expires
		return out, nil
	},
}
