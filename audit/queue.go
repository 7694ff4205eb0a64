package audit

import (
	"errors"
	"sync"

	"coffer/app/domain"
	"coffer/audit/record"
)

// errStale means that a record was encrypted under a key which the log has
// closed in the meantime. It is encrypted again and never reaches a caller.
var errStale = errors.New("the record's key period has ended")

// item is one record without its place.
type item struct {
	log     *tenantLog
	kind    record.Type
	payload record.Payload // of an encrypted record, to encrypt it again
	raw     []byte
	key     record.KeyState // Period and Commitment; zero for a clear record

	receipt Receipt // set when it is durable
}

// submission is records that become durable together or not at all.
type submission struct {
	items []item
	wait  bool          // a goroutine waits, and can encrypt again
	done  chan struct{} // closed when durable or failed
	err   error         // set before done is closed
}

func (s *submission) finish(err error) {
	s.err = err
	close(s.done)
}

// finished says whether the submission got its answer; for the committer,
// which alone gives it.
func (s *submission) finished() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// queue is what waits for the committer.
type queue struct {
	mu      sync.Mutex
	wake    *sync.Cond // the queue, busy or stopped changed
	list    []*submission
	busy    bool // the committer works on something
	closed  bool // Begin and its like are refused
	stopped bool // nothing more is taken
	failure error
	failed  chan struct{} // closed with the first failure
	done    chan struct{} // closed when the committer has ended
}

func (q *queue) init() {
	q.wake = sync.NewCond(&q.mu)
	q.failed, q.done = make(chan struct{}), make(chan struct{})
}

// put hands a submission to the committer.
func (q *queue) put(s *submission) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.failure != nil:
		return errBroken(q.failure)
	case q.stopped:
		return errEnded()
	}
	q.list = append(q.list, s)
	q.wake.Broadcast()
	return nil
}

// take waits for submissions; nil means that the committer should end.
func (q *queue) take() []*submission {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy = false
	q.wake.Broadcast()
	for len(q.list) == 0 {
		if q.stopped {
			return nil
		}
		q.wake.Wait()
	}
	list := q.list
	q.list, q.busy = nil, true
	return list
}

// more adds what has arrived in the meantime to what the committer has.
func (q *queue) more(have []*submission) []*submission {
	q.mu.Lock()
	defer q.mu.Unlock()
	have = append(have, q.list...)
	q.list = nil
	return have
}

// fail poisons the log: all that wait and all that come get the error. It says
// whether this was the first failure.
func (q *queue) fail(err error) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if first = q.failure == nil; first {
		q.failure = err
		close(q.failed)
	}
	for _, s := range q.list {
		s.finish(errBroken(q.failure))
	}
	q.list = nil
	q.wake.Broadcast()
	return first
}

// err is the first failure.
func (q *queue) err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failure
}

// usable says whether new work may begin.
func (q *queue) usable() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.failure != nil:
		return errBroken(q.failure)
	case q.closed:
		return errEnded()
	}
	return nil
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// drain waits until the committer has nothing to do.
func (q *queue) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for (len(q.list) > 0 || q.busy) && q.failure == nil {
		q.wake.Wait()
	}
}

// stop ends the committer after what is queued and gives the failure, if any.
func (q *queue) stop() error {
	q.mu.Lock()
	q.closed, q.stopped = true, true
	q.wake.Broadcast()
	q.mu.Unlock()
	<-q.done
	return q.err()
}

func errBroken(cause error) error {
	e := domain.Errorf(domain.Unavailable, "the audit log cannot be written, so nothing is answered").
		WithHint("look at the disk that holds the data directory, then start Coffer again; coffer doctor checks it")
	e.Err = cause
	return e
}

func errEnded() error {
	return domain.Errorf(domain.Unavailable, "Coffer is shutting down").WithHint("try again once it has started")
}
