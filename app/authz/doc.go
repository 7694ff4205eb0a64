// Package authz answers one question: may this subject do this action here?
// It is pure: the roles, capabilities and actions are data in this package,
// everything else arrives in the arguments, and the answer is a Grant or an
// error.
//
// A Grant cannot be made anywhere else, and it is the only thing from which
// the audit log opens a permit; a permit is the only thing for which the vault
// gives a key and the tenants package a database handle. That chain is what
// makes "checked, then logged, then done" a matter of types.
//
// The default is no: an action that is not in the table, a role that is not in
// its row, a capability that does not match, are all refused.
package authz
