package actions

import (
	"context"
	"slices"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/policies"
	"coffer/app/store"
)

// PolicyRef names a policy.
type PolicyRef struct {
	Tenant string `path:"tenant" json:"-"`
	Name   string `path:"name" json:"-"`
}

func (r PolicyRef) ask(context.Context, *Service) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(r.Tenant)
	if err == nil {
		_, err = domain.ParseName("name", r.Name)
	}
	return authz.Request{Tenant: tenant, Resource: r.Name}, err
}

func askPolicy(ctx context.Context, s *Service, in PolicyRef) (authz.Request, error) {
	return in.ask(ctx, s)
}

// PolicyPutIn is a policy as it is to be stored.
type PolicyPutIn struct {
	Tenant string `path:"tenant" json:"-"`
	Name   string `path:"name" json:"-"`
	Policy string `json:"policy" doc:"paths and capabilities, in Vault's HCL or JSON" schema:"minLength=1,maxLength=65536"`
}

// PolicyInfo is a policy.
type PolicyInfo struct {
	Name     string     `json:"name"`
	Policy   string     `json:"policy,omitempty" doc:"its text; not in a list"`
	ReadOnly bool       `json:"read_only,omitempty" doc:"it says what a role may, or what every token may, and nobody writes it"`
	Rules    int        `json:"rules,omitempty" doc:"number of its paths"`
	Revision int        `json:"revision,omitempty" doc:"counted from 1, whenever it is written"`
	By       string     `json:"by,omitempty" doc:"id of who wrote it last"`
	Changed  *time.Time `json:"changed,omitempty"`
}

func policyInfo(p policies.Policy, text bool) PolicyInfo {
	rules, _ := policies.Parse(p.Name, p.Text)
	out := PolicyInfo{Name: p.Name, Rules: len(rules), Revision: p.Revision, By: p.By, Changed: &p.Changed}
	if text {
		out.Policy = p.Text
	}
	return out
}

// PolicyPut writes a policy. It acts at once for all who hold it.
var PolicyPut = Operation[PolicyPutIn, PolicyInfo]{
	action: authz.PolicyPut,
	ask: func(ctx context.Context, s *Service, in PolicyPutIn) (authz.Request, error) {
		r, err := PolicyRef{in.Tenant, in.Name}.ask(ctx, s)
		if err == nil && policies.BuiltIn(in.Name) {
			err = policies.ErrBuiltIn
		}
		if err == nil {
			_, err = policies.Parse(in.Name, in.Policy)
		}
		return r, err
	},
	act: func(ctx context.Context, c *call, in PolicyPutIn) (PolicyInfo, error) {
		p := policies.Policy{Name: in.Name, Text: in.Policy, By: c.who.Subject.Principal.ID, Changed: c.clock.Now().UTC()}
		err := c.change(ctx, func(tx *store.Tx) (err error) {
			p, err = policies.Save(tx, c.permit.Tenant(), p)
			return err
		})
		if err != nil {
			return PolicyInfo{}, err
		}
		c.detail["revision"] = p.Revision
		return policyInfo(p, true), nil
	},
}

// PolicyRead gives a policy, also that of a role.
var PolicyRead = Operation[PolicyRef, PolicyInfo]{
	action: authz.PolicyRead,
	ask:    askPolicy,
	act: func(ctx context.Context, c *call, in PolicyRef) (out PolicyInfo, err error) {
		if text, ok := authz.BuiltInText(in.Name); ok {
			return PolicyInfo{Name: in.Name, Policy: text, ReadOnly: true}, nil
		}
		err = c.db.View(ctx, func(tx *store.Tx) error {
			p, err := policies.Find(tx, c.permit.Tenant(), in.Name)
			out = policyInfo(p, true)
			return err
		})
		return out, err
	},
}

// PolicyListOut is a page of a tenant's policies by name, those of roles before all
// others; Next is the cursor of the one after it.
type PolicyListOut struct {
	Policies []PolicyInfo `json:"policies"`
	Next     string       `json:"next,omitempty"`
}

// PolicyList lists policies, without their texts.
var PolicyList = Operation[TenantPage, PolicyListOut]{
	action: authz.PolicyList,
	ask:    askTenantPage,
	act: func(ctx context.Context, c *call, in TenantPage) (PolicyListOut, error) {
		out := PolicyListOut{Policies: []PolicyInfo{}}
		if in.After == "" {
			for _, name := range BuiltInPolicies() {
				out.Policies = append(out.Policies, PolicyInfo{Name: name, ReadOnly: true})
			}
		}
		var found []PolicyInfo
		limit := in.size()
		err := c.db.View(ctx, func(tx *store.Tx) error {
			return policies.Each(tx, c.permit.Tenant(), in.After, func(p policies.Policy) error {
				if found = append(found, policyInfo(p, false)); len(found) > limit {
					return store.ErrStop
				}
				return nil
			})
		})
		found, out.Next = cut(found, limit, func(p PolicyInfo) string { return p.Name })
		out.Policies = append(out.Policies, found...)
		c.detail["count"] = len(out.Policies)
		return out, err
	},
}

// BuiltInPolicies are the names of those that nobody writes.
func BuiltInPolicies() []string {
	out := []string{authz.DefaultPolicy}
	for _, role := range domain.TenantRoles() {
		out = append(out, string(role))
	}
	return out
}

// PolicyRemove removes a policy.
var PolicyRemove = Operation[PolicyRef, PolicyInfo]{
	action: authz.PolicyRemove,
	ask: func(ctx context.Context, s *Service, in PolicyRef) (authz.Request, error) {
		r, err := in.ask(ctx, s)
		if err == nil && policies.BuiltIn(in.Name) {
			err = policies.ErrBuiltIn
		}
		return r, err
	},
	act: func(ctx context.Context, c *call, in PolicyRef) (out PolicyInfo, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			p, err := policies.Remove(tx, c.permit.Tenant(), in.Name)
			out = policyInfo(p, false)
			return err
		})
		return out, err
	},
}

// PolicySelfIn asks what the caller may on paths.
type PolicySelfIn struct {
	Tenant string   `path:"tenant" json:"-"`
	Paths  []string `json:"paths" doc:"paths in the tenant, such as secret/data/stripe/live; a folder ends in a slash" schema:"minItems=1,maxItems=128"`
}

// PolicySelfOut says for each path what the caller has there.
type PolicySelfOut struct {
	Capabilities map[string][]string `json:"capabilities" doc:"capabilities by path; deny for none"`
}

// PolicySelf says what the caller may.
var PolicySelf = Operation[PolicySelfIn, PolicySelfOut]{
	action: authz.PolicySelf,
	ask: func(_ context.Context, _ *Service, in PolicySelfIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err == nil {
			_, err = parsePaths(in.Paths)
		}
		return authz.Request{Tenant: tenant}, err
	},
	act: func(_ context.Context, c *call, in PolicySelfIn) (PolicySelfOut, error) {
		return powersOn(c.who.Subject, c.permit.Tenant(), in.Paths), nil
	},
}

func powersOn(s authz.Subject, tenant domain.TenantID, paths []string) PolicySelfOut {
	out := PolicySelfOut{Capabilities: map[string][]string{}}
	for _, asked := range paths {
		path, _ := parsePath(asked) // which ask has checked
		out.Capabilities[asked] = s.PowersOn(tenant, path).Names()
	}
	return out
}

// maxPaths is about how many paths one may ask at once.
const maxPaths = 128

func parsePaths(paths []string) (out []string, err error) {
	if len(paths) == 0 || len(paths) > maxPaths {
		return nil, domain.Fieldf("paths", "%d paths are not between 1 and %d", len(paths), maxPaths)
	}
	for _, p := range paths {
		if p, err = parsePath(p); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// parsePath reads a path as policies see it.
func parsePath(s string) (string, error) {
	p, err := authz.ParseRulePath(s)
	if err == nil && strings.ContainsAny(p, "+*") {
		err = domain.Fieldf("path", "a path that is asked about has no + and no *")
	}
	return p, inField("path", err)
}

// splitWords reads words with commas or blanks between them.
func splitWords(s string) []string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(words)
	return slices.Compact(words)
}
