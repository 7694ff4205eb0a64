// Package directory knows who there is: people, their membership in tenants,
// and workloads with their secret ids. Names live here and nowhere else; audit
// records carry only the random ids, so that a person can be erased from the
// directory while the log stays whole.
//
// All functions work inside a transaction of the control store that the caller
// commits, together with the intent of the action that caused it.
//
// The package owns the buckets "people", "uids", "members", "workloads",
// "role-ids" and "secret-ids". FORMAT.md describes them.
package directory
