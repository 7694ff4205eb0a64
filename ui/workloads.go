package ui

import (
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
)

// workloadsView lists a client's workloads and makes one. What a workload logs
// in with is shown this once.
type workloadsView struct {
	base
	form
	paged
	Workloads []workloadRow
	Made      *credentials
	MayCreate bool
	MayIssue  bool
	MayRemove bool
}

type workloadRow struct {
	Name    string
	RoleID  string
	Grants  []string
	TTL     string
	By      string
	Created time.Time
}

type credentials struct {
	Workload, RoleID, SecretID, Accessor string
	Expires                              time.Time
	Snippets                             []snippet
}

func (u *UI) workloads(r *request) error { return r.workloadsPage(form{}, nil) }

func (r *request) workloadsPage(f form, made *credentials) error {
	out, err := do(r, actions.WorkloadList, r.tenantPage())
	if err != nil {
		return err
	}
	v := workloadsView{base: r.base("Workloads"), form: f, Made: made}
	v.MayCreate, v.MayIssue, v.MayRemove = r.me.May(authz.WorkloadCreate), r.me.May(authz.WorkloadSecretID), r.me.May(authz.WorkloadRemove)
	v.Tabs, v.Next = markTab(v.Tabs, "Workloads"), out.Next
	var ids []string
	for _, w := range out.Workloads {
		ids = append(ids, "person:"+w.CreatedBy, "workload:"+w.CreatedBy)
	}
	names, err := r.service.Names(r.ctx, r.tenant, ids)
	if err != nil {
		return err
	}
	for _, w := range out.Workloads {
		v.Workloads = append(v.Workloads, workloadRow{
			Name: w.Name, RoleID: w.RoleID, Grants: texts(w.Capabilities), TTL: spanText(time.Duration(w.TokenTTL)),
			By: issuer(names, w.CreatedBy), Created: w.Created,
		})
	}
	return r.render(f.status(), "workloads", v)
}

func (u *UI) workloadCreate(r *request) error {
	in := actions.WorkloadCreateIn{Tenant: string(r.tenant), Name: r.text("name"), Grants: r.grants()}
	var err error
	var out actions.Credentials
	if in.TokenTTL, err = parseSpan("ttl", r.text("ttl")); err == nil {
		out, err = do(r, actions.WorkloadCreate, in)
	}
	return r.workloadMade("create", out, err)
}

func (u *UI) workloadSecretID(r *request) error {
	out, err := do(r, actions.WorkloadSecretID, actions.WorkloadRef{Tenant: string(r.tenant), Name: r.text("name")})
	return r.workloadMade("secret-id", out, err)
}

// workloadMade shows credentials, or why there are none.
func (r *request) workloadMade(which string, out actions.Credentials, err error) error {
	if err != nil {
		f, err := r.refused(which, err)
		if err != nil {
			return err
		}
		return r.workloadsPage(f, nil)
	}
	made := &credentials{Workload: out.Workload, RoleID: out.RoleID, SecretID: string(out.SecretID.Reveal()), Accessor: out.Accessor, Expires: out.Expires}
	for _, s := range r.ui.snippets(r.tenant, "", made.RoleID, made.SecretID) {
		if s.ID == "login" {
			made.Snippets = append(made.Snippets, s)
		}
	}
	return r.workloadsPage(form{}, made)
}

func (u *UI) workloadRemove(r *request) error {
	if _, err := do(r, actions.WorkloadRemove, actions.WorkloadRef{Tenant: string(r.tenant), Name: r.text("name")}); err != nil {
		f, err := r.refused("remove", err)
		if err != nil {
			return err
		}
		return r.workloadsPage(f, nil)
	}
	return r.seeOther(clientPath(r.tenant, "workloads"), "workload-gone")
}
