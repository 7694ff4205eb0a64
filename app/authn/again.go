package authn

import (
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/token"
)

// Again gives a subject that this package gave before as it is now, in the one
// tenant: without a membership that ended, with the role of today. A token that
// ended is ErrUnknown of vault/token, a session that ended ErrSession. A subject that is neither a person nor a
// token's stays as it is.
func Again(tx *store.Tx, s authz.Subject, tenant domain.TenantID, now time.Time) (authz.Subject, error) {
	switch {
	case s.Token != "":
		t, err := token.Held(tx, s.Home, s.Token, now)
		if domain.KindOf(err) == domain.NotFound {
			return authz.Subject{}, token.ErrUnknown
		}
		if err != nil {
			return authz.Subject{}, err
		}
		return SubjectOf(tx, t, now)
	case s.Session != "":
		session, found, err := directory.SessionByAccessor(tx, s.Principal.ID, s.Session, now)
		if err != nil {
			return authz.Subject{}, err
		}
		if !found {
			return authz.Subject{}, ErrSession
		}
		if s, err = SessionSubject(tx, session); err != nil || tenant == "" {
			return s, err
		}
		layers, err := personIn(tx, tenant, s.Principal.ID, now)
		s.Tenants = map[domain.TenantID][]authz.Layer{tenant: layers}
		return s, err
	case s.Principal.Kind == domain.Person:
		layers, err := personIn(tx, tenant, s.Principal.ID, now)
		s.Tenants = map[domain.TenantID][]authz.Layer{tenant: layers}
		return s, err
	}
	return s, nil
}
