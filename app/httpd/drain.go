package httpd

import "context"

// Shutdown lets nobody in any more and requests that were read end, at most
// until the context's deadline. A Serve that comes after it returns at once.
//
// The framework takes a connection on which nothing was asked yet, or a request
// is still arriving, for one with a request under way: so every wait for a
// request is ended here, or one silent client would hold up the end of the
// process for as long as draining may take.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopListening()
	s.conns.stopReading()
	return s.app.ShutdownWithContext(ctx)
}
