// Package guard decides what a role may do inside a tenant's database, and
// bounds what one statement may cost. It is the second of two layers: actions
// decide at the door whether somebody may query a tenant at all, and this
// package makes SQLite itself refuse whatever the role does not have, however
// the SQL is written.
//
// Nothing is allowed unless it is listed: actions by the authorizer, functions,
// PRAGMAs and virtual tables by name. What remains is bounded in length, depth,
// memory, rows, bytes and time.
//
// Coffer's own tables begin with InternalPrefix. No role sees them: SQL whose
// text has the prefix anywhere is refused before SQLite reads it, so that no
// quoting or comment hides it (a name cannot be put together at run time);
// every action on such a name is denied; and sqlite_schema is read through a
// common table expression that leaves those rows out, the only way by which
// the authorizer lets it be read. Coffer's own statements go through Trusted.
//
// It is not a row policy and not a sandbox for memory corruption: it trusts
// SQLite to be correct. It does not queue, schedule or open connections; those
// belong to package tenants. It owns no file.
//
// A Guard belongs to one connection and is used by one goroutine at a time.
package guard
