// Package record is the codec and the chain verifier of Coffer's audit records:
// the exact bytes that are stored, hashed, exported and shown to an auditor.
//
// A record is a 128-byte header and a body. Records about what somebody did
// (event, intent, outcome) have an encrypted body; records about the log itself
// have a clear one, so that its shape can be verified without a key. A record's
// identity is its leaf hash, SHA-256(0x00 ‖ record) as in RFC 6962: no verifier
// ever re-serialises, it hashes what it read.
//
// The package is not the log: it opens no file, keeps no time and knows no
// tenant's name. It imports the standard library alone, so that an auditor can
// read all of what a verdict rests on.
//
// Invariants: decoding accepts exactly what encoding makes (unknown types and
// flags, trailing bytes, duplicate JSON keys and non-zero padding are refused);
// what a Chain accepted is one log from its first record on, in order, without
// a gap, each encrypted record under a key to which the log committed before.
// A chain does not see a cut end, a whole log that was replaced, or a log that
// was written again from some point on: for that its head has to be compared
// with one kept elsewhere. FORMAT.md draws the bytes.
package record
