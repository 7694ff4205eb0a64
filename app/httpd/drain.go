package httpd

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// connections are those that are open. They are kept because fasthttp takes a
// connection on which nothing was asked yet, or a request is still arriving, for
// one with a request under way: one silent client would hold up the end of the
// process for as long as draining may take.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// note is the server's ConnState hook.
func (cs *connections) note(c net.Conn, state fasthttp.ConnState) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch state {
	case fasthttp.StateNew:
		cs.open[c] = struct{}{}
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		delete(cs.open, c)
	}
}

// stopReading ends every wait for a request. One that was read is answered.
func (cs *connections) stopReading() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // the past; a connection that is closed needs none
	}
}

// hurryEvery is how often reading is ended again while draining: fasthttp sets a
// deadline of its own before it reads.
const hurryEvery = 50 * time.Millisecond

// Shutdown lets nobody in any more and requests that were read end, at most
// until the context's deadline. A Serve that comes after it returns at once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopListening()
	done := make(chan error, 1)
	go func() { done <- s.app.ShutdownWithContext(ctx) }()
	tick := time.NewTicker(hurryEvery)
	defer tick.Stop()
	for {
		s.conns.stopReading()
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
	}
}
