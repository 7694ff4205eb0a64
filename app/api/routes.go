package api

import (
	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

const (
	get    = fiber.MethodGet
	post   = fiber.MethodPost
	put    = fiber.MethodPut
	patch  = fiber.MethodPatch
	remove = fiber.MethodDelete
)

// Routes lists the API, for tests and documents.
func (s *Server) Routes() []Route { return s.routes() }

// routes is the whole API.
func (s *Server) routes() []Route {
	const (
		v1     = "/api/v1"
		tenant = v1 + "/tenants/:tenant"
		secret = tenant + "/secret"
	)
	return []Route{
		{get, v1 + "/seal", authz.SealStatus, s.sealStatus},
		{post, v1 + "/seal/unseal", authz.SealUnseal, s.unseal},
		on(s, post, v1+"/seal/slots", actions.SealAdd),
		on(s, remove, v1+"/seal/slots/:slot", actions.SealRemove),
		on(s, post, v1+"/seal/rotate", actions.SealRotate),
		on(s, post, v1+"/seal/recovery", actions.SealRecovery),
		on(s, post, v1+"/seal/recovery/confirm", actions.SealRecoveryConfirm),

		on(s, get, v1+"/actions", actions.ActionList),
		on(s, get, v1+"/roles", actions.RoleList),
		on(s, post, v1+"/check", actions.CheckStores),
		on(s, get, v1+"/audit", actions.AuditSystem),
		on(s, post, v1+"/audit/verify", actions.AuditVerifySystem),

		on(s, post, v1+"/login/workload", actions.WorkloadLogin),
		on(s, post, v1+"/token/lookup", actions.TokenLookup),
		on(s, post, v1+"/token/revoke", actions.TokenDiscard),

		on(s, get, v1+"/tenants", actions.TenantList),
		on(s, post, v1+"/tenants", actions.TenantCreate),
		on(s, get, tenant, actions.TenantShow),
		on(s, remove, tenant, actions.TenantDestroy),
		on(s, post, tenant+"/suspend", actions.TenantSuspend),
		on(s, post, tenant+"/resume", actions.TenantResume),
		on(s, post, tenant+"/break-glass", actions.BreakGlass),

		on(s, get, tenant+"/members", actions.MemberList),
		on(s, post, tenant+"/members", actions.MemberAdd),
		on(s, patch, tenant+"/members/:name", actions.MemberRole),
		on(s, remove, tenant+"/members/:name", actions.MemberRemove),

		on(s, get, tenant+"/secrets", actions.SecretList),
		on(s, get, secret, actions.SecretRead),
		on(s, put, secret, actions.SecretPut),
		on(s, remove, secret, actions.SecretDelete),
		on(s, get, secret+"/versions", actions.SecretVersions),
		on(s, post, secret+"/undelete", actions.SecretUndelete),
		on(s, post, secret+"/destroy", actions.SecretDestroy),

		on(s, get, tenant+"/workloads", actions.WorkloadList),
		on(s, post, tenant+"/workloads", actions.WorkloadCreate),
		on(s, remove, tenant+"/workloads/:name", actions.WorkloadRemove),
		on(s, post, tenant+"/workloads/:name/secret-id", actions.WorkloadSecretID),

		on(s, get, tenant+"/tokens", actions.TokenList),
		on(s, post, tenant+"/tokens", actions.TokenIssue),
		on(s, remove, tenant+"/tokens/:accessor", actions.TokenRevoke),

		on(s, post, tenant+"/sql", actions.SQL),

		on(s, get, tenant+"/audit", actions.AuditRead),
		on(s, post, tenant+"/audit/verify", actions.AuditVerify),
	}
}

// sealStatus is answered sealed or not, and not logged (see actions.Gate).
func (s *Server) sealStatus(c *fiber.Ctx) error { return c.JSON(s.gate.Status()) }

// unseal is for local users alone: whoever the socket let in.
func (s *Server) unseal(c *fiber.Ctx) error {
	peer, local := c.Context().Conn().(peerConn)
	if !local {
		return domain.Errorf(domain.Denied, "only the local socket can unseal").WithHint("on the machine: coffer unseal")
	}
	var in actions.UnsealIn
	if err := decode(c, &in); err != nil {
		return err
	}
	defer in.Secret.Zero()
	ctx, cancel := requestContext()
	defer cancel()
	call := s.call(c)
	call.Auth = "socket"
	out, receipt, err := s.gate.Unseal(ctx, peer.cred.Uid, in, call)
	return s.answer(c, out, receipt, err)
}
