// Package sqlite is a thin connection over modernc.org/sqlite/lib, SQLite
// translated to Go. It hands values out byte for byte: text stays text whatever
// the column is declared as, invalid UTF-8 and embedded NULs survive, and an
// integer is never mistaken for a time.
//
// It is not a database/sql driver and not a pool. The driver that modernc
// ships turns DATE, DATETIME and TIMESTAMP text into time.Time, owns the only
// progress-handler slot, starts a goroutine a call and has its connections
// thrown away after an interrupt; a wire protocol and a warm pool of tenants
// need none of that.
//
// Invariants:
//
//   - A Conn and its statements are used by one goroutine at a time. Interrupt
//     alone may be called from any goroutine.
//   - A context that ends stops the statement that is running under it, and
//     no other. The connection is usable afterwards.
//   - Every connection is opened defensive: no writable schema, untrusted
//     schema, no double-quoted strings, no extension loading, no ATTACH that
//     creates, no fts3_tokenizer, no shared cache.
//   - Memory that SQLite keeps a pointer to is memory of libc, never of Go's
//     heap.
//
// The package owns no file: which file and which VFS a connection uses stands
// in the URI given to Open. What a role may do is the business of
// tenants/guard.
package sqlite
