package worker

import (
	"encoding/binary"
	"fmt"
	"io"

	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// version is that of the protocol. Both sides are the same binary, unless it was
// replaced while it ran.
const version = 1

// Limits of the protocol, in bytes and numbers. FORMAT.md.
const (
	maxFrame   = 32 << 20 // a row has at most guard.Limits.Bytes, the arguments of a request are bounded at the door
	maxPath    = 4096
	maxInfo    = 256
	maxText    = 4096   // of a message for people
	maxArgs    = 33_000 // parameters of a statement
	maxColumns = 2000
	maxRows    = 1 << 20 // in one message
	keySize    = 32
)

// kind is the first byte of a message.
type kind uint8

// From the parent.
const (
	kindHello    kind = 1
	kindOpen     kind = 2
	kindStream   kind = 3
	kindDescribe kind = 4
	kindTrusted  kind = 5
	kindRollback kind = 6
	kindClose    kind = 7
	kindTaken    kind = 8
	kindCancel   kind = 9
	kindDerived  kind = 10
)

// From the worker.
const (
	kindReady  kind = 65
	kindRows   kind = 66
	kindDone   kind = 67
	kindDerive kind = 68
)

// message is one of the types below.
type message interface {
	kind() kind
	code(c *coder)
}

// call names a call: the connection, and the number of the call on it.
type call struct{ Session, Number uint32 }

func (m *call) code(c *coder) { c.u32(&m.Session); c.u32(&m.Number) }

// hello says what the worker is for.
type hello struct {
	Version uint32
	Path    string
	FileID  [16]byte
	Limits  guard.Limits
}

func (*hello) kind() kind { return kindHello }
func (m *hello) code(c *coder) {
	c.u32(&m.Version)
	c.text(&m.Path, maxPath)
	c.fixed(m.FileID[:])
	l := &m.Limits
	number(c, &l.Deadline)
	number(c, &l.Rows)
	number(c, &l.Bytes)
	number(c, &l.Memory)
	number(c, &l.Length)
	number(c, &l.SQL)
	number(c, &l.Pages)
}

// open makes a connection.
type open struct {
	call
	Role uint8
}

func (*open) kind() kind      { return kindOpen }
func (m *open) code(c *coder) { m.call.code(c); c.u8(&m.Role) }

// stream runs a statement.
type stream struct {
	call
	Request guard.Request
}

func (*stream) kind() kind { return kindStream }
func (m *stream) code(c *coder) {
	m.call.code(c)
	r := &m.Request
	c.text(&r.SQL, maxFrame)
	list(c, &r.Args, maxArgs, c.value)
	list(c, &r.Named, maxArgs, func(n *guard.Named) { c.text(&n.Name, maxFrame); c.value(&n.Value) })
	c.boolean(&r.Transaction)
	c.boolean(&r.ReadOnly)
	number(c, &r.LastRowID)
	number(c, &r.Rows)
	number(c, &r.Bytes)
	number(c, &r.Deadline)
}

// describe compiles a statement.
type describe struct {
	call
	SQL string
}

func (*describe) kind() kind      { return kindDescribe }
func (m *describe) code(c *coder) { m.call.code(c); c.text(&m.SQL, maxFrame) }

// trusted runs a statement of Coffer's own.
type trusted struct {
	call
	SQL  string
	Args []sqlite.Value
}

func (*trusted) kind() kind { return kindTrusted }
func (m *trusted) code(c *coder) {
	m.call.code(c)
	c.text(&m.SQL, maxFrame)
	list(c, &m.Args, maxArgs, c.value)
}

// rollback ends an open transaction, shut a connection, cancel a call.
type (
	rollback struct{ call }
	shut     struct{ call }
	cancel   struct{ call }
)

func (*rollback) kind() kind { return kindRollback }
func (*shut) kind() kind     { return kindClose }
func (*cancel) kind() kind   { return kindCancel }

// taken answers rows. If the taker wants no more of them the statement fails.
type taken struct {
	call
	OK bool
}

func (*taken) kind() kind      { return kindTaken }
func (m *taken) code(c *coder) { m.call.code(c); c.boolean(&m.OK) }

// derived answers derive.
type derived struct {
	Number uint32
	OK     bool
	Key    [keySize]byte
}

func (*derived) kind() kind      { return kindDerived }
func (m *derived) code(c *coder) { c.u32(&m.Number); c.boolean(&m.OK); c.fixed(m.Key[:]) }

// ready answers hello.
type ready struct {
	Version  uint32
	Confined string
}

func (*ready) kind() kind      { return kindReady }
func (m *ready) code(c *coder) { c.u32(&m.Version); c.text(&m.Confined, maxText) }

// rows are some of a result, with its columns the first time.
type rows struct {
	call
	First   bool
	Columns []sqlite.Column
	Rows    [][]sqlite.Value
}

func (*rows) kind() kind { return kindRows }
func (m *rows) code(c *coder) {
	m.call.code(c)
	c.boolean(&m.First)
	list(c, &m.Columns, maxColumns, func(p *sqlite.Column) { codeColumn(c, p) })
	codeRows(c, &m.Rows)
}

func codeColumn(c *coder, p *sqlite.Column) {
	for _, s := range []*string{&p.Name, &p.DeclType, &p.Database, &p.Table, &p.Origin} {
		c.text(s, maxFrame)
	}
}

func codeRows(c *coder, p *[][]sqlite.Value) {
	list(c, p, maxRows, func(row *[]sqlite.Value) { list(c, row, maxColumns, c.value) })
}

// done ends a call.
type done struct {
	call
	Fault       fault
	Open        bool   // a transaction is open
	Failures    uint64 // of authentication, since the start
	Torn        uint64
	Outcome     guard.Outcome
	Description guard.Description
	Rows        [][]sqlite.Value // of a statement of Coffer's own
}

func (*done) kind() kind { return kindDone }
func (m *done) code(c *coder) {
	m.call.code(c)
	m.Fault.code(c)
	c.boolean(&m.Open)
	c.u64(&m.Failures)
	c.u64(&m.Torn)
	number(c, &m.Outcome.Affected)
	number(c, &m.Outcome.LastInsertRowID)
	c.boolean(&m.Outcome.Wrote)
	codeReport(c, &m.Outcome.Report)
	d := &m.Description
	list(c, &d.Params, maxArgs, func(s *string) { c.text(s, maxFrame) })
	list(c, &d.Columns, maxColumns, func(p *sqlite.Column) { codeColumn(c, p) })
	c.boolean(&d.Explain)
	c.boolean(&d.ReadOnly)
	codeReport(c, &d.Report)
	codeRows(c, &m.Rows)
}

func codeReport(c *coder, r *guard.Report) {
	k := string(r.Kind)
	c.text(&k, maxText)
	r.Kind = guard.Kind(k)
	list(c, &r.Tables, guard.MaxReportTables, func(s *string) { c.text(s, maxText) })
	list(c, &r.Columns, guard.MaxReportColumns, func(s *string) { c.text(s, maxText) })
	c.boolean(&r.Truncated)
	number(c, &r.RowsIn)
	number(c, &r.RowsOut)
	number(c, &r.Bytes)
}

// derive asks for a page key.
type derive struct {
	Number uint32
	Info   string
}

func (*derive) kind() kind      { return kindDerive }
func (m *derive) code(c *coder) { c.u32(&m.Number); c.text(&m.Info, maxInfo) }

// messages makes an empty message of each kind.
var messages = map[kind]func() message{
	kindHello: func() message { return new(hello) }, kindOpen: func() message { return new(open) },
	kindStream: func() message { return new(stream) }, kindDescribe: func() message { return new(describe) },
	kindTrusted: func() message { return new(trusted) }, kindRollback: func() message { return new(rollback) },
	kindClose: func() message { return new(shut) }, kindTaken: func() message { return new(taken) },
	kindCancel: func() message { return new(cancel) }, kindDerived: func() message { return new(derived) },
	kindReady: func() message { return new(ready) }, kindRows: func() message { return new(rows) },
	kindDone: func() message { return new(done) }, kindDerive: func() message { return new(derive) },
}

// encode gives a message as it goes over the socket: length, kind, members.
func encode(m message) ([]byte, error) {
	c := &coder{buf: make([]byte, 5, 256)}
	m.code(c)
	if len(c.buf)-4 > maxFrame {
		c.fail("%d bytes are more than %d", len(c.buf)-4, maxFrame)
	}
	if c.err != nil {
		return nil, fmt.Errorf("encoding a message to or from a worker: %w", c.err)
	}
	binary.BigEndian.PutUint32(c.buf, uint32(len(c.buf)-4))
	c.buf[4] = byte(m.kind())
	return c.buf, nil
}

// decode reads a message without its length.
func decode(b []byte) (message, error) {
	if len(b) == 0 {
		return nil, errShort
	}
	blank := messages[kind(b[0])]
	if blank == nil {
		return nil, fmt.Errorf("a message of the unknown kind %d", b[0])
	}
	m, c := blank(), &coder{decoding: true, buf: b[1:]}
	m.code(c)
	if c.err == nil && len(c.buf) > 0 {
		c.fail("%d bytes follow the message", len(c.buf))
	}
	if c.err != nil {
		return nil, fmt.Errorf("a message of kind %d: %w", b[0], c.err)
	}
	return m, nil
}

// receive reads the next message.
func receive(r io.Reader) (message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a message of %d bytes, more than %d", n, maxFrame)
	}
	// A length alone allocates little: what does not come is not paid for.
	const atOnce = 64 << 10
	b := make([]byte, 0, min(int(n), atOnce))
	for len(b) < int(n) {
		start := len(b)
		b = append(b, make([]byte, min(int(n)-start, max(start, atOnce)))...)
		if _, err := io.ReadFull(r, b[start:]); err != nil {
			return nil, err
		}
	}
	return decode(b)
}
