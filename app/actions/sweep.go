package actions

import (
	"context"
	"time"

	"coffer/app/directory"
	"coffer/app/store"
	"coffer/vault/token"
	"coffer/vault/wrap"
)

// sweepGrace is how long an expired record is kept: longer than what a clock set
// ahead can move the trusted time.
const sweepGrace = 48 * time.Hour

// sweepMost is how many records of a kind one sweep removes.
const sweepMost = 1000

// sweeps are the kinds of records that end: whether some ended before a time, and
// what removes a bounded number of them.
var sweeps = []struct {
	any   func(tx *store.Tx, before time.Time) (bool, error)
	sweep func(tx *store.Tx, before time.Time, limit int) (int, error)
}{
	{token.AnyExpired, token.Sweep},
	{directory.AnyExpiredSecretID, directory.SweepSecretIDs},
	{wrap.AnyExpired, wrap.Sweep},
}

// Sweep removes the records of tokens, secret ids, sessions and links that ended
// long ago, and idempotency keys, a bounded number at a time. They have been refused since they
// ended.
func (s *Service) Sweep(ctx context.Context) error {
	before := s.clock.Trusted().Add(-sweepGrace)
	for _, kind := range sweeps {
		due := false
		err := s.db.View(ctx, func(tx *store.Tx) (err error) {
			due, err = kind.any(tx, before)
			return err
		})
		if err != nil {
			return err
		}
		if !due {
			continue
		}
		if _, err = s.db.Update(ctx, func(tx *store.Tx) error {
			_, err := kind.sweep(tx, before, sweepMost)
			return err
		}); err != nil {
			return err
		}
	}
	if err := s.sweepPeople(ctx, before); err != nil {
		return err
	}
	return s.sweepKeys(ctx)
}

// sweepPeople removes sessions and links.
func (s *Service) sweepPeople(ctx context.Context, before time.Time) error {
	due := false
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		due, err = directory.AnyEnded(tx, before)
		return err
	})
	if err != nil || !due {
		return err
	}
	_, err = s.db.Update(ctx, func(tx *store.Tx) error { return directory.SweepEnded(tx, before, sweepMost) })
	return err
}
