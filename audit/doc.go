// Package audit is the audit log: what was asked for and what became of it, for
// every tenant apart, durable before the answer leaves, and verifiable from the
// first record on.
//
// Each tenant, and the appliance itself (the system log), has a log of its own:
// a chain of records of package record under keys that change every week or
// month. All logs share one journal (package wal), so that one flush serves all
// requests that wait. A request goes
//
//	grant → Begin → permit → (Intent → change) → Finish → receipt → answer
//
// and a permit is what the vault and the tenants package ask for before they
// give a key or a database handle. A permit comes from Begin alone, and Begin
// takes an authz.Grant, which authz alone makes.
//
// What the package is not: it decides about no access, keeps no time of its own
// (order is the number of a record, never its clock), signs nothing and sends
// nothing anywhere. A log that was replaced as a whole, together with its heads
// file, by an older copy is only found by somebody who kept a later receipt.
//
// Invariants: no receipt before its record is on stable storage; after a failed
// write or flush nothing more is written and every later Begin fails; a record
// is never changed, moved or left out; what a start finds damaged it does not
// touch. The package owns audit/ in the data directory: wal/, heads and
// quarantine/. FORMAT.md draws the bytes.
package audit
