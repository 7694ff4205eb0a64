package queries

import (
	"encoding/json"
	"errors"

	"coffer/app/domain"
	"coffer/app/store"
)

// The buckets, both tenant NUL name → record.
const (
	bucketQueries    = "queries"
	bucketDashboards = "dashboards"
)

const recordVersion = 1

type queryRecord struct {
	Version int `json:"version"`
	Query
}

type dashboardRecord struct {
	Version int `json:"version"`
	Dashboard
}

func key(tenant domain.TenantID, name string) []byte { return []byte(string(tenant) + "\x00" + name) }

// Find reads a query.
func Find(tx *store.Tx, tenant domain.TenantID, name string) (Query, error) {
	b, err := tx.Get(bucketQueries, key(tenant, name))
	if errors.Is(err, store.ErrNotFound) {
		return Query{}, ErrNoQuery
	}
	if err != nil {
		return Query{}, err
	}
	return decodeQuery(b)
}

// ErrNoQuery is about a query that is not there, or that the caller may not see.
var ErrNoQuery = domain.Errorf(domain.NotFound, "there is no such query").WithHint("see: coffer query list")

func decodeQuery(b []byte) (Query, error) {
	const what = "a stored query"
	var r queryRecord
	if err := store.DecodeRecord(recordVersion, what, b, &r); err != nil {
		return Query{}, err
	}
	if err := r.Check(); err != nil {
		return Query{}, store.MalformedRecord(what, err)
	}
	return r.Query, nil
}

// Save puts a query in place of the one with its name, if there is one. Who made
// it and when stay as they were.
func Save(tx *store.Tx, tenant domain.TenantID, q Query) (Query, error) {
	if err := q.Check(); err != nil {
		return q, err
	}
	old, err := Find(tx, tenant, q.Name)
	switch {
	case err == nil:
		q.By, q.Created = old.By, old.Created
	case !errors.Is(err, ErrNoQuery):
		return q, err
	default:
		n, err := tx.Count(bucketQueries, key(tenant, ""))
		if err != nil {
			return q, err
		}
		if n >= MaxQueries {
			return q, domain.Errorf(domain.Limit, "%d queries are stored, the most that a tenant has", n).WithHint("remove some: coffer query remove")
		}
	}
	if !q.Shared && err == nil && old.Shared {
		if err := checkUnused(tx, tenant, q.Name, "made private"); err != nil {
			return q, err
		}
	}
	b, err := json.Marshal(queryRecord{recordVersion, q})
	if err != nil {
		return q, err
	}
	return q, tx.Put(bucketQueries, key(tenant, q.Name), b)
}

// checkUnused refuses to take a query from a dashboard behind its back.
func checkUnused(tx *store.Tx, tenant domain.TenantID, name, what string) error {
	return EachDashboard(tx, tenant, "", func(d Dashboard) error {
		for _, entry := range d.Queries {
			if entry == name {
				return domain.Errorf(domain.Conflict, "the query stands on the dashboard %s and cannot be %s", d.Name, what).
					WithHint("take it off the dashboard first")
			}
		}
		return nil
	})
}

// Remove removes a query that stands on no dashboard.
func Remove(tx *store.Tx, tenant domain.TenantID, name string) (Query, error) {
	q, err := Find(tx, tenant, name)
	if err == nil {
		err = checkUnused(tx, tenant, name, "removed")
	}
	if err != nil {
		return q, err
	}
	return q, tx.Delete(bucketQueries, key(tenant, name))
}

// Each calls fn with the queries of a tenant by name, from the one after `after`
// on, until it returns store.ErrStop.
func Each(tx *store.Tx, tenant domain.TenantID, after string, fn func(Query) error) error {
	return tx.Scan(bucketQueries, key(tenant, ""), start(tenant, after), func(_, value []byte) error {
		q, err := decodeQuery(value)
		if err != nil {
			return err
		}
		return fn(q)
	})
}

func start(tenant domain.TenantID, after string) []byte {
	if after == "" {
		return nil
	}
	return key(tenant, after)
}

// FindDashboard reads a dashboard.
func FindDashboard(tx *store.Tx, tenant domain.TenantID, name string) (Dashboard, error) {
	b, err := tx.Get(bucketDashboards, key(tenant, name))
	if errors.Is(err, store.ErrNotFound) {
		return Dashboard{}, ErrNoDashboard
	}
	if err != nil {
		return Dashboard{}, err
	}
	return decodeDashboard(b)
}

// ErrNoDashboard is about a dashboard that is not there.
var ErrNoDashboard = domain.Errorf(domain.NotFound, "there is no such dashboard").WithHint("see: coffer dashboard list")

func decodeDashboard(b []byte) (Dashboard, error) {
	const what = "a dashboard"
	var r dashboardRecord
	if err := store.DecodeRecord(recordVersion, what, b, &r); err != nil {
		return Dashboard{}, err
	}
	if err := r.Check(); err != nil {
		return Dashboard{}, store.MalformedRecord(what, err)
	}
	return r.Dashboard, nil
}

// SaveDashboard puts a dashboard in place of the one with its name, if there is
// one. All its queries are there and shared.
func SaveDashboard(tx *store.Tx, tenant domain.TenantID, d Dashboard) (Dashboard, error) {
	if err := d.Check(); err != nil {
		return d, err
	}
	for _, name := range d.Queries {
		q, err := Find(tx, tenant, name)
		if errors.Is(err, ErrNoQuery) || err == nil && !q.Shared {
			return d, domain.Fieldf("queries", "%s is no shared query", name).WithHint("share it first: coffer query save --shared")
		}
		if err != nil {
			return d, err
		}
	}
	old, err := FindDashboard(tx, tenant, d.Name)
	switch {
	case err == nil:
		d.By, d.Created = old.By, old.Created
	case !errors.Is(err, ErrNoDashboard):
		return d, err
	default:
		n, err := tx.Count(bucketDashboards, key(tenant, ""))
		if err != nil {
			return d, err
		}
		if n >= MaxDashboards {
			return d, domain.Errorf(domain.Limit, "there are %d dashboards, the most that a tenant has", n).WithHint("remove some: coffer dashboard remove")
		}
	}
	b, err := json.Marshal(dashboardRecord{recordVersion, d})
	if err != nil {
		return d, err
	}
	return d, tx.Put(bucketDashboards, key(tenant, d.Name), b)
}

// RemoveDashboard removes a dashboard; its queries stay.
func RemoveDashboard(tx *store.Tx, tenant domain.TenantID, name string) (Dashboard, error) {
	d, err := FindDashboard(tx, tenant, name)
	if err != nil {
		return d, err
	}
	return d, tx.Delete(bucketDashboards, key(tenant, name))
}

// EachDashboard is Each for dashboards.
func EachDashboard(tx *store.Tx, tenant domain.TenantID, after string, fn func(Dashboard) error) error {
	return tx.Scan(bucketDashboards, key(tenant, ""), start(tenant, after), func(_, value []byte) error {
		d, err := decodeDashboard(value)
		if err != nil {
			return err
		}
		return fn(d)
	})
}

// RemoveTenant removes everything of a tenant that is destroyed.
func RemoveTenant(tx *store.Tx, tenant domain.TenantID) error {
	for _, bucket := range []string{bucketQueries, bucketDashboards} {
		var keys [][]byte
		err := tx.Keys(bucket, key(tenant, ""), nil, func(k []byte) error {
			keys = append(keys, append([]byte(nil), k...))
			return nil
		})
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := tx.Delete(bucket, k); err != nil {
				return err
			}
		}
	}
	return nil
}
