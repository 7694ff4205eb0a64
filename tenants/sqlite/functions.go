package sqlite

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite's own instr, replace, trim, ltrim, rtrim and unhex take time in the
// product of the lengths of their arguments, and one call is one instruction,
// which nothing can interrupt: trim() of 1 MB by 5,000 characters took 65 s.
// These take their place with the same results in linear time. The one
// difference: a set of characters to trim that has a "character" of more than
// four bytes, which is not UTF-8, is an error.

type implementation = func(*libc.TLS, uintptr, int32, uintptr)

var functions = []struct {
	name string
	args int32
	impl implementation
}{
	{"instr", 2, instrFunction},
	{"replace", 3, replaceFunction},
	{"trim", 1, trimFunction},
	{"trim", 2, trimFunction},
	{"ltrim", 1, ltrimFunction},
	{"ltrim", 2, ltrimFunction},
	{"rtrim", 1, rtrimFunction},
	{"rtrim", 2, rtrimFunction},
	{"unhex", 1, unhexFunction},
	{"unhex", 2, unhexFunction},
}

// defineFunctions puts them in place of SQLite's own.
func (c *Conn) defineFunctions() error {
	const flags = sqlite3.SQLITE_UTF8 | sqlite3.SQLITE_DETERMINISTIC | sqlite3.SQLITE_INNOCUOUS
	for _, f := range functions {
		if err := c.text.set(c.tls, f.name); err != nil {
			return err
		}
		if rc := sqlite3.Xsqlite3_create_function_v2(c.tls, c.db, c.text.p, f.args, flags, 0, callback(f.impl), 0, 0, 0); rc != sqlite3.SQLITE_OK {
			return fault(c.tls, c.db, rc)
		}
	}
	return nil
}

// call is one call of a function.
type call struct {
	tls  *libc.TLS
	ctx  uintptr // sqlite3_context*
	args []uintptr
}

func newCall(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr) call {
	args := make([]uintptr, argc)
	for i := range args {
		args[i] = loadPointer(argv + uintptr(i)*pointerSize)
	}
	return call{tls, ctx, args}
}

// text is the bytes of an argument as text, and false for NULL or when memory
// ran out. They are SQLite's: do not write, do not keep.
func (f call) text(i int) ([]byte, bool) {
	p := sqlite3.Xsqlite3_value_text(f.tls, f.args[i])
	if p == 0 {
		return nil, false
	}
	return view(p, int(sqlite3.Xsqlite3_value_bytes(f.tls, f.args[i]))), true
}

// bytes is text, except that a blob stays one.
func (f call) bytes(i int) (b []byte, blob, ok bool) {
	if sqlite3.Xsqlite3_value_type(f.tls, f.args[i]) != sqlite3.SQLITE_BLOB {
		b, ok = f.text(i)
		return b, false, ok
	}
	n := int(sqlite3.Xsqlite3_value_bytes(f.tls, f.args[i]))
	if n == 0 {
		return nil, true, true
	}
	p := sqlite3.Xsqlite3_value_blob(f.tls, f.args[i])
	if p == 0 {
		return nil, true, false
	}
	return view(p, n), true, true
}

// allocate gives memory for a result of n bytes, or reports the failure.
func (f call) allocate(n int) (uintptr, []byte) {
	limit := sqlite3.Xsqlite3_limit(f.tls, sqlite3.Xsqlite3_context_db_handle(f.tls, f.ctx), sqlite3.SQLITE_LIMIT_LENGTH, -1)
	if n > int(limit) {
		sqlite3.Xsqlite3_result_error_toobig(f.tls, f.ctx)
		return 0, nil
	}
	p := sqlite3.Xsqlite3_malloc64(f.tls, uint64(n)+1)
	if p == 0 {
		sqlite3.Xsqlite3_result_error_nomem(f.tls, f.ctx)
		return 0, nil
	}
	return p, view(p, n)
}

// textResult copies b into the result.
func (f call) textResult(b []byte) {
	p, dst := f.allocate(len(b))
	if p != 0 {
		copy(dst, b)
		sqlite3.Xsqlite3_result_text64(f.tls, f.ctx, p, uint64(len(b)), callback(sqlite3.Xsqlite3_free), sqlite3.SQLITE_UTF8)
	}
}

func instrFunction(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr) {
	f := newCall(tls, ctx, argc, argv)
	haystack, blob1, ok1 := f.bytes(0)
	needle, blob2, ok2 := f.bytes(1)
	if ok1 && ok2 {
		sqlite3.Xsqlite3_result_int64(tls, ctx, instr(haystack, needle, !blob1 || !blob2))
	}
}

func replaceFunction(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr) {
	f := newCall(tls, ctx, argc, argv)
	s, ok := f.text(0)
	old, ok1 := f.text(1)
	if !ok || !ok1 {
		return
	}
	if len(old) == 0 || old[0] == 0 { // SQLite looks for its end by the NUL here
		f.textResult(s)
		return
	}
	by, ok := f.text(2)
	if !ok {
		return
	}
	find := newFinder(old)
	n := 0
	for rest := s; ; n++ {
		i := find.index(rest)
		if i < 0 {
			break
		}
		rest = rest[i+len(old):]
	}
	size := len(s) + n*(len(by)-len(old))
	p, dst := f.allocate(size)
	if p == 0 {
		return
	}
	for ; n > 0; n-- {
		i := find.index(s)
		dst = dst[copy(dst, s[:i]):]
		dst = dst[copy(dst, by):]
		s = s[i+len(old):]
	}
	copy(dst, s)
	sqlite3.Xsqlite3_result_text64(tls, ctx, p, uint64(size), callback(sqlite3.Xsqlite3_free), sqlite3.SQLITE_UTF8)
}

func trimFunction(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr) {
	trimCall(newCall(tls, ctx, argc, argv), true, true)
}

func ltrimFunction(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr) {
	trimCall(newCall(tls, ctx, argc, argv), true, false)
}

func rtrimFunction(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr) {
	trimCall(newCall(tls, ctx, argc, argv), false, true)
}

var blank = characters{key([]byte{' '}): 0}

func trimCall(f call, left, right bool) {
	s, ok := f.text(0)
	if !ok {
		return
	}
	set := blank
	if len(f.args) == 2 {
		chars, ok := f.text(1)
		if !ok {
			return
		}
		if set, ok = parseCharacters(chars); !ok {
			f.fail("the characters to trim are not UTF-8")
			return
		}
	}
	f.textResult(trim(s, set, left, right))
}

// fail ends the statement with a message.
func (f call) fail(msg string) {
	var b buffer
	if err := b.set(f.tls, msg); err != nil {
		sqlite3.Xsqlite3_result_error_nomem(f.tls, f.ctx)
		return
	}
	sqlite3.Xsqlite3_result_error(f.tls, f.ctx, b.p, int32(len(msg))) // copies it
	b.free(f.tls)
}

func unhexFunction(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr) {
	f := newCall(tls, ctx, argc, argv)
	s, ok := f.text(0)
	if !ok {
		return
	}
	var ignore map[uint32]bool
	if len(f.args) == 2 {
		chars, ok := f.text(1)
		if !ok {
			return
		}
		ignore = map[uint32]bool{}
		for len(chars) > 0 {
			var c uint32
			c, chars = decode(chars)
			ignore[c] = true
		}
	}
	b, ok := unhex(s, ignore)
	if !ok {
		return
	}
	if p, dst := f.allocate(len(b)); p != 0 {
		copy(dst, b)
		sqlite3.Xsqlite3_result_blob64(tls, ctx, p, uint64(len(b)), callback(sqlite3.Xsqlite3_free))
	}
}
