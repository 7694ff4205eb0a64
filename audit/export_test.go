package audit

import (
	"coffer/audit/wal"
)

// WithFiles puts a disk of the test's own under the log.
func WithFiles(o Options, f wal.Files) Options {
	o.files = f
	return o
}

// WithKeyCache bounds the key cache.
func WithKeyCache(o Options, n int) Options {
	o.keyCache = n
	return o
}

// WithoutTicks lets the keeper do nothing by the clock, for tests that count what
// it does: on a slow machine its own ticks would come between theirs.
func WithoutTicks(o Options) Options {
	o.still = true
	return o
}

// Tick runs what the keeper does every second, for the n-th time.
func (l *Log) Tick(n int) { l.keeper.tick(n) }

// SaveHeads writes the heads file as the keeper does.
func (l *Log) SaveHeads() error { return l.writeHeads(false) }

// Kill ends the log's goroutines as a crash would: nothing more is written,
// and the heads file is left as it is.
func (l *Log) Kill() {
	l.queue.close()
	l.keeper.halt()
	l.running.Wait()
	_ = l.queue.stop()
	_ = l.journal.Close()
}

// Journal gives the files of the journal.
func (l *Log) Journal() []wal.Segment { return l.journal.Segments() }

// OpenPermits is how many permits are not finished.
func (l *Log) OpenPermits() int {
	l.permits.mu.Lock()
	defer l.permits.mu.Unlock()
	return len(l.permits.open)
}

// HeldKeys is how many keys are cached.
func (l *Log) HeldKeys() int {
	l.keys.mu.Lock()
	defer l.keys.mu.Unlock()
	return len(l.keys.held)
}

// Batches is how many batches have been flushed.
func (l *Log) Batches() uint64 { return l.journal.Batches() }

// RecodeSnapshot decodes the state of a segment header and encodes it again.
func RecodeSnapshot(b []byte) ([]byte, error) {
	s, err := decodeSnapshot(b)
	return s.encode(), err
}

// RecodeHeads decodes a heads file and encodes it again.
func RecodeHeads(b, key []byte, instance [16]byte) ([]byte, error) {
	h, err := decodeHeads(b, key, instance)
	return h.encode(key), err
}

// SealHeads makes the bytes of a heads file authentic.
func SealHeads(body, key []byte, instance [16]byte) []byte {
	return append(append([]byte(nil), body...), headsMAC(key, instance, body)...)
}

// Snapshot is the state that the next segment's header would hold.
func (l *Log) Snapshot() []byte { return l.snapshot().encode() }
