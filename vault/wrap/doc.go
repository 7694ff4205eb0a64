// Package wrap keeps an answer for whoever presents a wrapping token, once.
//
// The token is 260 random bits, of which the control store keeps a hash. The answer
// is sealed under a key that is derived from the token and stands nowhere, so that
// neither Coffer nor a copy of its store can read it. Opening it removes it in the
// transaction that the caller commits before it answers; a tombstone stays until
// the token has ended, by which a second use is known for what it is: somebody
// else was there.
//
// The package owns the buckets "wraps" and "wrap-…" of the control store; FORMAT.md
// describes them.
package wrap
