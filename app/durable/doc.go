// Package durable makes writes that survive kill -9 and power cuts: whole
// files that are replaced or created in one step, directories whose entries
// are on disk when a call returns, files of a fixed size to append in, a lock
// file that says who holds it, and a clock that never runs backwards.
//
// It is not a database and knows no keys: what is secret is sealed before it
// comes here, and what must be authentic is authenticated by the caller.
//
// Invariants:
//
//   - After a call returned nil its effect is on stable storage, the name in
//     the directory included.
//   - After a crash at any point a file has its old or its new content, never
//     neither and never a mixture. A leftover may stay under a name that
//     starts with TempPrefix; SweepTemp removes it.
//   - After a failed write or fsync of an AppendFile nothing is written to it
//     any more: the kernel may have dropped the dirty pages and marked them
//     clean, so that a second fsync would lie (Rebello et al., "Can
//     Applications Recover from fsync Failures?", USENIX ATC 2020; PostgreSQL
//     changed for the same reason in 2018).
//
// Files are made with mode 0600 and directories with 0700. The package owns
// the format of the clock file, which FORMAT.md describes. It imports nothing
// of ours; its errors are sentinels and typed errors that callers translate.
package durable
