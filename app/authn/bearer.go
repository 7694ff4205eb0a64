package authn

import (
	"context"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/policies"
	"coffer/app/store"
	"coffer/vault/token"
)

// Bearer says for whom a token stands. Its subject reaches the token's tenant
// alone, and there what both its principal, as of now, and the token itself may.
// A use of one that holds for a number of requests is spent when this returns.
func Bearer(ctx context.Context, db *store.Store, text domain.Secret, now time.Time) (s authz.Subject, err error) {
	counted := false
	err = db.View(ctx, func(tx *store.Tx) error {
		t, err := token.Lookup(tx, text, now)
		if counted = t.Uses > 0; err != nil || counted {
			return err
		}
		s, err = SubjectOf(tx, t, now)
		return err
	})
	if err != nil || !counted {
		return s, err
	}
	_, err = db.Update(ctx, func(tx *store.Tx) error {
		t, err := token.Spend(tx, text, now)
		if err != nil {
			return err
		}
		s, err = SubjectOf(tx, t, now)
		return err
	})
	if err != nil {
		return authz.Subject{}, err
	}
	return s, nil
}

// SubjectOf gives the subject of a live token.
func SubjectOf(tx *store.Tx, t token.Token, now time.Time) (authz.Subject, error) {
	var layers []authz.Layer
	var err error
	switch t.Principal.Kind {
	case domain.Person:
		layers, err = personIn(tx, t.Tenant, t.Principal.ID, now)
	case domain.Workload:
		layers, err = workloadIn(tx, t.Tenant, t.Principal.ID)
	}
	if err != nil {
		return authz.Subject{}, err
	}
	if len(layers) == 0 {
		return authz.Subject{}, token.ErrUnknown // its principal is gone
	}
	if t.IssuedBy != t.Principal.ID { // a person's, for a workload: no wider than that person is now
		maker, err := personIn(tx, t.Tenant, t.IssuedBy, now)
		if err != nil {
			return authz.Subject{}, err
		}
		if len(maker) == 0 {
			return authz.Subject{}, token.ErrUnknown
		}
		layers = append(layers, maker...)
	}
	// What policies say is looked up each time, so that a change of them acts at once.
	layers, err = policies.ResolveAll(tx, t.Tenant, append(append(layers, t.Above...), t.Layer))
	return authz.Subject{
		Principal: t.Principal,
		Home:      t.Tenant,
		Token:     t.Accessor,
		Tenants:   map[domain.TenantID][]authz.Layer{t.Tenant: layers},
	}, err
}
