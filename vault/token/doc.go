// Package token issues, looks up and revokes Coffer's own short-lived bearer
// tokens.
//
// A token is 260 random bits; the control store keeps its SHA-256 alone, so a
// copy of the store gives no token away. (A plain hash suffices: there is
// nothing to guess. The record itself is sealed by the store.) Each token has an
// accessor, which names it in lists and logs and opens nothing.
//
// Tokens form trees: one that is made with another is its child, no wider, and
// ends with it. A look-up walks up to the first, so a child is dead as soon as
// anything above it is.
//
// Revoking deletes the record in the transaction that the caller commits: once
// that is durable the token and its tree are unknown for good, whatever crashes.
//
// The package owns the buckets "tokens" and "token-…" of the control store;
// FORMAT.md describes them.
package token
