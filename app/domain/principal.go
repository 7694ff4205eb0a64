package domain

// Role is what a person is in a tenant or on the appliance.
type Role string

// Roles of a tenant's members, then those of the whole appliance.
const (
	Owner         Role = "owner"
	Admin         Role = "admin"
	Analyst       Role = "analyst"
	Viewer        Role = "viewer"
	ClientAuditor Role = "client-auditor"

	Auditor  Role = "auditor"
	Operator Role = "operator"
)

// TenantRoles are the roles that a member can have, widest first.
func TenantRoles() []Role { return []Role{Owner, Admin, Analyst, Viewer, ClientAuditor} }

// ApplianceRoles are the roles that hold on the whole appliance.
func ApplianceRoles() []Role { return []Role{Auditor, Operator} }

// ParseTenantRole checks the name of a member's role.
func ParseTenantRole(s string) (Role, error) {
	for _, r := range TenantRoles() {
		if string(r) == s {
			return r, nil
		}
	}
	return "", Fieldf("role", "%s is not a role in a tenant", quote(s)).
		WithHint("one of owner, admin, analyst, viewer, client-auditor; see: coffer role list")
}

// PrincipalKind says what acts.
type PrincipalKind string

// The kinds of principals.
const (
	Person   PrincipalKind = "person"
	Workload PrincipalKind = "workload"
	System   PrincipalKind = "system" // the appliance itself: boot, sweeper, recovery
	Nobody   PrincipalKind = "nobody" // no credential was presented, or none that holds
)

// Principal is who acts: a random id that says nothing about a person. Names
// live in the directory, where they can be erased.
type Principal struct {
	Kind PrincipalKind
	ID   string
}

// SystemPrincipal acts for the appliance itself.
var SystemPrincipal = Principal{Kind: System, ID: "system"}

// String is the form in audit records.
func (p Principal) String() string { return string(p.Kind) + ":" + p.ID }

// Action is one thing that can be done: the unit of authorization, audit and
// documentation. The list stands in app/authz.
type Action string
