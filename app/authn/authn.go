package authn

import (
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// personIn gives a person's layers in one tenant at a time, none if not a member.
func personIn(tx *store.Tx, tenant domain.TenantID, person string, now time.Time) ([]authz.Layer, error) {
	m, found, err := directory.Membership(tx, tenant, person, now)
	if err != nil || !found {
		return nil, err
	}
	return []authz.Layer{{Role: m.Role}}, nil
}

// workloadIn gives a workload's layers in its tenant, none if it was removed.
func workloadIn(tx *store.Tx, tenant domain.TenantID, id string) ([]authz.Layer, error) {
	w, found, err := directory.WorkloadByID(tx, tenant, id)
	if err != nil || !found {
		return nil, err
	}
	return []authz.Layer{w.Layer()}, nil
}
