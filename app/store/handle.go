package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"coffer/app/domain"
	"coffer/app/durable"
)

// mapSize is the address space reserved for the file, in bytes, so that it can
// grow without waiting for running views: bbolt maps anew only beyond it.
const mapSize = 1 << 30

// handle is one open bbolt file with the key of its values. A Store has one,
// and for a moment two while it is rekeyed.
type handle struct {
	path string
	file *os.File // bbolt's own, which also carries the lock
	db   *bolt.DB
	aead AEAD

	// Only the committer uses these.
	state    state // of the newest commit
	hasher   *hasher
	reserved int64 // bytes at the start of the file that have blocks

	memo memo // of values that were decoded

	durable atomic.Uint64                // bbolt's id of the newest transaction that is on stable storage
	damage  atomic.Pointer[domain.Error] // the first damage found while running

	refs  sync.WaitGroup // views
	stuck bool           // bbolt panicked while it held its locks: closing it would wait for ever
}

// openHandle locks and verifies the file before bbolt sees it, and hands bbolt
// the very file that was verified. To one that fails it writes nothing.
func openHandle(path string, aeads ...AEAD) (*handle, int, error) {
	f, size, err := openLocked(path)
	if err != nil {
		return nil, 0, err
	}
	what, err := verify(context.Background(), f, size, nil, aeads...)
	if err != nil {
		f.Close()
		return nil, 0, openError(path, err)
	}
	db, err := openBolt(path, f)
	if err != nil {
		f.Close()
		return nil, 0, openError(path, err)
	}
	h := &handle{
		path: path, file: f, db: db, aead: aeads[what.aead],
		state: what.state, hasher: newHasher(what.state.digestKey[:]),
	}
	h.durable.Store(what.txid)
	// What is seen from here on counts as acknowledged, even if the process
	// that committed it was killed before it could say so.
	if err := h.writeWitness(what.slot); err != nil {
		_ = h.close()
		return nil, 0, openError(path, err)
	}
	return h, what.aead, nil
}

// openLocked opens a regular file for writing and takes bbolt's lock on it.
func openLocked(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, &domain.Error{
			Kind: domain.NotFound, Msg: fmt.Sprintf("there is no control store %s", path),
			Hint: "check the data directory given with --data, or restore a copy of the whole data directory", Err: err,
		}
	}
	if err != nil {
		return nil, 0, unavailable(err, "check the owner and mode of the data directory", "opening control store %s: %v", path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = tampered(path, "not a regular file")
	}
	if err == nil {
		err = lock(f, path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func lock(f *os.File, path string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return unavailable(err, "stop the other coffer that uses this data directory, or talk to it instead",
			"control store %s is in use by another process", path)
	}
	if err != nil {
		return unavailable(err, "the data directory must be on a local file system with locks", "locking control store %s: %v", path, err)
	}
	return nil
}

// openBolt opens bbolt on a file that is locked by us already; flock on the
// same open file is granted again.
func openBolt(path string, f *os.File) (db *bolt.DB, err error) {
	defer guard(path, &err)()
	db, err = bolt.Open(path, 0o600, &bolt.Options{
		PageSize: pageSize, InitialMmapSize: mapSize, FreelistType: bolt.FreelistMapType,
		NoStatistics: true,
		OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	if err != nil {
		return nil, err
	}
	db.AllocSize = reserveStep
	return db, nil
}

// openError gives what verifying or opening found its kind.
func openError(path string, err error) error {
	if _, ok := errors.AsType[*domain.Error](err); ok {
		return err
	}
	if errors.Is(err, errSeal) {
		e := tampered(path, "%w", err)
		e.Msg = fmt.Sprintf("control store %s does not open under this key, or was altered", path)
		return e
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return unavailable(err, "check the disk (dmesg, smartctl), then try again", "reading control store %s: %v", path, err)
	}
	return tampered(path, "%w", err)
}

// close closes the file and frees its lock.
func (h *handle) close() error {
	if h.stuck {
		return h.file.Close() // the map stays until the process ends
	}
	if err := errors.Join(h.db.Sync(), h.db.Close()); err != nil {
		return unavailable(err, "check the disk (dmesg, smartctl)", "closing control store %s: %v", h.path, err)
	}
	return nil
}

// createFile builds a store under a temporary name and moves it into place.
func createFile(path string, aead AEAD) error {
	tmp := tempName(path)
	h, err := buildHandle(tmp, aead, 1)
	if err == nil {
		err = h.close()
	}
	if err == nil {
		err = durable.RenameNew(tmp, path)
	}
	if err == nil {
		return nil
	}
	_ = os.Remove(tmp)
	if errors.Is(err, fs.ErrExist) {
		return &domain.Error{
			Kind: domain.Conflict, Msg: fmt.Sprintf("control store %s exists already", path),
			Hint: "choose another data directory, or start the appliance on this one: coffer serve --data DIR", Err: err,
		}
	}
	return unavailable(err, "check the mode of and the space in the data directory", "creating control store %s: %v", path, err)
}

func tempName(path string) string {
	return filepath.Join(filepath.Dir(path), durable.TempPrefix+filepath.Base(path)+"-"+rand.Text()[:12])
}

// buildHandle makes a new bbolt file with an empty state at a revision.
func buildHandle(path string, aead AEAD, rev Revision) (*handle, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	db, err := openBolt(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	h := &handle{path: path, file: f, db: db, aead: aead, state: state{revision: rev}}
	_, _ = rand.Read(h.state.digestKey[:]) // never fails since Go 1.24
	h.hasher = newHasher(h.state.digestKey[:])
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte(stateBucket))
		if err != nil {
			return err
		}
		if err := b.Put([]byte(formatKey), []byte(formatValue)); err != nil {
			return err
		}
		return h.putState(tx, h.state)
	})
	if err != nil {
		_ = h.close()
		return nil, err
	}
	return h, nil
}

// putState writes the sealed record into the transaction.
func (h *handle) putState(tx *bolt.Tx, st state) error {
	sealed, err := st.seal(h.aead)
	if err != nil {
		return fmt.Errorf("sealing the state record: %w", err)
	}
	return tx.Bucket([]byte(stateBucket)).Put([]byte(recordKey), sealed)
}
