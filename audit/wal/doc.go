// Package wal is the journal under the audit log: opaque records in batches in
// zero-filled segment files, one write and one fdatasync a batch.
//
// It knows nothing of tenants, keys or chains. Its owner (package audit) gives
// it records and, at each new segment, a snapshot of its own state; the
// snapshot is authenticated together with the segment's header and handed back
// at the next start, so that a start reads one segment and not all.
//
// What it decides is whether the end of the journal is as it should be. Batch
// k+1 is written only after the flush of batch k returned. So a batch that is
// damaged and has no valid batch after it may be a tear: a crash in the middle
// of writing records that nobody was told about. A tear is copied to the
// quarantine and the journal goes on in a new segment; it is never cut away. A
// damaged batch with a valid one after it, or in front of the owner's Mark, is
// corruption or tampering: the journal does not open and says where.
//
// That reasoning rests on the disk not losing bytes that were flushed before
// when a sector that holds them is written again (SQLite calls it "powersafe
// overwrite"; all disks with atomic sector writes have it).
//
// The package owns audit/wal/*.wal and audit/wal/{next,inline,reserve} and adds
// to audit/quarantine/. FORMAT.md draws the bytes. One goroutine may append;
// reading what is durable may be done from any.
package wal
