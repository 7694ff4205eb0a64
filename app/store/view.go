package store

import (
	"context"

	bolt "go.etcd.io/bbolt"
)

// View calls fn with a consistent view of the newest durable state, on the
// caller's goroutine, and returns its error. Views run beside each other and
// beside updates. Keep them short: pages that a view can see are not reused.
// ctx is looked at before the start and between the entries of a Scan.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	h, b, err := s.beginView(ctx)
	if err != nil {
		return err
	}
	defer h.refs.Done()
	defer s.noticeDamage(h)
	defer func() { _ = b.Rollback() }() // it was read-only: this frees its pages
	tx := &Tx{ctx: ctx, h: h, b: b}
	defer func() { tx.done = true }()
	return fn(tx)
}

// beginView starts a transaction on a durable state. bbolt shows a commit to
// readers as soon as its meta page is written, before that is synced; whoever
// comes in between waits for the sync, so that nobody acts on what a power cut
// takes back.
func (s *Store) beginView(ctx context.Context) (*handle, *bolt.Tx, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		h, changed, err := s.acquire()
		if err != nil {
			return nil, nil, err
		}
		b, err := h.begin(false)
		if err != nil {
			h.refs.Done()
			return nil, nil, err
		}
		if uint64(b.ID()) <= h.durable.Load() {
			return h, b, nil
		}
		err = b.Rollback()
		h.refs.Done()
		if err != nil {
			return nil, nil, internal("ending a view: %w", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// begin starts a bbolt transaction.
func (h *handle) begin(write bool) (b *bolt.Tx, err error) {
	defer h.guard(&err)()
	return h.db.Begin(write)
}
