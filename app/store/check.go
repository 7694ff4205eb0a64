package store

import (
	"context"
	"errors"

	bolt "go.etcd.io/bbolt"
)

// Check reads the whole file again and reports damage, Kind Tampered: the
// structure of every page, the digest against what this process knows it must
// be, every value, and bbolt's own check. Updates wait meanwhile, views do not.
func (s *Store) Check(ctx context.Context) error {
	return s.alone(ctx, func(h *handle) error { return h.checkAll(ctx) })
}

func (h *handle) checkAll(ctx context.Context) error {
	info, err := h.file.Stat()
	if err != nil {
		return openError(h.path, err)
	}
	what, err := verify(ctx, h.file, info.Size(), func(bucket string, key, sealed []byte) error {
		value, err := h.aead.Decrypt(sealed, associate(bucket, key))
		if err != nil {
			return tampered(h.path, "an entry of bucket %s does not open: %w", bucket, err)
		}
		clear(value)
		return nil
	}, h.aead)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return openError(h.path, err)
	}
	if what.state != h.state {
		return tampered(h.path, "the file is at %v, this process wrote %v", what.state, h.state)
	}
	return h.checkBolt()
}

// checkBolt runs bbolt's own check, which sees pages that are lost, too. It
// works on a goroutine of bbolt's where a fault could not be caught, so it
// comes after the strict reader found nothing.
func (h *handle) checkBolt() error {
	b, err := h.begin(false)
	if err != nil {
		return err
	}
	var found []error
	for err := range b.Check(bolt.WithKVStringer(noKeys{})) {
		found = append(found, err)
	}
	if err := errors.Join(append(found, b.Rollback())...); err != nil {
		return tampered(h.path, "bbolt's check: %w", err)
	}
	return nil
}

// noKeys keeps keys and values out of bbolt's messages.
type noKeys struct{}

func (noKeys) KeyToString([]byte) string   { return "(key)" }
func (noKeys) ValueToString([]byte) string { return "(value)" }
