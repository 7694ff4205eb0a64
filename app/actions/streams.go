package actions

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants"
)

// Bounds of streams.
const (
	MaxStreams     = 128 // of one tenant at once
	maxAllStreams  = 4096
	MaxStoredTexts = 50   // of a stream
	MaxStoredText  = 5000 // bytes
	maxCalm        = 4096 // streams that ended with nothing to lose and are remembered
)

// StreamLimits say how long a stream may keep others waiting. Zero means the
// default.
type StreamLimits struct {
	Idle time.Duration // for which an open transaction waits for its client; 5 s
	Held time.Duration // for which a transaction may be open at all; 10 min
}

func (l StreamLimits) withDefaults() StreamLimits {
	if l.Idle == 0 {
		l.Idle = 5 * time.Second
	}
	if l.Held == 0 {
		l.Held = 10 * time.Minute
	}
	return l
}

// streams are those that have something to remember between two requests.
type streams struct {
	limits StreamLimits

	mu     sync.Mutex
	open   map[streamID]*stream
	of     map[domain.TenantID]int // how many of each tenant
	calm   map[streamID]struct{}   // ended with nothing to lose, although the baton says otherwise
	fifo   []streamID              // calm, oldest first
	closed bool
}

// stream is what stands behind a baton: a connection in the sense of the wire
// protocol. A request has it to itself.
type stream struct {
	id     streamID
	tenant domain.TenantID
	who    authz.Subject

	turn chan struct{} // has room for the one request that uses the stream

	// Whoever has the turn may use what follows.
	ended     bool
	tx        *tenants.Tx
	begun     time.Time // of tx
	wrote     bool      // in tx
	loose     bool      // foreign keys are off
	lastRowID int64
	stored    map[int32]string

	timer *time.Timer // ends the stream; stopped while a request uses it

	mu   sync.Mutex // guards what follows
	next baton      // the one that opens the next request
	used time.Time
}

func newStreams(l StreamLimits) streams {
	return streams{limits: l.withDefaults(), open: map[streamID]*stream{}, of: map[domain.TenantID]int{}, calm: map[streamID]struct{}{}}
}

// find gives the stream that a baton names, nil for a new one.
func (s *streams) find(b baton, who authz.Subject) (*stream, error) {
	s.mu.Lock()
	st := s.open[b.id()]
	_, calm := s.calm[b.id()]
	s.mu.Unlock()
	switch {
	case st == nil && (b.kind() == batonIdle || calm):
		return nil, nil
	case st == nil:
		return nil, errExpired()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.who.Credential() != who.Credential():
		// A new token of the same principal goes on where nothing is at stake.
		if b.kind() == batonIdle {
			return nil, nil
		}
		return nil, errExpired()
	case st.next != b:
		return nil, errExpired()
	}
	return st, nil
}

// add makes a stream, and room for it if need be.
func (s *streams) add(tenant domain.TenantID, who authz.Subject) (*stream, error) {
	st := &stream{tenant: tenant, who: who, turn: make(chan struct{}, 1), stored: map[int32]string{}}
	_, _ = rand.Read(st.id[:])
	st.turn <- struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, domain.Errorf(domain.Unavailable, "Coffer is stopping").WithHint("try again in a moment")
	}
	if s.of[tenant] >= MaxStreams && !s.makeRoom(tenant) || len(s.open) >= maxAllStreams && !s.makeRoom("") {
		return nil, domain.Errorf(domain.Limit, "%d streams of %s are open", s.of[tenant], tenant).
			WithHint("close those that are not needed, or try again in a moment")
	}
	s.open[st.id] = st
	s.of[tenant]++
	return st, nil
}

// makeRoom forgets the stream that nobody used for the longest time and that has
// nothing to lose; of any tenant for "". s.mu is held.
func (s *streams) makeRoom(tenant domain.TenantID) bool {
	var victim *stream
	for _, st := range s.open {
		if tenant != "" && st.tenant != tenant || victim != nil && !st.usedAt().Before(victim.usedAt()) {
			continue
		}
		select {
		case st.turn <- struct{}{}:
			if !st.holds() {
				if victim != nil {
					<-victim.turn
				}
				victim = st
				continue
			}
			<-st.turn
		default: // in use
		}
	}
	if victim == nil {
		return false
	}
	victim.ended = true
	s.forget(victim, true)
	<-victim.turn
	return true
}

func (st *stream) usedAt() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.used
}

// holds says whether something would be lost with the stream.
func (st *stream) holds() bool { return st.tx != nil || st.loose || len(st.stored) > 0 }

// forget takes a stream out; s.mu is held. calm says that nothing was lost.
func (s *streams) forget(st *stream, calm bool) {
	if s.open[st.id] != st {
		return
	}
	delete(s.open, st.id)
	if s.of[st.tenant]--; s.of[st.tenant] == 0 {
		delete(s.of, st.tenant)
	}
	if !calm {
		return
	}
	s.calm[st.id] = struct{}{}
	if s.fifo = append(s.fifo, st.id); len(s.fifo) > maxCalm {
		delete(s.calm, s.fifo[0])
		s.fifo = s.fifo[1:]
	}
}

func (s *streams) drop(st *stream, calm bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(st, calm)
}

// wait takes the stream once no other request uses it.
func (st *stream) wait(ctx context.Context) error {
	select {
	case st.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return domain.Errorf(domain.Unavailable, "gave up waiting for the stream's last request: %w", ctx.Err())
	}
}

// enter begins a request's use of the stream, with the baton that was found to be
// the next: another request with the same one may have come first.
func (st *stream) enter(ctx context.Context, b baton) error {
	if err := st.wait(ctx); err != nil {
		return err
	}
	st.mu.Lock()
	fits := !st.ended && st.next == b
	st.mu.Unlock()
	if !fits {
		<-st.turn
		return errExpired()
	}
	if st.timer != nil {
		st.timer.Stop()
	}
	return nil
}

// pass makes the baton of the next turn.
func (st *stream) pass(kind byte) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.next, st.used = newBaton(kind, st.id, st.tenant, st.who), time.Now()
	return st.next.String()
}

// name is how events name the stream: enough to find its other ones.
func (st *stream) name() string { return hex.EncodeToString(st.id[:6]) }

// leave ends a request's use of the stream; it is forgotten if nobody asks
// within the idle time.
func (s *Service) leave(st *stream) {
	if st.ended {
		<-st.turn
		return
	}
	st.timer = time.AfterFunc(s.streams.limits.Idle, func() { s.expire(st, "its client did not ask for "+s.streams.limits.Idle.String()) })
	<-st.turn
}

// expire ends a stream that nobody uses, and its transaction.
func (s *Service) expire(st *stream, why string) {
	select {
	case st.turn <- struct{}{}:
	default:
		return // a request came; it sets the next time
	}
	defer func() { <-st.turn }()
	if st.ended {
		return
	}
	st.ended = true
	s.streams.drop(st, !st.holds())
	s.abandonTx(context.Background(), st, why)
}

// abandonTx rolls back what the stream's client left open, and says so in the
// tenant's log.
func (s *Service) abandonTx(ctx context.Context, st *stream, why string) {
	if st.tx == nil {
		return
	}
	detail := audit.Detail{"stream": st.name(), "of": st.who.Principal.String(), "reason": why, "wrote": st.wrote}
	outcome := audit.OK
	if err := st.tx.Rollback(ctx); err != nil { // the file has an alarm of its own
		outcome = audit.Failed
	}
	st.tx, st.wrote = nil, false
	p, err := s.log.Begin(ctx, authz.ForSystem(authz.Request{Action: authz.SQLRollback, Tenant: st.tenant}), audit.Call{Source: "timer", Client: "coffer", Auth: "system"})
	if err != nil {
		return // a log that cannot be written ends the process
	}
	defer p.Abort() // writes an outcome too
	_, _ = p.Finish(ctx, outcome, detail)
}

// endStreams ends the streams that were opened with credentials which have been
// revoked. One that a request uses just now ends when nobody comes back to it.
func (s *Service) endStreams(accessors ...string) {
	s.streams.mu.Lock()
	var all []*stream
	for _, st := range s.streams.open {
		if slices.Contains(accessors, st.who.Credential()) {
			all = append(all, st)
		}
	}
	s.streams.mu.Unlock()
	for _, st := range all {
		s.expire(st, "its token was revoked")
	}
}

// CloseStreams ends every stream, with their transactions, before the tenants'
// files are closed. Nobody is served any more.
func (s *Service) CloseStreams() {
	s.streams.mu.Lock()
	s.streams.closed = true
	var all []*stream
	for _, st := range s.streams.open {
		all = append(all, st)
	}
	s.streams.mu.Unlock()
	for _, st := range all {
		s.expire(st, "Coffer stopped")
	}
}
