package vaultapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/vault/token"
)

// tokens are the endpoints of auth/token.
func (a *API) tokens() []endpoint {
	e := func(o op, pattern string, action domain.Action, handle func(context.Context, *request) (*reply, error), also ...domain.Action) endpoint {
		return endpoint{kind: "token", op: o, pattern: pattern, action: action, also: also, handle: handle}
	}
	return []endpoint{
		e(opRead, "lookup-self", authz.TokenLookup, lookupSelf),
		e(opWrite, "lookup-self", authz.TokenLookup, lookupSelf),
		e(opWrite, "lookup", authz.TokenLookup, lookupToken),
		e(opWrite, "lookup-accessor", authz.TokenShow, lookupAccessor),
		e(opList, "accessors", authz.TokenList, listAccessors),
		e(opWrite, "create", authz.TokenIssue, createToken, authz.TokenOrphan),
		e(opWrite, "create-orphan", authz.TokenOrphan, createToken),
		e(opWrite, "create/{role}", authz.TokenIssue, createInRole),
		e(opWrite, "renew-self", authz.TokenRenew, renewSelf),
		e(opWrite, "renew", authz.TokenRenew, renewToken),
		e(opWrite, "revoke-self", authz.TokenDiscard, revokeSelf),
		e(opWrite, "revoke", authz.TokenDiscard, revokeToken),
		e(opWrite, "revoke-accessor", authz.TokenRevoke, revokeAccessor),
		e(opWrite, "revoke-orphan", authz.TokenRevokeAlone, revokeOrphan),
	}
}

// presented is the text of the token or session that the request presents, "" for
// none.
func (r *request) presented() string {
	text := r.c.Get(TokenHeader)
	if text == "" {
		text = strings.TrimPrefix(r.c.Get("Authorization"), "Bearer ")
	}
	return strings.Clone(text)
}

// credential is what the request presents.
func (r *request) credential() domain.Secret { return domain.SecretString(r.presented()) }

// atHome refuses a caller in a namespace where it holds nothing, before an action
// that asks for no right there. The refusal is logged as that of a look-up is, and
// a person is asked for in the same way.
func (r *request) atHome(ctx context.Context) error {
	home := r.who.Subject.Home
	if string(home) == r.tenant {
		return nil
	}
	_, err := do(ctx, r, actions.TokenShow, actions.TokenRef{Tenant: r.tenant, Accessor: noAccessor})
	if home == "" && domain.KindOf(err) == domain.NotFound {
		return nil
	}
	return cmp.Or[error](err, domain.Errorf(domain.Denied, "permission denied"))
}

// noAccessor looks like the accessor of a token, and is none.
const noAccessor = token.AccessorPrefix + "unknown"

// held reads the token of the body; without one it is the caller's own.
func (r *request) held(ctx context.Context) (f fields, in actions.TokenHeld, err error) {
	if err := r.atHome(ctx); err != nil {
		return nil, in, err
	}
	if f, err = r.fields(); err != nil {
		return nil, in, err
	}
	if in.Token, err = f.secret("token"); err == nil && in.Token.Len() == 0 {
		in.Token = r.credential()
	}
	return f, in, err
}

// heldSelf is held for the caller's own token, whatever the body says.
func (r *request) heldSelf(ctx context.Context) (f fields, in actions.TokenHeld, err error) {
	if err := r.atHome(ctx); err != nil {
		return nil, in, err
	}
	in.Token = r.credential()
	if in.Token.Len() == 0 { // a person at the local socket, who has none
		return nil, in, domain.Errorf(domain.Denied, "permission denied")
	}
	f, err = r.fields()
	return f, in, err
}

func lookupSelf(ctx context.Context, r *request) (*reply, error) {
	_, in, err := r.heldSelf(ctx)
	if err != nil {
		return nil, err
	}
	return lookup(ctx, r, in)
}

func lookupToken(ctx context.Context, r *request) (*reply, error) {
	_, in, err := r.held(ctx)
	if err != nil {
		return nil, err
	}
	return lookup(ctx, r, in)
}

func lookup(ctx context.Context, r *request, in actions.TokenHeld) (*reply, error) {
	out, err := do(ctx, r, actions.TokenLookup, in)
	if domain.KindOf(err) == domain.NotFound {
		return nil, failf(http.StatusForbidden, "bad token")
	}
	if err != nil {
		return nil, err
	}
	return &reply{data: tokenData(out, in.Token, r.service.Now())}, nil
}

func lookupAccessor(ctx context.Context, r *request) (*reply, error) {
	ref, err := r.accessor()
	if err != nil {
		return nil, err
	}
	out, err := do(ctx, r, actions.TokenShow, ref)
	if domain.KindOf(err) == domain.NotFound {
		return nil, failf(http.StatusBadRequest, "invalid accessor")
	}
	if err != nil {
		return nil, err
	}
	return &reply{data: tokenData(out, domain.Secret{}, r.service.Now())}, nil
}

// accessor reads the accessor of the body. What cannot be one is taken for one that
// no token has: who may not know is refused all the same.
func (r *request) accessor() (ref actions.TokenRef, err error) {
	f, err := r.fields()
	if err != nil {
		return ref, err
	}
	ref.Tenant = r.tenant
	ref.Accessor, err = f.text("accessor")
	if _, bad := domain.ParseName("accessor", ref.Accessor); bad != nil || !strings.HasPrefix(ref.Accessor, token.AccessorPrefix) {
		ref.Accessor = noAccessor
	}
	return ref, err
}

// policiesOf names what bounds a token: its role, its capabilities in words, or its
// policies.
func policiesOf(role domain.Role, capabilities []authz.Capability, policies []string) []string {
	out := []string{"default"}
	if role != "" {
		out = append(out, string(role))
	}
	for _, c := range capabilities {
		out = append(out, c.String())
	}
	return append(out, policies...)
}

// orNone makes an empty map nil, so that it is null.
func orNone(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// tokenPath is the path that made a token, also of one that another surface made.
func tokenPath(path string) string {
	if path == "" {
		return "auth/token/create"
	}
	return path
}

// displayName is how Vault calls a token.
func displayName(t actions.TokenInfo) string {
	base, _, _ := strings.Cut(strings.TrimPrefix(tokenPath(t.Path), "auth/"), "/")
	if name := t.Meta["role_name"]; name != "" && base != "token" {
		return base + "-" + name
	}
	if t.Name == "" {
		return base
	}
	return base + "-" + t.Name
}

// tokenData is what a look-up shows. Clients fail without some of it.
func tokenData(t actions.TokenInfo, text domain.Secret, now time.Time) map[string]any {
	data := map[string]any{
		"id": domain.DiscloseText(text), "accessor": t.Accessor, "creation_time": t.Issued.Unix(), "creation_ttl": seconds(time.Duration(t.TTL)),
		"display_name": displayName(t), "entity_id": "", "expire_time": t.Expires, "explicit_max_ttl": seconds(time.Duration(t.MaxTTL)),
		"issue_time": t.Issued, "meta": orNone(t.Meta), "num_uses": t.UsesLeft, "orphan": t.Parent == "", "path": tokenPath(t.Path),
		"policies": policiesOf(t.Role, t.Capabilities, t.Policies), "renewable": t.Renewable, "ttl": max(seconds(t.Expires.Sub(now)), 0), "type": "service",
		"namespace_path": string(t.Tenant) + "/",
	}
	if t.Renewed != nil {
		data["last_renewal"], data["last_renewal_time"] = *t.Renewed, t.Renewed.Unix()
	}
	if t.Period > 0 {
		data["period"] = seconds(time.Duration(t.Period))
	}
	return data
}

func listAccessors(ctx context.Context, r *request) (*reply, error) {
	keys := []string{}
	in := actions.TenantPage{Tenant: r.tenant, Page: actions.Page{Limit: actions.MaxPage}}
	for {
		out, err := do(ctx, r, actions.TokenList, in)
		if err != nil {
			return nil, err
		}
		for _, t := range out.Tokens {
			keys = append(keys, t.Accessor)
		}
		if in.After = out.Next; in.After == "" || len(keys) >= maxKeys {
			break
		}
	}
	if len(keys) == 0 {
		return nil, missing()
	}
	return &reply{data: map[string]any{"keys": keys}}, nil
}

// maxKeys bounds a list that has no pages.
const maxKeys = 10_000

func renewSelf(ctx context.Context, r *request) (*reply, error) {
	f, in, err := r.heldSelf(ctx)
	if err != nil {
		return nil, err
	}
	return renewHeld(ctx, r, f, in)
}

func renewToken(ctx context.Context, r *request) (*reply, error) {
	f, in, err := r.held(ctx)
	if err != nil {
		return nil, err
	}
	return renewHeld(ctx, r, f, in)
}

func renewHeld(ctx context.Context, r *request, f fields, held actions.TokenHeld) (*reply, error) {
	asked, err := f.duration("increment")
	if err != nil {
		return nil, err
	}
	t, err := do(ctx, r, actions.TokenRenew, actions.TokenRenewIn{TokenHeld: held, Increment: actions.Duration(asked)})
	if domain.KindOf(err) == domain.NotFound {
		return nil, failf(http.StatusBadRequest, "token not found")
	}
	if e, ours := errors.AsType[*domain.Error](err); ours && e.Kind == domain.Invalid && e.Field == "" {
		return nil, failf(http.StatusBadRequest, e.Msg)
	}
	if err != nil {
		return nil, err
	}
	policies := policiesOf(t.Role, t.Capabilities, t.Policies)
	lives := t.Expires.Sub(*t.Renewed)
	out := &reply{auth: &auth{
		ClientToken: domain.DiscloseText(held.Token), Accessor: t.Accessor, Policies: policies, TokenPolicies: policies, Metadata: orNone(t.Meta),
		LeaseDuration: seconds(lives), Renewable: t.Renewable, TokenType: "service", Orphan: t.Parent == "", NumUses: t.UsesLeft,
	}}
	if asked == 0 {
		asked = time.Duration(t.TTL)
	}
	if t.Period == 0 && lives < asked {
		out.warnings = append(out.warnings, fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", asked, t.Max.Sub(t.Issued)))
	}
	return out, nil
}

func revokeSelf(ctx context.Context, r *request) (*reply, error) {
	_, in, err := r.heldSelf(ctx)
	if err != nil {
		return nil, err
	}
	return revokeHeld(ctx, r, in)
}

func revokeToken(ctx context.Context, r *request) (*reply, error) {
	_, in, err := r.held(ctx)
	if err != nil {
		return nil, err
	}
	return revokeHeld(ctx, r, in)
}

// revokeHeld answers alike for a token that is not there: it holds no more.
func revokeHeld(ctx context.Context, r *request, in actions.TokenHeld) (*reply, error) {
	_, err := do(ctx, r, actions.TokenDiscard, in)
	if domain.KindOf(err) == domain.NotFound {
		err = nil
	}
	return orNothing(err)
}

// orNothing is the answer that says that it was done.
func orNothing(err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	return &reply{}, nil
}

func revokeAccessor(ctx context.Context, r *request) (*reply, error) {
	ref, err := r.accessor()
	if err != nil {
		return nil, err
	}
	return revokeRef(ctx, r, actions.TokenRevokeIn{TokenRef: ref})
}

func revokeRef(ctx context.Context, r *request, in actions.TokenRevokeIn) (*reply, error) {
	_, err := do(ctx, r, actions.TokenRevoke, in)
	if domain.KindOf(err) == domain.NotFound {
		err = nil
	}
	return orNothing(err)
}

// revokeOrphan revokes a token and lets its children live on.
func revokeOrphan(ctx context.Context, r *request) (*reply, error) {
	_, in, err := r.held(ctx)
	if err != nil {
		return nil, err
	}
	accessor := r.service.Accessor(ctx, in.Token, domain.TenantID(r.tenant))
	return revokeRef(ctx, r, actions.TokenRevokeIn{TokenRef: actions.TokenRef{Tenant: r.tenant, Accessor: accessor}, Children: "keep"})
}
