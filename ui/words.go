package ui

import (
	"strings"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// sentence is an event in plain words: who did what to what, and what came of it.
type sentence struct{ Who, Did, What, Rest string }

// String is the sentence as one text.
func (s sentence) String() string {
	return strings.Join(strings.Fields(s.Who+" "+s.Did+" "+s.What+" "+s.Rest), " ")
}

// verbs say what was done, by action. What stands after a "|" comes behind the
// resource.
var verbs = map[domain.Action]string{
	authz.TenantCreate:      "created the client",
	authz.TenantList:        "listed the clients",
	authz.TenantShow:        "looked at the client",
	authz.TenantIsolate:     "moved the client's database to another process",
	authz.TenantSuspend:     "suspended the client",
	authz.TenantResume:      "opened the client again",
	authz.TenantDestroy:     "destroyed the client",
	authz.MemberAdd:         "made somebody a member",
	authz.MemberList:        "looked at the members",
	authz.MemberRole:        "changed a member's role",
	authz.MemberRemove:      "removed a member",
	authz.BreakGlass:        "broke the glass and became an owner",
	authz.SecretPut:         "wrote a new version of the secret",
	authz.SecretRead:        "read the secret",
	authz.SecretList:        "listed the secrets|without values",
	authz.SecretVersions:    "looked at the versions of the secret",
	authz.SecretDelete:      "deleted a version of the secret",
	authz.SecretUndelete:    "brought a version back of the secret",
	authz.SecretDestroy:     "destroyed a version of the secret|for good",
	authz.PolicyPut:         "wrote the policy",
	authz.PolicyRead:        "read the policy",
	authz.PolicyList:        "listed the policies",
	authz.PolicyRemove:      "removed the policy",
	authz.PolicyExplain:     "looked at what somebody may:",
	authz.PolicySelf:        "looked at what it may",
	authz.TransitCreate:     "made the transit key",
	authz.TransitRead:       "looked at the transit key",
	authz.TransitList:       "listed the transit keys",
	authz.TransitConfig:     "changed the settings of the transit key",
	authz.TransitRotate:     "added a version to the transit key",
	authz.TransitTrim:       "destroyed old versions of the transit key|for good",
	authz.TransitRemove:     "destroyed the transit key|for good",
	authz.TransitEncrypt:    "encrypted with the transit key",
	authz.TransitDecrypt:    "decrypted with the transit key",
	authz.TransitRewrap:     "encrypted anew with the transit key",
	authz.TransitDatakey:    "made a data key with the transit key",
	authz.TransitSign:       "signed with the transit key",
	authz.TransitVerify:     "verified with the transit key",
	authz.TransitHMAC:       "authenticated with the transit key",
	authz.WorkloadCreate:    "created the workload",
	authz.WorkloadList:      "looked at the workloads",
	authz.WorkloadSecretID:  "issued a secret id for the workload",
	authz.WorkloadRemove:    "removed the workload|and its tokens",
	authz.WorkloadLogin:     "let a workload log in",
	authz.TokenIssue:        "issued a token",
	authz.TokenOrphan:       "issued a token|that lives on without its parent",
	authz.TokenLookup:       "looked up the token",
	authz.TokenRenew:        "renewed the token",
	authz.TokenShow:         "looked at the token",
	authz.TokenRevokeAlone:  "revoked the token|but not those made with it",
	authz.TokenList:         "looked at the tokens",
	authz.TokenRevoke:       "revoked the token",
	authz.TokenDiscard:      "gave back the token",
	authz.LeaseList:         "looked at the leases",
	authz.LeaseLookup:       "looked at the lease",
	authz.LeaseRenew:        "renewed the lease",
	authz.LeaseRevoke:       "revoked the lease",
	authz.LeaseRevokePrefix: "revoked all leases under",
	authz.LeaseRevokeAll:    "revoked everything of",
	authz.LeaseEnd:          "took back what the lease was for,",
	authz.WrapCreate:        "wrapped an answer, to be opened once, of",
	authz.WrapLookup:        "looked at the wrapping token",
	authz.WrapUnwrap:        "unwrapped, and so burnt, the wrapping token",
	authz.WrapRewrap:        "replaced the wrapping token",
	authz.SQLQuery:          "read data with SQL",
	authz.SQLWrite:          "changed data with SQL",
	authz.QuerySave:         "stored the query",
	authz.QueryList:         "looked at the stored queries",
	authz.QueryRun:          "ran the stored query",
	authz.QueryRemove:       "removed the stored query",
	authz.DashboardSave:     "stored the dashboard",
	authz.DashboardList:     "looked at the dashboards",
	authz.DashboardRemove:   "removed the dashboard",
	authz.SQLExport:         "exported the whole database",
	authz.SQLRollback:       "rolled back a transaction that its client left open",
	authz.AuditRead:         "read this log",
	authz.AuditVerify:       "verified this log|from its first record",
	authz.AuditSystem:       "looked at the appliance's log",
	authz.SealStatus:        "looked at the seal",
	authz.SealUnseal:        "opened the appliance with the key slot",
	authz.SealAdd:           "added the key slot",
	authz.SealRemove:        "removed the key slot",
	authz.SealRotate:        "replaced the root key",
	authz.SealRecovery:      "made the recovery key",
	authz.CheckStores:       "checked every store on disk",
	authz.ActionList:        "listed the actions",
	authz.RoleList:          "listed the roles",

	authz.MigrationPut:      "replaced the set of migrations",
	authz.MigrationList:     "looked at how far the clients' databases are",
	authz.MigrationPlan:     "planned migrations",
	authz.MigrationRun:      "began to bring every client's database to the migration",
	authz.MigrationContinue: "went on with the run of migrations",
	authz.MigrationStatus:   "looked at the migrations of this database",
	authz.MigrationApply:    "brought this database to the migration",
	authz.MigrationRestore:  "put this database back to the snapshot",

	authz.ClientKeySet:       "closed the client under a key that only the client has:",
	authz.ClientKeyOpen:      "opened the client with the client's own key",
	authz.ClientKeyClose:     "closed the client under its own key",
	authz.ClientKeyRemove:    "took the client's own key off",
	authz.ClientKeyStatus:    "looked at the client's own key",
	authz.RotateStart:        "rotated keys of the appliance:",
	authz.RotateStatus:       "looked at the rotations of keys",
	authz.RotateTenant:       "rotated keys of the client:",
	authz.RotateTenantStatus: "looked at the rotations of the client's keys",

	authz.TenantMine:  "looked at the clients",
	authz.AlertList:   "looked at the alerts",
	authz.AlertTenant: "looked at the client's alerts",
	authz.AlertAck:    "acknowledged the alert",

	authz.InvitationCreate: "made an invitation for the role",
	authz.InvitationList:   "looked at the invitations",
	authz.InvitationRevoke: "took back the invitation",
	authz.InvitationJoin:   "took up the invitation",
	authz.SetupLink:        "made a link for an operator",
	authz.LinkShow:         "looked at the link",
	authz.LinkAccept:       "took up the link",

	authz.SessionCreate: "signed in",
	authz.SessionIssue:  "began a session on the machine",
	authz.SessionStepUp: "proved the second factor",
	authz.SessionEndOwn: "signed out and ended",
	authz.SessionList:   "looked at the own sessions",
	authz.SessionEnd:    "ended the session",
	authz.SessionEndAll: "ended all own sessions",

	authz.AccountShow:          "looked at the own account",
	authz.AccountTOTP:          "set up an app that shows codes",
	authz.AccountPasskey:       "changed a passkey",
	authz.AccountRecoveryCodes: "made new recovery codes",
	authz.AccountPassword:      "changed the password",
	authz.PersonList:           "looked at the people",
	authz.PersonRole:           "changed roles on the appliance of",
	authz.PersonRecover:        "let somebody in again who had lost everything",
}

// tries say the same of what was refused or failed.
func tryOf(info authz.Info, outcome string) string {
	switch outcome {
	case "refused":
		return "was refused to " + info.Meaning
	case "failed":
		return "tried in vain to " + info.Meaning
	}
	return "began to " + info.Meaning
}

// wordsOf makes an event's sentence.
func wordsOf(e actions.Event, names map[string]string) sentence {
	if e.Action == "" {
		return logWords(e)
	}
	s := sentence{Who: named(names, e.Actor), What: e.Resource}
	info, known := authz.Lookup(domain.Action(e.Action))
	switch {
	case !known && strings.HasPrefix(e.Action, "alarm."):
		return sentence{Who: "Coffer", Did: "raised an alarm:", Rest: detailText(e.Detail, "text")}
	case e.Action == "clientkey.closed":
		return sentence{Who: "Coffer", Did: "closed the client:", Rest: detailText(e.Detail, "text")}
	case e.Action == "tenant.created":
		s = sentence{
			Who: named(names, detailText(e.Detail, "by")), Did: "made this client;", Rest: named(names, detailText(e.Detail, "owner")) + " owns it",
		}
	case !known:
		s.Did = "did " + e.Action
	case e.Outcome == string(outcomeOK):
		var rest string
		s.Did, rest, _ = strings.Cut(verbs[info.Action], "|")
		if s.Did == "" {
			s.Did = "did: " + info.Meaning
		}
		s.Rest = strings.TrimSpace(rest + " " + restOf(e, names))
		if by := detailText(e.Detail, "by"); info.Action == authz.PersonRecover && by != "" {
			s.Who = named(names, by) // a client's log has it from Coffer itself, which names who did it
		}
	default:
		s.Did, s.Rest = tryOf(info, e.Outcome), restOf(e, names)
	}
	if strings.HasPrefix(e.Actor, string(domain.Nobody)+":") {
		s.Who = "Somebody who had not signed in"
		if name := names["person:"+detailText(e.Detail, "person")]; name != "" {
			s.Who = name
		}
	}
	return s
}

const outcomeOK = "ok"

// restOf is what the detail adds to the sentence.
func restOf(e actions.Event, names map[string]string) string {
	var parts []string
	if id := detailText(e.Detail, "member"); id != "" {
		parts = append(parts, "— "+named(names, "person:"+id))
	}
	switch domain.Action(e.Action) {
	case authz.SecretRead, authz.SecretPut, authz.SecretDelete, authz.SecretUndelete, authz.SecretDestroy,
		authz.TransitRotate, authz.TransitEncrypt, authz.TransitDecrypt, authz.TransitSign:
		if v := detailText(e.Detail, "version"); v != "" && v != "0" {
			parts = append(parts, "(version "+v+")")
		}
	case authz.MemberAdd, authz.MemberRole:
		if role := detailText(e.Detail, "role"); role != "" {
			parts = append(parts, "as "+role)
		}
	case authz.SQLQuery, authz.SQLWrite, authz.MigrationApply, authz.QueryRun:
		if tables := detailPairs(e.Detail); len(tables) > 0 {
			for _, p := range tables {
				if p.Name == "tables" && p.Text != "" {
					parts = append(parts, "in "+p.Text)
				}
			}
		}
	case authz.PersonRecover:
		if id := detailText(e.Detail, "person"); id != "" {
			parts = append(parts, "— "+named(names, "person:"+id))
		}
	case authz.BreakGlass:
		if reason := detailText(e.Detail, "reason"); reason != "" {
			parts = append(parts, "because: "+reason)
		}
	}
	if e.Outcome == "failed" {
		if kind := detailText(e.Detail, "error"); kind != "" {
			parts = append(parts, "("+strings.ReplaceAll(kind, "_", " ")+")")
		}
	}
	return strings.Join(parts, " ")
}

// logWords are about the log itself.
func logWords(e actions.Event) sentence {
	s := sentence{Who: "Coffer"}
	switch e.Type {
	case "boot":
		s.Did = "started"
	case "key-open":
		s.Did, s.What = "opened the log's key for the period", detailText(e.Detail, "period")
	case "key-shred":
		s.Did = "destroyed the keys of records whose retention ended"
	case "period-close":
		s.Did, s.What = "closed the period", detailText(e.Detail, "period")
	case "policy":
		s.Did = "took down that the retention changed"
	case "tenant-open":
		s.Did = "began this log"
	case "tenant-close":
		s.Did = "closed this log: the client was destroyed"
	case "clock":
		s.Did = "noticed that the clock jumped"
	case "rollback-ack":
		s.Did = "took down that people accepted a rolled-back log"
	default:
		s.Did = "wrote a record of the kind " + e.Type
	}
	return s
}
