// Package seal protects the root key at rest.
//
// The root key is 32 random bytes that exist in memory only. Any number of
// key slots, as in LUKS, wrap the same root key; each is opened by a Protector
// of its kind: a TPM, a passphrase, a key file or the printed recovery key.
// Beside the slots lies a payload, opaque here, which the caller has encrypted
// under the root key, so that exchanging the root key is one atomic write.
//
// The package owns one file, vault/seal.json, described byte by byte in
// FORMAT.md. It is not a key store, does not know what the payload is, reads no
// environment and decides nothing about when to unseal; AutoPlan only says
// which kind of slot must do it.
//
// Invariants:
//
//   - A file whose checksum is wrong is damaged: it is reported as
//     domain.Tampered and never overwritten.
//   - A file whose MAC under the root key is wrong was changed by somebody who
//     did not have the root key: Unlock gives nothing.
//   - Exactly one byte sequence is valid for each document.
//   - Every change is one atomic write, carries the caller's Change, and needs
//     the root key.
//   - The strongest kind that is enrolled is never passed over silently.
//
// An older copy of the whole file, put back by somebody who can write to the
// disk, is valid. Removing a slot therefore shuts out only those who cannot do
// that; to shut out the others as well, exchange the root key with Rotate.
//
// Adding a kind is one file with a Protector and a registration, its tests, and
// one entry in the conformance suite.
package seal
