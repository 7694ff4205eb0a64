package api

import (
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/audit"
)

const (
	get    = fiber.MethodGet
	post   = fiber.MethodPost
	put    = fiber.MethodPut
	patch  = fiber.MethodPatch
	remove = fiber.MethodDelete
)

// routes is the table of the API.
func (a *API) routes() []route {
	const (
		v1     = "/api/v1"
		tenant = v1 + "/tenants/:tenant"
		secret = tenant + "/secret"
		key    = tenant + "/transit/:name"
	)
	return []route{
		bare[actions.Nothing, json.RawMessage](get, v1+"/openapi.json", "", a.openAPI),

		bare[actions.Nothing, actions.SealState](get, v1+"/seal", authz.SealStatus, a.sealStatus),
		bare[actions.UnsealIn, actions.SealState](post, v1+"/seal/unseal", authz.SealUnseal, a.unseal),
		on(a, post, v1+"/seal/slots", actions.SealAdd),
		on(a, remove, v1+"/seal/slots/:slot", actions.SealRemove),
		on(a, post, v1+"/seal/rotate", actions.SealRotate),
		on(a, post, v1+"/seal/recovery", actions.SealRecovery),
		on(a, post, v1+"/seal/recovery/confirm", actions.SealRecoveryConfirm),
		on(a, get, v1+"/rotations", actions.RotateStatus),
		on(a, post, v1+"/rotations", actions.RotateStart),
		on(a, post, v1+"/rotations/resume", actions.RotateResume),

		on(a, get, v1+"/actions", actions.ActionList),
		on(a, get, v1+"/roles", actions.RoleList),
		on(a, post, v1+"/check", actions.CheckStores),
		on(a, get, v1+"/audit", actions.AuditSystem),
		on(a, post, v1+"/audit/verify", actions.AuditVerifySystem),

		on(a, get, v1+"/alerts", actions.AlertList),
		on(a, post, v1+"/alerts/:id/ack", actions.AlertAck),
		on(a, get, v1+"/mine", actions.TenantMine),

		on(a, post, v1+"/login/workload", actions.WorkloadLogin),
		on(a, post, v1+"/token/lookup", actions.TokenLookup),
		on(a, post, v1+"/token/renew", actions.TokenRenew),
		on(a, post, v1+"/token/revoke", actions.TokenDiscard),

		on(a, post, v1+"/wrapping/lookup", actions.WrapLookup),
		on(a, post, v1+"/wrapping/unwrap", actions.WrapUnwrap),
		on(a, post, v1+"/wrapping/rewrap", actions.WrapRewrap),

		on(a, post, v1+"/setup-link", actions.SetupLink),
		on(a, post, v1+"/links/show", actions.LinkShow),
		on(a, post, v1+"/links/accept", actions.LinkAccept),
		on(a, post, v1+"/links/join", actions.InvitationJoin),

		on(a, get, v1+"/sessions", actions.SessionList),
		on(a, post, v1+"/sessions", actions.SignIn),
		on(a, remove, v1+"/sessions", actions.SessionEndAll),
		on(a, remove, v1+"/sessions/own", actions.SignOut),
		on(a, remove, v1+"/sessions/:accessor", actions.SessionEnd),
		on(a, post, v1+"/sessions/issue", actions.SessionIssue),
		on(a, post, v1+"/sessions/passkey", actions.PasskeySignIn),
		on(a, post, v1+"/sessions/passkey/begin", actions.PasskeySignInBegin),
		on(a, post, v1+"/sessions/step-up", actions.StepUp),
		on(a, post, v1+"/sessions/step-up/passkey", actions.PasskeyStepUp),
		on(a, post, v1+"/sessions/step-up/passkey/begin", actions.PasskeyStepUpBegin),

		on(a, get, v1+"/account", actions.Account),
		on(a, post, v1+"/account/totp", actions.TOTPConfirm),
		on(a, post, v1+"/account/totp/begin", actions.TOTPBegin),
		on(a, post, v1+"/account/passkeys", actions.PasskeyAdd),
		on(a, post, v1+"/account/passkeys/begin", actions.PasskeyAddBegin),
		on(a, remove, v1+"/account/passkeys/:id", actions.PasskeyRemove),
		on(a, post, v1+"/account/recovery-codes", actions.RecoveryCodesNew),
		on(a, post, v1+"/account/password", actions.PasswordChange),

		on(a, get, v1+"/migrations", actions.MigrationList),
		on(a, put, v1+"/migrations", actions.MigrationPut),
		on(a, post, v1+"/migrations/plan", actions.MigrationPlan),
		on(a, post, v1+"/migrations/run", actions.MigrationRun),
		on(a, post, v1+"/migrations/run/continue", actions.MigrationContinue),
		on(a, get, v1+"/migrations/tenants", actions.MigrationFleet),

		on(a, get, v1+"/people", actions.PersonList),
		on(a, patch, v1+"/people/:name", actions.PersonRole),
		on(a, post, v1+"/people/:name/recover", actions.PersonRecover),

		on(a, get, v1+"/tenants", actions.TenantList),
		on(a, post, v1+"/tenants", actions.TenantCreate),
		on(a, get, tenant, actions.TenantShow),
		on(a, remove, tenant, actions.TenantDestroy),
		on(a, post, tenant+"/isolate", actions.TenantIsolate),
		on(a, post, tenant+"/suspend", actions.TenantSuspend),
		on(a, post, tenant+"/resume", actions.TenantResume),
		on(a, post, tenant+"/break-glass", actions.BreakGlass),
		on(a, get, tenant+"/alerts", actions.AlertTenant),

		on(a, get, tenant+"/client-key", actions.ClientKeyStatus),
		on(a, put, tenant+"/client-key", actions.ClientKeySet),
		on(a, post, tenant+"/client-key/close", actions.ClientKeyClose),
		on(a, post, tenant+"/client-key/open", actions.ClientKeyOpen),
		on(a, remove, tenant+"/client-key", actions.ClientKeyRemove),
		on(a, get, tenant+"/rotations", actions.RotateTenantStatus),
		on(a, post, tenant+"/rotations", actions.RotateTenant),

		on(a, get, tenant+"/members", actions.MemberList),
		on(a, post, tenant+"/members", actions.MemberAdd),
		on(a, patch, tenant+"/members/:name", actions.MemberRole),
		on(a, remove, tenant+"/members/:name", actions.MemberRemove),

		on(a, get, tenant+"/invitations", actions.InvitationList),
		on(a, post, tenant+"/invitations", actions.InvitationCreate),
		on(a, remove, tenant+"/invitations/:id", actions.InvitationRevoke),

		on(a, get, tenant+"/secrets", actions.SecretList),
		on(a, get, secret, actions.SecretRead),
		on(a, put, secret, actions.SecretPut),
		on(a, remove, secret, actions.SecretDelete),
		on(a, get, secret+"/versions", actions.SecretVersions),
		on(a, post, secret+"/undelete", actions.SecretUndelete),
		on(a, post, secret+"/destroy", actions.SecretDestroy),

		on(a, get, tenant+"/policies", actions.PolicyList),
		on(a, post, tenant+"/policies/explain", actions.PolicyExplain),
		on(a, post, tenant+"/policies/self", actions.PolicySelf),
		on(a, get, tenant+"/policies/acl/:name", actions.PolicyRead),
		on(a, put, tenant+"/policies/acl/:name", actions.PolicyPut),
		on(a, remove, tenant+"/policies/acl/:name", actions.PolicyRemove),

		on(a, get, tenant+"/transit", actions.TransitList),
		on(a, get, key, actions.TransitRead),
		on(a, post, key, actions.TransitCreate),
		on(a, patch, key, actions.TransitConfig),
		on(a, remove, key, actions.TransitRemove),
		on(a, post, key+"/rotate", actions.TransitRotate),
		on(a, post, key+"/trim", actions.TransitTrim),
		on(a, post, key+"/encrypt", actions.TransitEncrypt),
		on(a, post, key+"/decrypt", actions.TransitDecrypt),
		on(a, post, key+"/rewrap", actions.TransitRewrap),
		on(a, post, key+"/datakey", actions.TransitDatakey),
		on(a, post, key+"/sign", actions.TransitSign),
		on(a, post, key+"/verify", actions.TransitVerify),
		on(a, post, key+"/hmac", actions.TransitHMAC),

		on(a, get, tenant+"/workloads", actions.WorkloadList),
		on(a, post, tenant+"/workloads", actions.WorkloadCreate),
		on(a, remove, tenant+"/workloads/:name", actions.WorkloadRemove),
		on(a, post, tenant+"/workloads/:name/secret-id", actions.WorkloadSecretID),

		on(a, get, tenant+"/tokens", actions.TokenList),
		on(a, post, tenant+"/tokens", actions.TokenIssue),
		on(a, get, tenant+"/tokens/:accessor", actions.TokenShow),
		on(a, remove, tenant+"/tokens/:accessor", actions.TokenRevoke),

		on(a, get, tenant+"/leases", actions.LeaseList),
		on(a, post, tenant+"/leases/lookup", actions.LeaseLookup),
		on(a, post, tenant+"/leases/renew", actions.LeaseRenew),
		on(a, post, tenant+"/leases/revoke", actions.LeaseRevoke),
		on(a, post, tenant+"/leases/revoke-prefix", actions.LeaseRevokePrefix),
		on(a, post, tenant+"/leases/revoke-all", actions.LeaseRevokeAll),
		on(a, post, tenant+"/wrap", actions.WrapCreate),

		on(a, post, tenant+"/sql", actions.SQL),
		on(a, post, tenant+"/export", actions.SQLExport),

		on(a, get, tenant+"/queries", actions.QueryList),
		on(a, get, tenant+"/queries/:name", actions.QueryShow),
		on(a, put, tenant+"/queries/:name", actions.QuerySave),
		on(a, remove, tenant+"/queries/:name", actions.QueryRemove),
		on(a, post, tenant+"/queries/:name/run", actions.QueryRun),
		on(a, get, tenant+"/dashboards", actions.DashboardList),
		on(a, get, tenant+"/dashboards/:name", actions.DashboardShow),
		on(a, put, tenant+"/dashboards/:name", actions.DashboardSave),
		on(a, remove, tenant+"/dashboards/:name", actions.DashboardRemove),

		on(a, get, tenant+"/migrations", actions.MigrationStatus),
		on(a, post, tenant+"/migrations/apply", actions.MigrationApply),
		on(a, post, tenant+"/migrations/restore", actions.MigrationRestore),

		on(a, get, tenant+"/audit", actions.AuditRead),
		on(a, post, tenant+"/audit/verify", actions.AuditVerify),
	}
}

// sealStatus is answered sealed or not, and not logged (see actions.Gate).
func (a *API) sealStatus(c *fiber.Ctx) error {
	return answer(c, a.gate.Status(), audit.Receipt{}, nil)
}

// unseal is for local users alone: whoever the socket let in.
func (a *API) unseal(c *fiber.Ctx) error {
	uid, local := httpd.Peer(c)
	if !local {
		return domain.Errorf(domain.Denied, "only the local socket can unseal").WithHint("on the machine: coffer unseal")
	}
	var in actions.UnsealIn
	if err := decode(c, &in); err != nil {
		return err
	}
	defer in.Secret.Zero()
	ctx, cancel := httpd.Context()
	defer cancel()
	call := httpd.Call(c)
	call.Auth = "socket"
	out, receipt, err := a.gate.Unseal(ctx, uid, in, call)
	return answer(c, out, receipt, err)
}
