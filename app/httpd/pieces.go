package httpd

import (
	"io"
	"slices"

	"github.com/gofiber/fiber/v2"
)

// Send answers with a body that stands in pieces, without putting them together.
// done is called when they are not needed any more.
func Send(c *fiber.Ctx, pieces [][]byte, done func()) {
	size := 0
	for _, piece := range pieces {
		size += len(piece)
	}
	if size <= smallBody {
		body := c.Response().BodyWriter()
		for _, piece := range pieces {
			_, _ = body.Write(piece) // into memory
		}
		done()
		return
	}
	b := &body{left: slices.Clone(pieces), done: done}
	if of := connOf(c); of != nil && size >= largeAnswer {
		b.gate = of.gate
	}
	c.Context().SetBodyStream(b, size)
}

// smallBody is the size in bytes up to which putting a body together costs less.
const smallBody = 16 << 10

// body hands its pieces to whoever writes them, as they are.
type body struct {
	left [][]byte
	done func()
	gate *gate // nil if no turn is needed
}

// WriteTo writes all that is left.
func (b *body) WriteTo(w io.Writer) (n int64, err error) {
	if b.gate.enter() {
		defer b.gate.leave()
	}
	for len(b.left) > 0 && err == nil {
		var wrote int
		wrote, err = w.Write(b.left[0])
		n += int64(wrote)
		b.left = b.left[1:]
	}
	return n, err
}

// Read is for whoever does not know WriteTo.
func (b *body) Read(p []byte) (n int, err error) {
	for len(b.left) > 0 && len(b.left[0]) == 0 {
		b.left = b.left[1:]
	}
	if len(b.left) == 0 {
		return 0, io.EOF
	}
	n = copy(p, b.left[0])
	b.left[0] = b.left[0][n:]
	return n, nil
}

// Close is called by the framework when the body was sent, or could not be.
func (b *body) Close() error {
	if b.done != nil {
		b.done()
	}
	b.left, b.done = nil, nil // once: what is given back twice would be two answers'
	return nil
}
