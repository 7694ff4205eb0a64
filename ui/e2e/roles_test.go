package e2e_test

import (
	"testing"

	"coffer/app/authz"
	"coffer/app/domain"
)

// addresses are the pages that can be gone to by their address, and the action
// that each is for.
var addresses = map[string]domain.Action{
	"/":                                     authz.TenantMine,
	"/new":                                  authz.TenantCreate,
	"/roles":                                authz.RoleList,
	"/alerts":                               authz.AlertList,
	"/people":                               authz.PersonList,
	"/log":                                  authz.AuditSystem,
	"/seal":                                 authz.SealAdd,
	"/account":                              authz.AccountShow,
	"/clients/acme":                         authz.TenantShow,
	"/clients/acme/secrets":                 authz.SecretList,
	"/clients/acme/secrets/new":             authz.SecretPut,
	"/clients/acme/secret?path=stripe/live": authz.SecretVersions,
	"/clients/acme/tokens":                  authz.TokenList,
	"/clients/acme/workloads":               authz.WorkloadList,
	"/clients/acme/people":                  authz.MemberList,
	"/clients/acme/sql":                     authz.SQLQuery,
	"/clients/acme/audit":                   authz.AuditRead,
	"/clients/acme/audit/live":              authz.AuditRead,
}

// forms are what can be sent without a page, and the action that each is for.
// What is sent is empty: who may gets another answer than a refusal.
var forms = map[string]domain.Action{
	"/new":                           authz.TenantCreate,
	"/seal/rotate":                   authz.SealRotate,
	"/people/role":                   authz.PersonRole,
	"/people/setup-link":             authz.SetupLink,
	"/clients/acme/suspend":          authz.TenantSuspend,
	"/clients/acme/destroy":          authz.TenantDestroy,
	"/clients/acme/break-glass":      authz.BreakGlass,
	"/clients/acme/secrets":          authz.SecretPut,
	"/clients/acme/secret/destroy":   authz.SecretDestroy,
	"/clients/acme/tokens":           authz.TokenIssue,
	"/clients/acme/workloads":        authz.WorkloadCreate,
	"/clients/acme/people/role":      authz.MemberRole,
	"/clients/acme/invitations":      authz.InvitationCreate,
	"/clients/acme/secret/reveal":    authz.SecretRead,
	"/clients/acme/audit/verify":     authz.AuditVerify,
	"/clients/acme/people":           authz.MemberAdd,
	"/clients/acme/workloads/remove": authz.WorkloadRemove,
}

// holds are the roles of each of the seeded people for the client acme.
var holds = map[string][]domain.Role{
	"owner": {domain.Owner}, "admin": {domain.Admin}, "analyst": {domain.Analyst}, "viewer": {domain.Viewer},
	"client-auditor": {domain.ClientAuditor}, "auditor": {domain.Auditor}, "foreign": nil,
}

// TestEachRoleIsRefusedByAddress goes to every page as everybody, and sends every
// form: who may not is refused, whatever the pages offer.
func TestEachRoleIsRefusedByAddress(t *testing.T) {
	s := theSeeded(t)
	for who, has := range holds {
		t.Run(who, func(t *testing.T) {
			p := s.as(t, who)
			p.watcher.allow(400, 403, 404, 409)
			for path, action := range addresses {
				if got, want := p.status(path) != 403, may(action, has); got != want {
					t.Errorf("%s: let in %v, want %v", path, got, want)
				}
			}
			p.open("/roles")
			for path, action := range forms {
				if may(action, has) {
					continue
				}
				if got := value[int](p, `fetch(`+quote(path)+`, {method: "POST", body: new URLSearchParams({name: "x", path: "stripe/live"})})
					.then((r) => r.status)`); got != 403 {
					t.Errorf("POST %s: %d", path, got)
				}
			}
		})
	}
}

// may is what the table says of people with these roles.
func may(a domain.Action, has []domain.Role) bool {
	info, _ := authz.Lookup(a)
	if info.Scope == authz.Open {
		return true
	}
	for _, r := range has {
		if info.Permits(r) || info.PermitsOwn(r) {
			return true
		}
	}
	return false
}
