package authz

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"coffer/app/domain"
)

// Layer is one bound on what a subject may do in a tenant: a role, a list of
// capabilities, or the names of ACL policies; exactly one of them.
type Layer struct {
	Role         domain.Role  `json:"role,omitempty"`
	Capabilities []Capability `json:"capabilities,omitempty"`
	Policies     []string     `json:"policies,omitempty"`

	// ACL is what the policies say at this moment. Without it they allow nothing.
	ACL *ACL `json:"-"`
}

// Subject is who asks, with what it holds at this moment. A token's subject has
// its maker's layer and its own: every layer must allow, so a token is never
// wider than its maker, also after the maker was demoted.
type Subject struct {
	Principal domain.Principal
	Appliance []domain.Role               // roles on the whole appliance
	Tenants   map[domain.TenantID][]Layer // layers per tenant; absent or empty: nothing there
	Home      domain.TenantID             // the only tenant of a token or workload, "" for a person at the socket
	Token     string                      // accessor of the presenting token, "" if none
	Session   string                      // accessor of the presenting session, "" if none
	Fresh     time.Time                   // until when the last proof of the second factor counts, with a session
	Limited   bool                        // a session of a person who has no second factor yet
}

// Credential is the accessor of the token or session that was presented, "" at
// the socket.
func (s Subject) Credential() string { return cmp.Or(s.Token, s.Session) }

// AtSocket says whether it is a person whom the local socket's peer proved.
func (s Subject) AtSocket() bool { return s.Principal.Kind == domain.Person && s.Credential() == "" }

// Request is what is asked for. Fields that an action does not have stay zero.
type Request struct {
	Action   domain.Action
	Tenant   domain.TenantID // as parsed; it need not exist
	Resource string          // path, prefix, name: see Info.Resource
	OwnedBy  string          // principal that owns the resource, for Info.Own
	Lets     bool            // it makes credentials besides, and asks for the proof that those do
	Route    Route           // for ACL policies, if it is another than the action's own
}

// Grant says that one subject may do one action on one resource. The zero
// Grant is not valid; a valid one comes from Authorize alone.
type Grant struct{ g *grant }

type grant struct {
	subject Subject
	request Request
	role    string
	ownOnly bool
	changes bool
}

// Valid tells a Grant from its zero value.
func (g Grant) Valid() bool { return g.g != nil }

// Principal is who may act.
func (g Grant) Principal() domain.Principal { return g.g.subject.Principal }

// Tenant is where, "" for the appliance.
func (g Grant) Tenant() domain.TenantID { return g.g.request.Tenant }

// Action is what may be done.
func (g Grant) Action() domain.Action { return g.g.request.Action }

// Resource is on what.
func (g Grant) Resource() string { return g.g.request.Resource }

// Role names, for the audit record, the role or "capabilities" that allowed it.
func (g Grant) Role() string { return g.g.role }

// Token is the accessor of the token or session that was presented, "" if none.
func (g Grant) Token() string { return g.g.subject.Credential() }

// Changes says whether the action is a change, which needs a durable intent.
func (g Grant) Changes() bool { return g.g.changes }

// OwnOnly says that only what the principal owns may be shown or touched.
func (g Grant) OwnOnly() bool { return g.g.ownOnly }

// Sees says whether a listing under this grant may show the secret's path.
func (g Grant) Sees(path domain.SecretPath) bool {
	info := byAction[g.Action()]
	for _, l := range g.g.subject.Tenants[g.Tenant()] {
		switch {
		case l.Role != "":
		case len(l.Policies) > 0:
			if !l.ACL.Allows(folderOf(g.g.request, path)) {
				return false
			}
		case !slices.ContainsFunc(l.Capabilities, func(c Capability) bool {
			return c.class == info.Cap && matches(c.pattern, string(path))
		}):
			return false
		}
	}
	return true
}

// folderOf is the route of listing the folder in which the path stands. A request
// that lists names its own folder, under which this one is.
func folderOf(r Request, path domain.SecretPath) Route {
	route, _ := r.route()
	base := strings.TrimSuffix(route.Path, r.Resource)
	folder := ""
	if i := strings.LastIndexByte(string(path), '/'); i >= 0 {
		folder = string(path[:i+1])
	}
	route.Path = base + folder
	return route
}

// Denied is the error of a refusal. Its text is the same for a tenant that does
// not exist and one in which the subject holds nothing.
type Denied struct {
	Subject Subject
	Request Request
	Foreign bool // the subject holds nothing in that tenant
	err     *domain.Error
}

// Error is the text for the caller.
func (d *Denied) Error() string { return d.err.Msg }

// Unwrap gives the domain.Error of kind Denied.
func (d *Denied) Unwrap() error { return d.err }

// Authorize decides. On refusal the error is a *Denied.
func Authorize(s Subject, r Request) (Grant, error) {
	info, known := byAction[r.Action]
	if !known || s.Principal.Kind == "" {
		return deny(s, r, false, "")
	}
	switch {
	case info.Person && (s.Principal.Kind != domain.Person || s.Token != ""):
		return deny(s, r, false, "sign in as a person: a token does not do")
	case info.Socket && !s.AtSocket():
		return deny(s, r, false, "only at the local socket of the machine")
	}
	switch info.Scope {
	case Open:
		return allow(s, r, info, "open", false), nil
	case Appliance:
		for _, role := range s.Appliance {
			if slices.Contains(info.Roles, role) {
				return allow(s, r, info, string(role), false), nil
			}
		}
		return deny(s, r, false, needs(info))
	}
	return authorizeTenant(s, r, info)
}

// ForSystem gives the appliance itself a Grant for a task of its own: finishing
// at boot what a crash interrupted, sweeping what expired. Only app/actions and
// tests may call it, which arch_test.go checks.
func ForSystem(r Request) Grant {
	return allow(Subject{Principal: domain.SystemPrincipal}, r, byAction[r.Action], "system", false)
}

// authorizeTenant tries the appliance-wide roles first, then the layers.
func authorizeTenant(s Subject, r Request, info Info) (Grant, error) {
	if r.Tenant == "" {
		return deny(s, r, false, "name a tenant with --tenant")
	}
	if s.Home == "" {
		for _, role := range s.Appliance {
			if slices.Contains(info.Roles, role) {
				return allow(s, r, info, string(role), false), nil
			}
		}
	}
	layers := s.Tenants[r.Tenant]
	if s.Home != "" && s.Home != r.Tenant {
		layers = nil
	}
	if len(layers) == 0 {
		if s.Home == "" {
			if role, ok := ownAppliance(s, info); ok {
				return allow(s, r, info, role, true), nil
			}
		}
		return deny(s, r, true, "")
	}
	var role string
	own := false
	for _, l := range layers {
		ok, ownOnly := l.allows(info, s.Principal, r)
		if !ok {
			return deny(s, r, false, needs(info))
		}
		role, own = l.name(), own || ownOnly
	}
	return allow(s, r, info, role, own), nil
}

func ownAppliance(s Subject, info Info) (string, bool) {
	for _, role := range s.Appliance {
		if slices.Contains(info.Own, role) {
			return string(role), true
		}
	}
	return "", false
}

func (l Layer) name() string {
	switch {
	case l.Role != "":
		return string(l.Role)
	case len(l.Policies) > 0:
		return "policies"
	}
	return "capabilities"
}

// allows decides for one layer; own reports that it does so only for what the
// principal owns.
func (l Layer) allows(info Info, p domain.Principal, r Request) (ok, own bool) {
	if info.Member {
		return true, false
	}
	if l.Role != "" {
		if slices.Contains(info.Roles, l.Role) {
			return true, false
		}
		if slices.Contains(info.Own, l.Role) {
			return r.OwnedBy == "" || r.OwnedBy == p.ID, true
		}
		return false, false
	}
	mine := info.Mine && (r.OwnedBy == "" || r.OwnedBy == p.ID)
	if len(l.Policies) > 0 {
		if route, ok := r.route(); ok && l.ACL.Allows(route) {
			return true, false
		}
		return mine, true
	}
	if info.Mine {
		return mine, true
	}
	switch info.Cap {
	case "":
		return false, false
	case capSQLRead:
		return l.SQL() >= SQLRead, false
	case capSQLWrite:
		return l.SQL() >= SQLReadWrite, false
	}
	for _, c := range l.Capabilities {
		if c.class != info.Cap {
			continue
		}
		if info.Resource == "prefix" && reaches(c.pattern, r.Resource) || matches(c.pattern, r.Resource) {
			return true, false
		}
	}
	return false, false
}

// SQL is the level that the layer gives inside the database.
func (l Layer) SQL() SQLLevel {
	switch {
	case l.Role != "":
		return sqlLevels[l.Role]
	case len(l.Policies) > 0 && l.ACL.Allows(routes[SQLQuery]) && l.ACL.Allows(routes[SQLWrite]):
		return SQLReadWrite
	case len(l.Policies) > 0 && l.ACL.Allows(routes[SQLQuery]):
		return SQLRead
	}
	level := SQLNone
	for _, c := range l.Capabilities {
		if c.class == capSQL {
			level = max(level, sqlLevels[domain.Role(c.pattern)])
		}
	}
	return level
}

// MayDelegate says whether the subject may hand out the layer in a tenant: it
// must hold itself, in every layer of its own, all that the new layer allows.
func MayDelegate(s Subject, tenant domain.TenantID, give Layer) error {
	mine := s.Tenants[tenant]
	if len(mine) == 0 || (s.Home != "" && s.Home != tenant) {
		_, err := deny(s, Request{Action: TokenIssue, Tenant: tenant}, true, "")
		return err
	}
	for _, l := range mine {
		if lacking := l.lacks(give); lacking != "" {
			return domain.Errorf(domain.Denied, "you cannot give what you do not hold: %s", lacking).
				WithHint("ask an owner, or give less")
		}
	}
	return nil
}

// lacks names something that give allows and l does not, "" if there is none.
func (l Layer) lacks(give Layer) string {
	switch {
	case len(l.Policies) > 0:
		return l.lacksUnder(give)
	case len(give.Policies) > 0 && l.Role != domain.Owner:
		return "policy " + give.Policies[0]
	case len(give.Policies) > 0:
		return "" // all that a policy can give is an owner's
	}
	if give.Role != "" {
		for _, info := range table {
			if info.Scope != Tenant {
				continue
			}
			full := slices.Contains(info.Roles, give.Role)
			own := slices.Contains(info.Own, give.Role)
			if !full && !own {
				continue
			}
			if l.Role == "" || (!slices.Contains(info.Roles, l.Role) && (full || !slices.Contains(info.Own, l.Role))) {
				return "role " + string(give.Role)
			}
		}
		return ""
	}
	for _, c := range give.Capabilities {
		if !l.holds(c) {
			return c.String()
		}
	}
	return ""
}

// holds says whether the layer allows all that the capability allows.
func (l Layer) holds(c Capability) bool {
	if c.class == capSQL {
		return l.SQL() >= sqlLevels[domain.Role(c.pattern)]
	}
	if l.Role == "" {
		return slices.ContainsFunc(l.Capabilities, func(m Capability) bool { return m.Covers(c) })
	}
	if c.class == capEngine || c.class == capTransit {
		return l.Role == domain.Owner
	}
	for _, info := range table {
		if info.Cap == c.class && !slices.Contains(info.Roles, l.Role) {
			return false
		}
	}
	return true
}

func allow(s Subject, r Request, info Info, role string, own bool) Grant {
	return Grant{&grant{subject: s, request: r, role: role, ownOnly: own, changes: info.Changes}}
}

func needs(info Info) string {
	names := make([]string, 0, len(info.Roles))
	for _, r := range info.Roles {
		names = append(names, string(r))
	}
	hint := string(info.Action) + " needs the role " + strings.Join(names, " or ")
	if info.Cap != "" {
		hint += ", or the capability " + string(info.Cap)
	}
	return hint
}

func deny(s Subject, r Request, foreign bool, hint string) (Grant, error) {
	err := domain.Errorf(domain.Denied, "not allowed, or there is no such tenant")
	if !foreign && hint != "" {
		err = domain.Errorf(domain.Denied, "not allowed: %s", r.Action).WithHint("%s", hint)
	}
	return Grant{}, &Denied{Subject: s, Request: r, Foreign: foreign, err: err}
}
