package authz

import (
	"strings"

	"coffer/app/domain"
)

// Route is a path inside a tenant, as clients of Vault write it, and what is needed
// on it. ACL policies decide about routes.
type Route struct {
	Path   string // a folder that is listed ends in a slash
	Powers Powers
}

// resource stands in the table for the resource of a request.
const resource = "{}"

// routes say for each action which route it takes where its surface names none, so
// that policies bind on every surface. An action stands here or in unrouted.
var routes = map[domain.Action]Route{
	SecretPut:      {"secret/data/{}", MayCreate | MayUpdate},
	SecretRead:     {"secret/data/{}", MayRead},
	SecretList:     {"secret/metadata/{}", MayList},
	SecretVersions: {"secret/metadata/{}", MayRead},
	SecretDelete:   {"secret/data/{}", MayDelete},
	SecretUndelete: {"secret/undelete/{}", MayUpdate},
	SecretDestroy:  {"secret/destroy/{}", MayUpdate},

	TransitCreate:  {"transit/keys/{}", MayUpdate},
	TransitRead:    {"transit/keys/{}", MayRead},
	TransitList:    {"transit/keys/", MayList},
	TransitConfig:  {"transit/keys/{}/config", MayUpdate},
	TransitRotate:  {"transit/keys/{}/rotate", MayUpdate},
	TransitTrim:    {"transit/keys/{}/trim", MayUpdate},
	TransitRemove:  {"transit/keys/{}", MayDelete},
	TransitEncrypt: {"transit/encrypt/{}", MayUpdate},
	TransitDecrypt: {"transit/decrypt/{}", MayUpdate},
	TransitRewrap:  {"transit/rewrap/{}", MayUpdate},
	TransitDatakey: {"transit/datakey/plaintext/{}", MayUpdate},
	TransitSign:    {"transit/sign/{}", MayUpdate},
	TransitVerify:  {"transit/verify/{}", MayUpdate},
	TransitHMAC:    {"transit/hmac/{}", MayUpdate},

	WorkloadCreate:   {"auth/approle/role/{}", MayCreate},
	WorkloadList:     {"auth/approle/role/", MayList},
	WorkloadSecretID: {"auth/approle/role/{}/secret-id", MayUpdate},
	WorkloadRemove:   {"auth/approle/role/{}", MayDelete},

	TokenIssue:       {"auth/token/create", MayUpdate},
	TokenOrphan:      {"auth/token/create-orphan", MayUpdate | MaySudo},
	TokenList:        {"auth/token/accessors/", MayList | MaySudo},
	TokenShow:        {"auth/token/lookup-accessor", MayUpdate},
	TokenRevoke:      {"auth/token/revoke-accessor", MayUpdate},
	TokenRevokeAlone: {"auth/token/revoke-orphan", MayUpdate | MaySudo},

	LeaseList:         {"sys/leases/lookup/", MayList | MaySudo},
	LeaseLookup:       {"sys/leases/lookup", MayUpdate},
	LeaseRenew:        {"sys/leases/renew", MayUpdate},
	LeaseRevoke:       {"sys/leases/revoke", MayUpdate},
	LeaseRevokePrefix: {"sys/leases/revoke-prefix/{}", MayUpdate | MaySudo},
	PolicyRead:        {"sys/policies/acl/{}", MayRead},
	PolicyList:        {"sys/policies/acl/", MayList},

	SQLQuery:      {"sql/", MayRead},
	SQLWrite:      {"sql/", MayUpdate},
	QueryList:     {"sql/", MayRead},
	QueryRun:      {"sql/", MayRead},
	DashboardList: {"sql/", MayRead},
}

// furtherRoutes are further routes of an action, for those who ask what a path allows.
var furtherRoutes = []struct {
	Action domain.Action
	Route  Route
}{
	{SecretPut, Route{"secret/data/{}", MayPatch}},
	{SecretDelete, Route{"secret/delete/{}", MayUpdate}},
	{SecretList, Route{"secret/metadata/", MayList}},
	{PolicyRead, Route{"sys/policy/{}", MayRead}},
	{PolicyList, Route{"sys/policy/", MayList | MayRead}},
	{TransitDatakey, Route{"transit/datakey/wrapped/{}", MayUpdate}},
}

// unrouted says why no policy gives an action in a tenant: what is for roles alone.
var unrouted = map[domain.Action]string{
	TenantShow: byRole, TenantIsolate: byOperator, TenantSuspend: byOperator, TenantResume: byOperator, TenantDestroy: byOperator,
	MemberAdd: byPeople, MemberList: byPeople, MemberRole: byPeople, MemberRemove: byPeople, BreakGlass: byOperator,
	InvitationCreate: byPeople, InvitationList: byPeople, InvitationRevoke: byPeople,
	LeaseRevokeAll: byRole, LeaseEnd: "Coffer does it by itself",
	PolicyPut: byPolicy, PolicyRemove: byPolicy, PolicyExplain: byPolicy,
	PolicySelf: "whoever holds anything in the tenant may",
	WrapCreate: "whoever holds anything in the tenant may",
	SQLExport:  "it takes the whole database out of Coffer", SQLRollback: "Coffer does it by itself",
	QuerySave: byMembers, QueryRemove: byMembers, DashboardSave: byMembers, DashboardRemove: byMembers,
	MigrationStatus: byRole, MigrationApply: byOperator, MigrationRestore: byOperator,
	ClientKeySet: byClientKey, ClientKeyOpen: byClientKey, ClientKeyClose: byClientKey, ClientKeyRemove: byClientKey, ClientKeyStatus: byRole,
	RotateTenant: byRole, RotateTenantStatus: byRole,
	AuditRead: byAudit, AuditVerify: byAudit, AlertTenant: byAudit,
}

// The reasons.
const (
	byRole      = "it is about the tenant as a whole, which members and operators see by their role"
	byOperator  = "it is for operators of the appliance"
	byPeople    = "who is a member is for owners to say, else a policy could be widened through it"
	byPolicy    = "who could write policies could give itself everything"
	byMembers   = "a stored query belongs to a member, and is shown to others"
	byClientKey = "the client's own key is for owners"
	byAudit     = "the log tells what everybody does; roles say who reads it"
)

// sudoPaths are what Vault gives to those alone who have sudo besides.
var sudoPaths = CompileACL([]Rule{
	{Path: "auth/token/accessors"}, {Path: "auth/token/create-orphan"}, {Path: "auth/token/revoke-orphan"},
	{Path: "sys/leases/lookup/*"}, {Path: "sys/leases/revoke-prefix/*"}, {Path: "sys/leases/revoke-force/*"},
	{Path: "sys/auth/*"}, {Path: "sys/audit*"}, {Path: "sys/remount"}, {Path: "sys/seal"}, {Path: "sys/rotate"},
})

// needs is the route with sudo, where its path asks for that.
func (r Route) needs() Route {
	if strings.HasPrefix(r.Path, "sys/leases/lookup/") && r.Powers == MayUpdate {
		return r // one lease, and not a list of them
	}
	if sudoPaths.find(r.Path) != nil {
		r.Powers |= MaySudo
	}
	return r
}

// on puts a resource into the path of a template.
func (r Route) on(name string) Route {
	r.Path = strings.Replace(r.Path, resource, name, 1)
	return r
}

// RouteOf gives the route of an action on a resource; ok is false if no policy can
// give the action.
func RouteOf(a domain.Action, name string) (Route, bool) {
	r, ok := routes[a]
	return r.on(name).needs(), ok
}

// Unrouted says why no policy gives the action, "" if one can.
func Unrouted(a domain.Action) string { return unrouted[a] }

// route is what a request needs under ACL policies.
func (r Request) route() (Route, bool) {
	own, ok := routes[r.Action]
	if !ok {
		return Route{}, false
	}
	if r.Route.Path != "" {
		// A path of many can be asked for what wants sudo, as auth/token/create for an orphan.
		r.Route.Powers |= own.needs().Powers & MaySudo
		return r.Route.needs(), true
	}
	return RouteOf(r.Action, r.Resource)
}

// resourceIn is the resource that a template finds in a path.
func (r Route) resourceIn(path string) (name string, ok bool) {
	before, after, has := strings.Cut(r.Path, resource)
	if !has {
		return "", path == r.Path || path+"/" == r.Path
	}
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(rest, after)
	if !ok || name == "" {
		return "", false
	}
	if r.Powers == MayList && !strings.HasSuffix(name, "/") {
		name += "/"
	}
	if r.Powers != MayList {
		name = strings.TrimSuffix(name, "/")
	}
	return name, true
}
