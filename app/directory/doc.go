// Package directory knows who there is: people with what proves them, their
// sessions and links, their membership in tenants, and workloads with their
// secret ids. Names live here and nowhere else; audit
// records carry only the random ids, so that a person can be erased from the
// directory while the log stays whole.
//
// All functions work inside a transaction of the control store that the caller
// commits, together with the intent of the action that caused it.
//
// Of what a person or workload shows to prove something, only hashes are kept,
// but for the secret of an app that shows codes, which has to be computed with.
//
// The package owns the buckets that stand in record.go. FORMAT.md describes them.
package directory
