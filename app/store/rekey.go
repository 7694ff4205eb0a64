package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"coffer/app/durable"
)

const (
	// oldSuffix names the file that a Rekey replaced until its bytes are gone.
	oldSuffix = ".old"
	// rekeyChunk is how many entries one transaction copies.
	rekeyChunk = 2000
	zeroChunk  = 1 << 20
)

// Rekey writes every value into a new file under aead, puts that in the old
// one's place, and overwrites the old one's bytes before it removes it, so that
// what was sealed under the old key is gone once that key is. Updates wait
// meanwhile; views go on. When it returns nil the file is under aead alone,
// compacted, at the next revision. If it returns an error of the file or the
// disk before that, the old file is in use, unchanged.
//
// The caller must make the new key durable first and drop the old one last: a
// process that is killed meanwhile leaves the file whole under one of the two,
// which OpenEither tells by trying, and OpenEither finishes the removal.
//
// Overwriting is best effort: flash translation layers, snapshots and
// copy-on-write file systems keep old blocks. What counts is that the old key
// is destroyed (NIST SP 800-88 Rev. 1, cryptographic erase).
func (s *Store) Rekey(ctx context.Context, aead AEAD) error {
	s.rekeying.Lock()
	defer s.rekeying.Unlock()
	var old *handle
	err := s.alone(ctx, func(h *handle) error {
		n, err := h.copyUnder(ctx, tempName(s.path), aead)
		if err != nil {
			return err
		}
		step("rekey-copied")
		replaced, err := n.takePlace(s.path)
		if err != nil {
			err = unavailable(err, "check the mode of and the space in the data directory, then restart coffer",
				"replacing control store %s: %v", s.path, err)
		}
		if !replaced {
			n.discard()
			return err
		}
		old = h
		s.exchange(n)
		if err != nil {
			return s.fail(err) // the name may or may not last, so nothing more is written
		}
		return nil
	})
	if old == nil {
		return err
	}
	old.refs.Wait() // not on the committer: a view may be waiting for an update
	if cerr := old.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return finishRekey(s.path)
}

// copyUnder makes a new file at path with all entries of h under another key,
// and verifies it.
func (h *handle) copyUnder(ctx context.Context, path string, aead AEAD) (_ *handle, err error) {
	n, err := buildHandle(path, aead, h.state.revision)
	if err != nil {
		_ = os.Remove(path)
		return nil, unavailable(err, "check the space in the data directory, then try again", "copying control store %s: %v", h.path, err)
	}
	defer func() {
		if err != nil {
			n.discard()
		}
	}()
	n.db.NoSync = true // synced as a whole below; until then nothing depends on it
	if err := h.copyEntries(ctx, n); err != nil {
		return nil, err
	}
	n.db.NoSync = false
	if err := n.file.Sync(); err != nil {
		return nil, unavailable(err, "check the disk (dmesg, smartctl)", "copying control store %s: %v", h.path, err)
	}
	info, err := n.file.Stat()
	if err != nil {
		return nil, openError(path, err)
	}
	what, err := verify(ctx, n.file, info.Size(), nil, aead)
	if err != nil {
		return nil, openError(path, err)
	}
	if what.state.count != h.state.count || what.state != n.state {
		return nil, tampered(path, "%v was written, %v was read back", n.state, what.state)
	}
	if err := n.writeWitness(what.slot); err != nil {
		return nil, openError(path, err)
	}
	n.durable.Store(what.txid)
	return n, nil
}

// discard closes and removes a file that did not take its place.
func (h *handle) discard() {
	_ = h.close()
	_ = os.Remove(h.path)
}

// copyEntries reads h's file with the strict reader, which has compared it
// with the digest when it ends, and puts everything into n.
func (h *handle) copyEntries(ctx context.Context, n *handle) error {
	info, err := h.file.Stat()
	if err != nil {
		return openError(h.path, err)
	}
	c := &copier{to: n, next: n.state}
	what, err := verify(ctx, h.file, info.Size(), func(bucket string, key, sealed []byte) error {
		value, err := h.aead.Decrypt(sealed, associate(bucket, key))
		if err != nil {
			return tampered(h.path, "an entry of bucket %s does not open: %w", bucket, err)
		}
		defer clear(value)
		return c.put(ctx, bucket, key, value)
	}, h.aead)
	if err == nil && what.state != h.state {
		err = tampered(h.path, "the file is at %v, this process wrote %v", what.state, h.state)
	}
	if err == nil {
		err = c.finish(ctx)
	}
	c.abandon()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return openError(h.path, err)
	}
	return nil
}

// copier puts entries into a new file in transactions of bounded size. Only
// the last one writes the state record, so that no part of the copy is a store.
type copier struct {
	to   *handle
	tx   *Tx // nil between transactions
	next state
	n    int
}

func (c *copier) put(ctx context.Context, bucket string, key, value []byte) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	if err := c.tx.Put(bucket, key, value); err != nil {
		return err
	}
	if c.n++; c.n%rekeyChunk != 0 {
		return nil
	}
	tx := c.tx
	c.tx, c.next = nil, tx.edit.state
	return c.to.commit(tx.b)
}

func (c *copier) begin(ctx context.Context) error {
	if c.tx != nil {
		return nil
	}
	b, err := c.to.begin(true)
	if err != nil {
		return err
	}
	c.tx = &Tx{ctx: ctx, h: c.to, b: b, edit: &edit{state: c.next}}
	return nil
}

// finish commits the rest and the state record, at the next revision.
func (c *copier) finish(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	tx := c.tx
	c.tx, c.next = nil, tx.edit.state
	c.next.revision++
	if err := c.to.write(tx.b, c.next); err != nil {
		return err
	}
	c.to.state = c.next
	return nil
}

// abandon ends a transaction that an error left open.
func (c *copier) abandon() {
	if c.tx != nil {
		c.to.rollback(c.tx.b)
		c.tx = nil
	}
}

// takePlace puts the new file where the old one is, which keeps a second name
// for finishRekey. At every moment path is one of the two, whole. replaced says
// that the name is the new file's, even if that may not be durable.
func (h *handle) takePlace(path string) (replaced bool, err error) {
	if err := dropOld(path); err != nil {
		return false, err
	}
	if err := os.Link(path, path+oldSuffix); err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
		return false, err
	}
	step("rekey-linked")
	if err := os.Rename(h.path, path); err != nil {
		return false, errors.Join(err, dropOld(path))
	}
	step("rekey-replaced")
	h.path = path
	return true, durable.SyncDir(filepath.Dir(path))
}

// exchange makes h the store's file.
func (s *Store) exchange(h *handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.h, s.revision = h, h.state.revision
	s.wake()
}

// finishRekey overwrites and removes the file that a Rekey replaced, if there
// is one.
func finishRekey(path string) error {
	if err := dropOld(path); err != nil {
		return unavailable(err, "remove it by hand: it is the store under a key that was replaced",
			"removing %s: %v", path+oldSuffix, err)
	}
	return nil
}

// dropOld removes the second name. Its bytes are overwritten only if that name
// is the last one and the file is not the live one: a Rekey that was cut
// between linking and renaming leaves both names on the live file.
func dropOld(path string) error {
	old := path + oldSuffix
	f, err := os.OpenFile(old, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("not a regular file")
	}
	live, err := os.Lstat(path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if !os.SameFile(info, live) && st.Nlink == 1 {
		if err := overwrite(f, info.Size()); err != nil {
			return err
		}
		step("rekey-overwritten")
	}
	return durable.Remove(old)
}

func overwrite(f *os.File, size int64) error {
	zeros := make([]byte, min(size, zeroChunk))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(size-off, int64(len(zeros)))], off); err != nil {
			return err
		}
	}
	return f.Sync()
}
