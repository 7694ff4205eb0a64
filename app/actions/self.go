package actions

import (
	"context"
	"strings"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants/guard"
)

// Self is a caller as a page shows it to itself. It decides nothing: whatever it
// says, the operation decides again.
type Self struct {
	Name    string // of a person
	subject authz.Subject
	tenant  domain.TenantID
}

// Self looks at a caller, with what it holds in a tenant ("" for none). It says
// nothing that the caller is not, and no event is written for it.
func (s *Service) Self(ctx context.Context, subject authz.Subject, tenant domain.TenantID) (Self, error) {
	me := Self{subject: subject, tenant: tenant}
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		if tenant != "" && subject.Principal.Kind == domain.Person {
			if me.subject, err = authn.Again(tx, subject, tenant, s.clock.Now()); err != nil {
				return err
			}
		}
		p, _, err := directory.PersonByID(tx, subject.Principal.ID)
		me.Name = p.Name
		return err
	})
	return me, err
}

// May says whether it would be of use to offer an action.
func (me Self) May(action domain.Action) bool {
	info, known := authz.Lookup(action)
	if !known {
		return false
	}
	r := authz.Request{Action: action, OwnedBy: me.subject.Principal.ID}
	if info.Scope == authz.Tenant {
		r.Tenant = me.tenant
	}
	_, err := authz.Authorize(me.subject, r)
	return err == nil
}

// Role is the caller's role in the tenant, "" if there is none.
func (me Self) Role() domain.Role {
	for _, layer := range me.subject.Tenants[me.tenant] {
		return layer.Role
	}
	return ""
}

// Appliance says whether the caller has a role on the whole appliance.
func (me Self) Appliance() bool { return len(me.subject.Appliance) > 0 }

// Offer says whether the form of an action may be shown to a caller. A refusal
// is logged like that of the action itself.
func (s *Service) Offer(ctx context.Context, who Caller, action domain.Action, tenant string) (audit.Receipt, error) {
	r := authz.Request{Action: action, OwnedBy: who.Subject.Principal.ID}
	var err error
	if tenant != "" {
		if r.Tenant, err = domain.ParseTenantID(tenant); err != nil {
			return audit.Receipt{}, err
		}
	}
	if who.Subject, err = s.holds(ctx, who.Subject, r.Tenant); err != nil {
		return audit.Receipt{}, err
	}
	if _, err = s.authorize(ctx, who, r); err != nil {
		return s.refuse(ctx, who, err)
	}
	return audit.Receipt{}, nil
}

// Names gives the names of persons and workloads that stand in a tenant's log by
// their ids ("" for the appliance's own log), for somebody who has read it. Ids
// of whom the directory knows nothing any more are left out.
func (s *Service) Names(ctx context.Context, tenant domain.TenantID, ids []string) (map[string]string, error) {
	names := map[string]string{}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		for _, full := range ids {
			kind, id, _ := strings.Cut(full, ":")
			switch {
			case id == "" || names[full] != "":
			case kind == string(domain.Person):
				p, found, err := directory.PersonByID(tx, id)
				if err != nil {
					return err
				}
				if found {
					names[full] = p.Name
				}
			case kind == string(domain.Workload) && tenant != "":
				w, found, err := directory.WorkloadByID(tx, tenant, id)
				if err != nil {
					return err
				}
				if found {
					names[full] = w.Name
				}
			}
		}
		return nil
	})
	return names, err
}

// Grew says up to where a tenant's log has been looked through, and whether
// something other than reading it stands behind a record: so that two people who
// follow a log do not keep each other reading. It is answered only to whoever may
// read the log, says no more than that, and no event is written for it.
func (s *Service) Grew(ctx context.Context, subject authz.Subject, tenant domain.TenantID, after uint64) (seen uint64, grew bool, err error) {
	me, err := s.Self(ctx, subject, tenant)
	if err != nil {
		return after, false, err
	}
	if !me.May(authz.AuditRead) {
		return after, false, domain.Errorf(domain.Denied, "not allowed, or there is no such tenant")
	}
	seen = after
	err = s.log.Query(ctx, tenant, audit.Filter{After: after, Limit: MaxPage}, func(e audit.Entry) error {
		if e.Header.Seq > after {
			seen = e.Header.Seq
			grew = grew || e.Event.Action != string(authz.AuditRead)
		}
		return nil
	})
	return seen, grew, err
}

// OnlyReads says whether a text would be run as sql.query, on a connection that
// cannot write.
func OnlyReads(sql string) bool { return guard.OnlyReads(sql) }
