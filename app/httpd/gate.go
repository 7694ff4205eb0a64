package httpd

import (
	"context"
	"errors"
	"io"
	"syscall"

	"coffer/tenants/fair"
)

// largeAnswer is from how many bytes on an answer is sent in a turn of its tenant's.
const largeAnswer = 256 << 10

// gate makes the sending of large answers take turns with heavy statements. A
// fast client never makes the goroutine wait that encrypts for it, and when all
// processors are busy so, Go looks for other requests only every 10 ms and what
// comes back from the disk waits as long.
//
// A gate is a connection's and belongs to the goroutine that serves it. While the
// client makes it wait the turn can be taken away, so slow readers hold up nobody.
type gate struct {
	turns  *fair.Queue
	fd     syscall.RawConn
	tenant string     // whose answer it is; "" for what is nobody's
	turn   *fair.Turn // nil while it has none
	waited bool       // for the client, since it last had its turn
}

// enter begins a turn, unless there is one, and says whether it did. Somebody for
// whom too much waits already goes on without.
func (g *gate) enter() bool {
	if g == nil || g.turn != nil {
		return false
	}
	turn, err := g.turns.EnterHeavy(context.Background(), g.tenant)
	if err != nil {
		return false
	}
	g.turn, g.waited = turn, false
	return true
}

// leave ends the turn.
func (g *gate) leave() {
	g.turn.Leave()
	g.turn = nil
}

// pace is called before each step. It lets others go first when it is their turn.
func (g *gate) pace() {
	if g == nil || g.turn == nil {
		return
	}
	if g.waited {
		g.waited = false
		if err := g.turn.Resume(context.Background()); err != nil {
			return // and on without a turn
		}
	}
	g.turn.Tick(context.Background())
}

// write is the write of the connection, but says so when it waits for the client.
func (g *gate) write(p []byte) (n int, err error) {
	var failed error
	err = g.fd.Write(func(fd uintptr) bool {
		for n < len(p) && failed == nil {
			m, err := syscall.Write(int(fd), p[n:])
			switch {
			case m > 0:
				n += m
			case errors.Is(err, syscall.EINTR):
			case errors.Is(err, syscall.EAGAIN):
				if !g.waited {
					g.waited = true
					g.turn.Pause()
				}
				return false
			case err == nil:
				failed = io.ErrShortWrite
			default:
				failed = err
			}
		}
		return true
	})
	return n, errors.Join(err, failed)
}
