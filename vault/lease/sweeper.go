package lease

import (
	"bytes"
	"context"
	"errors"
	"math/bits"
	"sync"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// How a Sweeper works.
const (
	parallel     = 8                // leases that are taken back at once
	batch        = 64               // that are looked for at once
	revokeTime   = 30 * time.Second // that one attempt may take
	firstWait    = 10 * time.Second // after the first attempt that failed
	longestWait  = time.Hour        // between two attempts
	overdueAfter = 5                // attempts
)

// Sweeper takes back what is due. It holds nothing between two runs: what there is
// to do stands in the store.
type Sweeper struct {
	DB  *store.Store
	Now func() time.Time

	// Alive says whether a token lives.
	Alive func(tx *store.Tx, tenant domain.TenantID, owner string) (bool, error)

	// Event records what is about to be done, does it, and records what became of
	// it. It gives do's error, or its own, without having done anything.
	Event func(ctx context.Context, l Lease, do func(ctx context.Context) error) error

	// Overdue tells people of a lease that could not be taken back for long.
	Overdue func(l Lease, err error)

	// Jitter is a random part of a time, which keeps many that failed together from
	// coming again together.
	Jitter func(most time.Duration) time.Duration
}

// Run works off the orders and takes back what is due now, and gives how many it
// took back. It goes on until nothing is due; what fails is due later.
func (s *Sweeper) Run(ctx context.Context) (n int, err error) {
	if err := s.workOrders(ctx); err != nil {
		return 0, err
	}
	for ctx.Err() == nil {
		var list []Lease
		if err := s.DB.View(ctx, func(tx *store.Tx) (err error) {
			list, err = due(tx, s.Now(), batch)
			return err
		}); err != nil || len(list) == 0 {
			return n, err
		}
		done, err := s.takeAll(ctx, list)
		if n += done; err != nil {
			return n, err
		}
	}
	return n, ctx.Err()
}

// workOrders works off all orders, in transactions of their own.
func (s *Sweeper) workOrders(ctx context.Context) error {
	for {
		any := false
		if err := s.DB.View(ctx, func(tx *store.Tx) error {
			return tx.Keys(bucketOrders, nil, nil, func([]byte) error {
				any = true
				return store.ErrStop
			})
		}); err != nil || !any {
			return err
		}
		if _, err := s.DB.Update(ctx, func(tx *store.Tx) error {
			_, err := step(tx, s.Now(), s.Alive)
			return err
		}); err != nil {
			return err
		}
	}
}

// takeAll takes leases back, some at once.
func (s *Sweeper) takeAll(ctx context.Context, list []Lease) (done int, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	room := make(chan struct{}, parallel)
	for _, l := range list {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			took, takeErr := s.take(ctx, l)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, takeErr)
			if took {
				done++
			}
		})
	}
	wg.Wait()
	return done, err
}

// One takes one lease back now, if it is to be. Its error is that of what failed.
func (s *Sweeper) One(ctx context.Context, tenant domain.TenantID, id string) error {
	var l Lease
	err := s.DB.View(ctx, func(tx *store.Tx) (err error) {
		l, err = read(tx, tenant, id)
		return err
	})
	if errors.Is(err, ErrUnknown) || err == nil && l.State != Revoking && l.State != Overdue {
		return nil
	}
	if err != nil {
		return err
	}
	revokeErr := s.revoke(ctx, l)
	return errors.Join(revokeErr, s.settle(ctx, l, revokeErr))
}

// take takes a lease back, or notes that it could not. Its error means that nothing
// can be noted.
func (s *Sweeper) take(ctx context.Context, l Lease) (took bool, err error) {
	revokeErr := s.revoke(ctx, l)
	if ctx.Err() != nil {
		return false, nil // Coffer stops; it stays due
	}
	return revokeErr == nil, s.settle(ctx, l, revokeErr)
}

func (s *Sweeper) revoke(ctx context.Context, l Lease) error {
	k, err := l.kind()
	return s.Event(ctx, l, func(ctx context.Context) error {
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, revokeTime)
		defer cancel()
		return k.Revoke(ctx, l)
	})
}

// settle forgets a lease that was taken back, and has one that was not tried again.
func (s *Sweeper) settle(ctx context.Context, l Lease, revokeErr error) error {
	var late Lease
	_, err := s.DB.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		late = Lease{}
		was, err := read(tx, l.Tenant, l.ID)
		if errors.Is(err, ErrUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		next := was
		if !bytes.Equal(was.Data, l.Data) { // it was made only now
			next.State, next.Due = Revoking, s.Now().UTC()
			return move(tx, was, next)
		}
		if revokeErr == nil {
			return remove(tx, l.Tenant, l.ID)
		}
		next.Attempts++
		next.State = Revoking
		if next.Attempts >= overdueAfter {
			next.State, late = Overdue, next
		}
		wait := backoff(next.Attempts)
		next.Due = s.Now().Add(wait/2 + s.Jitter(wait/2)).UTC()
		return move(tx, was, next)
	})
	if err == nil && late.ID != "" && s.Overdue != nil {
		s.Overdue(late, revokeErr)
	}
	return err
}

// backoff is how long to wait after so many attempts: twice as long each time.
func backoff(attempts int) time.Duration {
	if attempts < 1 || attempts > bits.Len64(uint64(longestWait/firstWait)) {
		return longestWait
	}
	return min(firstWait<<(attempts-1), longestWait)
}
