package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"coffer/tenants/cryptvfs"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// maxSessions bounds the connections of a worker.
const maxSessions = 16

// server is the worker's side.
type server struct {
	conn   io.Writer
	hello  *hello
	reg    *cryptvfs.Registration
	keys   *remoteKeys
	window chan struct{} // guards writing

	mu    sync.Mutex
	peers map[uint32]*peer
}

// serve answers until the socket ends. confined says how the process is limited.
func serve(ctx context.Context, conn io.ReadWriter, confined string) error {
	first, err := receive(conn)
	if err != nil {
		return err
	}
	h, ok := first.(*hello)
	switch {
	case !ok:
		return fmt.Errorf("the first message is of kind %d", first.kind())
	case h.Version != version:
		return fmt.Errorf("the other side speaks version %d, this one %d: it was replaced while it ran", h.Version, version)
	case !filepath.IsAbs(h.Path):
		return errors.New("the path is not absolute")
	}
	s := &server{conn: conn, hello: h, window: make(chan struct{}, 1), peers: map[uint32]*peer{}}
	s.keys = &remoteKeys{send: s.send, waiting: map[uint32]chan *derived{}}
	if err := s.send(&ready{Version: version, Confined: confined}); err != nil {
		return err
	}
	for {
		m, err := receive(conn)
		if err != nil {
			return err
		}
		if err := s.handle(ctx, m); err != nil {
			return err
		}
	}
}

// send writes one message.
func (s *server) send(m message) error {
	b, err := encode(m)
	if err != nil {
		return err
	}
	s.window <- struct{}{}
	defer func() { <-s.window }()
	_, err = s.conn.Write(b)
	return err
}

// handle takes one message. What runs, runs elsewhere, so that the next message
// is read at once.
func (s *server) handle(ctx context.Context, m message) error {
	switch m := m.(type) {
	case *derived:
		return s.keys.take(m)
	case *open:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.peers[m.Session] != nil || len(s.peers) >= maxSessions {
			return fmt.Errorf("connection %d is there already, or one too many", m.Session)
		}
		p := &peer{server: s, id: m.Session, calls: make(chan message, 1), taken: make(chan bool, 1)}
		s.peers[m.Session] = p
		p.calls <- m
		go p.run(ctx)
		return nil
	case *stream:
		return s.call(m.call, m)
	case *describe:
		return s.call(m.call, m)
	case *trusted:
		return s.call(m.call, m)
	case *rollback:
		return s.call(m.call, m)
	case *shut:
		return s.call(m.call, m)
	case *taken:
		return s.peer(m.Session, func(p *peer) error { return p.answer(m) })
	case *cancel:
		return s.peer(m.Session, func(p *peer) error { p.cancel(m.Number); return nil })
	}
	return fmt.Errorf("a message of kind %d, which a worker does not take", m.kind())
}

// peer finds a connection.
func (s *server) peer(id uint32, do func(*peer) error) error {
	s.mu.Lock()
	p := s.peers[id]
	s.mu.Unlock()
	if p == nil {
		return fmt.Errorf("there is no connection %d", id)
	}
	return do(p)
}

// call hands a call to its connection, which has one at a time.
func (s *server) call(c call, m message) error {
	return s.peer(c.Session, func(p *peer) error {
		select {
		case p.calls <- m:
			return nil
		default:
			return fmt.Errorf("a second call on connection %d", c.Session)
		}
	})
}

// registration makes the keys known, once; that takes the first of them.
func (s *server) registration() (*cryptvfs.Registration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reg != nil {
		return s.reg, nil
	}
	reg, err := cryptvfs.Register(s.hello.FileID, s.keys)
	if err != nil {
		return nil, err
	}
	s.reg = reg
	return reg, nil
}

// Connect opens and guards a connection to a tenant's file, wherever that is
// done.
func Connect(ctx context.Context, reg *cryptvfs.Registration, path string, role guard.Role, limits guard.Limits) (*guard.Guard, *sqlite.Conn, error) {
	mode, vfsMode := sqlite.ReadWrite, cryptvfs.ReadWrite
	if role == guard.Reader {
		mode, vfsMode = sqlite.ReadOnly, cryptvfs.ReadOnly
	}
	db, err := sqlite.Open(reg.URI(path, cryptvfs.Options{Mode: vfsMode}), sqlite.Options{Mode: mode})
	if err != nil {
		return nil, nil, err
	}
	g, err := Guard(ctx, db, role, limits)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return g, db, nil
}

// Guard sets a new connection up and guards it.
func Guard(ctx context.Context, db *sqlite.Conn, role guard.Role, limits guard.Limits) (*guard.Guard, error) {
	if err := db.Exec(ctx, setup); err != nil {
		return nil, err
	}
	return guard.New(ctx, db, role, limits)
}

// setup is run on each new connection before it is guarded.
const setup = `
PRAGMA foreign_keys = ON;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -1024;
PRAGMA recursive_triggers = ON;
`

// remoteKeys derives page keys by asking the parent.
type remoteKeys struct {
	send func(message) error

	mu      sync.Mutex
	last    uint32
	waiting map[uint32]chan *derived
}

var _ cryptvfs.Keys = (*remoteKeys)(nil)

// Derive asks for a key and waits for it; the socket's end ends the process.
func (k *remoteKeys) Derive(info []byte, n int) ([]byte, error) {
	if n != keySize {
		return nil, fmt.Errorf("a key of %d bytes", n)
	}
	answer := make(chan *derived, 1)
	k.mu.Lock()
	k.last++
	number := k.last
	k.waiting[number] = answer
	k.mu.Unlock()
	if err := k.send(&derive{Number: number, Info: string(info)}); err != nil {
		return nil, err
	}
	m := <-answer
	defer clear(m.Key[:])
	if !m.OK {
		return nil, errors.New("the parent gives no such key")
	}
	return append([]byte(nil), m.Key[:]...), nil
}

func (k *remoteKeys) take(m *derived) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	answer := k.waiting[m.Number]
	if answer == nil {
		return fmt.Errorf("a key that nobody asked for")
	}
	delete(k.waiting, m.Number)
	answer <- m
	return nil
}
