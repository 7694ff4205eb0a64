// Package migrate knows sets of migrations: numbered SQL files that bring every
// tenant's database to the same schema, in order and each once. It reads and
// checks a set, keeps it in the control store, and keeps there which tenant has
// come how far and what a run over all tenants is doing.
//
// It runs no SQL: package tenants does, in the tenant's file, where a table of
// Coffer's own says which migrations it has. What stands here about a tenant is
// a copy of that for lists, and the file is what counts.
//
// The package owns the buckets "migrations", "migrated" and "migration-run" of
// the control store; FORMAT.md describes them.
package migrate
