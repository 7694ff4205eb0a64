package cryptvfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Name is the VFS's name, for the vfs parameter of a database URI.
const Name = "coffer"

// Keys derives the page keys of one database file. A keyset with HKDF as its
// pseudo-random function (RFC 5869) is one, Tink's PRF keyset for example.
type Keys interface {
	// Derive gives n pseudo-random bytes that depend on info, the same each
	// time. The caller of Derive overwrites them after use. It is called from
	// several goroutines at once.
	Derive(info []byte, n int) ([]byte, error)
}

// Mode is how a database file is opened.
type Mode string

// The modes. ReadOnly and ReadWrite refuse a file that does not exist or is
// empty, so that a file emptied behind our back is an error and not a new
// database.
const (
	ReadWrite Mode = ""    // the file exists; the default
	ReadOnly  Mode = "ro"  // the file exists and is not changed
	Create    Mode = "rwc" // the file is made if it is missing or empty
)

// Options are how URI describes a connection.
type Options struct {
	Mode Mode
	// Params are further parameters of the driver, for example
	// {"_pragma": {"foreign_keys(1)"}}. They may not set vfs, kid or mode.
	Params url.Values
}

// Registration makes the keys of one database file known to the VFS. It is
// safe for concurrent use.
type Registration struct {
	kid    string
	fileID [16]byte
	ring   *keyring
	path   string // under the registry's lock; see there

	// gate is held for reading by every operation on an open file and for
	// writing by Close, so that keys are wiped when nobody computes with them.
	gate   sync.RWMutex
	closed bool

	failures atomic.Uint64
	torn     atomic.Uint64
}

// registry finds a registration by its key id, and by the path that URI was
// last asked for: a super-journal, and a child journal that SQLite finds in
// one, come without a key id and take that of the database they are named
// after.
var registry = struct {
	sync.RWMutex
	byKID  map[string]*Registration
	byPath map[string]*Registration
}{byKID: map[string]*Registration{}, byPath: map[string]*Registration{}}

// Register makes a file's keys known under a random key id for as long as the
// Registration lives. The file id is bound into every page: choose 16 random
// bytes when the file is created and keep them with its wrapped keys.
//
// Each Registration seals under a fresh random subkey ("epoch"), so register
// once per opened tenant and not once per connection.
func Register(fileID [16]byte, keys Keys) (*Registration, error) {
	if keys == nil {
		return nil, errors.New("registering a database file: no keys")
	}
	if err := install(); err != nil {
		return nil, err
	}
	ring, err := newKeyring(fileID, keys)
	if err != nil {
		return nil, fmt.Errorf("registering a database file: %w", err)
	}
	r := &Registration{kid: rand.Text(), fileID: fileID, ring: ring}
	registry.Lock()
	registry.byKID[r.kid] = r
	registry.Unlock()
	return r, nil
}

// lookup finds the registration of a key id, nil if there is none.
func lookup(kid string) *Registration {
	registry.RLock()
	defer registry.RUnlock()
	return registry.byKID[kid]
}

// lookupPath finds the registration of the database at a full path.
func lookupPath(path string) *Registration {
	registry.RLock()
	defer registry.RUnlock()
	return registry.byPath[path]
}

// remember notes the path of the registration's file, as SQLite resolves it.
func (r *Registration) remember(path string) {
	if full, err := filepath.Abs(path); err == nil {
		path = full
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	registry.Lock()
	defer registry.Unlock()
	if registry.byKID[r.kid] != r {
		return // closed
	}
	if registry.byPath[r.path] == r {
		delete(registry.byPath, r.path)
	}
	r.path = path
	registry.byPath[path] = r
}

// URI is the data source name of the database file at path: an SQLite URI that
// names this VFS and this registration. It holds no key; the key id is valid
// in this process alone and only until Close. Open the connection's *main*
// database by it: SQLite sends temporary files to the VFS of the main database.
func (r *Registration) URI(path string, o Options) string {
	r.remember(path)
	mode := o.Mode
	if mode == ReadWrite {
		mode = "rw"
	}
	var b strings.Builder
	b.WriteString("file:")
	if strings.HasPrefix(path, "/") {
		b.WriteString("//")
	}
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	fmt.Fprintf(&b, "?vfs=%s&kid=%s&mode=%s", Name, r.kid, mode)
	for name := range o.Params {
		if name == "vfs" || name == "kid" || name == "mode" {
			// First wins in SQLite and last may win elsewhere: never both.
			panic("cryptvfs: Options.Params may not set " + name)
		}
	}
	if q := o.Params.Encode(); q != "" {
		b.WriteString("&" + q)
	}
	return b.String()
}

// AuthFailures counts the units of this registration's files that were not
// what was sealed there: flipped, moved or foreign pages, torn or forged
// journals. Anything but zero deserves an alert; TornTails says how much of it
// a power cut can explain.
func (r *Registration) AuthFailures() uint64 { return r.failures.Load() }

// TornTails counts those of AuthFailures that stood at the end of a WAL or
// rollback journal during recovery, with no proof that something acknowledged
// was after them. A power cut leaves such ends; so does an attacker who cuts
// off the last transactions.
func (r *Registration) TornTails() uint64 { return r.torn.Load() }

// Close forgets the key id and overwrites the keys that are in our memory.
// Open handles fail from then on. It waits for operations in progress, and is
// safe twice. Nothing is written: close the database first to checkpoint it.
func (r *Registration) Close() {
	registry.Lock()
	delete(registry.byKID, r.kid)
	if registry.byPath[r.path] == r {
		delete(registry.byPath, r.path)
	}
	registry.Unlock()
	r.gate.Lock()
	defer r.gate.Unlock()
	if !r.closed {
		r.closed = true
		r.ring.close()
	}
}

// enter begins an operation with the keys; leave ends it if enter gave true.
func (r *Registration) enter() bool {
	if r == nil { // a temporary file has keys of its own
		return true
	}
	r.gate.RLock()
	if r.closed {
		r.gate.RUnlock()
		return false
	}
	return true
}

func (r *Registration) leave() {
	if r != nil {
		r.gate.RUnlock()
	}
}
