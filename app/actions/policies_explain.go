package actions

import (
	"context"
	"strings"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/policies"
	"coffer/app/store"
	"coffer/vault/token"
)

// PolicyExplainIn asks what one may, named in one of several ways, about a path or
// an action.
type PolicyExplainIn struct {
	Tenant   string   `path:"tenant" json:"-"`
	Role     string   `json:"role,omitempty" doc:"whoever has the role"`
	Policies []string `json:"policies,omitempty" doc:"whoever has these policies and nothing else" schema:"maxItems=64"`
	Workload string   `json:"workload,omitempty" doc:"the workload of that name"`
	Member   string   `json:"member,omitempty" doc:"the member of that name"`
	Token    string   `json:"token,omitempty" doc:"the live token with that accessor"`

	Path       string `json:"path,omitempty" doc:"a path in the tenant, such as secret/data/stripe/live; a folder ends in a slash"`
	Capability string `json:"capability,omitempty" doc:"what is to be done on the path, such as read; all that may be done if absent"`
	Action     string `json:"action,omitempty" doc:"an action such as secret.read, in place of a path"`
	Resource   string `json:"resource,omitempty" doc:"on what, such as stripe/live"`
}

// PolicyExplained is the answer, and why.
type PolicyExplained struct {
	Who string `json:"who"`
	authz.Explanation
	Has       []string `json:"has,omitempty" doc:"all capabilities that it has on the path"`
	Sentences []string `json:"sentences" doc:"the same for people"`
}

// PolicyExplain says what somebody may, by the same evaluator that decides.
var PolicyExplain = Operation[PolicyExplainIn, PolicyExplained]{
	action: authz.PolicyExplain,
	ask: func(_ context.Context, _ *Service, in PolicyExplainIn) (r authz.Request, err error) {
		if r.Tenant, err = domain.ParseTenantID(in.Tenant); err != nil {
			return r, err
		}
		if _, err = in.asked(); err != nil {
			return r, err
		}
		r.Resource, err = in.who()
		return r, err
	},
	act: func(ctx context.Context, c *call, in PolicyExplainIn) (out PolicyExplained, err error) {
		err = c.db.View(ctx, func(tx *store.Tx) error {
			s, err := c.explained(tx, in)
			if err != nil {
				return err
			}
			r, err := in.asked()
			if err != nil {
				return err
			}
			r.Tenant, r.OwnedBy = c.permit.Tenant(), s.Principal.ID
			out.Who, _ = in.who()
			out.Explanation = authz.Explain(s, r)
			if out.Path != "" {
				out.Has = s.PowersOn(r.Tenant, out.Path).Names()
			}
			out.Sentences = out.sentences(r)
			return nil
		})
		return out, err
	},
}

// who names whom the question is about; exactly one way of naming is given.
func (in PolicyExplainIn) who() (string, error) {
	var given []string
	for _, way := range [][2]string{
		{"role", in.Role}, {"policies", strings.Join(in.Policies, ", ")}, {"workload", in.Workload}, {"member", in.Member}, {"token", in.Token},
	} {
		if way[1] != "" {
			given = append(given, way[0]+" "+way[1])
		}
	}
	if len(given) != 1 {
		return "", domain.Fieldf("role", "name one: a role, policies, a workload, a member or a token's accessor")
	}
	var err error
	switch {
	case in.Role != "":
		_, err = domain.ParseTenantRole(in.Role)
	case len(in.Policies) > 0:
		_, err = policies.ParseNames(in.Policies)
	case in.Workload != "":
		_, err = domain.ParseName("workload", in.Workload)
	case in.Member != "":
		_, err = domain.ParseName("member", in.Member)
	default:
		_, err = domain.ParseName("token", in.Token)
	}
	return given[0], err
}

// asked is the request that is explained.
func (in PolicyExplainIn) asked() (r authz.Request, err error) {
	if (in.Path == "") == (in.Action == "") {
		return r, domain.Fieldf("path", "give a path, or an action")
	}
	if in.Action != "" {
		r.Action, r.Resource = domain.Action(in.Action), in.Resource
		info, known := authz.Lookup(r.Action)
		switch {
		case !known:
			return r, domain.Fieldf("action", "there is no action %.64q", in.Action).WithHint("see: coffer action list")
		case info.Scope == authz.Appliance:
			return r, domain.Fieldf("action", "%s is about the appliance, and no tenant", r.Action)
		case in.Capability != "":
			return r, domain.Fieldf("capability", "an action says itself what it needs")
		case r.Resource != "" && info.Resource == "prefix":
			r.Resource, err = domain.ParseSecretPrefix(r.Resource)
		case r.Resource != "":
			_, err = domain.ParseSecretPath(r.Resource)
		}
		return r, inField("resource", err)
	}
	if r.Route.Path, err = parsePath(in.Path); err != nil {
		return r, err
	}
	for _, word := range splitWords(in.Capability) {
		power, ok := authz.ParsePower(word)
		if !ok || power == authz.Deny {
			return r, domain.Fieldf("capability", "%.40q is none of create, read, update, patch, delete, list and sudo", word)
		}
		r.Route.Powers |= power
	}
	if r.Route.Powers == authz.MayList && !strings.HasSuffix(r.Route.Path, "/") {
		r.Route.Path += "/"
	}
	return r, nil
}

// explained is the subject as it would come.
func (c *call) explained(tx *store.Tx, in PolicyExplainIn) (s authz.Subject, err error) {
	tenant := c.permit.Tenant()
	var layer authz.Layer
	s.Principal = domain.Principal{Kind: domain.Person, ID: "p_anybody"}
	switch {
	case in.Role != "":
		layer.Role, err = domain.ParseTenantRole(in.Role)
	case len(in.Policies) > 0:
		s.Principal, s.Home = domain.Principal{Kind: domain.Workload, ID: "w_anybody"}, tenant
		layer.Policies = in.Policies
		err = policies.Check(tx, tenant, in.Policies)
	case in.Workload != "":
		var w directory.Workload
		w, err = directory.WorkloadByName(tx, tenant, in.Workload)
		s.Principal, s.Home, layer = domain.Principal{Kind: domain.Workload, ID: w.ID}, tenant, w.Layer()
	case in.Member != "":
		p, found, err := directory.PersonByName(tx, in.Member)
		if err != nil {
			return s, err
		}
		m, member, err := directory.Membership(tx, tenant, p.ID, c.clock.Now())
		if err != nil {
			return s, err
		}
		if !found || !member {
			return s, domain.Errorf(domain.NotFound, "there is no member %q", in.Member).WithHint("see: coffer member list")
		}
		s.Principal.ID, layer.Role = p.ID, m.Role
	default:
		t, err := token.Held(tx, tenant, in.Token, c.clock.Now())
		if err != nil {
			return s, err
		}
		return authn.SubjectOf(tx, t, c.clock.Now())
	}
	if err == nil {
		layer, err = policies.Resolve(tx, tenant, layer)
	}
	s.Tenants = map[domain.TenantID][]authz.Layer{tenant: {layer}}
	return s, err
}

// sentences say it to people.
func (e PolicyExplained) sentences(r authz.Request) (out []string) {
	what := string(r.Action)
	switch {
	case r.Action != "" && r.Resource != "":
		what += " on " + r.Resource
	case r.Action == "" && len(e.Needs) == 0:
		what = "anything on " + e.Path
	case r.Action == "":
		what = strings.Join(e.Needs, " and ") + " on " + e.Path
	}
	verdict := "may not do"
	if e.Allowed {
		verdict = "may do"
	}
	out = append(out, e.Who+" "+verdict+": "+what+".")
	if r.Action != "" && e.Path != "" {
		out = append(out, "Policies decide about it by "+strings.Join(e.Needs, " and ")+" on "+e.Path+".")
	}
	if e.Why != "" {
		out = append(out, "Why: "+e.Why+".")
	}
	for _, reason := range e.Reasons {
		text := "The layer “" + reason.Bound + "” refuses it"
		if reason.Allowed {
			text = "The layer “" + reason.Bound + "” allows it"
		}
		switch {
		case reason.Rule != "":
			text += ": the rule for " + reason.Rule + " in " + strings.Join(reason.Policies, ", ") + " decides, and gives " + strings.Join(reason.Gives, ", ")
		case strings.HasPrefix(reason.Bound, "policies ") && e.Path != "":
			text += ": no rule of them matches the path"
		case e.Path != "":
			text += ": on the path it gives " + strings.Join(reason.Gives, ", ")
		}
		out = append(out, text+".")
	}
	return out
}
