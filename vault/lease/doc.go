// Package lease knows what was made in another system for somebody here, and when
// it is to be taken back.
//
// A lease is on disk before the thing that it is for is made, and goes after that
// was taken back; so nothing is left behind, whatever crashes. What takes things of
// a kind back stands in a registry: one file a kind. An index by time says which
// is due next; nothing is loaded at a start.
//
// Revoking many at once is an order, one row that counts from its transaction on,
// and that a Sweeper works off in small steps. It takes back what is due, some at
// once, and tries again what failed, ever more rarely. What could not be taken back
// for long is overdue, which somebody should look at.
//
// The package owns the buckets "leases" and "lease-…" of the control store;
// FORMAT.md describes them.
package lease
