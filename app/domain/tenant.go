package domain

import "regexp"

// TenantID names one client of the agency. It stands in URLs, file names and
// logs, is chosen by the operator and is never given out twice.
type TenantID string

var tenantPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{1,38}[a-z0-9]$`)

// reserved are ids that mean something else in a URL or in a path of the
// Vault protocol, now or soon.
var reserved = map[TenantID]bool{
	"sys": true, "auth": true, "secret": true, "identity": true, "cubbyhole": true,
	"transit": true, "database": true, "root": true, "admin": true, "api": true,
	"kv": true, "pki": true, "ssh": true, "aws": true, "totp": true, "system": true,
	"data": true, "metadata": true, "login": true, "logout": true, "setup": true,
	"assets": true, "static": true, "health": true, "healthz": true, "readyz": true,
	"metrics": true, "well-known": true, "operator": true, "coffer": true, "public": true,
	"v1": true, "v2": true, "v3": true,
}

// ParseTenantID checks an id that came from outside.
func ParseTenantID(s string) (TenantID, error) {
	if !tenantPattern.MatchString(s) {
		return "", Fieldf("tenant", "%s is not a tenant id", quote(s)).
			WithHint("use 3 to 40 characters: a-z, 0-9 and '-', first a letter, last no '-'; for example acme")
	}
	if reserved[TenantID(s)] {
		return "", Fieldf("tenant", "%s has a meaning of its own in URLs and cannot name a tenant", quote(s)).
			WithHint("choose another id, for example %s-client", s)
	}
	return TenantID(s), nil
}
