package store

import (
	"context"
	"fmt"
	"io"
)

// Snapshot writes a consistent copy of the newest durable state to w: a file
// that Open accepts, under the same key. It runs beside updates. Some of it
// may have been written when it fails; the caller must then discard the copy.
func (s *Store) Snapshot(ctx context.Context, w io.Writer) error {
	return s.View(ctx, func(tx *Tx) error {
		if _, err := tx.b.WriteTo(contextWriter{ctx, w}); err != nil {
			return fmt.Errorf("copying control store %s: %w", s.path, err)
		}
		return nil
	})
}

// contextWriter ends a long copy when its context does.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(b)
}
