package e2e_test

import (
	"strings"
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
	"/clients/acme/audit/live?shown=0&seen=0": authz.AuditRead,
}

// forms are what can be sent without a page, and the action that each is for.
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
			t.Parallel()
			p := s.as(t, who)
			p.watcher.allow(400, 403, 404, 409)
			p.open("/roles")
			for path, action := range addresses {
				if got, want := p.fetched("GET", path) != 403, may(action, has); got != want {
					t.Errorf("%s: let in %v, want %v", path, got, want)
				}
			}
			for path, action := range forms {
				if may(action, has) {
					continue
				}
				if got := p.fetched("POST", path); got != 403 {
					t.Errorf("POST %s: %d", path, got)
				}
			}
		})
	}
}

// fetched asks for a path from the page that is open, and gives the status. What
// it sends would do for every form.
func (p *tab) fetched(method, path string) int {
	p.t.Helper()
	body, role := "", "viewer"
	if strings.HasPrefix(path, "/people/") {
		role = "auditor"
	}
	if method == "POST" {
		body = `body: new URLSearchParams({id: "nine", name: "x", path: "stripe/live", key: "k", value: "v", reason: "r", confirm: "acme",
			retention_days: "90", ttl: "15m", version: "1", role: ` + quote(role) + `}),`
	}
	return value[int](p, `fetch(`+quote(path)+`, {`+body+`method: `+quote(method)+`}).then((r) => r.status)`)
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
