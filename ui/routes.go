package ui

import (
	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/httpd"
)

// Routes are all pages. Each route names the action that it is for; those that
// have none stand in httpd.Exempt.
func (u *UI) Routes() []httpd.Route {
	all := u.openRoutes()
	all = append(all, u.applianceRoutes()...)
	all = append(all, u.accountRoutes()...)
	return append(all, u.clientRoutes()...)
}

// openRoutes are for everybody.
func (u *UI) openRoutes() []httpd.Route {
	return []httpd.Route{
		u.open(get, "/assets/*", "", u.asset),
		u.open(get, "/trust", "", u.trust),
		u.open(get, "/ca.crt", "", u.caFile),
		u.open(post, "/theme", "", u.theme),

		u.open(get, "/login", "", u.login),
		u.open(post, "/login", authz.SessionCreate, u.signIn),
		u.open(post, "/login/passkey/begin", authz.SessionCreate, u.passkeyBegin),
		u.open(post, "/login/passkey", authz.SessionCreate, u.passkeySignIn),
		u.on(post, "/logout", authz.SessionEndOwn, u.signOut),

		u.open(get, "/setup", "", u.setupLink),
		u.open(get, "/join", "", u.joinLink),
		u.open(post, "/link", authz.LinkShow, u.linkLook),
		u.open(post, "/link/accept", authz.LinkAccept, u.linkAccept),
		u.on(post, "/link/join", authz.InvitationJoin, u.linkJoin),
	}
}

// applianceRoutes are about the whole appliance.
func (u *UI) applianceRoutes() []httpd.Route {
	return []httpd.Route{
		u.on(get, "/", authz.TenantMine, u.clients),
		u.on(get, "/roles", authz.RoleList, u.roles),
		u.on(get, "/alerts", authz.AlertList, u.alerts),
		u.on(post, "/alerts/ack", authz.AlertAck, u.alertAck),
		u.on(get, "/people", authz.PersonList, u.persons),
		u.on(post, "/people/role", authz.PersonRole, u.personRole),
		u.on(post, "/people/setup-link", authz.SetupLink, u.setupLinkMake),
		u.on(get, "/log", authz.AuditSystem, u.systemLog),
		u.on(post, "/log/verify", authz.AuditSystem, u.verifySystem),

		u.on(get, "/seal", authz.SealAdd, u.seal),
		u.on(post, "/seal/slots", authz.SealAdd, u.slotAdd),
		u.on(post, "/seal/slots/remove", authz.SealRemove, u.slotRemove),
		u.on(post, "/seal/rotate", authz.SealRotate, u.sealRotate),
		u.on(post, "/seal/keys/rotate", authz.RotateStart, u.rotateStart),
		u.on(post, "/seal/keys/resume", authz.RotateStart, u.rotateResume),
		u.on(post, "/seal/recovery", authz.SealRecovery, u.recoveryMake),
		u.on(post, "/seal/recovery/confirm", authz.SealRecovery, u.recoveryConfirm),
	}
}

// accountRoutes are about oneself.
func (u *UI) accountRoutes() []httpd.Route {
	return []httpd.Route{
		u.on(get, "/account", authz.AccountShow, u.account),
		u.on(post, "/account/password", authz.AccountPassword, u.password),
		u.on(get, "/account/second-factor", authz.AccountTOTP, u.factor),
		u.on(post, "/account/totp", authz.AccountTOTP, u.totpBegin),
		u.on(post, "/account/totp/confirm", authz.AccountTOTP, u.totpConfirm),
		u.on(post, "/account/passkeys/begin", authz.AccountPasskey, u.passkeyAddBegin),
		u.on(post, "/account/passkeys", authz.AccountPasskey, u.passkeyAdd),
		u.on(post, "/account/passkeys/remove", authz.AccountPasskey, u.passkeyRemove),
		u.on(post, "/account/recovery-codes", authz.AccountRecoveryCodes, u.codesNew),
		u.on(post, "/account/sessions/end", authz.SessionEnd, u.sessionEnd),
		u.on(post, "/account/sessions/end-all", authz.SessionEndAll, u.sessionEndAll),
		u.on(post, "/proof/passkey/begin", authz.SessionStepUp, u.proofPasskeyBegin),
	}
}

// clientRoutes are about one client.
func (u *UI) clientRoutes() []httpd.Route {
	const (
		client = "/clients/:tenant"
		secret = client + "/secret"
	)
	return []httpd.Route{
		u.on(get, "/new", authz.TenantCreate, u.clientNew),
		u.on(post, "/new", authz.TenantCreate, u.clientCreate),

		u.on(get, client, authz.TenantShow, u.client),
		u.on(post, client+"/suspend", authz.TenantSuspend, u.clientSuspend),
		u.on(post, client+"/resume", authz.TenantResume, u.clientResume),
		u.on(post, client+"/destroy", authz.TenantDestroy, u.clientDestroy),
		u.on(post, client+"/break-glass", authz.BreakGlass, u.breakGlass),

		u.on(get, client+"/keys", authz.ClientKeyStatus, u.keys),
		u.on(post, client+"/keys/set", authz.ClientKeySet, u.clientKeySet),
		u.on(post, client+"/keys/close", authz.ClientKeyClose, u.clientKeyClose),
		u.on(post, client+"/keys/open", authz.ClientKeyOpen, u.clientKeyOpen),
		u.on(post, client+"/keys/remove", authz.ClientKeyRemove, u.clientKeyRemove),
		u.on(post, client+"/keys/rotate", authz.RotateTenant, u.rotateTenant),

		u.on(get, client+"/secrets", authz.SecretList, u.secrets),
		u.on(get, client+"/secrets/new", authz.SecretPut, u.secretNew),
		u.on(post, client+"/secrets", authz.SecretPut, u.secretPut),
		u.on(get, secret, authz.SecretVersions, u.secret),
		u.on(post, secret+"/reveal", authz.SecretRead, u.secretReveal),
		u.on(post, secret+"/delete", authz.SecretDelete, onSecret(actions.SecretDelete, "deleted")),
		u.on(post, secret+"/undelete", authz.SecretUndelete, onSecret(actions.SecretUndelete, "undeleted")),
		u.on(post, secret+"/destroy", authz.SecretDestroy, onSecret(actions.SecretDestroy, "destroyed")),

		u.on(get, client+"/tokens", authz.TokenList, u.tokens),
		u.on(post, client+"/tokens", authz.TokenIssue, u.tokenIssue),
		u.on(post, client+"/tokens/revoke", authz.TokenRevoke, u.tokenRevoke),
		u.on(get, client+"/workloads", authz.WorkloadList, u.workloads),
		u.on(post, client+"/workloads", authz.WorkloadCreate, u.workloadCreate),
		u.on(post, client+"/workloads/secret-id", authz.WorkloadSecretID, u.workloadSecretID),
		u.on(post, client+"/workloads/remove", authz.WorkloadRemove, u.workloadRemove),

		u.on(get, client+"/people", authz.MemberList, u.members),
		u.on(post, client+"/people", authz.MemberAdd, u.memberAdd),
		u.on(post, client+"/people/role", authz.MemberRole, u.memberRole),
		u.on(post, client+"/people/remove", authz.MemberRemove, u.memberRemove),
		u.on(post, client+"/invitations", authz.InvitationCreate, u.invite),
		u.on(post, client+"/invitations/revoke", authz.InvitationRevoke, u.inviteRevoke),

		u.on(get, client+"/sql", authz.SQLQuery, u.sql),
		u.on(post, client+"/sql", authz.SQLQuery, u.sqlRun),

		u.on(get, client+"/audit", authz.AuditRead, u.timeline),
		u.on(get, client+"/audit/live", authz.AuditRead, u.timelineLive),
		u.on(post, client+"/audit/verify", authz.AuditVerify, u.verify),
	}
}
