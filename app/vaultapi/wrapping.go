package vaultapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/vault/wrap"
)

// WrapHeader asks that the answer be wrapped, for so long.
const WrapHeader = "X-Vault-Wrap-TTL"

// wrapping are the endpoints of sys/wrapping.
func (a *API) wrapping() []endpoint {
	return []endpoint{
		{kind: "sys", op: opWrite, pattern: "wrapping/wrap", action: authz.WrapCreate, handle: wrapAnything},
		{kind: "sys", op: opWrite, pattern: "wrapping/lookup", action: authz.WrapLookup, handle: wrapLookup},
		{kind: "sys", op: opRead, pattern: "wrapping/lookup", action: authz.WrapLookup, handle: wrapLookup},
		{kind: "sys", op: opWrite, pattern: "wrapping/unwrap", action: authz.WrapUnwrap, handle: unwrap},
		{kind: "sys", op: opWrite, pattern: "wrapping/rewrap", action: authz.WrapRewrap, handle: rewrap},
	}
}

// wrapTTL is for how long the client wants the answer wrapped, 0 for not at all. One
// that is longer than a wrapping token lives is taken for that.
func (r *request) wrapTTL() (time.Duration, error) {
	text := r.c.Get(WrapHeader)
	d, ok := parseDuration(text)
	switch {
	case !ok || d > 0 && d < domain.MinTTL:
		return 0, domain.Fieldf(WrapHeader, "not a duration, such as 60 or 1m")
	case d > domain.MaxTTL:
		return domain.MaxTTL, nil
	}
	return d, nil
}

// wrapper gives what wraps the answer of a request, nil if that is not asked for. It
// is made before the request is looked at, which a bad header must not change.
func (a *API) wrapper(r *request, e endpoint) (func(context.Context, *reply) (*reply, error), error) {
	ttl, err := r.wrapTTL()
	if err != nil || ttl == 0 {
		return nil, err
	}
	if !e.open() && r.tenant == "" {
		return nil, failf(http.StatusBadRequest, "response wrapping needs a namespace")
	}
	return func(ctx context.Context, p *reply) (*reply, error) { return r.wrap(ctx, p, ttl) }, nil
}

// wrap gives in place of an answer a token for it. What has no envelope, and what
// says nothing, is not wrapped.
func (r *request) wrap(ctx context.Context, p *reply, ttl time.Duration) (*reply, error) {
	if p.flat != nil || p.wrapped != nil {
		return p, nil
	}
	content, err := p.body(r.requestID())
	if err != nil || content == nil {
		return p, err
	}
	in := actions.WrapIn{Tenant: r.tenant, TTL: actions.Duration(ttl), Path: r.full(), Shape: wrap.Envelope, Data: domain.JSON{Secret: domain.NewSecret(content)}}
	if p.auth != nil {
		in.Wrapped = p.auth.Accessor
		if r.who.Subject.Principal.Kind == domain.Nobody { // a login: the answer is whose the token is
			if r.who.Subject, err = r.service.Holder(ctx, p.auth.ClientToken.Secret); err != nil {
				return nil, err
			}
			in.Tenant = string(r.who.Subject.Home)
		}
	} else {
		in.Wrapped = accessorIn(content)
	}
	receipt := r.receipt
	out, err := do(ctx, r, actions.WrapCreate, in)
	if receipt != (audit.Receipt{}) {
		r.receipt = receipt // that of what was asked for
	}
	if err != nil {
		return nil, err
	}
	return wrapReply(out), nil
}

func wrapReply(out actions.Wrapped) *reply {
	return &reply{wrapped: &wrapInfo{
		Token: out.Token, Accessor: out.Accessor, TTL: seconds(time.Duration(out.TTL)), CreationTime: out.Created,
		CreationPath: out.Path, WrappedAccessor: out.Wrapped,
	}}
}

// accessorIn is the accessor of a secret id in an answer, "" for none.
func accessorIn(content []byte) string {
	var e struct {
		Data struct {
			Accessor string `json:"secret_id_accessor"`
		} `json:"data"`
	}
	if json.Unmarshal(content, &e) != nil {
		return ""
	}
	return e.Data.Accessor
}

// wrapAnything answers with what it was sent, for the answer to be wrapped.
func wrapAnything(ctx context.Context, r *request) (*reply, error) {
	if ttl, err := r.wrapTTL(); err != nil || ttl == 0 {
		if err := r.atHome(ctx); err != nil {
			return nil, err
		}
		return nil, failf(http.StatusBadRequest, "endpoint requires response wrapping to be used")
	}
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	return &reply{data: f}, nil
}

// wrappingToken reads the wrapping token: that of the body, and without one what the
// request presents in place of a token. Who presents a token beside one in the body
// is whom the event names, so it must be a good one.
func (r *request) wrappingToken(ctx context.Context) (in actions.WrapHeld, err error) {
	f, err := r.fields()
	if err != nil {
		return in, err
	}
	if r.named {
		in.Tenant = r.tenant
	}
	own := r.credential()
	if in.Token, err = f.secret("token"); err != nil || in.Token.Len() == 0 {
		in.Token = own
		return in, err
	}
	if own.Len() == 0 || own.Equal(in.Token) || strings.HasPrefix(r.presented(), wrap.Prefix) {
		return in, nil
	}
	r.who, err = caller(ctx, r.c, r.service, false)
	return in, err
}

func wrapLookup(ctx context.Context, r *request) (*reply, error) {
	in, err := r.wrappingToken(ctx)
	if err != nil {
		return nil, err
	}
	out, err := do(ctx, r, actions.WrapLookup, in)
	if err != nil {
		return nil, wrapError(err)
	}
	return &reply{data: map[string]any{
		"creation_path": out.Path, "creation_time": out.Created, "creation_ttl": seconds(time.Duration(out.TTL)),
	}}, nil
}

// wrapError gives the text that clients know without the hint.
func wrapError(err error) error {
	if domain.KindOf(err) == domain.Invalid && err.Error() == wrap.ErrUnknown.Error() {
		return failf(http.StatusBadRequest, wrap.ErrUnknown.Error())
	}
	return err
}

// unwrap answers with the answer that was wrapped, as it was.
func unwrap(ctx context.Context, r *request) (*reply, error) {
	in, err := r.wrappingToken(ctx)
	if err != nil {
		return nil, err
	}
	out, err := do(ctx, r, actions.WrapUnwrap, in)
	if err != nil {
		return nil, wrapError(err)
	}
	if out.Shape == wrap.Envelope {
		return &reply{flat: out.Data}, nil
	}
	return &reply{data: out.Data}, nil
}

func rewrap(ctx context.Context, r *request) (*reply, error) {
	in, err := r.wrappingToken(ctx)
	if err != nil {
		return nil, err
	}
	out, err := do(ctx, r, actions.WrapRewrap, in)
	if err != nil {
		return nil, wrapError(err)
	}
	return wrapReply(out), nil
}
