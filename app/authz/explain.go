package authz

import (
	"slices"
	"strings"

	"coffer/app/domain"
)

// Reason is what one layer says about a request.
type Reason struct {
	Bound    string   `json:"bound" doc:"the layer: role NAME, capabilities, or policies NAMES"`
	Allowed  bool     `json:"allowed"`
	Rule     string   `json:"rule,omitempty" doc:"path of the rule that decides, in a layer of policies"`
	Policies []string `json:"policies,omitempty" doc:"in which it stands"`
	Gives    []string `json:"gives" doc:"capabilities that the layer gives on the path"`
}

// Explanation says whether a request is allowed, and why.
type Explanation struct {
	Allowed bool     `json:"allowed"`
	Path    string   `json:"path,omitempty" doc:"the path that was decided about; none if no policy gives the action"`
	Needs   []string `json:"needs,omitempty" doc:"capabilities that are needed on it"`
	Why     string   `json:"why,omitempty" doc:"the reason, if no layer is it"`
	Reasons []Reason `json:"reasons"`
}

// Explain decides as Authorize does, and tells why. Without an action it is about
// the request's route alone.
func Explain(s Subject, r Request) Explanation {
	e := Explanation{Reasons: []Reason{}}
	route, routed := r.Route.needs(), r.Action == ""
	if r.Action != "" {
		_, err := Authorize(s, r)
		e.Allowed = err == nil
		if route, routed = r.route(); !routed {
			e.Why = unrouted[r.Action]
			if byAction[r.Action].Scope == Open {
				e.Why = "it is about the caller itself, who needs nothing for it"
			}
		}
	} else {
		gives := s.PowersOn(r.Tenant, route.Path)
		e.Allowed = gives.has(route.Powers) || r.Route.Powers == 0 && gives != 0
		if defaultACL.Allows(route) {
			e.Why = "the default policy gives it to every token"
		}
	}
	if routed {
		e.Path = route.Path
		if route.Powers != 0 {
			e.Needs = route.Powers.Names()
		}
	}
	for _, l := range s.Tenants[r.Tenant] {
		e.Reasons = append(e.Reasons, l.reason(s.Principal, r, route))
	}
	if len(e.Reasons) == 0 && e.Why == "" {
		e.Why = "it holds nothing in the tenant"
	}
	return e
}

func (l Layer) reason(p domain.Principal, r Request, route Route) Reason {
	gives := l.powersOn(p, route.Path)
	out := Reason{Bound: "capabilities", Allowed: gives.has(route.Powers) || r.Route.Powers == 0 && gives != 0 && gives&Deny == 0, Gives: gives.Names()}
	switch {
	case l.Role != "":
		out.Bound = "role " + string(l.Role)
	case len(l.Policies) > 0:
		out.Bound = "policies " + strings.Join(l.Policies, ", ")
		if e := l.ACL.find(route.Path); e != nil {
			out.Rule, out.Policies = e.path, slices.Clone(e.policies)
		}
	}
	if info, known := byAction[r.Action]; known {
		out.Allowed, _ = l.allows(info, p, r)
	}
	return out
}

// PowersOn are what the subject has on a path of the tenant: what every layer gives,
// and the default policy.
func (s Subject) PowersOn(tenant domain.TenantID, path string) Powers {
	layers := s.Tenants[tenant]
	if len(layers) == 0 || s.Home != "" && s.Home != tenant {
		return 0
	}
	all := Deny - 1
	for _, l := range layers {
		p := l.powersOn(s.Principal, path)
		if p&Deny != 0 {
			p = 0
		}
		all &= p
	}
	return all | defaultACL.Powers(path)
}

// powersOn are what a layer gives on a path. For a role and for capabilities it is
// read from the actions that have a route there.
func (l Layer) powersOn(p domain.Principal, path string) (out Powers) {
	if len(l.Policies) > 0 {
		return l.ACL.Powers(path)
	}
	give := func(a domain.Action, route Route) {
		name, ok := route.resourceIn(path)
		if !ok {
			return
		}
		if may, _ := l.allows(byAction[a], p, Request{Action: a, Resource: name}); may {
			out |= route.needs().Powers
		}
	}
	for a, route := range routes {
		give(a, route)
	}
	for _, o := range furtherRoutes {
		give(o.Action, o.Route)
	}
	return out
}
