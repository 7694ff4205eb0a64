package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
)

// maxBatch bounds how many updates share one transaction.
const maxBatch = 256

// update is one call of Update on its way through the committer.
type update struct {
	ctx  context.Context
	fn   func(*Tx) error
	done chan outcome // buffered

	edit *edit // set while the batch runs
	err  error
}

type outcome struct {
	rev Revision
	err error
}

// Update calls fn with a transaction that can change the store, and returns
// when the changes are on stable storage, with the revision that contains
// them. If fn returns an error or panics nothing of it stays and that error is
// returned. Updates see each other's changes one after another; those that
// wait at the same time share one commit (and one flush), without any timer.
//
// fn runs on another goroutine, must not call Update, Check, Rekey or Close,
// and should have no effects outside of tx: it runs once, but if the commit
// fails nothing of it remains. ctx counts until fn begins, and between the
// entries of a Scan in it; after that Update waits for the outcome. After an
// error of Kind Unavailable or Tampered the store may have stopped; that of a
// change which may be durable all the same is an *UncertainError.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) (Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	u := &update{ctx: ctx, fn: fn, done: make(chan outcome, 1)}
	select {
	case s.updates <- u:
	case <-s.closing:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	out := <-u.done
	return out.rev, out.err
}

// commitLoop is the one writer. It takes an update and whatever else waits at
// that moment, commits them together, and begins again; while it commits the
// next batch gathers by itself.
func (s *Store) commitLoop() {
	defer close(s.done)
	for {
		select {
		case u := <-s.updates:
			s.commit(s.drain(u))
		case j := <-s.jobs:
			j.done <- j.run()
		case <-s.closing:
			return
		}
	}
}

// drain takes what waits. Once it finds nothing it lets others run and looks
// again: those who have just been answered are about to come back, and would
// otherwise miss this commit and wait for the next.
func (s *Store) drain(first *update) []*update {
	batch := []*update{first}
	for yielded := false; len(batch) < maxBatch; {
		select {
		case u := <-s.updates:
			batch = append(batch, u)
			continue
		default:
		}
		if yielded {
			break
		}
		yielded = true
		runtime.Gosched()
	}
	return batch
}

// commit runs a batch and answers all of it.
func (s *Store) commit(batch []*update) {
	h, err := s.current()
	var rev Revision
	if err == nil {
		rev, err = s.commitOn(h, batch)
	}
	for _, u := range batch {
		out := outcome{rev: rev, err: u.err}
		if out.err == nil {
			out.err = err
		}
		if out.err != nil {
			out.rev = 0
		}
		u.done <- out
	}
}

// commitOn runs a batch in one transaction. Its error is everybody's who has
// none of his own.
func (s *Store) commitOn(h *handle, batch []*update) (Revision, error) {
	b, err := h.begin(true)
	if err != nil {
		return 0, s.fail(h.stopped(err))
	}
	next, changed, err := h.runAll(b, batch)
	if err != nil {
		h.rollback(b)
		return 0, s.fail(h.stopped(err))
	}
	if !changed {
		h.rollback(b)
		return h.state.revision, nil
	}
	if err := h.reserve(b, batch); err != nil {
		h.rollback(b)
		return 0, err
	}
	txid := uint64(b.ID())
	next.revision++
	if err := h.write(b, next); err != nil {
		return 0, &UncertainError{s.fail(h.stopped(err))}
	}
	h.state = next
	if err := h.writeWitness(int(txid % 2)); err != nil {
		s.fail(h.stopped(err)) // this batch is durable, so it is answered
	}
	s.publish(h, next.revision, txid)
	return next.revision, nil
}

// runAll runs the functions of a batch one after another and takes back what
// failed. Its own error means that the transaction cannot be used.
func (h *handle) runAll(b *bolt.Tx, batch []*update) (next state, changed bool, err error) {
	next = h.state
	for _, u := range batch {
		if u.err = u.ctx.Err(); u.err != nil {
			continue
		}
		tx := &Tx{ctx: u.ctx, h: h, b: b, edit: &edit{state: next}}
		u.err = call(tx, u.fn)
		if d := h.damage.Load(); d != nil {
			return next, false, d
		}
		if u.err != nil {
			if err := tx.edit.revert(tx); err != nil {
				return next, false, err
			}
			continue
		}
		u.edit, next = tx.edit, tx.edit.state
		changed = changed || len(tx.edit.undo) > 0
	}
	return next, changed, nil
}

// call runs a caller's function on a goroutine of its own, so that not even
// runtime.Goexit ends the committer, and waits for it.
func call(tx *Tx, fn func(*Tx) error) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New("the function ended its goroutine")
		defer func() {
			if r := recover(); r != nil {
				err = &PanicError{Value: r, Stack: debug.Stack()}
			}
			tx.done = true
			result <- err
		}()
		err = fn(tx)
	}()
	return <-result
}

// PanicError is what Update returns when its function panicked.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // where
}

// Error says only what kind of value it was, which could hold a secret, except
// for the runtime's own errors, which hold none.
func (e *PanicError) Error() string {
	if err, ok := e.Value.(runtime.Error); ok {
		return "an update panicked: " + err.Error()
	}
	return fmt.Sprintf("an update panicked with a %T", e.Value)
}

// write puts the state record and commits.
func (h *handle) write(b *bolt.Tx, next state) error {
	if err := h.putState(b, next); err != nil {
		h.rollback(b)
		return err
	}
	return h.commit(b)
}

func (h *handle) commit(b *bolt.Tx) error {
	err := func() (err error) {
		defer h.guard(&err)()
		return b.Commit()
	}()
	h.stuck = h.stuck || errors.Is(err, errDamaged)
	return err
}

func (h *handle) rollback(b *bolt.Tx) {
	var err error
	func() {
		defer h.guard(&err)()
		err = b.Rollback()
	}()
	h.stuck = h.stuck || err != nil
}

// writeWitness notes beside the older meta record that the newer one, in the
// page slot, was acknowledged. It is not synced: a process that is killed
// leaves it behind, and after a power cut it can only be older than the truth.
func (h *handle) writeWitness(slot int) error {
	_, err := h.file.WriteAt(h.state.witness(), int64(1-slot)*pageSize+witnessOffset)
	return err
}

// stopped is the error with which the store ends.
func (h *handle) stopped(err error) error {
	if errors.Is(err, errDamaged) {
		return err
	}
	return unavailable(err, "check the disk and its free space (df, dmesg), then restart coffer",
		"control store %s could not be written and stopped: %v", h.path, err)
}

// job is something that the committer runs while nothing is written.
type job struct {
	run  func() error
	done chan error // buffered
}

// alone runs fn on the committer's goroutine, between two batches.
func (s *Store) alone(ctx context.Context, fn func(*handle) error) error {
	j := &job{done: make(chan error, 1)}
	j.run = func() error {
		h, err := s.current()
		if err != nil {
			return err
		}
		return fn(h)
	}
	select {
	case s.jobs <- j:
		return <-j.done
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
