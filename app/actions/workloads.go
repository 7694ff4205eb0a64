package actions

import (
	"cmp"
	"context"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/policies"
	"coffer/app/store"
	"coffer/vault/lease"
	"coffer/vault/token"
)

// WorkloadCreateIn describes a workload and its first secret id.
type WorkloadCreateIn struct {
	Tenant       string   `path:"tenant" json:"-"`
	Name         string   `json:"name" doc:"unique in the tenant: 1 to 64 of a-z, 0-9 and . _ - between them" schema:"maxLength=64"`
	Grants       []string `json:"grants,omitempty" doc:"capabilities such as secret:read:stripe/* or sql:analyst, none wider than the caller's" schema:"maxItems=64"`
	Policies     []string `json:"policies,omitempty" doc:"names of ACL policies, in place of grants" schema:"maxItems=64"`
	TokenTTL     Duration `json:"token_ttl,omitempty" doc:"lifetime of its tokens, 1s to 24h" schema:"default=1h"`
	SecretIDTTL  Duration `json:"secret_id_ttl,omitempty" doc:"lifetime of the first secret id, up to 2160h" schema:"default=720h"`
	SecretIDUses int      `json:"secret_id_uses,omitempty" doc:"logins with the first secret id; any number if 0" schema:"minimum=0,maximum=1000000,default=0"`

	Bare bool `json:"-"` // without a secret id
}

// Credentials are what a workload logs in with; the secret id is shown this once.
type Credentials struct {
	Workload string            `json:"workload"`
	RoleID   string            `json:"role_id"`
	SecretID domain.Disclosure `json:"secret_id" doc:"the secret id, shown this once"`
	Accessor string            `json:"secret_id_accessor"`
	Expires  time.Time         `json:"secret_id_expires"`
}

// WorkloadCreate makes a workload no wider than its maker.
var WorkloadCreate = Operation[WorkloadCreateIn, Credentials]{
	action:  authz.WorkloadCreate,
	creates: true,
	ask: func(_ context.Context, _ *Service, in WorkloadCreateIn) (authz.Request, error) {
		_, err := in.workload()
		if err != nil {
			return authz.Request{}, err
		}
		return authz.Request{Tenant: domain.TenantID(in.Tenant), Resource: in.Name}, in.secretID().Check()
	},
	act: func(ctx context.Context, c *call, in WorkloadCreateIn) (out Credentials, err error) {
		w, err := in.workload()
		if err != nil {
			return Credentials{}, err
		}
		w.CreatedBy = c.who.Subject.Principal.ID
		if len(in.Policies) > 0 {
			c.detail["policies"] = w.Policies
		} else {
			c.detail["grants"] = in.Grants
		}
		// Who holds too little is told before there is an intent.
		if err := c.db.View(ctx, func(tx *store.Tx) error { return c.mayGive(tx, w.Layer()) }); err != nil {
			return Credentials{}, err
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			if err := c.mayGive(tx, w.Layer()); err != nil {
				return err
			}
			w, err := directory.AddWorkload(tx, w, c.clock.Now())
			if err != nil {
				return err
			}
			if in.Bare {
				out = Credentials{Workload: w.Name, RoleID: w.ID}
				return nil
			}
			out, err = c.newSecretID(tx, w, in.secretID())
			return err
		})
		if err == nil {
			c.detail["workload"] = out.RoleID
		}
		if err == nil && !in.Bare {
			c.detail["secret_id"] = out.Accessor
		}
		return out, err
	},
}

func (in WorkloadCreateIn) workload() (w directory.Workload, err error) {
	if w.Tenant, err = domain.ParseTenantID(in.Tenant); err != nil {
		return w, err
	}
	if w.Name, err = domain.ParseName("name", in.Name); err != nil {
		return w, err
	}
	switch {
	case len(in.Policies) > 0 && len(in.Grants) > 0:
		return w, domain.Fieldf("policies", "give grants or policies, not both")
	case len(in.Policies) > 0:
		w.Policies, err = policies.ParseNames(in.Policies)
	default:
		w.Capabilities, err = authz.ParseCapabilities(in.Grants)
		err = inField("grants", err)
	}
	if err != nil {
		return w, err
	}
	w.TokenTTL, err = domain.ParseTTL(time.Duration(in.TokenTTL))
	return w, inField("token_ttl", err)
}

// mayGive says whether the caller may hand the layer out. Policies must be there,
// and count as what they say now.
func (c *call) mayGive(tx *store.Tx, give authz.Layer) error {
	tenant := c.permit.Tenant()
	if err := policies.Check(tx, tenant, give.Policies); err != nil {
		return err
	}
	give, err := policies.Resolve(tx, tenant, give)
	if err != nil {
		return err
	}
	return authz.MayDelegate(c.who.Subject, tenant, give)
}

func (in WorkloadCreateIn) secretID() directory.SecretIDSpec {
	return directory.SecretIDSpec{TTL: time.Duration(in.SecretIDTTL), Uses: in.SecretIDUses}
}

func (c *call) newSecretID(tx *store.Tx, w directory.Workload, spec directory.SecretIDSpec) (Credentials, error) {
	text, s, err := directory.AddSecretID(tx, w, spec, c.clock.Now())
	return Credentials{
		Workload: w.Name, RoleID: w.ID, SecretID: domain.DiscloseText(text), Accessor: s.Accessor, Expires: s.Expires,
	}, err
}

// WorkloadRef names a workload, with the bounds of a further secret id where one
// is issued.
type WorkloadRef struct {
	Tenant string   `path:"tenant" json:"-"`
	Name   string   `path:"name" json:"-"`
	TTL    Duration `json:"ttl,omitempty" doc:"lifetime of the secret id, up to 2160h" schema:"default=720h"`
	Uses   int      `json:"uses,omitempty" doc:"logins with it; any number if 0" schema:"minimum=0,maximum=1000000,default=0"`
}

// askWorkload reads the input; whether the workload exists is said by act.
func askWorkload(_ context.Context, _ *Service, in WorkloadRef) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(in.Tenant)
	if err != nil {
		return authz.Request{}, err
	}
	if _, err := domain.ParseName("name", in.Name); err != nil {
		return authz.Request{}, err
	}
	if err := (directory.SecretIDSpec{TTL: time.Duration(in.TTL)}).Check(); err != nil {
		return authz.Request{}, inField("ttl", err)
	}
	if err := (directory.SecretIDSpec{Uses: in.Uses}).Check(); err != nil {
		return authz.Request{}, inField("uses", err)
	}
	return authz.Request{Tenant: tenant, Resource: in.Name}, nil
}

// ownerOfWorkload is who made the workload, "" if there is none: act says so.
func ownerOfWorkload(tx *store.Tx, in WorkloadRef) (string, error) {
	w, err := directory.WorkloadByName(tx, domain.TenantID(in.Tenant), in.Name)
	if domain.KindOf(err) == domain.NotFound {
		err = nil
	}
	return w.CreatedBy, err
}

// workload finds the workload to change. One that took the name since the
// decision need not be the caller's.
func (c *call) workload(tx *store.Tx, name string) (directory.Workload, error) {
	w, err := directory.WorkloadByName(tx, c.permit.Tenant(), name)
	if err == nil && c.permit.Grant().OwnOnly() && w.CreatedBy != c.who.Subject.Principal.ID {
		err = domain.Errorf(domain.Denied, "the workload %q is not yours", name)
	}
	return w, err
}

// WorkloadSecretID issues a further secret id.
var WorkloadSecretID = Operation[WorkloadRef, Credentials]{
	action:  authz.WorkloadSecretID,
	creates: true,
	ask:     askWorkload,
	owner:   ownerOfWorkload,
	act: func(ctx context.Context, c *call, in WorkloadRef) (out Credentials, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			w, err := c.workload(tx, in.Name)
			if err != nil {
				return err
			}
			// A secret id logs in as the workload: whoever gets one must
			// hold what the workload holds.
			if err := c.mayGive(tx, w.Layer()); err != nil {
				return err
			}
			out, err = c.newSecretID(tx, w, directory.SecretIDSpec{TTL: time.Duration(in.TTL), Uses: in.Uses})
			return err
		})
		c.detail["secret_id"] = out.Accessor
		return out, err
	},
}

// WorkloadInfo is what can be shown of a workload.
type WorkloadInfo struct {
	Name         string             `json:"name"`
	RoleID       string             `json:"role_id"`
	Capabilities []authz.Capability `json:"capabilities"`
	Policies     []string           `json:"policies,omitempty"`
	TokenTTL     Duration           `json:"token_ttl"`
	CreatedBy    string             `json:"created_by"`
	Created      time.Time          `json:"created"`
}

// WorkloadListOut is a page of a tenant's workloads; Next is the cursor of the one
// after it.
type WorkloadListOut struct {
	Workloads []WorkloadInfo `json:"workloads"`
	Next      string         `json:"next,omitempty"`
}

// WorkloadList lists workloads by role id; some roles see their own only.
var WorkloadList = Operation[TenantPage, WorkloadListOut]{
	action: authz.WorkloadList,
	ask:    askTenantPage,
	act: func(ctx context.Context, c *call, in TenantPage) (WorkloadListOut, error) {
		out := WorkloadListOut{Workloads: []WorkloadInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			mine := func(w directory.Workload) bool {
				return !c.permit.Grant().OwnOnly() || w.CreatedBy == c.who.Subject.Principal.ID
			}
			limit := in.size()
			page, err := directory.WorkloadPage(tx, c.permit.Tenant(), in.After, limit+1, mine)
			page, out.Next = cut(page, limit, func(w directory.Workload) string { return w.ID })
			for _, w := range page {
				out.Workloads = append(out.Workloads, WorkloadInfo{
					Name: w.Name, RoleID: w.ID, Capabilities: w.Capabilities, Policies: w.Policies,
					TokenTTL: Duration(w.TokenTTL), CreatedBy: w.CreatedBy, Created: w.Created,
				})
			}
			return err
		})
		c.detail["count"] = len(out.Workloads)
		return out, err
	},
}

// Removed says how many tokens ended with what was removed.
type Removed struct {
	TokensRevoked int `json:"tokens_revoked"`
}

// WorkloadRemove removes a workload, its secret ids and its tokens.
var WorkloadRemove = Operation[WorkloadRef, Removed]{
	action: authz.WorkloadRemove,
	ask:    askWorkload,
	owner:  ownerOfWorkload,
	act: func(ctx context.Context, c *call, in WorkloadRef) (out Removed, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			w, err := c.workload(tx, in.Name)
			if err != nil {
				return err
			}
			out.TokensRevoked, err = token.RevokeWhere(tx, w.Tenant, func(t token.Token) bool { return t.Principal.ID == w.ID })
			return cmp.Or(err, lease.RevokePrincipal(tx, w.Tenant, w.ID, c.clock.Now()), directory.RemoveWorkload(tx, w))
		})
		return out, err
	},
}
