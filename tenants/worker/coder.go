package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"coffer/tenants/sqlite"
)

// coder writes or reads the members of a message, one after the other. The same
// calls do both, so that the two directions cannot differ. After the first
// error the rest does nothing.
type coder struct {
	decoding bool
	buf      []byte // what was written, or what is left to read
	err      error
}

var errShort = errors.New("the message ends too early")

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// take reads n bytes.
func (c *coder) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if len(c.buf) < n {
		c.err = errShort
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

func (c *coder) u8(p *uint8) {
	if !c.decoding {
		c.buf = append(c.buf, *p)
	} else if b := c.take(1); b != nil {
		*p = b[0]
	}
}

func (c *coder) u32(p *uint32) {
	if !c.decoding {
		c.buf = binary.BigEndian.AppendUint32(c.buf, *p)
	} else if b := c.take(4); b != nil {
		*p = binary.BigEndian.Uint32(b)
	}
}

func (c *coder) u64(p *uint64) {
	if !c.decoding {
		c.buf = binary.BigEndian.AppendUint64(c.buf, *p)
	} else if b := c.take(8); b != nil {
		*p = binary.BigEndian.Uint64(b)
	}
}

// number is any integer that fits into 64 bits with a sign.
func number[T ~int | ~int64](c *coder, p *T) {
	u := uint64(int64(*p))
	c.u64(&u)
	if c.decoding {
		*p = T(int64(u))
	}
}

func (c *coder) boolean(p *bool) {
	var b uint8
	if *p {
		b = 1
	}
	if c.u8(&b); b > 1 {
		c.fail("a truth value is %d", b)
	}
	*p = b == 1
}

// length is the length of something that has at most so many parts.
func (c *coder) length(n, most int) int {
	if n > most {
		c.fail("%d are more than %d", n, most)
		return 0
	}
	u := uint32(n)
	if c.u32(&u); int64(u) > int64(most) {
		c.fail("%d are more than %d", u, most)
		return 0
	}
	return int(u)
}

func (c *coder) text(p *string, most int) {
	n := c.length(len(*p), most)
	if c.err != nil {
		return
	}
	if !c.decoding {
		c.buf = append(c.buf, *p...)
	} else if b := c.take(n); b != nil {
		*p = string(b)
	}
}

// fixed is an array.
func (c *coder) fixed(p []byte) {
	if !c.decoding {
		c.buf = append(c.buf, p...)
	} else if b := c.take(len(p)); b != nil {
		copy(p, b)
	}
}

// list is a slice; an empty one is read as nil. Nothing is allocated on the word
// of a length alone.
func list[T any](c *coder, p *[]T, most int, each func(*T)) {
	n := c.length(len(*p), most)
	if !c.decoding {
		for i := range *p {
			each(&(*p)[i])
		}
		return
	}
	var out []T
	for range n {
		var v T
		if each(&v); c.err != nil {
			return
		}
		out = append(out, v)
	}
	*p = out
}

// value is one value of SQLite.
func (c *coder) value(p *sqlite.Value) {
	t := uint8(p.Type())
	c.u8(&t)
	switch sqlite.Type(t) {
	case sqlite.TypeNull:
		*p = sqlite.Value{}
	case sqlite.TypeInteger:
		n := p.Int64()
		number(c, &n)
		*p = sqlite.Int(n)
	case sqlite.TypeFloat:
		u := math.Float64bits(p.Float64())
		c.u64(&u)
		*p = sqlite.Float(math.Float64frombits(u))
	case sqlite.TypeText, sqlite.TypeBlob:
		s := p.Raw()
		n := c.length(len(s), maxFrame)
		if !c.decoding {
			c.buf = append(c.buf, s...)
		} else if b := c.take(n); sqlite.Type(t) == sqlite.TypeText {
			*p = sqlite.Text(string(b))
		} else {
			*p = sqlite.Blob(b)
		}
	default:
		c.fail("a value of the unknown type %d", t)
	}
}
