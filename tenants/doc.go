// Package tenants keeps one closed SQLite file for each tenant, and the register
// of which tenants there are.
//
// A file is reached only with an open audit permit that names its tenant: the
// pool takes the permit, asks the vault for the page keys with it, and runs the
// statement under the guard of the permit's role. No call takes a tenant's id
// beside the permit, so there is no pair that could fail to match.
//
// The pool holds a bounded number of open files, each with one writing
// connection and a few reading ones; who comes when it is full evicts the file
// that was idle longest, after a checkpoint.
//
// The package owns tenants/<id>/ in the data directory and the buckets
// "tenants" and "tenant-slots" of the control store.
package tenants
