package vaultapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"coffer/app/authz"
)

// protocol is the version of Vault's API that is spoken, which clients compare with
// others. It is strict SemVer, and holds no "ent", for which some ask for more.
const protocol = "2.0.0+coffer"

// clusterName is said where clients ask for that of a cluster.
const clusterName = "coffer"

// sys are the endpoints of the appliance itself, which answer sealed or not.
func (a *API) sys() []endpoint {
	return []endpoint{
		{kind: "sys", op: opRead, pattern: "seal-status", action: authz.SealStatus, handle: a.sealStatus},
		{kind: "sys", op: opRead, pattern: "health", handle: a.health},
		{kind: "sys", op: opRead, pattern: "leader", handle: a.leader},
		{kind: "sys", op: opRead, pattern: "init", handle: a.initialized},
	}
}

// sealStatus says whether Coffer is sealed. What opens it is nobody's business who
// asks over the network.
func (a *API) sealStatus(context.Context, *request) (*reply, error) {
	status := map[string]any{
		"type": "coffer", "initialized": true, "sealed": a.gate.Status().Sealed,
		"t": 1, "n": 1, "progress": 0, "nonce": "", "version": protocol, "build_date": "",
		"migration": false, "recovery_seal": true, "storage_type": "bbolt",
	}
	if !a.gate.Status().Sealed {
		status["cluster_name"], status["cluster_id"] = clusterName, clusterName
	}
	return &reply{flat: status}, nil
}

// health answers with the status that a client chose for what is the case: one that
// chose none takes a sealed server for an error.
func (a *API) health(_ context.Context, r *request) (*reply, error) {
	if r.named {
		return nil, failf(http.StatusBadRequest, "operation unavailable in namespaces")
	}
	sealed := a.gate.Status().Sealed
	status, param := http.StatusOK, "activecode"
	if sealed {
		status, param = http.StatusServiceUnavailable, "sealedcode"
	}
	if chosen := r.query(param); chosen != "" {
		n, err := strconv.Atoi(chosen)
		if err != nil || n < 200 || n > 599 {
			return nil, failf(http.StatusBadRequest, "bad status code "+strconv.Quote(clip(chosen)))
		}
		status = n
	}
	return &reply{status: status, flat: map[string]any{
		"initialized": true, "sealed": sealed, "standby": false, "performance_standby": false,
		"replication_performance_mode": "disabled", "replication_dr_mode": "disabled",
		"server_time_utc": time.Now().Unix(), "version": protocol, "enterprise": false,
		"cluster_name": clusterName, "cluster_id": clusterName,
	}}, nil
}

// leader says that this is the only node.
func (a *API) leader(context.Context, *request) (*reply, error) {
	if _, err := a.gate.Service(); err != nil {
		return nil, err
	}
	return &reply{flat: map[string]any{
		"ha_enabled": false, "is_self": false, "leader_address": "", "leader_cluster_address": "", "performance_standby": false,
	}}, nil
}

// initialized is what every Coffer that runs is: it does so by itself.
func (a *API) initialized(_ context.Context, r *request) (*reply, error) {
	if r.named {
		return nil, failf(http.StatusBadRequest, "operation unavailable in namespaces")
	}
	return &reply{flat: map[string]any{"initialized": true}}, nil
}
