// Package once makes that a request which creates something is done once,
// however often it is sent: a client sends it under an idempotency key, and who
// sends the same request under the same key again gets the same answer.
//
// The mark that a request was begun stands in the transaction of its change, so
// that after any crash both are there or neither; the answer follows in a second
// one. Answers can hold what is shown once and is kept as a hash only, a token or
// a secret id. So an answer rests encrypted under a key that is derived from the
// idempotency key, of which nothing but a derived name is kept: who reads the
// disk, the root key in hand, cannot open it. That is worth as much as the
// idempotency key is hard to guess, which is why a short one is refused.
//
// A key is its principal's: under another principal it names nothing. What
// allowed the request must hold unchanged when its answer is asked for again.
//
// The package owns the bucket "once" of the control store; FORMAT.md describes it.
package once
