// Package cryptvfs keeps SQLite databases encrypted and authenticated on disk.
// It is a layer between SQLite (modernc.org/sqlite) and the operating system:
// everything that SQLite writes for a database goes through it — the main
// file, the write-ahead log, rollback and super-journals, temporary databases,
// statement journals and what sorting spills. A flipped bit, a page moved
// within its file, and a page of another file or tenant are errors, never
// wrong data. FORMAT.md gives the bytes.
//
//	reg, err := cryptvfs.Register(fileID, keys)
//	db, err := sql.Open("sqlite", reg.URI(path, cryptvfs.Options{Mode: cryptvfs.Create}))
//	…
//	db.Close()
//	reg.Close()
//
// # What holds
//
//   - Nothing is written in plaintext, and nothing plain is ever read: an
//     unknown key id is CANTOPEN, a plain database is NOTADB.
//   - SQLite's promises about crashes stay: what was acknowledged under
//     synchronous=FULL survives a kill and a power cut, in every journal mode
//     (in DELETE mode under EXTRA, as without this package).
//   - Main file and log have the size and layout that SQLite gives them; a
//     page is 4,096 bytes on disk. Locks and the shared memory of the log are
//     the operating system VFS's own, so several processes can use a file.
//   - Keys are in memory alone. A key id in a URI is a name, not a key.
//
// # What does not
//
//   - A whole file put back to an earlier state, log included, is not
//     detected, nor is one page put back to an earlier version of the same
//     page of the same file. Who can be attacked so keeps a high-water mark
//     elsewhere and compares.
//   - Deleting the log, or cutting it off at a transaction's end, loses the
//     transactions in it without an error; so does damage to its last
//     transaction, which a power cut causes too (TornTails counts it). Damage
//     before that loses what follows as well, because SQLite stops reading
//     there, but AuthFailures counts it for certain: look at it after opening.
//     Deleting a hot rollback journal leaves half a transaction in the
//     database. Coffer uses the log, which has no such state.
//   - Page numbers, commit sizes, file sizes, the times of writes and which
//     pages they changed can be seen. So can, in the -shm file while the
//     database is open, the log's last running checksum. The -shm file is not
//     authenticated; SQLite makes it anew when the first connection opens.
//   - Who can read this process's memory has the keys.
//
// # For callers
//
//   - Open the connection's main database by a URI of this package. SQLite
//     sends temporary files to the VFS of the main database: attaching an
//     encrypted file to a plain or in-memory one would spill its rows in
//     plaintext.
//   - Do not open a database file by package os while SQLite has it open in
//     the same process: closing that descriptor drops SQLite's locks
//     (fcntl(2)). Verify goes through SQLite's own files.
//   - Page size and reserved bytes are fixed, and auto_vacuum stays off in a
//     new file, because SQLite takes all three from the answer it gets when it
//     opens an empty file.
//   - Backup and VACUUM INTO work between encrypted files and to plain ones. A
//     plain database comes in by ATTACH and copying its tables; its pages have
//     no room for a tag, and a page-wise backup is refused.
//   - In a rollback mode a transaction over several files is recovered under
//     the keys of all of them. Until all are registered, and URI was asked for
//     their paths, opening one gives CANTOPEN.
//
// The package owns the files FORMAT.md describes and no others. It may use
// unsafe, in native.go, and depends on the internals of the pinned versions of
// modernc.org/sqlite and modernc.org/libc: run all of its tests on every
// update of either.
package cryptvfs
