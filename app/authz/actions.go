package authz

import (
	"slices"

	"coffer/app/domain"
)

// Scope says what an action is about.
type Scope string

// The scopes. Open actions need no role: they are about the caller itself or
// about nothing that is worth hiding.
const (
	Appliance Scope = "appliance"
	Tenant    Scope = "tenant"
	Open      Scope = "open"
)

// Info is one row of the table of actions.
type Info struct {
	Action   domain.Action
	Meaning  string        // one line for people
	Scope    Scope         //
	Resource string        // what the resource in the audit event is; "" for none
	Changes  bool          // a change: its intent is durable before it happens
	Roles    []domain.Role // roles that may
	Own      []domain.Role // roles that may for what is their own
	Cap      capClass      // capability class that lets a workload do it
	Member   bool          // whoever holds anything in the tenant may
	Mine     bool          // a workload may for what is its own

	// What the action asks of how the caller proved who it is; see Prove.
	Stranger bool // no credential is needed: the input itself proves something
	Person   bool // for a person oneself, by session or at the socket; a token does not do
	Socket   bool // at the local socket alone
	StepUp   bool // with a session, the second factor must have been proven lately
	Always   bool // with StepUp: at the local socket too, once the person has a second factor
	Limited  bool // also with a session of a person who has no second factor yet
}

// The actions. Names are stable: they stand in audit records.
const (
	SealStatus    domain.Action = "seal.status"
	SealUnseal    domain.Action = "seal.unseal"
	SealAdd       domain.Action = "seal.add"
	SealRemove    domain.Action = "seal.remove"
	SealRotate    domain.Action = "seal.rotate"
	SealRecovery  domain.Action = "seal.recovery"
	ActionList    domain.Action = "action.list"
	RoleList      domain.Action = "role.list"
	CheckStores   domain.Action = "check.stores"
	TenantCreate  domain.Action = "tenant.create"
	TenantList    domain.Action = "tenant.list"
	TenantShow    domain.Action = "tenant.show"
	TenantIsolate domain.Action = "tenant.isolate"
	TenantSuspend domain.Action = "tenant.suspend"
	TenantResume  domain.Action = "tenant.resume"
	TenantDestroy domain.Action = "tenant.destroy"
	TenantMine    domain.Action = "tenant.mine"
	MemberAdd     domain.Action = "member.add"
	MemberList    domain.Action = "member.list"
	MemberRole    domain.Action = "member.role"
	MemberRemove  domain.Action = "member.remove"
	BreakGlass    domain.Action = "break-glass.open"

	InvitationCreate domain.Action = "invitation.create"
	InvitationList   domain.Action = "invitation.list"
	InvitationRevoke domain.Action = "invitation.revoke"
	InvitationJoin   domain.Action = "invitation.join"

	SetupLink     domain.Action = "setup.link"
	LinkShow      domain.Action = "link.show"
	LinkAccept    domain.Action = "link.accept"
	SessionCreate domain.Action = "session.create"
	SessionIssue  domain.Action = "session.issue"
	SessionStepUp domain.Action = "session.step-up"
	SessionEndOwn domain.Action = "session.end-own"
	SessionList   domain.Action = "session.list"
	SessionEnd    domain.Action = "session.end"
	SessionEndAll domain.Action = "session.end-all"

	AccountShow          domain.Action = "account.show"
	AccountTOTP          domain.Action = "account.totp"
	AccountPasskey       domain.Action = "account.passkey"
	AccountRecoveryCodes domain.Action = "account.recovery-codes"
	AccountPassword      domain.Action = "account.password"

	PersonList    domain.Action = "person.list"
	PersonRole    domain.Action = "person.role"
	PersonRecover domain.Action = "person.recover"

	SecretPut      domain.Action = "secret.put"
	SecretRead     domain.Action = "secret.read"
	SecretList     domain.Action = "secret.list"
	SecretVersions domain.Action = "secret.versions"
	SecretDelete   domain.Action = "secret.delete"
	SecretUndelete domain.Action = "secret.undelete"
	SecretDestroy  domain.Action = "secret.destroy"

	TransitCreate  domain.Action = "transit.create"
	TransitRead    domain.Action = "transit.read"
	TransitList    domain.Action = "transit.list"
	TransitConfig  domain.Action = "transit.config"
	TransitRotate  domain.Action = "transit.rotate"
	TransitTrim    domain.Action = "transit.trim"
	TransitRemove  domain.Action = "transit.remove"
	TransitEncrypt domain.Action = "transit.encrypt"
	TransitDecrypt domain.Action = "transit.decrypt"
	TransitRewrap  domain.Action = "transit.rewrap"
	TransitDatakey domain.Action = "transit.datakey"
	TransitSign    domain.Action = "transit.sign"
	TransitVerify  domain.Action = "transit.verify"
	TransitHMAC    domain.Action = "transit.hmac"

	WorkloadCreate   domain.Action = "workload.create"
	WorkloadList     domain.Action = "workload.list"
	WorkloadSecretID domain.Action = "workload.secret-id"
	WorkloadRemove   domain.Action = "workload.remove"
	WorkloadLogin    domain.Action = "workload.login"

	TokenIssue       domain.Action = "token.issue"
	TokenOrphan      domain.Action = "token.orphan"
	TokenLookup      domain.Action = "token.lookup"
	TokenRenew       domain.Action = "token.renew"
	TokenList        domain.Action = "token.list"
	TokenShow        domain.Action = "token.show"
	TokenRevoke      domain.Action = "token.revoke"
	TokenRevokeAlone domain.Action = "token.revoke-alone"
	TokenDiscard     domain.Action = "token.discard"

	LeaseList         domain.Action = "lease.list"
	LeaseLookup       domain.Action = "lease.lookup"
	LeaseRenew        domain.Action = "lease.renew"
	LeaseRevoke       domain.Action = "lease.revoke"
	LeaseRevokePrefix domain.Action = "lease.revoke-prefix"
	LeaseRevokeAll    domain.Action = "lease.revoke-all"
	LeaseEnd          domain.Action = "lease.end"

	WrapCreate domain.Action = "wrap.create"
	WrapLookup domain.Action = "wrap.lookup"
	WrapUnwrap domain.Action = "wrap.unwrap"
	WrapRewrap domain.Action = "wrap.rewrap"

	SQLQuery domain.Action = "sql.query"
	SQLWrite domain.Action = "sql.write"

	SQLRollback domain.Action = "sql.rollback"
	SQLExport   domain.Action = "sql.export"

	QuerySave   domain.Action = "query.save"
	QueryList   domain.Action = "query.list"
	QueryRun    domain.Action = "query.run"
	QueryRemove domain.Action = "query.remove"

	DashboardSave   domain.Action = "dashboard.save"
	DashboardList   domain.Action = "dashboard.list"
	DashboardRemove domain.Action = "dashboard.remove"

	MigrationPut      domain.Action = "migration.put"
	MigrationList     domain.Action = "migration.list"
	MigrationPlan     domain.Action = "migration.plan"
	MigrationRun      domain.Action = "migration.run"
	MigrationContinue domain.Action = "migration.continue"
	MigrationStatus   domain.Action = "migration.status"
	MigrationApply    domain.Action = "migration.apply"
	MigrationRestore  domain.Action = "migration.restore"

	ClientKeySet    domain.Action = "clientkey.set"
	ClientKeyOpen   domain.Action = "clientkey.open"
	ClientKeyClose  domain.Action = "clientkey.close"
	ClientKeyRemove domain.Action = "clientkey.remove"
	ClientKeyStatus domain.Action = "clientkey.status"

	RotateStart        domain.Action = "rotate.start"
	RotateStatus       domain.Action = "rotate.status"
	RotateTenant       domain.Action = "rotate.tenant"
	RotateTenantStatus domain.Action = "rotate.tenant-status"

	PolicyPut     domain.Action = "policy.put"
	PolicyRead    domain.Action = "policy.read"
	PolicyList    domain.Action = "policy.list"
	PolicyRemove  domain.Action = "policy.remove"
	PolicyExplain domain.Action = "policy.explain"
	PolicySelf    domain.Action = "policy.self"

	AuditRead   domain.Action = "audit.read"
	AuditVerify domain.Action = "audit.verify"
	AuditSystem domain.Action = "audit.system"

	AlertList   domain.Action = "alert.list"
	AlertTenant domain.Action = "alert.tenant"
	AlertAck    domain.Action = "alert.ack"
)

var (
	owner    = []domain.Role{domain.Owner}
	managers = []domain.Role{domain.Owner, domain.Admin}
	selves   = []domain.Role{domain.Analyst, domain.Viewer}
	others   = []domain.Role{domain.Analyst, domain.Viewer, domain.ClientAuditor}
	readers  = []domain.Role{domain.Owner, domain.Admin, domain.Analyst}
	analysts = []domain.Role{domain.Analyst}
	viewers  = []domain.Role{domain.Owner, domain.Admin, domain.Analyst, domain.Viewer}
	operator = []domain.Role{domain.Operator}
	everyone = []domain.Role{domain.Owner, domain.Admin, domain.Analyst, domain.Viewer, domain.ClientAuditor}
	listers  = []domain.Role{domain.Owner, domain.Admin, domain.Analyst, domain.ClientAuditor}
	auditors = []domain.Role{domain.Owner, domain.Admin, domain.ClientAuditor, domain.Auditor}
)

// table is the whole policy. Order is the order of docs/actions.md.
var table = []Info{
	{Action: SealStatus, Scope: Open, Meaning: "see whether the appliance is sealed and which slots open it"},
	{Action: SealUnseal, Scope: Open, Meaning: "open the root key with a slot's secret", Resource: "slot"},
	{Action: SealAdd, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "enrol another slot that opens the root key", Resource: "slot"},
	{Action: SealRemove, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "remove a slot", Resource: "slot"},
	{Action: SealRotate, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "replace the root key under all slots", Resource: "slot"},
	{Action: SealRecovery, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "make, show once and confirm the recovery key", Resource: "slot"},
	{Action: ActionList, Scope: Open, Meaning: "list the actions and who may do them"},
	{Action: RoleList, Scope: Open, Meaning: "list the roles and what they may do"},
	{Action: CheckStores, Scope: Appliance, Roles: operator, Meaning: "check every store on disk for damage"},

	{Action: TenantCreate, Scope: Appliance, Changes: true, Roles: operator, Meaning: "create a tenant with its keys, file and log", Resource: "tenant"},
	{Action: TenantList, Scope: Appliance, Roles: []domain.Role{domain.Operator, domain.Auditor}, Meaning: "list the tenants"},
	{Action: TenantShow, Scope: Tenant, Roles: append([]domain.Role{domain.Operator, domain.Auditor}, everyone...), Meaning: "show one tenant's state"},
	{Action: TenantIsolate, Scope: Tenant, Changes: true, Roles: operator, Meaning: "move a tenant's database into a process of its own, or back"},
	{Action: TenantSuspend, Scope: Tenant, Changes: true, Roles: operator, Meaning: "close a tenant for everybody until it is resumed"},
	{Action: TenantResume, Scope: Tenant, Changes: true, Roles: operator, Meaning: "open a suspended tenant again"},
	{Action: TenantDestroy, StepUp: true, Always: true, Scope: Tenant, Changes: true, Roles: operator, Meaning: "destroy a tenant's keys, then its data; its log stays"},
	{Action: TenantMine, Scope: Open, Meaning: "see the tenants in which one is a member, an operator or auditor all, with their ages and numbers"},

	{Action: MemberAdd, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "make a person a member"},
	{Action: MemberList, Scope: Tenant, Roles: owner, Meaning: "list the members"},
	{Action: MemberRole, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "change a member's role"},
	{Action: MemberRemove, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "remove a member"},
	{Action: BreakGlass, StepUp: true, Always: true, Scope: Tenant, Changes: true, Roles: operator, Meaning: "become an owner for at most an hour, with a reason"},

	{Action: InvitationCreate, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "make a link with which somebody becomes a member", Resource: "role"},
	{Action: InvitationList, Scope: Tenant, Roles: owner, Meaning: "list the invitations that wait"},
	{Action: InvitationRevoke, Scope: Tenant, Changes: true, Roles: owner, Meaning: "revoke an invitation", Resource: "invitation"},
	{Action: InvitationJoin, Person: true, Scope: Open, Changes: true, Meaning: "take an invitation up as the person that one is", Resource: "invitation"},

	{Action: SetupLink, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "make a link with which somebody becomes an operator"},
	{Action: LinkShow, Stranger: true, Scope: Open, Meaning: "see what a link that one holds is for", Resource: "link"},
	{Action: LinkAccept, Stranger: true, Scope: Open, Changes: true, Meaning: "take a link up: make an account, or recover one's own", Resource: "link"},
	{Action: SessionCreate, Stranger: true, Scope: Open, Changes: true, Meaning: "sign in"},
	{Action: SessionIssue, Person: true, Socket: true, Scope: Open, Changes: true, Meaning: "begin a session without a password, at the local socket alone"},
	{Action: SessionStepUp, Person: true, Scope: Open, Changes: true, Meaning: "prove the second factor again, for what asks for it"},
	{Action: SessionEndOwn, Person: true, Limited: true, Scope: Open, Changes: true, Meaning: "sign out", Resource: "session"},
	{Action: SessionList, Person: true, Scope: Open, Meaning: "list one's own sessions"},
	{Action: SessionEnd, Person: true, Scope: Open, Changes: true, Meaning: "end one of one's own sessions", Resource: "session"},
	{Action: SessionEndAll, Person: true, Scope: Open, Changes: true, Meaning: "end all of one's own sessions"},

	{Action: AccountShow, Person: true, Limited: true, Scope: Open, Meaning: "see one's own account"},
	{Action: AccountTOTP, Person: true, StepUp: true, Always: true, Limited: true, Scope: Open, Changes: true, Meaning: "set up an app that shows codes, in place of the one before"},
	{Action: AccountPasskey, Person: true, StepUp: true, Always: true, Limited: true, Scope: Open, Changes: true, Meaning: "add or remove a passkey", Resource: "passkey"},
	{Action: AccountRecoveryCodes, Person: true, StepUp: true, Always: true, Scope: Open, Changes: true, Meaning: "make new recovery codes in place of those before"},
	{Action: AccountPassword, Person: true, StepUp: true, Always: true, Scope: Open, Changes: true, Meaning: "change one's own password"},

	{Action: PersonList, Scope: Appliance, Roles: []domain.Role{domain.Operator, domain.Auditor}, Meaning: "list the people, what they are on the appliance and how they sign in"},
	{Action: PersonRole, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "give or take a person's roles on the whole appliance", Resource: "person"},
	{Action: PersonRecover, Socket: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "take password, second factors and sessions from a person, and make a link for new ones; at the local socket alone"},

	{Action: SecretPut, Scope: Tenant, Changes: true, Roles: owner, Cap: capSecretWrite, Meaning: "write a new version of a secret", Resource: "secret"},
	{Action: SecretRead, StepUp: true, Scope: Tenant, Roles: owner, Cap: capSecretRead, Meaning: "read a secret's value", Resource: "secret"},
	{Action: SecretList, Scope: Tenant, Roles: listers, Cap: capSecretList, Meaning: "list the paths and ages of secrets, no values", Resource: "prefix"},
	{Action: SecretVersions, Scope: Tenant, Roles: listers, Cap: capSecretList, Meaning: "list a secret's versions, no values", Resource: "secret"},
	{Action: SecretDelete, Scope: Tenant, Changes: true, Roles: owner, Cap: capSecretWrite, Meaning: "delete a version so that it can be brought back", Resource: "secret"},
	{Action: SecretUndelete, Scope: Tenant, Changes: true, Roles: owner, Cap: capSecretWrite, Meaning: "bring a deleted version back", Resource: "secret"},
	{Action: SecretDestroy, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "destroy versions for good", Resource: "secret"},

	{Action: TransitCreate, Scope: Tenant, Changes: true, Roles: owner, Meaning: "make a transit key", Resource: "transit key"},
	{Action: TransitRead, Scope: Tenant, Roles: owner, Cap: capTransit, Meaning: "see a transit key's versions, settings and public keys", Resource: "transit key"},
	{Action: TransitList, Scope: Tenant, Roles: owner, Meaning: "list the transit keys"},
	{Action: TransitConfig, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "change which versions of a transit key are used, and whether it may be removed", Resource: "transit key"},
	{Action: TransitRotate, Scope: Tenant, Changes: true, Roles: owner, Meaning: "add a version to a transit key", Resource: "transit key"},
	{Action: TransitTrim, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "destroy old versions of a transit key, with what only they decrypt", Resource: "transit key"},
	{Action: TransitRemove, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "destroy a transit key, with what only it decrypts", Resource: "transit key"},
	{Action: TransitEncrypt, Scope: Tenant, Roles: owner, Cap: capTransit, Meaning: "encrypt with a transit key", Resource: "transit key"},
	{Action: TransitDecrypt, StepUp: true, Scope: Tenant, Roles: owner, Cap: capTransit, Meaning: "decrypt with a transit key", Resource: "transit key"},
	{Action: TransitRewrap, Scope: Tenant, Roles: owner, Cap: capTransit, Meaning: "encrypt anew with the latest version of a transit key, unseen", Resource: "transit key"},
	{Action: TransitDatakey, StepUp: true, Scope: Tenant, Roles: owner, Cap: capTransit, Meaning: "make a random key, and the same encrypted with a transit key", Resource: "transit key"},
	{Action: TransitSign, StepUp: true, Scope: Tenant, Roles: owner, Cap: capTransit, Meaning: "sign with a transit key", Resource: "transit key"},
	{Action: TransitVerify, Scope: Tenant, Roles: owner, Cap: capTransit, Meaning: "verify a signature or an HMAC of a transit key", Resource: "transit key"},
	{Action: TransitHMAC, StepUp: true, Scope: Tenant, Roles: owner, Cap: capTransit, Meaning: "authenticate with a transit key", Resource: "transit key"},

	{Action: WorkloadCreate, StepUp: true, Scope: Tenant, Changes: true, Roles: managers, Own: selves, Meaning: "create a workload with granted capabilities", Resource: "workload"},
	{Action: WorkloadList, Scope: Tenant, Roles: managers, Own: selves, Meaning: "list the workloads"},
	{Action: WorkloadSecretID, StepUp: true, Scope: Tenant, Changes: true, Roles: managers, Own: selves, Meaning: "issue another secret id for a workload", Resource: "workload"},
	{Action: WorkloadRemove, Scope: Tenant, Changes: true, Roles: managers, Own: selves, Meaning: "remove a workload, its secret ids and its tokens", Resource: "workload"},
	{Action: WorkloadLogin, Stranger: true, Scope: Open, Changes: true, Meaning: "log in with role id and secret id for a token", Resource: "workload"},

	{Action: TokenIssue, StepUp: true, Scope: Tenant, Changes: true, Roles: managers, Own: append(slices.Clone(selves), domain.ClientAuditor), Meaning: "issue a token no wider than oneself", Resource: "token"},
	{Action: TokenOrphan, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "issue a token that lives on when the one ends with which it is made", Resource: "token"},
	{Action: TokenLookup, Scope: Open, Meaning: "look up a token that one holds", Resource: "token"},
	{Action: TokenRenew, Scope: Open, Changes: true, Meaning: "let a token that one holds live longer, up to its maximum", Resource: "token"},
	{Action: TokenList, Scope: Tenant, Roles: managers, Own: append(slices.Clone(selves), domain.ClientAuditor), Meaning: "list live tokens by accessor"},
	{Action: TokenShow, Scope: Tenant, Roles: managers, Own: append(slices.Clone(selves), domain.ClientAuditor), Meaning: "show a live token by its accessor", Resource: "token"},
	{Action: TokenRevoke, Scope: Tenant, Changes: true, Roles: managers, Own: append(slices.Clone(selves), domain.ClientAuditor), Meaning: "revoke a token and those made with it, at once and for good", Resource: "token"},
	{Action: TokenRevokeAlone, Scope: Tenant, Changes: true, Roles: owner, Meaning: "revoke a token and let those made with it live on", Resource: "token"},
	{Action: TokenDiscard, Scope: Open, Changes: true, Meaning: "revoke a token that one holds, and those made with it", Resource: "token"},

	{Action: LeaseList, Mine: true, Scope: Tenant, Roles: managers, Own: others, Meaning: "list what ends: tokens, secret ids, wrapped answers, and what was made in other systems", Resource: "lease"},
	{Action: LeaseLookup, Mine: true, Scope: Tenant, Roles: managers, Own: others, Meaning: "show a lease", Resource: "lease"},
	{Action: LeaseRenew, Mine: true, Scope: Tenant, Changes: true, Roles: managers, Own: others, Meaning: "let what a lease is for live longer, up to its maximum", Resource: "lease"},
	{Action: LeaseRevoke, Mine: true, Scope: Tenant, Changes: true, Roles: managers, Own: others, Meaning: "revoke a lease", Resource: "lease"},
	{Action: LeaseRevokePrefix, Scope: Tenant, Changes: true, Roles: managers, Meaning: "revoke all leases whose ids begin with a prefix", Resource: "lease"},
	{Action: LeaseRevokeAll, Scope: Tenant, Changes: true, Roles: managers, Meaning: "revoke everything of a token, a workload, a member, or the tenant", Resource: "whose"},
	{Action: LeaseEnd, Scope: Tenant, Changes: true, Meaning: "take back in another system what ended or was revoked; by Coffer itself", Resource: "lease"},

	{Action: PolicyPut, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "write an ACL policy", Resource: "policy"},
	{Action: PolicyRead, Scope: Tenant, Roles: owner, Meaning: "read an ACL policy, or what a role may", Resource: "policy"},
	{Action: PolicyList, Scope: Tenant, Roles: owner, Meaning: "list the ACL policies"},
	{Action: PolicyRemove, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "remove an ACL policy; who holds it loses at once what it gave", Resource: "policy"},
	{Action: PolicyExplain, Scope: Tenant, Roles: owner, Meaning: "see what somebody may, and why", Resource: "who"},
	{Action: PolicySelf, Member: true, Scope: Tenant, Roles: everyone, Meaning: "see what oneself may on a path"},

	{Action: WrapCreate, Member: true, Scope: Tenant, Changes: true, Roles: everyone, Meaning: "wrap an answer, for whoever presents a wrapping token, once", Resource: "path"},
	{Action: WrapLookup, Stranger: true, Scope: Open, Meaning: "see what a wrapping token that one holds is for", Resource: "wrapping token"},
	{Action: WrapUnwrap, Stranger: true, Scope: Open, Changes: true, Meaning: "unwrap an answer, which burns the wrapping token that one holds", Resource: "wrapping token"},
	{Action: WrapRewrap, Stranger: true, Scope: Open, Changes: true, Meaning: "move a wrapped answer under another wrapping token, which burns the one that one holds", Resource: "wrapping token"},

	{Action: SQLQuery, Scope: Tenant, Roles: readers, Cap: capSQLRead, Meaning: "run a statement that only reads"},
	{Action: SQLWrite, Scope: Tenant, Changes: true, Roles: managers, Cap: capSQLWrite, Meaning: "run a statement that changes data or schema"},

	{Action: SQLExport, StepUp: true, Scope: Tenant, Roles: owner, Meaning: "export the whole database into a plain file; raises an alert"},
	{Action: SQLRollback, Scope: Tenant, Meaning: "roll back a transaction that its client left open; by Coffer itself"},

	{Action: QuerySave, Scope: Tenant, Changes: true, Roles: managers, Own: analysts, Meaning: "store a query that only reads, or change it", Resource: "query"},
	{Action: QueryList, Scope: Tenant, Roles: viewers, Cap: capSQLRead, Meaning: "see the stored queries that are shared, and one's own", Resource: "query"},
	{Action: QueryRun, Scope: Tenant, Roles: viewers, Cap: capSQLRead, Meaning: "run a stored query that is shared or one's own", Resource: "query"},
	{Action: QueryRemove, Scope: Tenant, Changes: true, Roles: managers, Own: analysts, Meaning: "remove a stored query", Resource: "query"},
	{Action: DashboardSave, Scope: Tenant, Changes: true, Roles: managers, Own: analysts, Meaning: "store a dashboard of shared queries, or change it", Resource: "dashboard"},
	{Action: DashboardList, Scope: Tenant, Roles: viewers, Cap: capSQLRead, Meaning: "see the dashboards", Resource: "dashboard"},
	{Action: DashboardRemove, Scope: Tenant, Changes: true, Roles: managers, Own: analysts, Meaning: "remove a dashboard; its queries stay", Resource: "dashboard"},

	{Action: MigrationPut, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "replace the set of migrations, from which new tenants start"},
	{Action: MigrationList, Scope: Appliance, Roles: []domain.Role{domain.Operator, domain.Auditor}, Meaning: "see the set of migrations, how far each tenant has come, and the last run"},
	{Action: MigrationPlan, Scope: Appliance, Roles: operator, Meaning: "see what a set of migrations would change, without keeping it"},
	{Action: MigrationRun, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "begin a run of the set over all tenants, or go on with one that stopped", Resource: "migration"},
	{Action: MigrationContinue, Scope: Appliance, Changes: true, Roles: operator, Meaning: "go on with a run that is under way", Resource: "run"},
	{Action: MigrationStatus, Scope: Tenant, Roles: []domain.Role{domain.Owner, domain.Operator, domain.Auditor}, Meaning: "see how far a tenant has come in the set of migrations, and its snapshots"},
	{Action: MigrationApply, StepUp: true, Scope: Tenant, Changes: true, Roles: operator, Meaning: "apply what is pending in one tenant; nothing of its data is shown", Resource: "migration"},
	{Action: MigrationRestore, StepUp: true, Always: true, Scope: Tenant, Changes: true, Roles: operator, Meaning: "put a tenant's database back to a snapshot", Resource: "snapshot"},
	{Action: ClientKeySet, StepUp: true, Always: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "close the tenant under a key that only the client has", Resource: "form"},
	{Action: ClientKeyOpen, StepUp: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "open the tenant for a while by presenting the client's key", Resource: "form"},
	{Action: ClientKeyClose, Scope: Tenant, Changes: true, Roles: owner, Meaning: "close the tenant under the client's key at once"},
	{Action: ClientKeyRemove, StepUp: true, Always: true, Scope: Tenant, Changes: true, Roles: owner, Meaning: "take the client-held key off the tenant"},
	{Action: ClientKeyStatus, Scope: Tenant, Roles: append([]domain.Role{domain.Operator, domain.Auditor}, everyone...), Meaning: "see whether the tenant has a client-held key, and whether it is open"},

	{Action: RotateStart, StepUp: true, Scope: Appliance, Changes: true, Roles: operator, Meaning: "rotate keys of the appliance, or of all tenants, or go on with what stopped", Resource: "kind"},
	{Action: RotateStatus, Scope: Appliance, Roles: []domain.Role{domain.Operator, domain.Auditor}, Meaning: "see how far rotations of keys are"},
	{Action: RotateTenant, StepUp: true, Scope: Tenant, Changes: true, Roles: []domain.Role{domain.Owner, domain.Operator}, Meaning: "rotate keys of one tenant; nothing of its data is shown", Resource: "kind"},
	{Action: RotateTenantStatus, Scope: Tenant, Roles: []domain.Role{domain.Owner, domain.Operator, domain.Auditor}, Meaning: "see how far rotations of the tenant's keys are"},

	{Action: AuditRead, Scope: Tenant, Roles: auditors, Own: operator, Meaning: "read the tenant's log"},
	{Action: AuditVerify, Scope: Tenant, Roles: auditors, Meaning: "verify the tenant's log from its first record"},
	{Action: AuditSystem, Scope: Appliance, Roles: []domain.Role{domain.Operator, domain.Auditor}, Meaning: "read and verify the appliance's own log"},

	{Action: AlertList, Scope: Appliance, Roles: []domain.Role{domain.Operator, domain.Auditor}, Meaning: "list what somebody should look at on the appliance and in its tenants"},
	{Action: AlertTenant, Scope: Tenant, Roles: append([]domain.Role{domain.Operator}, auditors...), Meaning: "list what somebody should look at in one tenant"},
	{Action: AlertAck, Scope: Appliance, Changes: true, Roles: operator, Meaning: "say that an alert was looked at", Resource: "alert"},
}

var byAction = func() map[domain.Action]Info {
	m := make(map[domain.Action]Info, len(table))
	for _, info := range table {
		if _, twice := m[info.Action]; twice {
			panic("authz: action " + string(info.Action) + " stands twice in the table")
		}
		m[info.Action] = info
	}
	return m
}()

// Actions lists every action in the order of the documentation.
func Actions() []Info { return slices.Clone(table) }

// Lookup finds an action's row.
func Lookup(a domain.Action) (Info, bool) {
	info, ok := byAction[a]
	return info, ok
}

// Permits says whether the role may do the action everywhere that it holds.
func (i Info) Permits(r domain.Role) bool { return slices.Contains(i.Roles, r) }

// PermitsOwn says whether the role may do the action for what is its own.
func (i Info) PermitsOwn(r domain.Role) bool { return slices.Contains(i.Own, r) }
