// Package store is the control store: one bbolt file of buckets with keys and
// sealed values, behind View, Update and Watch. It is the only importer of
// bbolt and the only writer of its file, control.db.
//
// It is not where tenants' data or wrapped keys live, and it does not hide
// everything: bucket names, keys, the number of entries and the sizes of values
// can be read from the file. Put no secret and no personal name into a key.
//
// Invariants:
//
//   - Every value is sealed with associated data that names its bucket and
//     key, so that a value that was edited or moved does not open.
//   - bbolt has no checksum on its data pages: a flipped bit in one can make
//     it lose keys silently, loop or fault. Open therefore reads the whole file
//     with a strict reader of its own before bbolt maps it, and compares a
//     keyed digest of all entries with the one in the sealed state record. A
//     file that fails is never written to.
//   - One bad meta page is what a torn write leaves, so it is no reason to
//     refuse; a bad meta page of a transaction whose Update had returned is,
//     and the witness tells one from the other. FORMAT.md argues it out.
//   - When Update returns nil its changes are on stable storage. A function
//     that failed left nothing behind, whatever shared its transaction.
//   - After an error while committing, or damage found while running, the store
//     answers nothing more until it is opened again.
//
// What it cannot see: the whole file put back to an older state. That needs an
// anchor elsewhere; the audit journal has one.
//
// AES-GCM with random nonces is safe for 2^32 values under one key (NIST SP
// 800-38D, 8.3); one Update seals as many values as it puts, plus one. Rekey
// starts a new key.
package store
