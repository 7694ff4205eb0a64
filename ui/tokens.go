package ui

import (
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// tokensView lists a client's live tokens and issues one. A token that was just
// issued is shown this once.
type tokensView struct {
	base
	form
	paged
	Tokens    []tokenRow
	Issued    *issuedToken
	Roles     []string // that one may give
	MayIssue  bool
	MayRevoke bool
}

type tokenRow struct {
	Accessor string
	Name     string
	For      string // for whom it stands
	By       string
	May      string // role or capabilities
	Parent   string // accessor, "" for none
	Issued   time.Time
	Expires  time.Time
}

type issuedToken struct {
	Text     string
	Accessor string
	May      string
	Expires  time.Time
	Snippets []snippet
}

func (u *UI) tokens(r *request) error { return r.tokensPage(form{}, nil) }

func (r *request) tokensPage(f form, fresh *issuedToken) error {
	out, err := do(r, actions.TokenList, r.tenantPage())
	if err != nil {
		return err
	}
	v := tokensView{base: r.base("Tokens"), form: f, Issued: fresh, MayIssue: r.me.May(authz.TokenIssue), MayRevoke: r.me.May(authz.TokenRevoke)}
	v.Roles = delegable(r.me.Role())
	v.Tabs, v.Next = markTab(v.Tabs, "Tokens"), out.Next
	var ids []string
	for _, t := range out.Tokens {
		ids = append(ids, t.Principal, "person:"+t.IssuedBy, "workload:"+t.IssuedBy)
	}
	names, err := r.service.Names(r.ctx, r.tenant, ids)
	if err != nil {
		return err
	}
	for _, t := range out.Tokens {
		v.Tokens = append(v.Tokens, tokenRow{
			Accessor: t.Accessor, Name: t.Name, For: named(names, t.Principal), By: issuer(names, t.IssuedBy),
			May: mayText(t.Role, t.Capabilities), Parent: t.Parent, Issued: t.Issued, Expires: t.Expires,
		})
	}
	return r.render(f.status(), "tokens", v)
}

// issuer is the name of who issued a token, whose record has the bare id.
func issuer(names map[string]string, id string) string {
	for _, kind := range []domain.PrincipalKind{domain.Person, domain.Workload} {
		if name := names[string(kind)+":"+id]; name != "" {
			return name
		}
	}
	return id
}

// mayText says what a token or workload may do, in one line.
func mayText(role domain.Role, capabilities []authz.Capability) string {
	if role != "" {
		return string(role)
	}
	return strings.Join(texts(capabilities), ", ")
}

func texts(capabilities []authz.Capability) (out []string) {
	for _, c := range capabilities {
		out = append(out, c.String())
	}
	return out
}

// delegable are the roles no wider than one's own.
func delegable(own domain.Role) (out []string) {
	narrower := false
	for _, role := range domain.TenantRoles() {
		narrower = narrower || role == own
		if narrower && (role != domain.ClientAuditor || own != domain.Analyst && own != domain.Viewer) {
			out = append(out, string(role))
		}
	}
	return out
}

func (u *UI) tokenIssue(r *request) error {
	in := actions.TokenIssueIn{Tenant: string(r.tenant), Role: r.text("role"), Name: r.text("name"), Workload: r.text("workload")}
	var err error
	if in.Grants = r.grants(); len(in.Grants) > 0 || in.Workload != "" {
		in.Role = "" // what is narrower counts
	}
	var out actions.Issued
	if in.TTL, err = parseSpan("ttl", r.text("ttl")); err == nil {
		out, err = do(r, actions.TokenIssue, in)
	}
	if err != nil {
		f, err := r.refused("issue", err)
		if err != nil {
			return err
		}
		return r.tokensPage(f, nil)
	}
	text := string(out.Token.Reveal())
	return r.tokensPage(form{}, &issuedToken{
		Text: text, Accessor: out.Accessor, May: mayText(out.Role, out.Capabilities), Expires: out.Expires,
		Snippets: u.snippets(r.tenant, text, "", ""),
	})
}

func (u *UI) tokenRevoke(r *request) error {
	if _, err := do(r, actions.TokenRevoke, actions.TokenRevokeIn{TokenRef: actions.TokenRef{Tenant: string(r.tenant), Accessor: r.text("accessor")}}); err != nil {
		f, err := r.refused("revoke", err)
		if err != nil {
			return err
		}
		return r.tokensPage(f, nil)
	}
	return r.seeOther(clientPath(r.tenant, "tokens"), "token-revoked")
}
