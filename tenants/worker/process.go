package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"coffer/app/domain"
	"coffer/tenants/cryptvfs"
	"coffer/tenants/guard"
)

// DefaultMemory bounds a worker's resident memory, in bytes: five connections of
// guard.DefaultMemory each, and what Go needs besides.
const DefaultMemory = 512 << 20

// How long the parent waits.
const (
	startWait = 20 * time.Second // for a new process to answer
	grace     = 10 * time.Second // for a call whose time is over
	longest   = 5 * time.Minute  // for Coffer's own statements: a checkpoint of a large log
	endWait   = 2 * time.Second  // for a process to end by itself
)

// ErrLost is under every error of a connection whose worker has ended: by its own
// fault, for its memory, or because somebody killed it. What had been committed
// is in the file, what was under way is not, unless it was a COMMIT, which may be.
var ErrLost = errors.New("the worker process has ended")

// ErrOwnFault is beside ErrLost when the parent ended the worker for what a
// statement did: too much memory, no answer. The same statement again would
// end the next one.
var ErrOwnFault = errors.New("a statement did more than its process may do")

// Options say how workers are started and limited.
type Options struct {
	Command []string // program and arguments; this binary as `coffer worker` if nil
	Env     []string // besides what limits it; for where temporary files go
	Memory  int64    // most resident bytes; DefaultMemory if 0
	Group   *Group   // where to make cgroups; nil for none
	Why     string   // there is none
}

// Spec says what a worker is for.
type Spec struct {
	Path   string // of the database
	FileID [16]byte
	Keys   cryptvfs.Keys
	Limits guard.Limits
}

// Process is a worker as its parent sees it. It is safe for concurrent use.
type Process struct {
	cmd      *exec.Cmd
	conn     *net.UnixConn
	spec     Spec
	confined string
	leave    func() // removes its cgroup

	writing sync.Mutex

	mu       sync.Mutex // guards what follows
	sessions map[uint32]*Session
	last     uint32
	cause    error // why it ended

	calls    atomic.Int32 // under way
	failures atomic.Uint64
	torn     atomic.Uint64
	ended    chan struct{} // closed when the process is gone
	reading  chan struct{} // closed when nothing more is read
}

// Start starts a worker for one file and waits until it is ready.
func Start(ctx context.Context, o Options, spec Spec) (_ *Process, err error) {
	if spec.Path, err = filepath.Abs(spec.Path); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	p := &Process{
		spec: spec, sessions: map[uint32]*Session{}, leave: func() {},
		ended: make(chan struct{}), reading: make(chan struct{}),
	}
	if err := p.spawn(o); err != nil {
		return nil, domain.Errorf(domain.Unavailable, "starting a worker process: %w", err).
			WithHint("look at the limits of processes and memory of this machine")
	}
	greeted := make(chan error, 1)
	go func() { greeted <- p.greet() }()
	limited, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	select {
	case err = <-greeted:
	case <-limited.Done():
		err = limited.Err()
	}
	if err != nil {
		p.end(fmt.Errorf("it did not become ready: %w", err))
		go p.wait()
		close(p.reading)
		return nil, domain.Errorf(domain.Unavailable, "a worker process did not become ready: %w", err).WithHint("try again in a moment")
	}
	go p.wait()
	go p.read()
	go p.watch(o.Memory)
	return p, nil
}

// greet says what the worker is for and learns how it is limited.
func (p *Process) greet() error {
	if err := p.send(&hello{Version: version, Path: p.spec.Path, FileID: p.spec.FileID, Limits: p.spec.Limits}); err != nil {
		return err
	}
	m, err := receive(p.conn)
	if err != nil {
		return err
	}
	r, ok := m.(*ready)
	if !ok || r.Version != version {
		return errors.New("it answered something else")
	}
	p.confined += "; " + r.Confined
	return nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Confined says in words how the process is limited.
func (p *Process) Confined() string { return p.confined }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Err says why the process ended, nil while it runs.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// AuthFailures and TornTails are those of the worker's cryptvfs.Registration.
func (p *Process) AuthFailures() uint64 { return p.failures.Load() }

// TornTails is explained at AuthFailures.
func (p *Process) TornTails() uint64 { return p.torn.Load() }

// Close ends the process: connections that are open are not checkpointed. It
// waits, and is safe twice.
func (p *Process) Close() error {
	p.end(errors.New("it was closed"))
	<-p.ended
	<-p.reading
	return nil
}

// end kills the process. The first cause is kept.
func (p *Process) end(cause error) {
	p.mu.Lock()
	if p.cause == nil {
		p.cause = cause
	}
	p.mu.Unlock()
	_ = p.cmd.Process.Kill() // no error but that it is gone already
	_ = p.conn.Close()
}

// wait reaps the process.
func (p *Process) wait() {
	err := p.cmd.Wait()
	if err == nil {
		err = errors.New("it ended by itself")
	}
	if f, ok := p.cmd.Stderr.(*firstLine); ok && f.String() != "" {
		err = fmt.Errorf("%w: %s", err, f)
	}
	p.end(err)
	p.leave()
	close(p.ended)
}

// lost is the error of a call that the worker's end interrupted.
func (p *Process) lost() error {
	if cause := p.Err(); errors.Is(cause, ErrOwnFault) {
		return &domain.Error{
			Kind: domain.Limit, Msg: "a statement of this tenant needed more memory or time than its process may have, which was ended",
			Hint: "let it work on fewer or smaller rows at a time", Err: fmt.Errorf("%w: %w", ErrLost, cause),
		}
	}
	return &domain.Error{
		Kind: domain.Unavailable, Msg: "the process that held the database of this tenant has ended; the next request starts another",
		Hint: "try again", Err: fmt.Errorf("%w: %w", ErrLost, p.Err()),
	}
}

func (p *Process) send(m message) error {
	b, err := encode(m)
	if err != nil {
		return domain.Errorf(domain.Limit, "the statement with its arguments is too large: %w", err)
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	if _, err := p.conn.Write(b); err != nil {
		p.end(fmt.Errorf("writing to it: %w", err))
		return p.lost()
	}
	return nil
}

// read takes what the worker says until it ends. A message that must not come
// ends the worker.
func (p *Process) read() {
	defer close(p.reading)
	for {
		m, err := receive(p.conn)
		if err == nil {
			err = p.handle(m)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				// It is ending: its own reason tells more than the socket's end.
				select {
				case <-p.ended:
				case <-time.After(endWait):
				}
			}
			p.end(err)
			return
		}
	}
}

func (p *Process) handle(m message) error {
	switch m := m.(type) {
	case *derive:
		return p.derive(m)
	case *rows:
		return p.deliver(m.call, m)
	case *done:
		// The counts only grow; one that does not would hide a failure.
		p.failures.Store(max(p.failures.Load(), m.Failures))
		p.torn.Store(max(p.torn.Load(), m.Torn))
		return p.deliver(m.call, m)
	}
	return fmt.Errorf("a message of kind %d, which a parent does not take", m.kind())
}

// deliver hands a message to its call. Each call has at most one that nobody has
// taken yet.
func (p *Process) deliver(c call, m message) error {
	p.mu.Lock()
	s := p.sessions[c.Session]
	p.mu.Unlock()
	if s == nil || s.number.Load() != c.Number {
		return fmt.Errorf("an answer to a call that is not under way")
	}
	select {
	case s.answers <- m:
		return nil
	default:
		return fmt.Errorf("an answer before the last one was taken")
	}
}

// derive gives the worker a page key of its file, and of no other.
func (p *Process) derive(m *derive) error {
	if !cryptvfs.ForFile(p.spec.FileID, []byte(m.Info)) {
		return fmt.Errorf("it asked for a key that is not of its file")
	}
	out := &derived{Number: m.Number}
	key, err := p.spec.Keys.Derive([]byte(m.Info), keySize)
	if err == nil && len(key) == keySize {
		out.OK, out.Key = true, [keySize]byte(key)
	}
	clear(key)
	defer clear(out.Key[:])
	return p.sendSecret(out)
}

// sendSecret is send, and overwrites what was sent.
func (p *Process) sendSecret(m message) error {
	b, err := encode(m)
	if err != nil {
		return err
	}
	defer clear(b)
	p.writing.Lock()
	defer p.writing.Unlock()
	_, err = p.conn.Write(b)
	return err
}
