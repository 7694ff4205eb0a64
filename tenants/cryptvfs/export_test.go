package cryptvfs

import (
	"fmt"
	"reflect"
	"slices"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Tracer sees what goes to the operating system.
type Tracer = tracer

// SetTrace sets the tracer of all files and gives a function that takes it
// away again.
func SetTrace(t Tracer) (stop func()) {
	trace.Store(&tracing{t})
	return func() { trace.Store(nil) }
}

// SetUnitsPerEpoch lowers the bound after which an epoch ends.
func (r *Registration) SetUnitsPerEpoch(n uint64) { r.ring.limit = n }

// Subkeys is how many subkeys are in memory.
func (r *Registration) Subkeys() int {
	r.ring.mu.RLock()
	defer r.ring.mu.RUnlock()
	return len(r.ring.subkeys)
}

// MaxSubkeys is how many may be.
const MaxSubkeys = maxSubkeys

// KeyMemory gives the memory of the ciphers themselves, not copies.
func (r *Registration) KeyMemory() (memory [][]byte) {
	for _, c := range []any{r.ring.current.Load().key, r.ring.mask} {
		v := reflect.ValueOf(c)
		memory = append(memory, view(v.Pointer(), int(v.Type().Elem().Size())))
	}
	return memory
}

// Unit is a sealer of one page's place, for fuzzing.
type Unit struct {
	s *sealer
	l label
}

func (r *Registration) PageUnit(number uint32) *Unit {
	return &Unit{newSealer(r.ring, r.fileID, kindPage), label{number: number}}
}

func (r *Registration) FrameUnit(number, frame, commit uint32, salts [8]byte) *Unit {
	return &Unit{newSealer(r.ring, r.fileID, kindFrame), label{number, frame, commit, salts}}
}

func (u *Unit) Seal(plain []byte) []byte {
	dst := make([]byte, len(plain)+ReservedBytes)
	if err := u.s.seal(dst, plain, &u.l); err != nil {
		panic(err)
	}
	return dst
}

func (u *Unit) Open(unit []byte) ([]byte, bool) {
	unit = slices.Clone(unit)
	ok := u.s.open(unit, unit, &u.l)
	return unit[:max(0, len(unit)-ReservedBytes)], ok
}

// RawFile drives a journal or temporary file without SQLite above it.
type RawFile struct {
	tls  *libc.TLS
	f    unitFile
	file uintptr
	buf  uintptr
}

const rawBuffer = 1 << 16

// OpenRaw opens a journal ("journal"), super-journal ("super") or temporary
// file ("temp", at no path).
func (r *Registration) OpenRaw(kind, path string) *RawFile {
	v := &verifier{path: path, reg: r, tls: libc.NewTLS()}
	if kind == "temp" {
		path = path + ".temp"
	}
	n, _, err := v.open(path, sqlite3.SQLITE_OPEN_MAIN_JOURNAL|sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_CREATE)
	if err != nil {
		panic(err)
	}
	raw := &RawFile{tls: v.tls, file: n.file, buf: libc.Xcalloc(v.tls, 1, rawBuffer)}
	switch kind {
	case "temp":
		if raw.f, err = newTempFile(n); err != nil {
			panic(err)
		}
	case "journal", "super":
		k := kindSuper
		if kind == "journal" {
			k = kindJournal
		}
		raw.f = &journalFile{blockFile: blockFile{nativeFile: n, s: newSealer(r.ring, r.fileID, k)}, reg: r, pad: kind == "journal"}
	}
	return raw
}

func code(rc int32) error {
	if rc == sqlite3.SQLITE_OK {
		return nil
	}
	return fmt.Errorf("result %d", rc)
}

func (f *RawFile) Read(n int, off int64) ([]byte, error) {
	b := view(f.buf, n)
	rc := f.f.read(f.tls, f.buf, n, off)
	if rc == sqlite3.SQLITE_IOERR_SHORT_READ {
		rc = sqlite3.SQLITE_OK
	}
	return slices.Clone(b), code(rc)
}

func (f *RawFile) Write(b []byte, off int64) error {
	copy(view(f.buf, rawBuffer), b)
	return code(f.f.write(f.tls, view(f.buf, len(b)), off))
}
func (f *RawFile) Truncate(n int64) error { return code(f.f.truncate(f.tls, n)) }
func (f *RawFile) Sync() error            { return code(f.f.sync(f.tls, sqlite3.SQLITE_SYNC_NORMAL)) }

func (f *RawFile) Size() (int64, error) {
	n, rc := f.f.size(f.tls)
	return n, code(rc)
}

func (f *RawFile) Close() error {
	rc := f.f.close(f.tls)
	libc.Xfree(f.tls, f.buf)
	libc.Xfree(f.tls, f.file)
	f.tls.Close()
	return code(rc)
}
